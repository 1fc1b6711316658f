"""The server: uvicorn with time-outs and a cap on connections, stopped without losing jobs."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import socket
import sys
from collections import Counter
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from inpaint.terminal import Formatter

from .connections import TimedProtocol
from .jobs import JobQueue
from .limits import Limits

logger = logging.getLogger("inpaint.serving")

_IDLE_SECONDS = 15  # a connection between two requests
_LARGEST_HEAD = 32_768  # bytes of a request's line and headers


class Server(uvicorn.Server):
    """Serves an application until it is told to stop; jobs then get `shutdown_seconds` to finish."""

    def __init__(self, app: ASGIApp, limits: Limits, queue: JobQueue) -> None:
        self._limits, self._queue = limits, queue
        super().__init__(
            uvicorn.Config(
                app,
                http=functools.partial(TimedProtocol, limits, Counter[str]()),  # type: ignore[arg-type]
                ws="none",
                lifespan="on",
                access_log=False,  # ours leaves secrets out
                log_config=None,
                proxy_headers=False,  # uvicorn would believe every process of this machine
                server_header=False,
                root_path=limits.root_path,
                timeout_keep_alive=_IDLE_SECONDS,
                timeout_graceful_shutdown=5,
                h11_max_incomplete_event_size=_LARGEST_HEAD,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, let jobs finish, then close connections."""
        for server in self.servers:
            server.close()
        counts = self._queue.counts()
        pending = counts["running"] + counts["waiting"]
        if pending:
            logger.info("stopping: %d jobs have %g s to finish", pending, self._limits.shutdown_seconds)
        ended = await asyncio.to_thread(
            self._queue.close, self._limits.shutdown_seconds, lambda: self.force_exit
        )
        logger.info("stopped: %d jobs finished, %d were ended", pending - ended, ended)
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        OSError: the address is in use, is not this machine's, or may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listening = socket.socket(*found[0][:3])
    try:
        if sys.platform != "win32":  # there it would let two servers have one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(found[0][4])
        listening.listen(128)
    except BaseException:
        listening.close()
        raise
    return listening


def run(server: Server, listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM, and return when everything has ended."""
    before: dict[int, Any] = {}
    # uvicorn raises the signals again that it was stopped by; to have stopped is answer enough.
    for caught in (signal.SIGINT, signal.SIGTERM):
        before[caught] = signal.signal(caught, lambda *_: None)
    try:
        server.run([listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def log_to_stderr() -> None:
    """Write what the service and uvicorn log to stderr, with everything that steers a terminal escaped."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name, level in (("inpaint", logging.INFO), ("uvicorn", logging.WARNING)):
        log = logging.getLogger(name)
        log.handlers[:] = [handler]
        log.setLevel(level)
        log.propagate = False
