"""What all upsamplers have in common: `forward(features, valid=None) -> (features, valid)`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..partial_conv import Hole


class Upsampler(nn.Module):
    """What all upsamplers have in common: values in the hole are set to 0 before anything else is done."""

    def forward(
        self, features: Tensor, valid: Tensor | None = None, hole: Hole = Hole.ARBITRARY
    ) -> tuple[Tensor, Tensor | None]:
        """Upsample features, and valid with them.

        Args:
            features: [N, C, H, W].
            valid: [N, 1, H, W] in [0, 1], or None.
            hole: what the caller knows of features where valid is below 1.

        Returns:
            features [N, C, σH, σW], 0 where valid is 0, and valid [N, 1, σH, σW]; None if none was given.
        """
        if valid is None:
            return self.upsample(features), None
        if hole is Hole.ARBITRARY:
            features = torch.where(valid > 0, features, 0)
        return self.upsample_known(features, valid)

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known."""
        raise NotImplementedError

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample features that are 0 where valid is 0, and valid with them."""
        raise NotImplementedError
