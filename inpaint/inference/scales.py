"""Shrinking a photo around its hole, and bringing a fill back up to the photo's resolution."""

from __future__ import annotations

import cv2
import numpy as np

from inpaint.inference.plan import Box


def shrink(image: np.ndarray, mask: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Shrink a photo so that nothing of its hole leaks into what is known.

    A shrunk pixel is the mean of the *known* pixels under it, and is hole where there are none: so no known
    pixel is lost, and a hole too thin to be seen at this scale is filled by its surroundings.

    Args:
        image: uint8 or float32 H×W×3 in [0, 255].
        mask: bool H×W, True = hole.
        scale: size of the result over that of the photo, 1 at most.

    Returns:
        The shrunk photo, float32 h×w×3 in [0, 255], 0 in the hole, and its hole, bool h×w.

    >>> image = np.full((4, 4, 3), 60, np.uint8)
    >>> mask = np.zeros((4, 4), bool)
    >>> image[:2, :3], mask[:2, :3] = 255, True
    >>> small, hole = shrink(image, mask, 0.5)
    >>> small[..., 0].tolist(), hole.tolist()
    ([[0.0, 60.0], [60.0, 60.0]], [[True, False], [False, False]])
    """
    size = tuple(min(max(round(side * scale), 1), side) for side in (mask.shape[1], mask.shape[0]))
    known = (~mask).astype(np.float32)
    share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    hole = share < 1e-6
    divisor = np.where(hole, np.float32(1), share)
    small = np.empty((*hole.shape, 3), np.float32)
    for channel in range(3):
        total = cv2.resize(image[..., channel] * known, size, interpolation=cv2.INTER_AREA)
        small[..., channel] = np.where(hole, np.float32(0), total / divisor)
    return small, hole


def bring_up(
    small: np.ndarray, image: np.ndarray, mask: np.ndarray, own: np.ndarray, box: Box, region: Box
) -> np.ndarray:
    """Enlarge a fill to the photo's resolution and make it meet the photo without a seam.

    What the enlarged fill lacks at the known pixels along the hole is spread smoothly over the hole and
    added.

    Args:
        small: the shrunk `region` with its fill, float32 h×w×3 in [0, 255].
        image: the photo, uint8 H×W×3.
        mask: its hole, bool H×W.
        own: bool, of the box's shape: the pixels that are wanted.
        box: where they lie in the photo.
        region: the part of the photo that was shrunk.

    Returns:
        uint8 [N, 3], the pixels of `own`.
    """
    inner = box.grown(2, *mask.shape)
    hole = mask[inner.slices]
    edge = (cv2.dilate(hole.view(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~hole
    inner_in_region = inner.moved(-region.top, -region.left)
    box_in_inner = box.moved(-inner.top, -inner.left)
    size = (region.right - region.left, region.bottom - region.top)
    values = np.empty((int(own.sum()), 3), np.uint8)
    for channel in range(3):  # one at a time: a third of the memory for a 40-megapixel hole
        enlarged = cv2.resize(small[..., channel], size, interpolation=cv2.INTER_CUBIC)
        enlarged = enlarged.reshape(size[::-1])[inner_in_region.slices]
        if edge.any():
            lacking = np.where(edge, image[inner.slices][..., channel] - enlarged, np.float32(0))
            enlarged = enlarged + weighted_push_pull(lacking, edge.astype(np.float32))
        values[:, channel] = to_uint8(enlarged[box_in_inner.slices][own])
    return values


def weighted_push_pull(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spread values smoothly from where they are known, by push–pull interpolation.

    The pull phase halves the picture, weighing each value, until every pixel has one; the push phase brings
    the coarser values up to where finer ones are missing (Gortler et al., The Lumigraph, 1996). Unlike
    `inpaint.layers.push_pull` it knows weights between 0 and 1, and is not relaxed towards a membrane.

    Args:
        values: float32 H×W.
        weights: float32 H×W in [0, 1], 1 where the value is known, 0 where it is not.

    Returns:
        float32 H×W: the values where the weight is 1.

    >>> weighted_push_pull(np.float32([[8, 0, 0, 0]]), np.float32([[1, 0, 0, 0]])).tolist()
    [[8.0, 8.0, 8.0, 8.0]]
    """
    height, width = values.shape
    if max(height, width) == 1 or weights.min() >= 1:
        return values
    half = ((width + 1) // 2, (height + 1) // 2)
    share = cv2.resize(weights, half, interpolation=cv2.INTER_AREA)
    total = cv2.resize(values * weights, half, interpolation=cv2.INTER_AREA)
    # cv2 gives a picture one pixel wide back with one axis; pixels without weight keep the value 0.
    share, total = share.reshape(half[::-1]), total.reshape(half[::-1])
    coarse = weighted_push_pull(total / np.maximum(share, 1e-6), np.minimum(4 * share, 1))
    coarser = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width)
    return weights * values + (1 - weights) * coarser


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Round values in [0, 255] to uint8; what lies outside is clipped.

    >>> to_uint8(np.array([-3.0, 0.6, 300.0])).tolist()
    [0, 1, 255]
    """
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
