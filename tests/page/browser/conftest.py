"""A Chromium, and the page served with a stand-in model, for tests that drive the page as a visitor does."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from inpaint.page import Limits, build_page, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright is not installed; it is among the development tools of pyproject.toml")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if path is None:
        missing("no Chromium on this machine; install the package chromium, or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


def missing(reason: str) -> None:
    """Skip, or fail where the browser tests are required."""
    if os.environ.get("INPAINT_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def serve_page(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Serve the page: serve_page(models, load, **limits) -> address."""
    pages = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))

        def start(models: list[str], load: Callable[[str, str], Any], **limits: int) -> str:
            bounds = Limits(**limits)
            pages.append(build_page(models, load, bounds))
            return serve(pages[-1], port=free_port(), limits=bounds)

        yield start
        for page in pages:
            page.close(verbose=False)


@pytest.fixture(scope="session")
def address(serve_page: Callable[..., str]) -> str:
    """The page with a stand-in for the model, whose fills are told apart from any photo."""

    def paint_green(
        image: np.ndarray, mask: np.ndarray, *, seed: int = 0, progress: Any = None
    ) -> np.ndarray:
        result = image.copy()
        result[mask] = (0, 160 + 20 * seed, 90)
        return result

    return serve_page(
        ["green", "also-green"], lambda name, detail: paint_green, file_bytes=3 * 2**20, pixels=13_000_000
    )


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Open a fresh visitor's window: visit(**settings) -> context.

    The test fails if the page asked anything of another host, or if one of its scripts threw an error.
    """
    contexts = []
    foreign: list[str] = []
    errors: list[str] = []

    def note_request(request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            foreign.append(request.url)

    def open_window(**settings: Any) -> BrowserContext:
        context = chromium.new_context(**({"viewport": {"width": 1280, "height": 900}} | settings))
        context.set_default_timeout(120_000)
        context.on("request", note_request)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        contexts.append(context)
        return context

    yield open_window
    for context in contexts:
        context.close()
    assert foreign == []
    assert errors == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
