"""What every request passes before a route sees it (host, origin, token, size), and what answers get.

All of it is plain ASGI, so it holds for a page that is mounted beside the API, too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inpaint.terminal import printable

from .errors import ServiceError
from .limits import Limits
from .sign_ins import SignIns

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
API_PATHS = ("/api/", "/health", "/metrics", "/openapi.json")

access_log = logging.getLogger("inpaint.access")


def path_of(scope: Scope) -> str:
    """Return a request's path without the one under which a proxy shows the service."""
    root, path = scope.get("root_path", ""), str(scope["path"])
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def client_of(scope: Scope) -> str:
    """Return who sent a request, as `Guard` found it."""
    return str(scope.get("inpaint.client", "unknown"))


def identify(scope: Scope, proxies: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> str:
    """Return the address a request comes from; of IPv6 the network of 64 bits, which one client has all of.

    `X-Forwarded-For` counts as far as those who wrote its entries are trusted proxies.
    """
    peer = (scope.get("client") or ("unknown", 0))[0]
    chain = [
        entry.strip() for line in Headers(scope=scope).getlist("x-forwarded-for") for entry in line.split(",")
    ]
    while chain and is_trusted(peer, proxies):
        try:
            peer = str(ipaddress.ip_address(chain.pop().strip("[]")))
        except ValueError:
            break
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def is_trusted(peer: str, proxies: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    """Return whether an address is one of the proxies."""
    try:
        return any(ipaddress.ip_address(peer) in network for network in proxies)
    except ValueError:
        return False


def split_host(host: str) -> tuple[str, str]:
    """Split a `Host` header into name and port.

    >>> split_host("[::1]:7860"), split_host("Example.org")
    (('::1', '7860'), ('example.org', ''))

    Raises:
        ValueError: it is no host.
    """
    parts = urlsplit(f"//{host}")
    if not parts.hostname or parts.path or parts.query or parts.username is not None or "@" in host:
        raise ValueError(f"no host: {host!r}")
    return parts.hostname.rstrip("."), "" if parts.port is None else str(parts.port)


class Guard:
    """Refuses requests to other hosts, from other sites' pages and without a token; says who the client is.

    Wrong tokens are slowed down, see `SignIns`.

    Args:
        app: what is guarded.
        limits: hosts, proxies and tokens.
        bound_to: the host that the server was told to listen on.
    """

    def __init__(self, app: ASGIApp, limits: Limits, bound_to: str = "") -> None:
        self._app = app
        self._hosts = {*LOCAL_HOSTS, *limits.hosts(), *([bound_to.lower()] if bound_to else [])}
        self._proxies = limits.proxies()
        # Digests have one length, so that comparing them tells nothing about a secret's.
        self._secrets = [_digest(secret) for secret in limits.secrets()]
        self._sign_ins = SignIns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            if scope["type"] != "http":
                raise ServiceError(400, "This server speaks HTTP alone, no WebSockets.")
            scope["inpaint.client"] = identify(scope, self._proxies)
            self._check(scope)
        except ServiceError as error:
            if scope["type"] == "http":
                await answer(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        try:
            name, port = split_host(host)
        except ValueError:
            raise ServiceError(400, "The request names no host; send a Host header.") from None
        if not self._is_allowed(name, scope):
            raise ServiceError(
                421,
                "This server does not go by that host name; its administrator adds it with --allowed-hosts.",
            )
        origin = headers.get("origin")
        if origin is not None and scope["method"] in CHANGING and not _same_site(origin, name, port):
            raise ServiceError(403, "Pages of other sites may not send requests to this server.")
        if self._secrets and path_of(scope) != "/health":
            self._check_token(headers, client_of(scope))

    def _is_allowed(self, name: str, scope: Scope) -> bool:
        if name in self._hosts or "*" in self._hosts:
            return True
        # The address that the connection came in at: where the server listens on all of them.
        if name == (scope.get("server") or ("",))[0]:
            return True
        return any(pattern.startswith("*.") and name.endswith(pattern[1:]) for pattern in self._hosts)

    def _check_token(self, headers: Headers, client: str) -> None:
        if headers.get("authorization"):  # browsers ask without one first, which is no try
            self._sign_ins.check(client)
            if self._is_signed_in(headers):
                self._sign_ins.succeeded(client)
                return
            self._sign_ins.failed(client)
        raise ServiceError(
            401,
            "This server asks for a token: send Authorization: Bearer TOKEN, or name and password.",
            {"WWW-Authenticate": 'Basic realm="inpaint", charset="UTF-8"'},
        )

    def _is_signed_in(self, headers: Headers) -> bool:
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                value = base64.b64decode(value.strip(), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return False
            # A bare token is taken as the password of any name.
            candidates = [_digest(value), _digest(value.partition(":")[2])]
        elif kind.lower() == "bearer":
            candidates = [_digest(value.strip())]
        else:
            return False
        pairs = itertools.product(self._secrets, candidates)
        return sum(hmac.compare_digest(*pair) for pair in pairs) > 0  # all are compared, whichever fits


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()


def _same_site(origin: str, name: str, port: str) -> bool:
    try:
        origin_name, origin_port = split_host(urlsplit(origin).netloc)
    except ValueError:
        return False
    usual = ("", "80", "443")  # a proxy may have ended TLS
    return origin_name == name and (origin_port == port or (origin_port in usual and port in usual))


class BodyLimit:
    """Refuses bodies that are too large: by their stated length, or as soon as they exceed the limit."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._most = app, limits.max_bytes
        self._words = f"{limits.max_megabytes:g} MB"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdigit() and int(length) > self._most:
            await answer(self._error())(scope, receive, send)
            return
        received, started = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise self._error()
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except ServiceError as error:  # where no application below answers it
            if started:
                raise
            await answer(error)(scope, receive, send)

    def _error(self) -> ServiceError:
        return ServiceError(
            413,
            f"The request is larger than {self._words}, the most this server takes; send a smaller file.",
        )


class Answers:
    """Adds security headers to every answer, and writes it to the access log.

    Args:
        app: what answers.
        count: called with method, route and status of each answered request.
    """

    def __init__(self, app: ASGIApp, count: Callable[[str, str, int], None]) -> None:
        self._app, self._count = app, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and what it is answered back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, size = time.perf_counter(), 0, 0
        path = path_of(scope)  # now: what is mounted under a path of its own changes the scope

        async def dressed(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), path)
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, dressed)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._count(_method(scope), route, status)
            seconds = time.perf_counter() - began
            access_log.info(
                "%s %s %s %d %d bytes %.3f s",
                client_of(scope), _method(scope), _loggable(path), status, size, seconds,
            )  # fmt: skip


def _method(scope: Scope) -> str:
    """Return the method, or OTHER: clients make methods up, and each would be a figure of its own."""
    return scope["method"] if scope["method"] in {*CHANGING, "GET", "HEAD", "OPTIONS"} else "OTHER"


def _loggable(path: str) -> str:
    """Return a path without a job's id, which gives access to its picture, and without the query.

    >>> _loggable("/api/v1/jobs/0123456789abcdef/result")
    '/api/v1/jobs/0123.../result'
    """
    parts = path.split("/")
    if parts[:4] == ["", "api", "v1", "jobs"] and len(parts) > 4:
        parts[4] = f"{parts[4][:4]}..."
    return printable("/".join(parts))[:200]


def _add_headers(headers: MutableHeaders, path: str) -> None:
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    headers.setdefault("X-Frame-Options", "DENY")
    if path.startswith(API_PATHS):
        headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        headers.setdefault("Cache-Control", "no-store")
    else:  # a page has scripts and styles
        headers.setdefault("Content-Security-Policy", "frame-ancestors 'none'")


def answer(error: ServiceError) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Return an error as JSON: a sentence under `detail`."""
    return JSONResponse({"detail": error.detail}, error.status_code, headers=dict(error.headers or {}))
