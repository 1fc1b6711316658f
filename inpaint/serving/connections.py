"""Connections with time-outs: headers, bodies and answers that do not move end, and there is a cap on all.

uvicorn has none of this except for connections that are idle between two requests.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .limits import Limits
from .middleware import is_trusted

LINGER_SECONDS = 5.0
"""How long a body that nobody wants is thrown away, so that its sender gets to read why."""

LINGER_BYTES = 64_000_000
"""How much of it is thrown away at most."""


class TimedProtocol(H11Protocol):
    """One connection of a client.

    Args:
        limits: times, and how many connections there may be.
        open_by_peer: connections by address, shared by all; each counts itself in and out.
        arguments: what uvicorn gives its protocols.
    """

    def __init__(self, limits: Limits, open_by_peer: Counter[str], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._limits, self._open_by_peer = limits, open_by_peer
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._peer: str | None = None  # where it counts
        self._lingered = 0  # bytes thrown away

    # --- what asyncio calls ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it where there are too many."""
        super().connection_made(transport)
        peer = self.client[0] if self.client else ""
        proxied = is_trusted(peer, self._limits.proxies())
        mine, everyone = self._open_by_peer[peer], self._open_by_peer.total()
        if everyone >= self._limits.connections or (
            not proxied and mine >= self._limits.connections_per_client
        ):
            self._refuse(503, "There are too many connections; close some, or try again later.")
            return
        self._peer = peer
        self._open_by_peer[peer] += 1
        self._set("header", self._limits.header_seconds, 408)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._peer is not None:
            self._open_by_peer[self._peer] -= 1
            self._open_by_peer += Counter()  # drops what is 0
            self._peer = None
        for name in list(self._timers):
            self._clear(name)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has come, and see what is still to come."""
        if self.transport.is_closing():
            return
        if "linger" in self._timers:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self.transport.abort()
                return
        super().data_received(data)
        self._watch(moved=True)

    def pause_writing(self) -> None:
        """Wait for the client to take what was sent, but not for ever."""
        super().pause_writing()
        self._set("answer", self._limits.stall_seconds, None)

    def resume_writing(self) -> None:
        """Go on: the client has taken what was sent."""
        super().resume_writing()
        self._clear("answer")

    def on_response_complete(self) -> None:
        """Look at what is still to come after an answer."""
        super().on_response_complete()
        self._watch(moved=False)

    # --- inside ---------------------------------------------------------------------------------------------

    def _watch(self, moved: bool) -> None:
        """Set the timers that fit what the client is doing."""
        theirs = self.conn.their_state
        if self.transport.is_closing():
            return
        if theirs is h11.IDLE and self.timeout_keep_alive_task is None:
            self._set("header", self._limits.header_seconds, 408, again=False)
        else:
            self._clear("header")
        if theirs is not h11.SEND_BODY:
            for name in ("body", "stall", "linger"):
                self._clear(name)
        elif self.conn.our_state is h11.DONE:  # answered already
            self._clear("body")
            self._clear("stall")
            self._set("linger", LINGER_SECONDS, None, again=False)
        else:
            self._set("body", self._limits.body_seconds, 408, again=False)
            # While reading is paused the client cannot send.
            if self.flow.read_paused:
                self._clear("stall")
            elif moved or "stall" not in self._timers:
                self._set("stall", self._limits.stall_seconds, 408)

    def _set(self, name: str, seconds: float, status: int | None, again: bool = True) -> None:
        if name in self._timers:
            if not again:
                return
            self._clear(name)
        self._timers[name] = self.loop.call_later(seconds, self._expire, name, status)

    def _clear(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _expire(self, name: str, status: int | None) -> None:
        self._timers.pop(name, None)
        if self.transport.is_closing():
            return
        if name == "header" or (status is not None and not self.cycle.response_started):
            self._refuse(408, "The request did not arrive in time; send it again over a faster connection.")
        else:
            self.transport.abort()
        if self.cycle is not None and not self.cycle.response_complete:
            # The application learns of it as of a client that is gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _refuse(self, status: int, detail: str) -> None:
        body = json.dumps({"detail": detail}).encode()
        phrase = {408: "Request Timeout", 503: "Service Unavailable"}[status]
        lines = [
            f"HTTP/1.1 {status} {phrase}",
            "Content-Type: application/json",
            "X-Content-Type-Options: nosniff",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(["Retry-After: 5"] if status == 503 else []),
        ]
        head = "\r\n".join(lines)
        self.transport.write(f"{head}\r\n\r\n".encode() + body)
        self.transport.close()
