"""The page's events as functions, for tests without a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stand_ins import photo_of

from inpaint.page import Limits, build_page
from inpaint.page.canvas import mask_layer
from inpaint.page.outcome import Work


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
