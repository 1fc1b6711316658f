"""Normalisation that does not depend on what else is in the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel, without a shift: the zeros of the hole stay zeros.

    Where a window holds one known pixel of k², partial convolution multiplies that pixel's noise by k²,
    and the next layer by as much again. Those are the features that grow into the hole; this takes their
    scale out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape and memory format."""
        pixels = x.permute(0, 2, 3, 1)  # [N, H, W, C], contiguous in channels_last
        return F.layer_norm(pixels, self.weight.shape, self.weight, eps=1e-6).permute(0, 3, 1, 2)
