"""What stands in a hole instead of the photo, for everything that must not see the truth there."""

from __future__ import annotations

import numpy as np

HOLE_GREY = 128
"""Grey (0-255) that is put into a hole of a uint8 picture."""


def blanked(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a picture (uint8 H×W×3) with `HOLE_GREY` in its hole (bool H×W, True = hole).

    >>> blanked(np.full((1, 2, 3), 7, np.uint8), np.array([[True, False]])).tolist()
    [[[128, 128, 128], [7, 7, 7]]]
    """
    return np.where(mask[..., None], np.uint8(HOLE_GREY), image)
