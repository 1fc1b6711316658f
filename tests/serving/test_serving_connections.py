"""Clients that send too much, too slowly, or over too many connections."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_client import Running, serving, wait_for

from inpaint.serving.limits import Limits

HEAD = (
    b"POST /api/v1/inpaint HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
)
PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = Limits(
        max_megabytes=2,
        header_seconds=0.6,
        body_seconds=1.2,
        stall_seconds=0.5,
        connections=8,
        connections_per_client=6,
    )
    with serving(tmp_path_factory.mktemp("strict"), limits) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_connections_left(strict: Running) -> Iterator[None]:
    yield
    strict.client.close()
    strict.client = type(strict.client)(base_url=strict.client.base_url, timeout=60)
    wait_for(lambda: not strict.server.server_state.connections)


def read_all(connection: socket.socket) -> bytes:
    """What the server says until it closes."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def read_answer(connection: socket.socket) -> bytes:
    """One answer with its body, of a connection that stays open."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        assert piece, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def assert_problem(said: bytes, status: int, words: str = "") -> None:
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), said
    assert words in json.loads(body)["detail"]


def test_a_body_is_refused_by_its_length_before_it_is_sent(strict: Running) -> None:
    with strict.socket() as connection:
        connection.sendall(HEAD + b"Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
        assert_problem(read_answer(connection), 413, "2 MB")


def test_a_body_without_end_is_cut_at_the_limit(strict: Running) -> None:
    """A gigabyte without a Content-Length: it is not taken in, and the server's memory stays."""
    statm = Path("/proc/self/statm")
    before = int(statm.read_text().split()[1]) if statm.exists() else 0
    most, sent = before, 0
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with strict.socket() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"%x\r\n%s\r\n" % (len(PART), PART))
        try:
            for _ in range(1000):
                connection.sendall(piece)
                sent += len(piece)
                if statm.exists():
                    most = max(most, int(statm.read_text().split()[1]))
        except OSError:
            pass
        assert sent < 100e6
        said = read_all(connection)
    assert not said or said.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))
    assert (most - before) * 4096 < 60e6
    assert [path.name for path in strict.service.storage.folder.iterdir()] == ["in-use"]


def test_the_sender_of_a_large_body_gets_to_read_why(strict: Running) -> None:
    with strict.socket() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for piece in (PART, *[b"x" * 0x80000] * 5):
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        assert_problem(read_answer(connection), 413, "2 MB")


def test_headers_that_do_not_arrive(strict: Running) -> None:
    for sent in (b"", b"GET /health HTTP/1.1\r\nHost: loc"):
        began = time.monotonic()
        with strict.socket() as connection:
            connection.sendall(sent)
            assert_problem(read_all(connection), 408, "in time")
        assert 0.4 < time.monotonic() - began < 3


def test_headers_that_arrive_byte_by_byte(strict: Running) -> None:
    began = time.monotonic()
    with strict.socket() as connection, pytest.raises(OSError):
        for _ in range(100):
            connection.sendall(b"G")
            time.sleep(0.05)
    assert time.monotonic() - began < 3


def test_a_second_request_has_its_own_time(strict: Running) -> None:
    with strict.socket() as connection:
        for _ in range(3):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_answer(connection).startswith(b"HTTP/1.1 200 ")
            time.sleep(0.4)
        connection.sendall(b"GET /hea")
        assert_problem(read_all(connection), 408)


def test_a_body_that_stops_half_way(strict: Running) -> None:
    began = time.monotonic()
    with strict.socket() as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n--x\r\nContent-Disp")
        wait_for(lambda: strict.queue.counts()["receiving"] == 1)
        assert_problem(read_all(connection), 408, "in time")
    assert 0.4 < time.monotonic() - began < 3
    wait_for(lambda: strict.queue.counts()["receiving"] == 0)  # its place is free again


def test_a_body_that_trickles(strict: Running) -> None:
    began = time.monotonic()
    with strict.socket() as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n" + PART)
        connection.settimeout(0.05)
        said = b""
        for _ in range(100):
            try:
                connection.sendall(b"-")
                if said := connection.recv(65536):
                    break
            except TimeoutError:
                time.sleep(0.05)
        assert_problem(said, 408)
    assert 0.9 < time.monotonic() - began < 4


def test_an_answer_that_is_not_taken(strict: Running) -> None:
    with strict.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        try:
            for _ in range(2000):
                connection.sendall(request)
        except OSError:
            pass
        wait_for(lambda: not strict.server.server_state.connections, 10)


def test_one_address_has_so_many_connections_and_all_together(strict: Running) -> None:
    connections = [strict.socket() for _ in range(6)]
    try:
        wait_for(lambda: len(strict.server.server_state.connections) == 6)
        with strict.socket() as connection:
            said = read_all(connection)
        assert_problem(said, 503, "too many connections")
        assert b"Retry-After" in said
        connections.pop().close()
        wait_for(lambda: len(strict.server.server_state.connections) == 5)
        assert strict.client.get("/health").status_code == 200
    finally:
        for connection in connections:
            connection.close()


def test_what_is_no_http_is_answered_400(strict: Running) -> None:
    for sent in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"):
        with strict.socket() as connection:
            connection.sendall(sent)
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_websockets_are_not_spoken(strict: Running) -> None:
    with strict.socket() as connection:
        connection.sendall(
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
