"""Blur, shrink and enlarge pictures: OpenCV's filters, with shapes kept."""

from __future__ import annotations

import cv2
import numpy as np


def blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    """Blur h×w or h×w×C by a Gaussian of that standard deviation in pixels."""
    return cv2.GaussianBlur(values, (0, 0), sigma).reshape(values.shape)


def enlarged(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bring h×w up to another shape by bilinear interpolation."""
    return cv2.resize(values, shape[::-1], interpolation=cv2.INTER_LINEAR).reshape(shape)


def shrunk(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Reduce h×w or h×w×C to means of areas."""
    # cv2 leaves the axis out of a picture that is one pixel wide.
    return cv2.resize(values, (columns, rows), interpolation=cv2.INTER_AREA).reshape(
        rows, columns, *values.shape[2:]
    )


def dilated(selection: np.ndarray, radius: int) -> np.ndarray:
    """Return bool h×w, True where a square of that radius holds a True pixel of the selection.

    >>> dilated(np.array([[True, False, False]]), 1).tolist()
    [[True, True, False]]
    """
    side = 2 * radius + 1
    return cv2.dilate(selection.view(np.uint8), np.ones((side, side), np.uint8)) > 0
