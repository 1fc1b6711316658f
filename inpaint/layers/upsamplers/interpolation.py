"""Upsamplers without weights: nearest and bilinear interpolation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..partial_conv import Hole, renormalize, scale_by_valid
from .base import Upsampler


def repeated(x: Tensor, scale: int) -> Tensor:
    """Return x with every pixel σ times in each direction."""
    return F.interpolate(x, scale_factor=float(scale), mode="nearest")


class NearestUpsample(Upsampler):
    """Repeats every pixel; valid alike."""

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known."""
        return repeated(features, self.scale)

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features, and valid with them."""
        return repeated(features, self.scale), repeated(valid, self.scale)


class BilinearUpsample(Upsampler):
    """Bilinear interpolation; with valid the masked formula y = Σ w·v·x / Σ w·v, v' = Σ w·v."""

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known; corners not aligned."""
        return F.interpolate(features, scale_factor=float(self.scale), mode="bilinear", align_corners=False)

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features, and valid with them."""
        share = self.upsample(valid.float())
        return renormalize(self.upsample(scale_by_valid(features, valid, Hole.ZERO)), share, 1.0, None), share
