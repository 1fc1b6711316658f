"""Partial convolution by loops in float64, from the definitions of NVIDIA's layer and of its soft form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def array(tensor: Tensor) -> Array:
    return tensor.detach().double().numpy()


@dataclass(frozen=True)
class WindowSums:
    products: Array  # [N, O, H', W'], Σ w·x·m
    masks: Array  # [N, 1, H', W'], Σ m over the window and the mask's channels
    full: int  # that sum if all were known


def window_sums(
    features: Array, mask: Array, weight: Array, stride: int = 1, padding: int = 0, dilation: int = 1
) -> WindowSums:
    """A mask of one channel is counted once, one of as many channels as the features channel by channel."""
    batch, _, height, width = features.shape
    outputs, _, size, _ = weight.shape
    reach = dilation * (size - 1) + 1
    rows, columns = (height + 2 * padding - reach) // stride + 1, (width + 2 * padding - reach) // stride + 1
    products, masks = np.zeros((batch, outputs, rows, columns)), np.zeros((batch, 1, rows, columns))
    for n, y, x, i, j in np.ndindex(batch, rows, columns, size, size):
        py, px = y * stride + i * dilation - padding, x * stride + j * dilation - padding
        if 0 <= py < height and 0 <= px < width:
            m = mask[n, :, py, px]
            seen = np.where(m > 0, features[n, :, py, px], 0) * m
            products[n, :, y, x] += weight[:, :, i, j] @ seen
            masks[n, 0, y, x] += m.sum()
    return WindowSums(products, masks, mask.shape[1] * size**2)


def nvidia(sums: WindowSums, bias: Array | None) -> tuple[Array, Array]:
    """As NVIDIA's layer computes it: a ratio with 1e-8 in it, and the clipped sum multiplied in twice."""
    update = np.clip(sums.masks, 0, 1)
    ratio = sums.full / (sums.masks + 1e-8) * update
    offset = 0 if bias is None else bias[None, :, None, None]
    return (sums.products * ratio + offset) * update, update


def soft(sums: WindowSums, bias: Array | None) -> tuple[Array, Array]:
    """conv(x·v)·sum(1)/sum(v) + b where sum(v) > 0, else 0; valid is the clipped sum."""
    known = sums.masks > 0
    offset = 0 if bias is None else bias[None, :, None, None]
    means = sums.products * sums.full / np.where(known, sums.masks, 1)
    return np.where(known, means + offset, 0), np.clip(sums.masks, 0, 1)
