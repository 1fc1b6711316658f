"""Spatial attention, which predicts by how much to scale each upsampled pixel."""

from __future__ import annotations

from torch import Tensor, nn

from .base import Upsampler
from .checks import check_kernel
from .interpolation import repeated


class SpatialAttentionUpsample(Upsampler):
    """Spatial attention: nearest-neighbour upsampling, and every pixel scaled by a predicted weight.

    y[o] = sigmoid(conv(x↑))[o] · x↑[o], with x↑[o] = x[⌊o/σ⌋]. CARAFE's paper compares with it (Wang et al.,
    ICCV 2019): it is content-aware reassembly whose kernels have a single tap, k = 1, and are not normalised.
    One convolution of x↑ predicts the weight that all channels share. Given valid, the convolution sees
    features that are 0 in the hole, and valid is repeated: a weight that is not 0 does not change what is
    known.

    Args:
        channels: of the features.
        scale: σ.
        encoder_kernel: of the convolution; odd.
    """

    def __init__(self, channels: int, scale: int = 2, encoder_kernel: int = 3) -> None:
        super().__init__(channels, scale)
        check_kernel(type(self).__name__, "encoder_kernel", encoder_kernel)
        self.attention = nn.Conv2d(channels, 1, encoder_kernel, padding=encoder_kernel // 2)
        nn.init.normal_(self.attention.weight, std=0.001)
        assert self.attention.bias is not None
        nn.init.zeros_(self.attention.bias)

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known."""
        raised = repeated(features, self.scale)
        return raised * self.attention(raised).sigmoid()

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features, and valid with them."""
        return self.upsample(features), repeated(valid, self.scale)
