"""CARAFE under the names and signatures of mmcv and of the paper's code.

State dicts of `mmcv.ops.CARAFEPack` load unchanged. What differs: all memory formats, types and devices of
`inpaint.ops.carafe` are supported, and arguments that do not fit are a ValueError that names them. The
`naive` names are the same operator.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.layers.scripting import NotScriptable
from inpaint.layers.upsamplers.checks import MAX_UP_KERNEL, check_groups, check_kernel, check_whole
from inpaint.ops import carafe as _carafe
from inpaint.ops import carafe_fused


def carafe(
    features: Tensor, masks: Tensor, kernel_size: int, group_size: int = 1, scale_factor: int = 1
) -> Tensor:
    """Call `inpaint.ops.carafe` by mmcv's names of arguments, and with its defaults.

    Args:
        features: [N, C, H, W].
        masks: [N, group_size·k², σH, σW], the normalised kernels.
        kernel_size: k, odd.
        group_size: number of groups.
        scale_factor: σ.

    Returns:
        [N, C, σH, σW].
    """
    return _carafe(features, masks, kernel_size, group_size, scale_factor)


class CARAFE(NotScriptable, nn.Module):
    """`carafe` as a module, as in mmcv: `CARAFE(kernel_size, group_size, scale_factor)(features, masks)`.

    Raises:
        ValueError: a setting that the operator cannot have; the message says which to take.
    """

    def __init__(self, kernel_size: int, group_size: int, scale_factor: int) -> None:
        super().__init__()
        owner = type(self).__name__
        self.kernel_size = check_kernel(owner, "kernel_size", kernel_size, MAX_UP_KERNEL)
        self.group_size = check_whole(owner, "group_size", group_size)
        self.scale_factor = check_whole(owner, "scale_factor", scale_factor)

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """Reassemble, as `carafe` does."""
        return carafe(features, masks, self.kernel_size, self.group_size, self.scale_factor)


class CARAFEPack(NotScriptable, nn.Module):
    """Upsampling with kernels predicted from the features (Wang et al., ICCV 2019), as in mmcv.

    `inpaint.layers.CarafeUpsample` is the same with this project's names, and carries validity besides.

    Args:
        channels: of the features.
        scale_factor: σ.
        up_kernel: k of the reassembly.
        up_group: groups of channels with kernels of their own.
        encoder_kernel: k of the convolution that predicts the kernels.
        encoder_dilation: its dilation.
        compressed_channels: what the features are reduced to before it.

    Raises:
        ValueError: a setting that the operator cannot have; the message says which to take.

    >>> CARAFEPack(16, scale_factor=1.5)
    Traceback (most recent call last):
    ValueError: CARAFEPack: scale_factor must be a whole number of at least 1, got 1.5; take 1 or 2
    """

    def __init__(
        self,
        channels: int,
        scale_factor: int,
        up_kernel: int = 5,
        up_group: int = 1,
        encoder_kernel: int = 3,
        encoder_dilation: int = 1,
        compressed_channels: int = 64,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self.channels = check_whole(owner, "channels", channels)
        self.scale_factor = check_whole(owner, "scale_factor", scale_factor)
        self.up_kernel = check_kernel(owner, "up_kernel", up_kernel, MAX_UP_KERNEL)
        self.up_group = check_groups(owner, "up_group", up_group, channels)
        self.encoder_kernel = check_whole(owner, "encoder_kernel", encoder_kernel)
        self.encoder_dilation = check_whole(owner, "encoder_dilation", encoder_dilation)
        if encoder_dilation % 2:  # with an even one, an even kernel has a middle, too
            check_kernel(owner, "encoder_kernel", encoder_kernel)
        self.compressed_channels = check_whole(owner, "compressed_channels", compressed_channels)
        self.channel_compressor = nn.Conv2d(channels, compressed_channels, 1)
        self.content_encoder = nn.Conv2d(
            compressed_channels,
            up_kernel**2 * up_group * scale_factor**2,
            encoder_kernel,
            padding=(encoder_kernel - 1) * encoder_dilation // 2,
            dilation=encoder_dilation,
        )
        self.init_weights()

    def init_weights(self) -> None:
        """Draw weights as mmcv does: Xavier's, and N(0, 0.001) for the encoder; biases are 0."""
        nn.init.xavier_uniform_(self.channel_compressor.weight)
        nn.init.normal_(self.content_encoder.weight, std=0.001)
        for conv in (self.channel_compressor, self.content_encoder):
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def kernel_normalizer(self, mask: Tensor) -> Tensor:
        """Turn logits [N, G·k²·σ², H, W] into kernels [N, G·k², σH, σW], of which each group's sum is 1."""
        shuffled = F.pixel_shuffle(mask, self.scale_factor)
        n, _, h, w = shuffled.shape
        return shuffled.view(n, self.up_group, -1, h, w).softmax(2).view(n, -1, h, w)

    def feature_reassemble(self, x: Tensor, mask: Tensor) -> Tensor:
        """Call `carafe` with this module's settings."""
        return carafe(x, mask, self.up_kernel, self.up_group, self.scale_factor)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample [N, C, H, W] to [N, C, σH, σW]; normalisation and reassembly are one pass."""
        logits = self.content_encoder(self.channel_compressor(x))
        return carafe_fused(x, logits, self.up_kernel, self.up_group, self.scale_factor)  # type: ignore[return-value]


carafe_naive = carafe
CARAFENaive = CARAFE
