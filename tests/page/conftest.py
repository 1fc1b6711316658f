"""A Chromium for all tests that drive one, and the page's events as functions for those that do not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from stand_ins import photo_of

from inpaint.page import Limits, build_page
from inpaint.page.canvas import mask_layer
from inpaint.page.outcome import Work

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The page's events as functions, a photo, a mask painted on it and the calls of the stand-in model."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    calls: list[tuple[str, int, np.ndarray, np.ndarray]] = []

    def load(name: str, detail: str) -> Callable[..., np.ndarray]:
        def paint(image: np.ndarray, mask: np.ndarray, *, seed: int = 0, progress: Any = None) -> np.ndarray:
            calls.append((detail, seed, mask, image.copy()))
            return np.where(mask[..., None], np.uint8(len(calls)), image)

        return paint

    page = build_page(["a model"], load, Limits(fills=3), examples=[])
    canvas = np.zeros((60, 80), bool)
    canvas[20:40, 30:50] = True

    def paint(mask: np.ndarray) -> list[str]:
        path = tmp_path / f"layer{len(list(tmp_path.iterdir()))}.png"
        Image.fromarray(mask_layer(mask)).save(path)
        return [str(path)]

    events = {event.name: event.fn for event in page.fns.values() if event.name}
    work = Work("photo", photo_of(60, 80))
    return SimpleNamespace(calls=calls, canvas=canvas, paint=paint, work=work, **events)
