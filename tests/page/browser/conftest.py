"""The page served with a stand-in model, for tests that drive the page as a visitor does."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from inpaint.page import Limits, build_page, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext


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
