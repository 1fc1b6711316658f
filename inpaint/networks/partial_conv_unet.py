"""The Partial Conv U-Net with the decoder's upsamplers as a part of their own.

Liu et al., Image Inpainting for Irregular Holes Using Partial Convolutions, ECCV 2018, figure 2 and table 2;
Wang et al., CARAFE, ICCV 2019, section 4.3, puts CARAFE in the place of the nearest-neighbour upsampling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import CarafeUpsample, Hole, PartialConv2d, build_upsampler, push_pull


@dataclass(frozen=True)
class PartialConvUNetConfig:
    """The sizes and choices of a `PartialConvUNet`. All of it is JSON."""

    # Output channels of the encoder's layers, each of which halves the size. Six of them see 4×4 pixels at the
    # bottom of a 256-pixel crop, so a hole of half the picture is closed on the way down.
    widths: tuple[int, ...] = (32, 64, 128, 256, 256, 256)
    # The paper's 7, 5, 5, then 3; one number for each layer, the last one repeated.
    kernel_sizes: tuple[int, ...] = (7, 5, 5, 3)
    # Channels of the last layer before the picture, at full size.
    head_width: int = 16
    upsampler: str = "carafe"
    # CARAFE's C_m, never more than half the channels it compresses: at the top of the decoder, where there are
    # many pixels and few channels, the content encoder would otherwise cost more than everything else together.
    compressed_channels: int = 64
    # Residual blocks of two partial convolutions after each decoder layer, coarse to fine, the last number
    # repeated. The paper has none. At half the size of the picture a block costs a fifth of a step.
    blocks: tuple[int, ...] = (1, 1, 1, 1, 0)
    # Batch normalisation as in the paper. It needs large batches, and costs a quarter of a step on a CPU.
    batch_norm: bool = False
    # Predict a residual over the push–pull fill of the hole. The paper predicts the picture.
    head_start: bool = True


class PartialConvUNet(nn.Module):
    """Encoder of partial convolutions; decoder that upsamples features and valid, joins the skip, convolves.

    Both features and valid go through the upsampler: with CARAFE, valid is carried by the reassembly kernels.
    Pixels in the hole of the input influence nothing.
    """

    def __init__(self, config: PartialConvUNetConfig | None = None) -> None:
        super().__init__()
        self.settings = config or PartialConvUNetConfig()
        widths, blocks = self.settings.widths, self.settings.blocks
        if len(widths) < 2:
            raise ValueError(f"PartialConvUNet: at least two widths are needed, got {widths}")
        self.stride = 2 ** len(widths)

        self.encoder = nn.ModuleList()
        channels = 3
        for level, width in enumerate(widths):
            kernel_size = self.settings.kernel_sizes[min(level, len(self.settings.kernel_sizes) - 1)]
            layer = PartialConv2d(channels, width, kernel_size, stride=2, padding=kernel_size // 2)
            self.encoder.append(_Stage(layer, "relu", norm=self.settings.batch_norm and level > 0))
            channels = width

        self.decoder = nn.ModuleList()
        for level, width in enumerate(reversed(widths[:-1])):
            count = blocks[min(level, len(blocks) - 1)]
            self.decoder.append(_DecoderLevel(channels, width, width, self.settings, count))
            channels = width
        # At full size the skip is the picture itself, and with the head start its smooth fill beside it.
        skip = 6 if self.settings.head_start else 3
        head = dataclasses.replace(self.settings, batch_norm=False)
        self.head = _DecoderLevel(channels, skip, self.settings.head_width, head, blocks=0)
        self.to_image = PartialConv2d(self.settings.head_width, 3, 3, padding=1)
        if self.settings.head_start:  # begin at the smooth fill
            nn.init.normal_(self.to_image.weight, std=1e-3)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def config(self) -> dict[str, Any]:
        """JSON-able; `inpaint.networks.build_network(config)` rebuilds the network."""
        return {"network": "PartialConvUNet", **dataclasses.asdict(self.settings)}

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Predicts the whole picture; compositing is the caller's.

        Args:
            image: [N, 3, H, W] in [0, 1]; H and W multiples of `stride`; what the hole holds has no influence.
            mask: [N, 1, H, W], 1 (True) = hole.

        Returns:
            [N, 3, H, W] float32, not clamped.

        Raises:
            ValueError: shapes do not fit.
        """
        self._check(image, mask)
        valid = 1 - mask.float()
        image = torch.where(valid > 0, image, 0).contiguous(memory_format=torch.channels_last)

        x, v = 2 * image - valid, valid  # [-1, 1], and 0 in the hole
        skips = [(x, v)]
        for stage in self.encoder:
            x, v = stage(x, v, Hole.SCALED)
            skips.append((x, v))
        skips.pop()
        for level in self.decoder:
            skip_x, skip_v = skips.pop()
            x, v = level(x, v, [skip_x], [skip_v])
        skip_x, skip_v = skips.pop()
        if not self.settings.head_start:
            x, v = self.head(x, v, [skip_x], [skip_v])
            return (self.to_image(x, v, Hole.ZERO)[0].float() + 1) / 2
        fill = push_pull(image, valid)
        x, v = self.head(x, v, [skip_x, 2 * fill - 1], [skip_v, torch.ones_like(skip_v)])
        return fill + self.to_image(x, v, Hole.ZERO)[0].float() / 2

    def _check(self, image: Tensor, mask: Tensor) -> None:
        if image.dim() != 4 or image.shape[1] != 3:
            raise ValueError(f"PartialConvUNet: image must have shape [N, 3, H, W], got {list(image.shape)}")
        n, _, h, w = image.shape
        if tuple(mask.shape) != (n, 1, h, w):
            raise ValueError(f"PartialConvUNet: mask must have shape {[n, 1, h, w]}, got {list(mask.shape)}")
        if h % self.stride or w % self.stride:
            raise ValueError(
                f"PartialConvUNet: height and width must be multiples of {self.stride}, got {h}×{w}; "
                "inpaint.Inpainter takes any size"
            )


class _Stage(nn.Module):
    """Partial convolution, batch normalisation if wanted, rectifier."""

    def __init__(self, conv: PartialConv2d, activation: str, norm: bool) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels) if norm else None
        self.slope = {"relu": 0.0, "leaky_relu": 0.2}[activation]

    def forward(self, x: Any, v: Any, hole: Hole | Sequence[Hole] = Hole.ZERO) -> tuple[Tensor, Tensor]:
        x, v = self.conv(x, v, hole)
        if self.norm is not None:
            x = torch.where(v > 0, self.norm(x), 0)  # normalisation shifts the zeros of the hole
        return F.leaky_relu(x, self.slope, inplace=True), v


class _ResidualBlock(nn.Module):
    """x + two partial convolutions of it; the second starts small, so that a new block starts near identity."""

    def __init__(self, channels: int, norm: bool) -> None:
        super().__init__()
        self.first = _Stage(PartialConv2d(channels, channels, 3, padding=1), "leaky_relu", norm)
        self.second = PartialConv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.second.weight *= 0.1

    def forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        y, known = self.first(x, v)
        y, known = self.second(y, known, Hole.ZERO)
        return x + y, known


class _DecoderLevel(nn.Module):
    """Upsample features and valid, join the skip and its valid, convolve, refine."""

    def __init__(
        self, channels: int, skip_channels: int, width: int, settings: PartialConvUNetConfig, blocks: int
    ) -> None:
        super().__init__()
        if settings.upsampler == "carafe":
            compressed = min(settings.compressed_channels, max(channels // 2, 1))
            self.upsample: nn.Module = CarafeUpsample(channels, compressed_channels=compressed)
        else:
            self.upsample = build_upsampler(settings.upsampler, channels)
        conv = PartialConv2d(channels + skip_channels, width, 3, padding=1)
        self.merge = _Stage(conv, "leaky_relu", settings.batch_norm)
        self.blocks = nn.ModuleList(_ResidualBlock(width, settings.batch_norm) for _ in range(blocks))

    def forward(
        self, x: Tensor, v: Tensor, skips: Sequence[Tensor], skip_valids: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        x, v = self.upsample(x, v, Hole.ZERO)
        skips = [skip.to(x.dtype) for skip in skips]  # under autocast the picture is the only float32
        holes = [Hole.ZERO] + [Hole.SCALED] * len(skips)  # the encoder's valid is binary
        x, v = self.merge([x, *skips], [v, *skip_valids], holes)
        for block in self.blocks:
            x, v = block(x, v)
        return x, v
