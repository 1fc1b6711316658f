"""DySample, which predicts by one convolution where to sample."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from .sampling import SamplingUpsampler

_MOST_GROUPS = 4  # the paper's


class DySampleUpsample(SamplingUpsampler):
    """DySample (Liu et al., ICCV 2023): bilinear samples at learned points, with static scope.

    A 1×1 convolution predicts for each output pixel, and for each group of channels, how far from its own
    place to sample: a quarter of what it says, in source pixels, so that neighbouring points hardly cross.

    Args:
        channels: of the features.
        scale: σ.
        groups: of channels with points of their own; divides `channels`. None: the largest of 4, 2 and 1
            that does.
    """

    def __init__(self, channels: int, scale: int = 2, groups: int | None = None) -> None:
        super().__init__(channels, scale, math.gcd(channels, _MOST_GROUPS) if groups is None else groups)
        self.offset = nn.Conv2d(channels, 2 * self.groups * scale**2, 1)
        nn.init.normal_(self.offset.weight, std=0.001)
        assert self.offset.bias is not None
        nn.init.zeros_(self.offset.bias)

    def offsets(self, features: Tensor) -> Tensor:
        """Return how far from its own place each output pixel samples, in source pixels."""
        return F.pixel_shuffle(self.offset(features), self.scale) * 0.25
