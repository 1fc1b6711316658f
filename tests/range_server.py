"""A web server for tests: one folder, ranges of bytes, and failures on request."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class RangeServer(ThreadingHTTPServer):
    """`requests` lists (method, path, range) as they came; `ranges` off answers with the whole file.

    `cut_after`: bytes after which the connection is closed; `failures`: how many requests get 503 first.
    """

    def __init__(self, folder: Path, ranges: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.ranges = folder, ranges
        self.requests: list[tuple[str, str, str | None]] = []
        self.cut_after: int | None = None
        self.failures = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    server: RangeServer

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append((self.command, self.path, asked))
        path = self.server.folder / self.path.lstrip("/")
        if self.server.failures:
            self.server.failures -= 1
            return self._status(503)
        if not path.is_file():
            return self._status(404)
        data, start = path.read_bytes(), 0
        total = len(data)
        if asked and self.server.ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start = int(first)
            if start >= total:
                return self._status(416)
            data = data[start : int(last) + 1 if last else total]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{start + len(data) - 1}/{total}")
        else:
            self.send_response(200)
        if self.server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data[: self.server.cut_after])
        return None

    def _status(self, code: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def serve(folder: Path, ranges: bool = True) -> Iterator[RangeServer]:
    """Serve a folder while the context lasts."""
    server = RangeServer(folder, ranges)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
