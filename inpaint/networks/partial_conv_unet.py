"""The Partial Conv U-Net with the decoder's upsamplers as a part of their own.

Liu et al., Image Inpainting for Irregular Holes Using Partial Convolutions, ECCV 2018, figure 2 and table 2;
Wang et al., CARAFE, ICCV 2019, section 4.3, puts CARAFE in the place of the nearest-neighbour upsampling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import (
    LINE_FEATURES,
    LINES,
    ChannelNorm,
    Hole,
    PartialConv2d,
    directional_candidates,
    push_pull,
)
from .base import Network
from .upsampling import UpsamplingConfig, check_upsamplers, level_upsampler


@dataclass(frozen=True)
class PartialConvUNetConfig(UpsamplingConfig):
    """The sizes and choices of a `PartialConvUNet`. All of it is JSON."""

    # Output channels of the encoder's layers, each of which halves the size. Five of them leave 8×8 pixels of
    # a 256-pixel crop, which the 5×5 kernels of CARAFE still span; a sixth would leave little but border.
    widths: tuple[int, ...] = (32, 64, 128, 256, 256)
    # The paper's 7, 5, 5, then 3; one number for each layer, the last one repeated.
    kernel_sizes: tuple[int, ...] = (7, 5, 5, 3)
    # Channels of the last layer before the picture, at full size. 0: there is none, the layer that joins the
    # skip gives the picture, as in the paper.
    head_width: int = 16
    # The largest share that compressed_channels may have of the channels they are compressed from: at the top
    # of the decoder, where there are many pixels and few channels, CARAFE's content encoder would otherwise
    # cost more than everything else.
    compressed_share: float = 0.5
    # Residual blocks of two partial convolutions after the encoder's layers (fine to coarse) and after the
    # decoder's (coarse to fine), the last number repeated. The paper has none. There are none at half the
    # size of the picture: there a block costs a fifth of a step.
    encoder_blocks: tuple[int, ...] = (0, 1)
    decoder_blocks: tuple[int, ...] = (1, 2, 2, 0)
    # "channel": over the channels of each pixel, the same in training and use. "batch": the paper's, with its
    # plain rectifiers in the encoder; it needs large batches. "none": learns little in the time it is given.
    norm: str = "channel"
    # Predict a residual over a smooth fill of the hole and over straight continuations of what surrounds it.
    # The paper predicts the picture.
    head_start: bool = True


class PartialConvUNet(Network):
    """Encoder of partial convolutions; decoder that upsamples features and valid, joins the skip, convolves.

    Both features and valid go through the upsampler: with CARAFE, valid is carried by the reassembly kernels.
    Pixels in the hole of the input influence nothing.
    """

    def __init__(self, config: PartialConvUNetConfig | None = None) -> None:
        settings = config or PartialConvUNetConfig()
        _check(settings)
        widths, norm = settings.widths, settings.norm
        stride = 2 ** len(widths)
        super().__init__({"network": "PartialConvUNet", **settings.to_json()}, stride)
        self.settings = settings
        slope = 0.0 if norm == "batch" else 0.2  # the paper's encoder has plain rectifiers

        self.encoder = nn.ModuleList()
        channels = 3
        for level, width in enumerate(widths):
            kernel_size = _at(self.settings.kernel_sizes, level)
            conv = PartialConv2d(channels, width, kernel_size, stride=2, padding=kernel_size // 2)
            down = _Stage(conv, "none" if norm == "batch" and level == 0 else norm, slope)
            self.encoder.append(_EncoderLevel(down, _at(self.settings.encoder_blocks, level), norm))
            channels = width

        self.decoder = nn.ModuleList()
        for level, width in enumerate(reversed(widths[:-1])):
            blocks = _at(self.settings.decoder_blocks, level)
            self.decoder.append(_DecoderLevel(channels, width, width, self.settings, blocks))
            channels = width
        self.choice = _LineChoice(channels) if self.settings.head_start else None
        # At full size the skip is the picture itself, and with the head start its smooth fill beside it.
        skip = 6 if self.settings.head_start else 3
        head = dataclasses.replace(self.settings, norm="none")  # colours are left as they are
        head_width = self.settings.head_width
        self.head = _DecoderLevel(channels, skip, head_width or 3, head, blocks=0)
        check_upsamplers(self, self.settings)
        self.to_image: PartialConv2d | None = None
        if head_width:
            self.to_image = PartialConv2d(head_width, 3, 3, padding=1)
        else:
            self.head.merge.slope = 1.0  # no rectifier
        if self.settings.head_start:  # begin at the smooth fill
            last = self.to_image or self.head.merge.conv
            nn.init.normal_(last.weight, std=1e-2)
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture; compositing is the caller's.

        Args:
            image: [N, 3, H, W] in [0, 1]; H and W multiples of `stride`; what the hole holds is never used.
            mask: [N, 1, H, W], 1 (True) = hole.

        Returns:
            [N, 3, H, W] float32, not clamped.

        Raises:
            ValueError: shapes do not fit.
        """
        self.check_inputs(image, mask)
        valid = 1 - mask.float()
        image = torch.where(valid > 0, image, 0).contiguous(memory_format=torch.channels_last)

        x, v = 2 * image - valid, valid  # [-1, 1], and 0 in the hole
        skips = [(x, v)]
        for level in self.encoder:
            x, v = level(x, v)
            skips.append((x, v))
        skips.pop()
        for level in self.decoder:
            skip_x, skip_v = skips.pop()
            x, v = level(x, v, [skip_x], [skip_v])
        skip_x, skip_v = skips.pop()
        if not self.settings.head_start:
            return (self._picture(x, v, [skip_x], [skip_v]) + 1) / 2
        fill = push_pull(image, valid)
        assert self.choice is not None
        fill = fill + self.choice(x, v, image, valid, fill)
        return fill + self._picture(x, v, [skip_x, 2 * fill - 1], [skip_v, torch.ones_like(skip_v)]) / 2

    def _picture(
        self, x: Tensor, v: Tensor, skips: Sequence[Tensor], skip_valids: Sequence[Tensor]
    ) -> Tensor:
        """Return what the last level makes: [N, 3, H, W] float32, in [-1, 1] where it is learnt."""
        x, v = self.head(x, v, skips, skip_valids)
        return (x if self.to_image is None else self.to_image(x, v, Hole.ZERO)[0]).float()


def _check(config: PartialConvUNetConfig) -> None:
    """Raise ValueError for sizes that no network has."""
    if len(config.widths) < 2:
        raise ValueError(f"PartialConvUNet: at least two widths are needed, got {config.widths}")
    if min(config.widths) < 1 or config.compressed_channels < 1 or config.head_width < 0:
        raise ValueError(
            "PartialConvUNet: widths and compressed_channels must be positive, head_width not negative, got "
            f"{config.widths}, {config.compressed_channels} and {config.head_width}"
        )
    for name, fits in (
        ("kernel_sizes", _is_odd),
        ("encoder_blocks", _is_count),
        ("decoder_blocks", _is_count),
    ):
        values = getattr(config, name)
        if not values or not all(map(fits, values)):
            wanted = "odd numbers" if fits is _is_odd else "numbers from 0"
            raise ValueError(f"PartialConvUNet: {name} must be {wanted}, at least one, got {values}")


def _is_odd(number: int) -> bool:
    return number > 0 and number % 2 == 1


def _is_count(number: int) -> bool:
    return number >= 0


def _at(numbers: Sequence[int], level: int) -> int:
    """Return the number of a level; the last one is repeated."""
    return numbers[min(level, len(numbers) - 1)]


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "channel": ChannelNorm,
    "batch": nn.BatchNorm2d,
    "none": nn.Identity,
}


class _Stage(nn.Module):
    """Partial convolution, normalisation, (leaky) rectifier."""

    def __init__(self, conv: PartialConv2d, norm: str, slope: float = 0.2) -> None:
        super().__init__()
        self.conv = conv
        if norm not in _NORMS:
            raise ValueError(f"unknown norm {norm!r}; choose one of {', '.join(_NORMS)}")
        self.norm = _NORMS[norm](conv.out_channels)
        self.slope = slope

    def forward(
        self, x: Tensor | Sequence[Tensor], v: Tensor | Sequence[Tensor], hole: Hole | Sequence[Hole]
    ) -> tuple[Tensor, Tensor]:
        y, known = self.conv(x, v, hole)
        y = self.norm(y)
        if isinstance(self.norm, nn.BatchNorm2d | nn.SyncBatchNorm):
            y = torch.where(known > 0, y, 0)  # it shifts the zeros of the hole
        return F.leaky_relu(y, self.slope, inplace=True), known


class _ResidualBlock(nn.Module):
    """x + two partial convolutions of it; starts as the identity, or nearly."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.first = _Stage(PartialConv2d(channels, channels, 3, padding=1), norm)
        self.second = PartialConv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor, v: Tensor, hole: Hole) -> tuple[Tensor, Tensor]:
        y, known = self.first(x, v, hole)
        y, known = self.second(y, known, hole)
        return x + y, known


class _EncoderLevel(nn.Module):
    """Halve the size, refine. The encoder's valid is binary, its features 0 in the hole: they are x·v."""

    def __init__(self, down: _Stage, blocks: int, norm: str) -> None:
        super().__init__()
        self.down = down
        self.blocks = nn.ModuleList(_ResidualBlock(down.conv.out_channels, norm) for _ in range(blocks))

    def forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        x, v = self.down(x, v, Hole.SCALED)
        for block in self.blocks:
            x, v = block(x, v, Hole.SCALED)
        return x, v


class _LineChoice(nn.Module):
    """Chooses, at half the size of the picture, which straight continuation through the hole to follow.

    The weights are a softmax over the lines and "none of them". They start from how alike and how near the
    ends of a line are, and the decoder's features correct them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = PartialConv2d(channels + LINE_FEATURES * len(LINES), channels, 3, padding=1)
        self.to_logits = nn.Conv2d(channels, len(LINES) + 1, 1)
        nn.init.normal_(self.to_logits.weight, std=1e-2)
        nn.init.zeros_(self.to_logits.bias)  # type: ignore[arg-type]
        self.slope = nn.Parameter(torch.tensor([3.0, 3.0, 0.0]))  # of the three features in a line's logit
        self.offset = nn.Parameter(torch.tensor(-2.5))

    def forward(self, x: Tensor, v: Tensor, image: Tensor, valid: Tensor, fill: Tensor) -> Tensor:
        """Return what to add to fill, [N, 3, H, W] float32, 0 at known pixels; x and v are the decoder's."""
        known = F.avg_pool2d(valid, 2, divisor_override=1)
        half = F.avg_pool2d(torch.where(valid > 0, image, 0), 2, divisor_override=1) / known.clamp(min=1)
        offsets, features = directional_candidates(half, known, F.avg_pool2d(fill, 2))
        y = self.conv([x, features.to(x.dtype)], [v, torch.ones_like(v)], [Hole.ZERO, Hole.SCALED])[0]
        logits = self.to_logits(F.leaky_relu(y, 0.2)).float()
        prior = (
            torch.einsum("nlfhw,f->nlhw", features.unflatten(1, (len(LINES), -1)), self.slope) + self.offset
        )
        weights = torch.cat([logits[:, :-1] + prior, logits[:, -1:]], 1).softmax(1)
        change = (weights[:, :-1, None] * offsets).sum(1)
        change = F.interpolate(change, scale_factor=2.0, mode="bilinear", align_corners=False)
        return torch.where(valid > 0, 0, change)


class _DecoderLevel(nn.Module):
    """Upsample features and valid, join the skip and its valid, convolve, refine."""

    def __init__(
        self, channels: int, skip_channels: int, width: int, settings: PartialConvUNetConfig, blocks: int
    ) -> None:
        super().__init__()
        compressed = min(settings.compressed_channels, max(int(channels * settings.compressed_share), 1))
        self.upsample = level_upsampler(settings, channels, compressed)
        conv = PartialConv2d(channels + skip_channels, width, 3, padding=1)
        self.merge = _Stage(conv, settings.norm)
        self.blocks = nn.ModuleList(_ResidualBlock(width, settings.norm) for _ in range(blocks))

    def forward(
        self, x: Tensor, v: Tensor, skips: Sequence[Tensor], skip_valids: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        x, v = self.upsample(x, v, Hole.ZERO)
        skips = [skip.to(x.dtype) for skip in skips]  # under autocast the picture is the only float32
        holes = [Hole.ZERO] + [Hole.SCALED] * len(skips)  # the encoder's valid is binary
        x, v = self.merge([x, *skips], [v, *skip_valids], holes)
        for block in self.blocks:
            x, v = block(x, v, Hole.ZERO)
        return x, v
