"""Regions of feature maps: which part of a picture is worked at, cut out and pasted back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Region = tuple[slice, slice]
"""Rows and columns."""


def hole_region(share: Tensor) -> Region | None:
    """Return the bounding box of what is not wholly known, in any of the pictures; None where all is.

    Args:
        share: [N, 1, H, W], how much of each pixel is known, 0 to 1.

    Example:
        >>> share = torch.ones(1, 1, 4, 6)
        >>> share[0, 0, 1:3, 2] = 0.5
        >>> hole_region(share)
        (slice(1, 3, None), slice(2, 3, None))
    """
    holes = (share < 1).any(0)[0]
    rows, columns = (torch.nonzero(holes.any(side)).flatten().tolist() for side in (1, 0))
    return (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if rows else None


def grown(region: Region, by: int) -> Region:
    """Return the region with so many pixels more on each side; it may reach beyond the picture."""
    rows, columns = (slice(side.start - by, side.stop + by) for side in region)
    return rows, columns


def half(side: slice) -> slice:
    """Return the pixels at half the size that rows or columns come from."""
    return slice(side.start // 2, -(-side.stop // 2))


def doubled(region: Region) -> Region:
    """Return the region in a picture of twice the size."""
    rows, columns = (slice(2 * side.start, 2 * side.stop) for side in region)
    return rows, columns


def within(region: Region, bounds: Region) -> Region:
    """Return the part of the region that lies within the bounds."""
    rows, columns = (
        slice(max(side.start, bound.start), min(side.stop, bound.stop))
        for side, bound in zip(region, bounds, strict=True)
    )
    return rows, columns


def region_of(x: Tensor) -> Region:
    """Return the region of all pixels of x [N, C, H, W]."""
    return slice(0, x.shape[2]), slice(0, x.shape[3])


def cut(x: Tensor, region: Region, at: Region | None = None) -> Tensor:
    """Return a region of x, in x's own memory format.

    Args:
        x: [N, C, H, W].
        region: what is wanted, in the coordinates of `at`.
        at: the region of a larger picture that x is; by default x is the picture.
    """
    at = at or region_of(x)
    if region == at:
        return x
    rows, columns = (
        slice(side.start - first.start, side.stop - first.start)
        for side, first in zip(region, at, strict=True)
    )
    part = x[..., rows, columns]
    return part.contiguous() if x.shape[1] == 1 else part.contiguous(memory_format=torch.channels_last)


def pasted(x: Tensor, at: Region, size: tuple[int, int]) -> Tensor:
    """Return a tensor of that height and width that holds x at the region `at`, and 0 elsewhere."""
    if at == (slice(0, size[0]), slice(0, size[1])):
        return x
    whole = x.new_zeros(x.shape[0], *size, x.shape[1]).permute(0, 3, 1, 2)  # channels_last
    whole[..., at[0], at[1]] = x
    return whole


def padded(x: Tensor, stride: int, mode: str) -> Tensor:
    """Return x, padded below and to the right to multiples of the stride; modes as in `F.pad`."""
    h, w = x.shape[-2:]
    return padded_to(x, (h + -h % stride, w + -w % stride), mode)


def padded_to(x: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Return x, padded below and to the right to that height and width; modes as in `F.pad`."""
    down, right = size[0] - x.shape[-2], size[1] - x.shape[-1]
    return F.pad(x, (0, right, 0, down), mode=mode) if down or right else x
