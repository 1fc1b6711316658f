"""The pixels of a photo as the writers take them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..photo import Photo


def as_image(photo: Photo, with_alpha: bool) -> Image.Image:
    """Return a photo's 8-bit pixels as Pillow's picture: L, LA, RGB or RGBA."""
    image = Image.fromarray(photo.pixels)
    if photo.grey:
        image = image.convert("L")
    if with_alpha and photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    return image


def as_wide(photo: Photo) -> np.ndarray | None:
    """Return a photo's 16-bit pixels, uint16 H×W or H×W×2 to 4; None where it has none."""
    wide = photo.wide
    if wide is None:
        return None
    if photo.grey:
        wide = wide[..., ::3] if wide.shape[-1] == 4 else wide[..., 0]
    return np.ascontiguousarray(wide)
