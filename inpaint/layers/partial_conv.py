"""Partial convolution: convolution of the known pixels only, and the validity it leaves behind.

Liu et al., Image Inpainting for Irregular Holes Using Partial Convolutions, ECCV 2018.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import concatenate_known, fused, renormalize


class Hole(enum.Enum):
    """What a caller knows of the values that features have in the hole, which can save passes over them.

    Attributes:
        ARBITRARY: any values where valid is 0, NaN included; they are replaced by 0 first.
        ZERO: 0 where valid is 0, as in all that the layers here return; x·v is a plain product.
        SCALED: the features already are x·v, as those with ZERO are if valid is binary.
    """

    ARBITRARY = enum.auto()
    ZERO = enum.auto()
    SCALED = enum.auto()


def scale_by_valid(features: Tensor, valid: Tensor, hole: Hole) -> Tensor:
    """Return x·v, in as few passes over the features as what is known of them allows."""
    if hole is Hole.ARBITRARY:
        return select_known(features, valid)
    return features * valid.to(features.dtype) if hole is Hole.ZERO else features


def joined_by_valid(parts: Sequence[Tensor], valids: Sequence[Tensor], holes: Sequence[Hole]) -> Tensor:
    """Return x·v of all parts side by side, [N, ΣC, H, W]."""
    if fused.is_compiled(*parts, *valids) and any(hole is not Hole.SCALED for hole in holes):
        return concatenate_known(
            parts, [None if hole is Hole.SCALED else v for v, hole in zip(valids, holes, strict=True)]
        )
    known = [scale_by_valid(x, v, hole) for x, v, hole in zip(parts, valids, holes, strict=True)]
    return known[0] if len(known) == 1 else torch.cat(known, dim=1)


def select_known(features: Tensor, valid: Tensor) -> Tensor:
    """Return x·v, by selection where v = 0: a value in the hole, even NaN, reaches no result or gradient."""
    return torch.where(valid > 0, features * valid.to(features.dtype), 0)


class PartialConv2d(nn.Module):
    """Partial convolution, equal to NVIDIA's layer on binary valid, single- and multi-channel.

    y = conv(x·v)·sum(1)/sum(v) + b where the window's sum(v) > 0, else 0; the sums run over the window and
    the channels, and pixels outside the image count as unknown. Returned valid is the window's sum clipped
    to [0, 1]. The state dict holds `weight` [out, in, k, k] and `bias` [out] only.

    Args:
        in_channels: of the features, or of all together if several are given.
        out_channels: of the result.
        kernel_size: k.
        stride: of the windows.
        padding: pixels on each side, all unknown.
        dilation: distance between the taps.
        bias: whether to add one.

    >>> features, valid = torch.randn(1, 3, 8, 8), torch.ones(1, 1, 8, 8)
    >>> valid[..., 2:6, 2:6] = 0
    >>> layer = PartialConv2d(3, 16, kernel_size=3, padding=1)
    >>> result, known = layer(features, valid)
    >>> result.shape, known.shape
    (torch.Size([1, 16, 8, 8]), torch.Size([1, 1, 8, 8]))

    The hole of 4×4 pixels has shrunk to the 2×2 pixels whose windows hold no known pixel:

    >>> int((known == 0).sum())
    4
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights by He's rule for leaky rectifiers, and set the bias to 0."""
        nn.init.kaiming_normal_(self.weight, a=0.2)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(
        self,
        features: Tensor | Sequence[Tensor],
        valid: Tensor | Sequence[Tensor],
        hole: Hole | Sequence[Hole] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Convolve what is known.

        Args:
            features: [N, C, H, W], or several such tensors that are concatenated along the channels.
            valid: [N, 1, H, W] or [N, C, H, W] in [0, 1]; one for each tensor of features. The sum over a
                concatenation's channels comes from one-channel sums, exactly, and never fills a [N, C, H, W]
                mask.
            hole: what the caller knows of the features where valid is below 1; one for each tensor, or one
                for all. None is `Hole.ARBITRARY`.

        Returns:
            features [N, out, H', W'], 0 where valid is 0, and valid [N, 1, H', W'] float32.

        Raises:
            ValueError: shapes do not fit.
        """
        parts = [features] if isinstance(features, Tensor) else list(features)
        valids = [valid] if isinstance(valid, Tensor) else list(valid)
        hole = hole or Hole.ARBITRARY  # None: the older ONNX exporter would take an Enum for an input
        holes = [hole] * len(parts) if isinstance(hole, Hole) else list(hole)
        self._check(parts, valids)
        joined = joined_by_valid(parts, valids, holes)
        sums = F.conv2d(joined, self.weight, None, self.stride, self.padding, self.dilation)
        known_mass = self._window_sum(channel_mass(parts, valids))
        full_mass = float(self.in_channels * self.kernel_size**2)
        if len(valids) == 1 and valids[0].shape[1] == 1:  # one mask for all channels: count it once
            full_mass, known_mass = full_mass / self.in_channels, known_mass / self.in_channels
        return renormalize(sums, known_mass, full_mass, self.bias), known_mass.clamp(max=1)

    def _window_sum(self, mass: Tensor) -> Tensor:
        """Return the sum of [N, 1, H, W] float32 over each output pixel's window."""
        with torch.autocast(mass.device.type, enabled=False):
            if self.dilation == 1 and self.padding <= self.kernel_size // 2:
                return F.avg_pool2d(mass, self.kernel_size, self.stride, self.padding, divisor_override=1)
            ones = mass.new_ones(1, 1, self.kernel_size, self.kernel_size)
            return F.conv2d(mass, ones, None, self.stride, self.padding, self.dilation)

    def _check(self, parts: Sequence[Tensor], valids: Sequence[Tensor]) -> None:
        channels = sum(x.shape[1] for x in parts)
        if channels != self.in_channels:
            raise ValueError(f"PartialConv2d: features must have {self.in_channels} channels, got {channels}")
        if len(parts) != len(valids):
            raise ValueError(f"PartialConv2d: {len(parts)} features need as many valid, got {len(valids)}")
        for x, v in zip(parts, valids, strict=True):
            wanted = (x.shape[0], v.shape[1] if v.shape[1:2] == x.shape[1:2] else 1, *x.shape[2:])
            if tuple(v.shape) != wanted:
                raise ValueError(
                    f"PartialConv2d: valid must have shape {[x.shape[0], 1, *x.shape[2:]]} or "
                    f"{list(x.shape)}, got {list(v.shape)}"
                )

    def extra_repr(self) -> str:
        """Return the arguments of the constructor."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, bias={self.bias is not None}"
        )


def channel_mass(parts: Sequence[Tensor], valids: Sequence[Tensor]) -> Tensor:
    """Return the sum of valid over the channels of a concatenation, [N, 1, H, W] float32."""
    total: Tensor | None = None
    for x, v in zip(parts, valids, strict=True):
        mass = v.float() * x.shape[1] if v.shape[1] == 1 else v.float().sum(1, keepdim=True)
        total = mass if total is None else total + mass
    assert total is not None
    return total
