"""Hosts, origins, tokens, clients, headers and the log."""

from __future__ import annotations

import base64
import logging
import time
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from serving_client import Running, run_async, serving

from inpaint.serving.errors import ServiceError
from inpaint.serving.limits import Limits
from inpaint.serving.middleware import Answers, BodyLimit, Guard, identify, split_host
from inpaint.serving.sign_ins import FORGET_SECONDS, FREE_TRIES, MOST_CLIENTS, SignIns

TOKEN, PASSWORD = "a-token-of-length", "ann:a-long-pässword"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = Limits(
        auth=f"{TOKEN},{PASSWORD}",
        allowed_hosts="photos.example.org,*.example.net",
        trusted_proxies="127.0.0.1",
        root_path="/inpaint",
    )
    with serving(tmp_path_factory.mktemp("guarded"), limits) as running:
        running.client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield running


def status(running: Running, path: str = "/api/v1/models", method: str = "GET", **headers: str) -> int:
    answer = running.client.request(method, path, headers=headers)
    if answer.status_code >= 400:
        assert list(answer.json()) == ["detail"]
    return answer.status_code


# --- hosts and origins --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("127.0.0.1:7860", 200),
        ("[::1]:7860", 200),
        ("photos.example.org", 200),
        ("photos.example.org.", 200),
        ("a.b.example.net:443", 200),
        ("example.net", 421),
        ("evil.example.com", 421),
        ("localhost.evil.example.com", 421),
        ("192.0.2.1", 421),
        ("", 400),
        ("a/b", 400),
        ("me@localhost", 400),
        ("localhost:x", 400),
    ],
)
def test_hosts(guarded: Running, host: str, expected: int) -> None:
    assert status(guarded, Host=host) == expected


def test_the_address_that_a_connection_came_in_at_is_a_host() -> None:
    guard = Guard(None, Limits())  # type: ignore[arg-type]
    scope = {"server": ("192.0.2.7", 80)}
    assert guard._is_allowed("192.0.2.7", scope) and not guard._is_allowed("192.0.2.8", scope)
    assert Guard(None, Limits(), "Photos.lan")._is_allowed("photos.lan", scope)  # type: ignore[arg-type]
    assert Guard(None, Limits(allowed_hosts="*"))._is_allowed("any", scope)  # type: ignore[arg-type]


def test_hosts_are_split() -> None:
    assert split_host("a:1") == ("a", "1")
    for host in ("", "a?b", "a:b:c:d", ":80"):
        with pytest.raises(ValueError):
            split_host(host)


@pytest.mark.parametrize(
    ("host", "origin", "expected"),
    [
        ("localhost:7860", "http://localhost:7860", 415),
        ("photos.example.org", "https://photos.example.org", 415),
        ("photos.example.org:443", "https://photos.example.org", 415),
        ("localhost:7860", "http://localhost:9000", 403),
        ("localhost:7860", "https://evil.example.com", 403),
        ("localhost:7860", "null", 403),
        ("localhost:7860", "", 403),
    ],
)
def test_pages_of_other_sites_send_nothing(guarded: Running, host: str, origin: str, expected: int) -> None:
    assert status(guarded, "/api/v1/inpaint", "POST", Host=host, Origin=origin) == expected
    answer = guarded.client.get("/api/v1/models", headers={"Host": host, "Origin": origin})
    assert "access-control-allow-origin" not in answer.headers
    preflight = {"Host": host, "Origin": origin, "Access-Control-Request-Method": "POST"}
    assert status(guarded, "/api/v1/inpaint", "OPTIONS", **preflight) == 405


# --- tokens -------------------------------------------------------------------------------------------------


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (basic(PASSWORD), 200),
        (basic(f"anyone:{TOKEN}"), 200),
        ("", 401),
        ("Bearer", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (basic("ann:wrong"), 401),
        (basic("bob:a-long-pässword"), 401),
        ("Basic !", 401),
        (f"Digest {TOKEN}", 401),
    ],
)
def test_tokens(guarded: Running, authorization: str, expected: int) -> None:
    # From an address of its own: wrong tokens are slowed down.
    sent = {
        "Authorization": authorization,
        "X-Forwarded-For": f"2001:db8:0:{zlib.crc32(authorization.encode()) % 9999}::1",
    }
    for path in ("/api/v1/models", "/metrics", "/openapi.json", "/nothing"):
        found = status(guarded, path, **sent)
        assert found == (expected if path != "/nothing" or expected == 401 else 404)
    assert status(guarded, "/health", **sent) == 200


def test_wrong_tokens_are_slowed_down(guarded: Running, caplog: pytest.LogCaptureFixture) -> None:
    def ask(token: str, address: str = "198.51.100.7", path: str = "/api/v1/models") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
        return guarded.client.get(path, headers=headers)

    def ask_without() -> int:
        return status(guarded, Authorization="", **{"X-Forwarded-For": "198.51.100.7"})

    for number in range(FREE_TRIES - 1):
        assert ask(f"guess {number}").status_code == 401
    assert ask(TOKEN).status_code == 200  # who mistypes begins anew
    for number in range(FREE_TRIES + 1):
        assert ask(f"guess {number}").status_code == 401
    refused = ask(TOKEN)
    assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
    assert "try again in 1 s" in refused.json()["detail"]
    assert ask_without() == 401
    assert ask("guess", "198.51.100.8").status_code == 401 and ask(TOKEN, "198.51.100.9").status_code == 200
    assert ask("guess", path="/health").status_code == 200
    assert "198.51.100.7 sent 6 wrong tokens" in caplog.text and "guess" not in caplog.text
    time.sleep(1.1)
    assert ask(TOKEN).status_code == 200


def test_waits_grow_to_a_limit_and_end() -> None:
    now = 1000.0
    sign_ins = SignIns(lambda: now)
    waits = []
    for _ in range(FREE_TRIES + 12):
        sign_ins.failed("a")
        try:
            sign_ins.check("a")
        except ServiceError as error:
            waits.append(int(error.headers["Retry-After"]))  # type: ignore[index]
            now += waits[-1] - 0.5
            with pytest.raises(ServiceError):
                sign_ins.check("a")
            now += 0.5
            sign_ins.check("a")
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    for _ in range(2000):
        sign_ins.failed("a")
    now += FORGET_SECONDS + 1
    sign_ins.check("a")
    assert len(sign_ins) == 0


def test_clients_that_are_remembered_are_bounded() -> None:
    sign_ins = SignIns()
    for number in range(MOST_CLIENTS + 50):
        sign_ins.failed(f"client {number}")
        sign_ins.failed("a steady one")
    assert len(sign_ins) == MOST_CLIENTS
    with pytest.raises(ServiceError, match="Too many wrong tokens"):
        sign_ins.check("a steady one")


def test_who_is_refused_is_asked_for_a_token(guarded: Running) -> None:
    answer = guarded.client.post("/api/v1/jobs", headers={"Authorization": ""})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")


# --- clients ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.5", [], "203.0.113.5"),
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),  # anyone can write that header
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.9, 198.51.100.1"], "198.51.100.1"),  # the first entry is the client's claim
        ("10.0.0.1", ["192.0.2.9", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("2001:db8:1:2:3::4", [], "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.5", [], "203.0.113.5"),
        ("10.0.0.1", ["[2001:db8:1:2:9::4]"], "2001:db8:1:2::/64"),
    ],
)
def test_clients(peer: str, forwarded: list[str], expected: str) -> None:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    scope: dict[str, Any] = {"type": "http", "client": (peer, 1), "headers": headers}
    assert identify(scope, Limits(trusted_proxies="10.0.0.0/8").proxies()) == expected


# --- answers ------------------------------------------------------------------------------------------------


def test_every_answer_has_security_headers(guarded: Running) -> None:
    for path in ("/health", "/api/v1/models", "/nothing", "/openapi.json"):
        for authorization in ("", f"Bearer {TOKEN}"):
            headers = guarded.client.get(path, headers={"Authorization": authorization}).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "server" not in headers
    assert guarded.client.get("/api/v1/models").headers["cache-control"] == "no-store"


def test_the_root_path_is_in_addresses(guarded: Running) -> None:
    assert guarded.client.get("/openapi.json").json()["servers"] == [{"url": "/inpaint"}]
    answer = guarded.post("/api/v1/jobs", seed=1)
    assert answer.headers["location"].startswith("/inpaint/api/v1/jobs/")


def test_the_log_has_no_secrets_and_no_controls(guarded: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "inpaint.access")
    job = guarded.job(seed=1)
    guarded.state(job)
    guarded.client.get("/%1b%5b31mred%0aline?token=hidden", headers={"X-Forwarded-For": "198.51.100.1"})
    guarded.client.get("/health")  # by then, the line of the request before is written
    text = "\n".join(caplog.messages)
    assert f"/api/v1/jobs/{job[:4]}..." in text and job not in text
    assert "hidden" not in text and TOKEN not in text
    assert "\\x1b[31mred\\nline" in text and "\x1b" not in text
    assert "198.51.100.1 GET" in text


# --- sizes, for any application -----------------------------------------------------------------------------


def test_the_limit_of_bodies_holds_for_a_page_that_knows_nothing_of_it() -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    counted: list[tuple[str, str, int]] = []
    app = Answers(
        BodyLimit(page, Limits(max_megabytes=0.001)),
        lambda method, route, code: counted.append((method, route, code)),
    )

    async def ask(content: Any) -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as client:
            return await client.post("/page", content=content)

    async def pieces(count: int) -> Any:
        for _ in range(count):
            yield b"x" * 100

    assert run_async(ask(b"x" * 1000)).text == "fine"
    assert run_async(ask(b"x" * 1001)).status_code == 413
    assert run_async(ask(pieces(10))).text == "fine"
    assert run_async(ask(pieces(11))).status_code == 413
    assert [code for *_, code in counted] == [200, 413, 200, 413]
    assert run_async(ask(pieces(1))).headers["content-security-policy"] == "frame-ancestors 'none'"


def test_errors_are_http_exceptions_that_any_application_answers() -> None:
    error = ServiceError(413, "Too large.", {"Retry-After": "1"})
    assert (error.status_code, error.detail, dict(error.headers or {})) == (
        413,
        "Too large.",
        {"Retry-After": "1"},
    )
