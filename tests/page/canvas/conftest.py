"""The canvas's demo page from a plain file server, used as people use it."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from canvas_driver import Painter

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[3]
DEMO = "tests/page/canvas/demo.html"


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    """Files with the types that browsers want of scripts, whatever this system's own list says."""

    extensions_map = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}  # noqa: RUF012

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="session")
def files() -> Iterator[str]:
    """The address of the checkout's files."""
    handler = partial(QuietFiles, directory=str(ROOT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Watch:
    """What no test's pages may do: ask anything of another host, or throw an error."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def open(self, chromium: Browser, address: str, **settings: Any) -> Painter:
        context = chromium.new_context(**({"viewport": {"width": 900, "height": 700}} | settings))
        context.set_default_timeout(30_000)
        context.on("request", self.note_request)
        context.on("weberror", lambda error: self.faults.append(str(error.error)))
        return Painter(context, address)

    def note_request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.faults.append(request.url)


@pytest.fixture
def visit(chromium: Browser, files: str) -> Iterator[Callable[..., Painter]]:
    """Open the demo page in a window of its own: visit(**settings) -> Painter."""
    watch = Watch()
    painters = []

    def open_window(**settings: Any) -> Painter:
        painters.append(watch.open(chromium, files + DEMO, **settings))
        return painters[-1]

    yield open_window
    for painter in painters:
        painter.context.close()
    assert watch.faults == []


@pytest.fixture(scope="session")
def window(chromium: Browser, files: str) -> Iterator[tuple[Painter, Watch]]:
    """One window for all tests that need no other."""
    watch = Watch()
    painter = watch.open(chromium, files + DEMO)
    yield painter, watch
    painter.context.close()


@pytest.fixture
def painter(window: tuple[Painter, Watch]) -> Iterator[Painter]:
    """The demo page, begun anew, with a photo of 320 × 240."""
    painter, watch = window
    painter.page.set_viewport_size({"width": 900, "height": 700})
    painter.page.mouse.move(1, 1)
    painter.run("start()")
    painter.open(320, 240)
    yield painter
    faults, watch.faults = watch.faults, []
    assert faults == []
