"""benchmarks/make_readme_picture.py: its placed strokes, and the size of its picture."""

from __future__ import annotations

import io
from types import ModuleType

import numpy as np
from PIL import Image


def test_placed_strokes_hide_what_is_under_them(picture: ModuleType) -> None:
    mask = picture.hand_placed_mask([picture.Stroke(20, [(30, 10), (30, 90)])], 100, 80)
    assert mask.dtype == np.bool_ and 0.2 < mask.mean() < 0.3
    # Bytes of 255 pass for True, and in a small photo leave the hole as it was: the picture showed the photo.
    assert set(np.unique(mask.view(np.uint8))) == {0, 1}


def test_a_comparison_fits_its_limit(picture: ModuleType) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 4, 294, 294, 3)).astype(np.uint8)
    data = picture.encode_comparison(list(noise))
    assert len(data) <= picture.LARGEST_COMPARISON
    assert Image.open(io.BytesIO(data)).size == (1200, 26 + 3 * 294 + 2 * 8)
