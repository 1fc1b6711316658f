"""The fused passes in plain PyTorch: differentiable, on any device, in any type and memory format."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# A window with less known mass than this is divided by this: a valid that has faded to 1e-38 would otherwise
# turn the renormalisation into infinity times zero.
_LEAST_MASS = 1e-30
# The spectral radius that the acceleration assumes: what is left of the smoothest error after a plain sweep.
_SPECTRAL_RADIUS = 0.98
EPSILON = 1e-6
"""What channel normalisation adds to the variance."""


def membrane_raised(fill: Tensor, colour: Tensor, known: Tensor, sweeps: int) -> Tensor:
    """Do what `inpaint.ops.membrane_raised` does."""
    unknown = 1 - known
    fill = F.interpolate(fill, size=colour.shape[-2:], mode="bilinear", align_corners=False)
    fill = torch.lerp(colour, fill, unknown)
    lowest, highest = fill.amin((2, 3), keepdim=True), fill.amax((2, 3), keepdim=True)
    before, omega = fill, 1.0
    for sweep in range(sweeps):
        mean = F.avg_pool2d(fill, 3, stride=1, padding=1, count_include_pad=False)
        if sweep > 0:
            omega = 1 / (1 - _SPECTRAL_RADIUS**2 * (0.5 if sweep == 1 else omega / 4))
        before, fill = fill, torch.lerp(before, mean, omega * unknown)
    return torch.clamp(fill, lowest, highest)


def concatenate_known(features: Sequence[Tensor], valids: Sequence[Tensor | None]) -> Tensor:
    """Do what `inpaint.ops.concatenate_known` does."""
    known = [
        x if v is None else torch.where(v > 0, x * v.to(x.dtype), 0)
        for x, v in zip(features, valids, strict=True)
    ]
    return torch.cat([x.to(features[0].dtype) for x in known], dim=1)


def renormalize(sums: Tensor, known_mass: Tensor, full_mass: float, bias: Tensor | None) -> Tensor:
    """Do what `inpaint.ops.renormalize` does."""
    known = known_mass > 0
    ratio = torch.where(known, full_mass / known_mass.clamp(min=_LEAST_MASS), 0).to(sums.dtype)
    if bias is None:
        return sums * ratio
    # The bias stays a [1, C, 1, 1] view, so that it is the sums' memory format that is kept.
    return torch.where(known, torch.addcmul(bias.to(sums.dtype).reshape(1, -1, 1, 1), sums, ratio), 0)


def channel_norm(x: Tensor, weight: Tensor, negative_slope: float = 1.0) -> Tensor:
    """Do what `inpaint.ops.channel_norm` does."""
    pixels = x.permute(0, 2, 3, 1)  # [N, H, W, C], contiguous in channels_last
    normal = F.layer_norm(pixels, weight.shape, weight, eps=EPSILON).permute(0, 3, 1, 2)
    return normal if negative_slope == 1 else F.leaky_relu(normal, negative_slope, inplace=True)
