"""A photo and a model for tests of the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from inpaint.images import Photo


def photo_of(height: int, width: int, **parts: Any) -> Photo:
    """A photo of noise; `parts` are fields of `Photo`."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Photo(pixels, **parts)


def load_stand_in(name: str, detail: str = "photo") -> Callable[..., np.ndarray]:
    """Load a model that changes nothing."""
    return lambda image, mask, *, seed=0, progress=None: image.copy()
