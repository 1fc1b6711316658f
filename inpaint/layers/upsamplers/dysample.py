"""DySample, which predicts where to sample."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...ops.memory_format import memory_format_of
from ..partial_conv import Hole, renormalize, scale_by_valid
from .base import Upsampler


class DySampleUpsample(Upsampler):
    """DySample (Liu et al., ICCV 2023): bilinear samples at learned points, with static scope.

    A 1×1 convolution predicts for each output pixel, and for each of up to four groups of channels, how far
    from its own place to sample: a quarter of what it says, in source pixels, so that neighbouring points
    hardly cross. With valid the samples are weighed by it, as in masked bilinear interpolation, and v' is the
    groups' mean, as CARAFE's is: a group none of whose samples is known is 0 there.
    """

    def __init__(self, channels: int, scale: int = 2, groups: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.groups = math.gcd(channels, groups)
        self.offset = nn.Conv2d(channels, 2 * self.groups * scale**2, 1)
        nn.init.normal_(self.offset.weight, std=0.001)
        nn.init.zeros_(self._bias)

    @property
    def _bias(self) -> Tensor:
        assert self.offset.bias is not None
        return self.offset.bias

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known; samples beyond the border take its values."""
        return self._joined(self._sample(self._split(features), self._points(features)), features)

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features, and valid with them."""
        n = features.shape[0]
        points = self._points(features)
        known = self._split(scale_by_valid(features, valid, Hole.ZERO))
        each = valid.detach().float().repeat_interleave(self.groups, 0)  # [N·G, 1, H, W]
        share = self._sample(each, points)
        output = renormalize(self._sample(known, points), share, 1.0, None)
        return self._joined(output, features), share.detach().unflatten(0, (n, self.groups)).mean(1)

    def _points(self, features: Tensor) -> Tensor:
        """Return where to sample, [N·G, σH, σW, 2] in the coordinates of grid_sample; x before y."""
        h, w = features.shape[-2:]
        moved = F.pixel_shuffle(self.offset(features).float(), self.scale) * 0.25
        moved = moved.unflatten(1, (2, self.groups)).permute(0, 2, 3, 4, 1).flatten(0, 1)  # [N·G, σH, σW, 2]
        # Output pixel o's centre lies at (o + ½)/σ source pixels, the picture's edges at 0 and its size.
        y, x = (
            (torch.arange(size * self.scale, device=features.device) + 0.5) / self.scale for size in (h, w)
        )
        own = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # [σH, σW, 2]
        return 2 * (own + moved) / own.new_tensor([w, h]) - 1

    def _split(self, features: Tensor) -> Tensor:
        n, c, h, w = features.shape
        return features.reshape(n * self.groups, c // self.groups, h, w)

    def _sample(self, x: Tensor, points: Tensor) -> Tensor:
        return F.grid_sample(x.float(), points, "bilinear", "border", align_corners=False)

    def _joined(self, output: Tensor, features: Tensor) -> Tensor:
        n, c, h, w = features.shape
        joined = output.reshape(n, c, h * self.scale, w * self.scale).to(features.dtype)
        return joined.contiguous(memory_format=memory_format_of(features))
