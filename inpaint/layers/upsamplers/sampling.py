"""Upsampling by bilinear samples at predicted points: what DySample and GUM have in common."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...ops.memory_format import memory_format_of
from ..partial_conv import Hole, renormalize, scale_by_valid
from .base import Upsampler
from .checks import check_groups


class SamplingUpsampler(Upsampler):
    """Samples features beside each output pixel's own place, by as much as `offsets` predicts.

    Without offsets it is bilinear interpolation. With valid the samples are weighed by it, as in masked
    bilinear interpolation, and v' is the groups' mean, as CARAFE's is: a group none of whose samples is known
    is 0 there.

    Args:
        channels: of the features.
        scale: σ.
        groups: of channels with points of their own; divides `channels`.
    """

    def __init__(self, channels: int, scale: int, groups: int) -> None:
        super().__init__(channels, scale)
        self.groups = check_groups(type(self).__name__, "groups", groups, channels)

    def offsets(self, features: Tensor) -> Tensor:
        """Return how far from its own place each output pixel samples, in source pixels.

        [N, 2·G, σH, σW]: x of all groups, then y of all groups.
        """
        raise NotImplementedError

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known; samples beyond the border take its values."""
        return self._joined(self._sample(self._split(features), self._points(features)), features)

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features, and valid with them."""
        n = features.shape[0]
        points = self._points(features)
        known = self._split(scale_by_valid(features, valid, Hole.ZERO))
        each = valid.detach().repeat_interleave(self.groups, 0)  # [N·G, 1, H, W]
        share = self._sample(each, points)
        output = renormalize(self._sample(known, points), share, 1.0, None)
        return self._joined(output, features), share.detach().unflatten(0, (n, self.groups)).mean(1)

    def _points(self, features: Tensor) -> Tensor:
        """Return where to sample, [N·G, σH, σW, 2] in the coordinates of grid_sample; x before y."""
        h, w = features.shape[-2:]
        moved = self.offsets(features)
        moved = _at_least_float32(moved).unflatten(1, (2, self.groups))
        moved = moved.permute(0, 2, 3, 4, 1).flatten(0, 1)  # [N·G, σH, σW, 2]
        # Output pixel o's centre lies at (o + ½)/σ source pixels, the picture's edges at 0 and its size.
        y, x = (
            (torch.arange(size * self.scale, dtype=moved.dtype, device=moved.device) + 0.5) / self.scale
            for size in (h, w)
        )
        at = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1) + moved
        return torch.stack([2 * at[..., 0] / w - 1, 2 * at[..., 1] / h - 1], dim=-1)

    def _split(self, features: Tensor) -> Tensor:
        n, c, h, w = features.shape
        return features.reshape(n * self.groups, c // self.groups, h, w)

    def _sample(self, x: Tensor, points: Tensor) -> Tensor:
        return F.grid_sample(x.to(points.dtype), points, "bilinear", "border", align_corners=False)

    def _joined(self, output: Tensor, features: Tensor) -> Tensor:
        n, c, h, w = features.shape
        joined = output.reshape(n, c, h * self.scale, w * self.scale).to(features.dtype)
        return joined.contiguous(memory_format=memory_format_of(features))


def _at_least_float32(x: Tensor) -> Tensor:
    """Return x in a type whose numbers are fine enough for places in a picture."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
