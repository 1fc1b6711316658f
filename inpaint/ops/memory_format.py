"""The one rule for the memory format of results; `is_channels_last` in csrc/operators.h is its C++ form."""

from __future__ import annotations

import torch
from torch import Tensor


def is_channels_last(x: Tensor) -> bool:
    """Return whether neighbouring channels of [N, C, H, W] are neighbours in memory.

    A tensor of one channel or one pixel fits both formats, and counts as contiguous.

    >>> is_channels_last(torch.zeros(1, 2, 3, 3).contiguous(memory_format=torch.channels_last))
    True
    >>> is_channels_last(torch.zeros(1, 2, 1, 1))
    False
    """
    return x.shape[1] > 1 and x.shape[2] * x.shape[3] > 1 and x.stride(1) == 1


def memory_format_of(x: Tensor) -> torch.memory_format:
    """Return the memory format that what is made from a tensor has: the tensor's own."""
    return torch.channels_last if is_channels_last(x) else torch.contiguous_format
