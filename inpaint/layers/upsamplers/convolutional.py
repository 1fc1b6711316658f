"""Upsamplers whose weights are those of a convolution, the same at every pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..partial_conv import Hole, PartialConv2d, renormalize, scale_by_valid
from .base import Upsampler
from .interpolation import BilinearUpsample, NearestUpsample, repeated


class _InterpolateConv(Upsampler):
    """Interpolation, then a 3×3 (partial) convolution."""

    interpolation: type[Upsampler]

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__(channels, scale)
        self.interpolate = self.interpolation(channels, scale)
        self.conv = PartialConv2d(channels, channels, 3, padding=1)

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known."""
        return F.conv2d(self.interpolate.upsample(features), self.conv.weight, self.conv.bias, padding=1)

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features, and valid with them."""
        return self.conv(*self.interpolate.upsample_known(features, valid), hole=Hole.ZERO)


class NearestConvUpsample(_InterpolateConv):
    """Nearest, then a 3×3 (partial) convolution."""

    interpolation = NearestUpsample


class BilinearConvUpsample(_InterpolateConv):
    """Bilinear, then a 3×3 (partial) convolution."""

    interpolation = BilinearUpsample


class DeconvUpsample(Upsampler):
    """Transposed (partial) convolution of kernel 2σ, stride σ; every output pixel sees 2×2 source pixels."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__(channels, scale)
        self.conv = nn.ConvTranspose2d(channels, channels, 2 * scale, scale)
        # He's bound with the 2×2 source pixels that an output pixel sees; PyTorch counts all (2σ)² taps.
        nn.init.normal_(self.conv.weight, std=(2 / (1 + 0.2**2) / (4 * channels)) ** 0.5)
        nn.init.zeros_(self._bias)

    @property
    def _bias(self) -> Tensor:
        assert self.conv.bias is not None
        return self.conv.bias

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known."""
        return self._crop(self.conv(features), features)

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features, renormalised by how much of the 2×2 is known; the border is unknown."""
        known = scale_by_valid(features, valid, Hole.ZERO)
        sums = self._crop(F.conv_transpose2d(known, self.conv.weight, stride=self.scale), features)
        with torch.autocast(valid.device.type, enabled=False):
            ones = torch.ones(1, 1, 2 * self.scale, 2 * self.scale, device=valid.device)
            mass = self._crop(F.conv_transpose2d(valid.float(), ones, stride=self.scale), features)
        return renormalize(sums, mass, 4.0, self._bias), mass.clamp(max=1)

    def _crop(self, x: Tensor, source: Tensor) -> Tensor:
        """Cut σ/2 rows and columns off each side: a full transposed convolution has (H + 1)·σ rows."""
        first = self.scale // 2
        height, width = source.shape[2] * self.scale, source.shape[3] * self.scale
        return x[:, :, first : first + height, first : first + width]


class PixelShuffleUpsample(Upsampler):
    """A 3×3 (partial) convolution to σ² times the channels, then pixel shuffle."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__(channels, scale)
        self.conv = PartialConv2d(channels, channels * scale**2, 3, padding=1)

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known."""
        return F.pixel_shuffle(F.conv2d(features, self.conv.weight, self.conv.bias, padding=1), self.scale)

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features, and valid with them."""
        many, valid = self.conv(features, valid, hole=Hole.ZERO)
        return F.pixel_shuffle(many, self.scale), repeated(valid, self.scale)
