"""Content-aware downsampling: the other half of CARAFE++, which predicts a kernel for each smaller pixel."""

from __future__ import annotations

from typing import overload

import torch
from torch import Tensor, nn

from ..ops import NORMALIZERS, carafe_downsample
from .partial_conv import Hole
from .upsamplers.checks import check_groups, check_kernel, check_whole, check_word

MAX_DOWN_KERNEL = 15
"""The largest kernel whose gradients at stride 2 fit into the 64 KiB of shared memory of Turing GPUs."""


class CarafeDownsample(nn.Module):
    """CARAFE++'s downsampling (Wang et al., TPAMI 2021): predict a k×k kernel for each output pixel.

    A 1×1 `channel_compressor` to C_m channels, then a `content_encoder`, whose convolution has the stride of
    the downsampling and gives k² logits for each output pixel; the normaliser; reassembly of the k×k windows
    around every stride-th pixel. At the start the kernels are almost flat, which is average pooling.

    Given valid, features are set to 0 where valid is 0 before kernels are predicted, and the masked
    reassembly carries valid.

    Args:
        channels: of the features, and of the result.
        stride: the downsampling factor.
        compressed_channels: C_m, of the features that kernels are predicted from.
        encoder_kernel: of the convolution that predicts them; odd.
        down_kernel: k, of the reassembly; odd.
        groups: of channels with kernels of their own; divides `channels`.
        normalizer: as for `inpaint.ops.carafe_downsample`.

    Raises:
        ValueError: a setting that the operator cannot have; the message says which to take.

    >>> downsample = CarafeDownsample(channels=32)
    >>> features, valid = torch.randn(1, 32, 15, 16), torch.ones(1, 1, 15, 16)
    >>> downsample(features).shape
    torch.Size([1, 32, 8, 8])
    >>> result, known = downsample(features, valid)
    >>> known.shape
    torch.Size([1, 1, 8, 8])
    """

    def __init__(
        self,
        channels: int,
        stride: int = 2,
        compressed_channels: int = 16,
        encoder_kernel: int = 3,
        down_kernel: int = 5,
        groups: int = 1,
        normalizer: str = "softmax",
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self.channels = check_whole(owner, "channels", channels)
        self.stride = check_whole(owner, "stride", stride)
        check_whole(owner, "compressed_channels", compressed_channels)
        check_kernel(owner, "encoder_kernel", encoder_kernel)
        self.down_kernel = check_kernel(owner, "down_kernel", down_kernel, MAX_DOWN_KERNEL)
        self.groups = check_groups(owner, "groups", groups, channels)
        self.normalizer = check_word(owner, "normalizer", normalizer, NORMALIZERS)
        self.channel_compressor = nn.Conv2d(channels, compressed_channels, 1)
        self.content_encoder = nn.Conv2d(
            compressed_channels,
            groups * down_kernel**2,
            encoder_kernel,
            stride=stride,
            padding=encoder_kernel // 2,
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights as `CarafeUpsample` does, so that kernels start almost flat.

        Xavier's for the compressor, N(0, 0.001) for the encoder; biases are 0.
        """
        nn.init.xavier_uniform_(self.channel_compressor.weight)
        nn.init.normal_(self.content_encoder.weight, std=0.001)
        for conv in (self.channel_compressor, self.content_encoder):
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    @overload
    def forward(self, features: Tensor, valid: None = None, hole: Hole | None = None) -> Tensor: ...

    @overload
    def forward(self, features: Tensor, valid: Tensor, hole: Hole | None = None) -> tuple[Tensor, Tensor]: ...

    def forward(
        self, features: Tensor, valid: Tensor | None = None, hole: Hole | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Downsample features, and valid with them.

        Args:
            features: [N, C, H, W].
            valid: [N, 1, H, W] in [0, 1], or None.
            hole: what the caller knows of features where valid is below 1; None is `Hole.ARBITRARY`.

        Returns:
            features [N, C, ⌈H/stride⌉, ⌈W/stride⌉]. With valid: these, 0 where the new valid is 0, and the
            new valid, [N, 1, ⌈H/stride⌉, ⌈W/stride⌉].
        """
        if valid is not None and (hole is None or hole is Hole.ARBITRARY):
            features = torch.where(valid > 0, features, 0)
        logits = self.content_encoder(self.channel_compressor(features))
        settings = (self.down_kernel, self.groups, self.stride, self.normalizer)
        return carafe_downsample(features, logits, *settings, valid=valid)

    def extra_repr(self) -> str:
        """Return the settings that the two convolutions do not show."""
        return (
            f"stride={self.stride}, down_kernel={self.down_kernel}, groups={self.groups}, {self.normalizer}"
        )
