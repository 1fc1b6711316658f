"""Between a photo and its copy on the editor's canvas: the copy's size, and masks in both directions.

The browser's editor works on a copy of the photo, reduced where the photo is large. What is filled is the
photo itself, so what was painted on the canvas is brought back to the photo's own size.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image

from inpaint.page.outcome import Work

CANVAS_SIDE = 2048
"""Longest side of the editor's copy in pixels. Browsers send it back as three PNG files at every run, phones
hold few larger textures, and nobody paints finer than the screen."""

LARGEST_CANVAS_FILE = 5 * CANVAS_SIDE**2
"""No PNG of the canvas has more bytes: four channels that do not compress, and what PNG adds."""

PAINTED_ALPHA = 16
"""Layer alpha (0–255) from which a canvas pixel counts as painted, so that faint strokes count too."""

BRUSH = ("rgb(232, 62, 84)", 0.6)
"""Colour and opacity of a stroke; the photo can be seen through it."""


class CanvasError(ValueError):
    """What the editor sent does not belong to the photo."""


def canvas_size(height: int, width: int) -> tuple[int, int]:
    """Return the size (height, width) of a photo's copy: its own, or reduced to `CANVAS_SIDE`.

    >>> canvas_size(3000, 4000)
    (1536, 2048)
    """
    scale = min(1.0, CANVAS_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def canvas_copy(pixels: np.ndarray) -> np.ndarray:
    """Copy a photo (uint8 H×W×3) to the canvas's size."""
    height, width = canvas_size(*pixels.shape[:2])
    if (height, width) == pixels.shape[:2]:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def painted(layers: Sequence[np.ndarray]) -> np.ndarray | None:
    """Join the editor's layers (their alpha, uint8 H×W) to one binary mask; None without layers."""
    masks = [alpha >= PAINTED_ALPHA for alpha in layers]
    return functools.reduce(np.logical_or, masks) if masks else None


def mask_layer(mask: np.ndarray) -> np.ndarray:
    """Draw a mask the way the brush does: uint8 H×W×4 RGBA."""
    red, green, blue = (int(value) for value in BRUSH[0].removeprefix("rgb(").removesuffix(")").split(","))
    layer = np.zeros((*mask.shape, 4), dtype=np.uint8)
    layer[mask] = (red, green, blue, round(255 * BRUSH[1]))
    return layer


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a bool mask to H×W by nearest neighbour: it stays binary and covers what was painted."""
    if mask.shape == (height, width):
        return mask
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def shrink_mask(mask: np.ndarray) -> np.ndarray:
    """Reduce a photo's mask to the canvas's size; a canvas pixel is hole if any photo pixel under it is.

    Which pixels lie under one is as in `resize_mask`, so that enlarging the result covers the whole mask.
    """
    height, width = canvas_size(*mask.shape)
    if (height, width) == mask.shape:
        return mask
    rows, columns = np.nonzero(mask)
    small = np.zeros((height, width), dtype=bool)
    small[
        (2 * rows + 1) * height // (2 * mask.shape[0]), (2 * columns + 1) * width // (2 * mask.shape[1])
    ] = True
    return small


def photo_mask(work: Work, canvas_mask: np.ndarray | None) -> np.ndarray:
    """Bring what is painted on the canvas to the photo's own resolution.

    Where the canvas still shows a loaded mask as it was loaded, that mask's own pixels are taken, so that a
    mask file is used exactly even if the canvas is smaller than the photo.

    Args:
        work: the photo, and the mask that was loaded for it, if any.
        canvas_mask: bool h×w as painted, or None where there is no layer.

    Returns:
        bool H×W.

    Raises:
        CanvasError: the canvas has other proportions than the photo: undo can take the photo itself off the
            canvas.
    """
    height, width = work.photo.pixels.shape[:2]
    if canvas_mask is None:
        return np.zeros((height, width), dtype=bool)
    rows, columns = canvas_size(height, width)
    if abs(canvas_mask.shape[0] * columns - canvas_mask.shape[1] * rows) > max(canvas_mask.shape):
        raise CanvasError("the canvas does not show the photo")
    mask = resize_mask(canvas_mask, height, width)
    if work.loaded_mask is None:
        return mask
    shown = shrink_mask(work.loaded_mask)
    changed = resize_mask(resize_mask(canvas_mask, *shown.shape) != shown, height, width)
    return np.where(changed, mask, work.loaded_mask)
