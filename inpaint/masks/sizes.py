"""Sizes of masks."""

from __future__ import annotations

import cv2
import numpy as np


def check_size(height: int, width: int) -> None:
    """Raise ValueError unless a mask of this size has a pixel."""
    if height < 1 or width < 1:
        raise ValueError(f"a mask of {height}×{width} pixels: height and width must be at least 1")


def enlarge(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a uint8 mask with nearest neighbours, so that it stays binary."""
    if mask.shape == (height, width):
        return mask
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
