"""GUM, the guided upsampling module, which predicts from a large neighbourhood where to sample."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .checks import check_kernel, check_whole
from .sampling import SamplingUpsampler

_DILATIONS = (1, 2, 4)


class GuidedUpsample(SamplingUpsampler):
    """GUM (Mazzini, Guided Upsampling Network, BMVC 2018): bilinear samples where a guidance module says.

    y[o] = Σₛ x[s] · max(0, 1 − |o_x + p_x[o] − s_x|) · max(0, 1 − |o_y + p_y[o] − s_y|), with o's own place
    in source pixels, and the offsets p, the paper's guidance table, the same for all channels. The paper
    tries several modules that predict them. This one, like its module of a large receptive field, sees a wide
    neighbourhood, but works at the size of the source: a 1×1 convolution to C_m channels, three of dilations
    1, 2 and 4, all with rectifiers, and one to the two offsets of each of a source pixel's σ² output pixels.
    With 3×3 kernels it sees 17×17 source pixels. It begins as bilinear interpolation, nearly.

    Args:
        channels: of the features.
        scale: σ.
        compressed_channels: C_m, of the features that the offsets are predicted from.
        encoder_kernel: of the convolutions that predict them; odd.
    """

    def __init__(
        self, channels: int, scale: int = 2, compressed_channels: int = 64, encoder_kernel: int = 3
    ) -> None:
        super().__init__(channels, scale, groups=1)
        owner = type(self).__name__
        check_whole(owner, "compressed_channels", compressed_channels)
        radius = check_kernel(owner, "encoder_kernel", encoder_kernel) // 2
        layers: list[nn.Module] = [nn.Conv2d(channels, compressed_channels, 1)]
        for dilation in _DILATIONS:
            conv = nn.Conv2d(
                compressed_channels,
                compressed_channels,
                encoder_kernel,
                padding=dilation * radius,
                dilation=dilation,
            )
            layers += [nn.ReLU(inplace=True), conv]
        offset = nn.Conv2d(compressed_channels, 2 * scale**2, encoder_kernel, padding=radius)
        self.guidance = nn.Sequential(*layers, nn.ReLU(inplace=True), offset)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.normal_(offset.weight, std=0.001)
        for layer in self.guidance:
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def offsets(self, features: Tensor) -> Tensor:
        """Return how far from its own place each output pixel samples, in source pixels."""
        return F.pixel_shuffle(self.guidance(features), self.scale)
