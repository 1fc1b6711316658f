"""CARAFE, which predicts the kernels that it reassembles features with."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ...ops import NORMALIZERS, carafe_fused
from ..scripting import NotScriptable
from .base import Upsampler
from .checks import MAX_UP_KERNEL, check_groups, check_kernel, check_whole, check_word


class CarafeUpsample(NotScriptable, Upsampler):
    """CARAFE (Wang et al., ICCV 2019): predict a k×k kernel for each output pixel, reassemble with it.

    Parts, names and order of channels are those of mmcv's `CARAFEPack`, so its state dicts load unchanged: a
    1×1 `channel_compressor` to C_m channels, a `content_encoder` to k_up²·σ² logits, softmax, reassembly.
    Given valid, features are set to 0 where valid is 0 before kernels are predicted, and the masked
    reassembly carries valid.

    Args:
        channels: of the features.
        scale: σ.
        compressed_channels: C_m, of the features that kernels are predicted from.
        encoder_kernel: of the convolution that predicts them; odd.
        up_kernel: k_up, of the reassembly; odd.
        groups: of channels with kernels of their own; divides `channels`.
        normalizer: as for `inpaint.ops.carafe_fused`.

    Raises:
        ValueError: a setting that the operator cannot have; the message says which to take.

    >>> upsample = CarafeUpsample(channels=32)
    >>> features, valid = torch.randn(1, 32, 8, 8), torch.ones(1, 1, 8, 8)
    >>> upsample(features).shape
    torch.Size([1, 32, 16, 16])
    >>> result, known = upsample(features, valid)
    >>> known.shape
    torch.Size([1, 1, 16, 16])

    In a pyramid, of the size of the finer level:

    >>> lateral = torch.randn(1, 32, 15, 16)
    >>> (lateral + upsample(features, size=lateral.shape[-2:])).shape
    torch.Size([1, 32, 15, 16])
    """

    def __init__(
        self,
        channels: int,
        scale: int = 2,
        compressed_channels: int = 64,
        encoder_kernel: int = 3,
        up_kernel: int = 5,
        groups: int = 1,
        normalizer: str = "softmax",
    ) -> None:
        super().__init__(channels, scale)
        owner = type(self).__name__
        check_whole(owner, "compressed_channels", compressed_channels)
        check_kernel(owner, "encoder_kernel", encoder_kernel)
        self.up_kernel = check_kernel(owner, "up_kernel", up_kernel, MAX_UP_KERNEL)
        self.groups = check_groups(owner, "groups", groups, channels)
        self.normalizer = check_word(owner, "normalizer", normalizer, NORMALIZERS)
        self.channel_compressor = nn.Conv2d(channels, compressed_channels, 1)
        self.content_encoder = nn.Conv2d(
            compressed_channels, groups * up_kernel**2 * scale**2, encoder_kernel, padding=encoder_kernel // 2
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights as the paper does, so that kernels start almost flat.

        Xavier's for the compressor, N(0, 0.001) for the encoder; biases are 0.
        """
        nn.init.xavier_uniform_(self.channel_compressor.weight)
        nn.init.normal_(self.content_encoder.weight, std=0.001)
        for conv in (self.channel_compressor, self.content_encoder):
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    @torch.no_grad()
    def begin_as_bilinear(self, flat: float = 0.1) -> None:
        """Give the content encoder biases whose softmax is bilinear interpolation, mixed with a flat kernel.

        Training then starts from a sensible upsampler; flat kernels blur. With `up_kernel` 1 nothing changes:
        the softmax of one tap is 1, which is nearest-neighbour upsampling.

        Args:
            flat: the share of the flat kernel. With 0 the other taps would have no weight, and no gradient.
        """
        if self.up_kernel == 1:
            return
        line = torch.zeros(self.scale, self.up_kernel)
        for place in range(self.scale):
            offset = (place + 0.5) / self.scale - 0.5  # of the output pixel's centre, in source pixels
            first = math.floor(offset)
            line[place, self.up_kernel // 2 + first] += 1 - (offset - first)
            line[place, self.up_kernel // 2 + first + 1] += offset - first
        kernels = torch.einsum("ai,bj->ijab", line, line).reshape(self.up_kernel**2, self.scale**2)
        logits = ((1 - flat) * kernels + flat / self.up_kernel**2).log()
        assert self.content_encoder.bias is not None
        self.content_encoder.bias.copy_(logits.flatten().repeat(self.groups))

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known."""
        return carafe_fused(features, self._logits(features), *self._settings())  # type: ignore[return-value]

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features and valid; no value in the hole reaches the kernels' prediction."""
        logits = self._logits(features)
        return carafe_fused(features, logits, *self._settings(), valid=valid)  # type: ignore[return-value]

    def _logits(self, features: Tensor) -> Tensor:
        return self.content_encoder(self.channel_compressor(features))

    def _settings(self) -> tuple[int, int, int, str]:
        return self.up_kernel, self.groups, self.scale, self.normalizer

    def extra_repr(self) -> str:
        """Return the settings that the two convolutions do not show."""
        return f"scale={self.scale}, up_kernel={self.up_kernel}, groups={self.groups}, {self.normalizer}"
