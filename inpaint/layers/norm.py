"""Normalisation that does not depend on what else is in the batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ops import channel_norm


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel, without a shift: the zeros of the hole stay zeros.

    Where a window holds one known pixel of k², partial convolution multiplies that pixel's noise by k²,
    and the next layer by as much again. Those are the features that grow into the hole; this takes their
    scale out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, negative_slope: float = 1.0) -> Tensor:
        """[N, C, H, W] to the same shape and memory format; with a slope, through a leaky rectifier, too."""
        return channel_norm(x, self.weight, negative_slope)
