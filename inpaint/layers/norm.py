"""Normalisation that does not depend on what else is in the batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ops import channel_norm


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel, without a shift: the zeros of the hole stay zeros.

    Where a window has one known pixel of k², partial convolution multiplies that pixel by k², noise included,
    and the next layer does so again. Features in the hole come from such windows; normalising each pixel
    brings them back to one scale.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, negative_slope: float = 1.0) -> Tensor:
        """Normalise [N, C, H, W], keeping its memory format; with a slope, apply a leaky rectifier, too."""
        return channel_norm(x, self.weight, negative_slope)
