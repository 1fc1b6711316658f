"""A Partial Conv U-Net with CARAFE that fills a picture octave by octave, from the coarsest to the finest.

A wide hole needs a wide context and a narrow one a near context. A U-Net learns the first in its deep levels
and the second in its shallow ones, each from few examples. Photographs look alike at every scale, so here one
small U-Net fills all octaves with the same weights: at a sixteenth of the size, at an eighth, and so on it
corrects a smooth fill of the hole, and its result is where the next octave starts. Every picture trains it at
every octave, and it may be trained on small pictures and used on large ones.

The U-Net is that of Liu et al., ECCV 2018, with CARAFE (Wang et al., ICCV 2019) in its decoder. Its `valid`
is soft: 1 where the photo is known, `confidence` where the fill stands in for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import (
    CarafeUpsample,
    ChannelNorm,
    Hole,
    PartialConv2d,
    coarsest_fill,
    halved,
    known_averages,
    raised,
)
from ..ops import concatenate_known
from .base import Network
from .regions import (
    Region,
    cut,
    doubled,
    grown,
    half,
    hole_region,
    padded,
    padded_to,
    pasted,
    region_of,
    within,
)
from .upsampling import UpsamplingConfig, check_upsamplers, level_upsampler

_SLOPE = 0.2  # of the rectifiers, where the input is negative


@dataclass(frozen=True)
class PyramidUNetConfig(UpsamplingConfig):
    """The sizes and choices of a `PyramidUNet`. All of it is JSON.

    At each level, compressed_channels are at most half of the channels that they are compressed from.
    """

    # Output channels of the encoder's layers, each of which halves the octave's size.
    widths: tuple[int, ...] = (32, 64, 128)
    kernel_sizes: tuple[int, ...] = (5, 3, 3)
    # Output channels of the decoder's levels, coarse to fine; one fewer, since the last level is the head's.
    decoder_widths: tuple[int, ...] = (64, 24)
    # Channels that the head makes at the octave's full size. The next octave gets them as they are.
    head_width: int = 16
    # Dilations of the residual blocks after each of the encoder's and of the decoder's levels.
    encoder_blocks: tuple[tuple[int, ...], ...] = ((), (1,), (1, 2, 1))
    decoder_blocks: tuple[tuple[int, ...], ...] = ((1, 1), ())
    # What `valid` is in the hole, where the fill from the coarser octave stands in for the photo. With 1 the
    # encoder takes it for as good as the photo, with 0 it sees the photo alone.
    confidence: float = 0.5
    # Octaves whose longer side has fewer pixels are left to the smooth fill.
    smallest: int = 16
    # Sweeps towards the membrane at each octave: half of what the smooth fill alone takes, because the
    # U-Net goes on from there.
    sweeps: int = 6


class PyramidUNet(Network):
    """Fills coarse to fine, one octave at a time, with the same U-Net at each.

    Pixels in the hole of the input influence nothing. With `all_octaves` it gives the fills of all of them,
    which training compares with the reduced truth.
    """

    gives_octaves = True

    def __init__(self, config: PyramidUNetConfig | None = None) -> None:
        settings = config or PyramidUNetConfig()
        _check(settings)
        widths = settings.widths
        stride = 2 ** len(widths)
        super().__init__({"network": "PyramidUNet", **settings.to_json()}, stride)
        self.settings = settings

        self.encoder = nn.ModuleList()
        channels = 4
        for width, kernel_size, blocks in zip(
            widths, settings.kernel_sizes, settings.encoder_blocks, strict=True
        ):
            conv = PartialConv2d(channels, width, kernel_size, stride=2, padding=kernel_size // 2)
            self.encoder.append(_Refined(conv, blocks))
            channels = width
        self.decoder = nn.ModuleList()
        skips = widths[-2::-1]
        for level, (width, blocks) in enumerate(
            zip(settings.decoder_widths, settings.decoder_blocks, strict=True)
        ):
            # The last of them works at the size of the coarser octave, and gets what that one's head made.
            coarse_features = settings.head_width if level == len(skips) - 1 else 0
            others = skips[level] + 4 + coarse_features
            self.decoder.append(_DecoderLevel(channels, others, width, settings, blocks))
            channels = width
        # The coarser octave's fill is upsampled by the head's kernels, too, beside the features.
        self.head = _Head(channels + 3, settings)
        check_upsamplers(self, settings)
        # Three channels to add, and one for how far to follow the fill that came up through the kernels.
        self.to_image = nn.Conv2d(settings.head_width, 4, 3, padding=1)
        nn.init.normal_(self.to_image.weight, std=1e-2)  # begin at the smooth fill
        nn.init.zeros_(self.to_image.bias)  # type: ignore[arg-type]
        # Compute octaves as a whole, instead of what fills of the hole need: for probes.
        self.whole_octaves = False
        self.to(memory_format=torch.channels_last)

    @overload
    def forward(self, image: Tensor, mask: Tensor, all_octaves: Literal[False] = False) -> Tensor: ...

    @overload
    def forward(self, image: Tensor, mask: Tensor, all_octaves: Literal[True]) -> list[Tensor]: ...

    def forward(self, image: Tensor, mask: Tensor, all_octaves: bool = False) -> Tensor | list[Tensor]:
        """Predict the whole picture; compositing is the caller's.

        Args:
            image: [N, 3, H, W] in [0, 1]; H and W multiples of `stride`; what the hole holds is never used.
            mask: [N, 1, H, W], 1 (True) = hole.
            all_octaves: give the fills of all octaves that the U-Net worked at.

        Returns:
            [N, 3, H, W] float32, not clamped; of all octaves a list, fine to coarse, whose sizes are halved
            upwards. An octave takes the coarser one's fill as it is: gradients reach that octave through what
            its head hands on. None reaches the image.

        Raises:
            ValueError: shapes do not fit.
        """
        self.check_inputs(image, mask)
        valid = 1 - mask.float()
        with torch.autocast(image.device.type, enabled=False):
            levels = known_averages(image, valid)
        shares = [valid]  # of each pixel, how much is known
        for _ in levels[1:]:
            shares.append(halved(shares[-1]))
        fill = coarsest_fill(*levels[-1])
        coarse_features: Tensor | None = None
        fills: list[Tensor] = []
        for (colour, known), share in zip(levels[-2::-1], shares[-2::-1], strict=True):
            coarse = fill.detach()
            with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
                fill = raised(coarse, colour, known, self.settings.sweeps)
            if max(fill.shape[-2:]) >= self.settings.smallest:
                residual, coarse_features = self._octave(fill, share, coarse, coarse_features)
                fill = fill + (1 - share) * residual
                fills.append(fill)
        if all_octaves:
            return fills[::-1] or [fill]
        return fill

    def _octave(
        self, smooth: Tensor, share: Tensor, coarse: Tensor, coarse_features: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return what to add to an octave's smooth fill [N, 3, h, w] float32, and the features of the head.

        Sizes that the U-Net cannot halve often enough are padded with what valid calls unknown.
        """
        n, _, h, w = smooth.shape
        x = torch.cat([2 * smooth - 1, share], 1)
        v = share + self.settings.confidence * (1 - share)
        x, v = padded(x, self.stride, "replicate"), padded(v, self.stride, "constant")
        size = x.shape[-2] // 2, x.shape[-1] // 2
        coarse = padded_to(2 * coarse - 1, size, "replicate")
        if coarse_features is None:
            coarse_features = x.new_zeros(n, self.settings.head_width, *size)
        coarse_features = padded_to(coarse_features, size, "constant")
        x = x.contiguous(memory_format=torch.channels_last)

        given = x  # the smooth fill and how much is known, at every size
        skips = [(x, v, given)]
        for level in self.encoder:
            x, v = level(x, v, Hole.ZERO)
            given = F.avg_pool2d(given, 2)
            skips.append((x, v, given))
        skips.pop()
        regions = self._sources(share, given.shape[-2:])
        at = region_of(x)  # what of its level x holds
        for number, (level, region) in enumerate(zip(self.decoder, regions, strict=False), 1):
            x, v = cut(x, region, at), cut(v, region, at)
            at = doubled(region)
            skip, skip_v, given = (cut(part, at) for part in skips.pop())
            whole = torch.ones_like(skip_v)
            parts, valids = [skip, given], [skip_v, whole]
            if number == len(self.decoder):
                parts, valids = [*parts, cut(coarse_features, at)], [*valids, whole]
            x, v = level(x, v, parts, valids)
        *_, given = skips.pop()
        region = regions[-1]
        x, v = concatenate_known([cut(x, region, at), cut(coarse, region)], [None, None]), cut(v, region, at)
        at = doubled(region)
        x, risen = self.head(x, v, cut(given, at))
        residual, follow = self.to_image(x).float().split([3, 1], dim=1)
        inside = (slice(at[0].start, min(at[0].stop, h)), slice(at[1].start, min(at[1].stop, w)))
        x, residual, follow, risen = (cut(part, inside, at) for part in (x, residual, follow, risen))
        residual = residual / 2 + follow * ((risen.float() + 1) / 2 - cut(smooth, inside))
        return pasted(residual, inside, (h, w)), pasted(x, inside, (h, w))

    def _sources(self, share: Tensor, coarsest: Sequence[int]) -> list[Region]:
        """Return which part each of the decoder's levels, and the head, takes of what it upsamples.

        A fill is used in the hole only. So inference computes only what has an influence on the hole's
        bounding box, or on what the finer octave uses of the features that are handed to it. Everything is
        computed where the network is trained or probed, and where it is traced or compiled: a graph has to
        fit every hole.
        """
        levels = [*self.decoder, self.head]
        regions = [(slice(0, coarsest[0] << n), slice(0, coarsest[1] << n)) for n in range(len(levels))]
        wanted = None if self._works_at_all(share) else hole_region(share)
        if wanted is None:
            return regions
        radius = max(self._radius(level) for level in levels)
        reaches = [1 + sum(dilation + 1 for dilation in blocks) for blocks in self.settings.decoder_blocks]
        # What the finer octave takes of this one's features reaches radius + reaches[-1] beyond half of what
        # it makes itself, and some pixels of rounding: with this margin that is no more than is made here.
        wanted = grown(wanted, 2 * (radius + reaches[-1]) + 4)
        for n, reach in reversed(list(enumerate([*reaches, 1]))):
            rows, columns = grown(wanted, reach)
            halved = (half(rows), half(columns))
            wanted = within(grown(halved, radius), regions[n])
            regions[n] = wanted
        return regions

    def _works_at_all(self, share: Tensor) -> bool:
        return (
            self.whole_octaves
            or self.training
            or torch.is_grad_enabled()
            or share.device.type != "cpu"  # a GPU would have to be waited for
            or torch.compiler.is_compiling()
            or torch.jit.is_tracing()
            or not all(isinstance(level.upsample, CarafeUpsample) for level in (*self.decoder, self.head))
        )

    def _radius(self, level: nn.Module) -> int:
        """Return how far CARAFE reaches around a source pixel: by its window, or for its kernel's logits."""
        upsample = level.upsample
        assert isinstance(upsample, CarafeUpsample)
        return max(upsample.up_kernel, *upsample.content_encoder.kernel_size) // 2


def _check(config: PyramidUNetConfig) -> None:
    """Raise ValueError for sizes that no network has."""
    levels = len(config.widths)
    if levels < 2:
        raise ValueError(f"PyramidUNet: at least two widths are needed, got {config.widths}")
    for name, length in (
        ("kernel_sizes", levels),
        ("encoder_blocks", levels),
        ("decoder_widths", levels - 1),
        ("decoder_blocks", levels - 1),
    ):
        if len(getattr(config, name)) != length:
            raise ValueError(f"PyramidUNet: {name} must have {length} entries, got {getattr(config, name)}")
    sizes = (*config.widths, *config.decoder_widths, config.head_width, config.compressed_channels)
    if min(sizes) < 1:
        raise ValueError(f"PyramidUNet: all widths and compressed_channels must be positive, got {sizes}")
    if any(size < 1 or size % 2 == 0 for size in config.kernel_sizes):
        raise ValueError(f"PyramidUNet: kernel_sizes must be odd numbers, got {config.kernel_sizes}")
    if any(dilation < 1 for blocks in config.encoder_blocks + config.decoder_blocks for dilation in blocks):
        raise ValueError("PyramidUNet: the dilations of encoder_blocks and decoder_blocks must be positive")
    if not 0 <= config.confidence <= 1:
        raise ValueError(f"PyramidUNet: confidence must lie between 0 and 1, got {config.confidence}")
    if config.smallest < 2 or config.sweeps < 1:
        raise ValueError("PyramidUNet: smallest must be at least 2, sweeps at least 1")


class _ResidualBlock(nn.Module):
    """x + two convolutions of its normalisation; starts as the identity, or nearly.

    Plain convolutions: where they stand, valid has been spent on the partial convolution before them.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for conv, gain in ((self.first, 1.0), (self.second, 0.1)):
            nn.init.kaiming_normal_(conv.weight, a=0.2)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            with torch.no_grad():
                conv.weight.mul_(gain)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(_rectified(self.first(self.norm(x))))


class _Refined(nn.Module):
    """Partial convolution, residual blocks, normalisation, rectifier: whatever leaves it is bounded."""

    def __init__(self, conv: PartialConv2d, dilations: Sequence[int]) -> None:
        super().__init__()
        self.conv = conv
        self.blocks = nn.Sequential(*(_ResidualBlock(conv.out_channels, number) for number in dilations))
        self.norm = ChannelNorm(conv.out_channels)

    def forward(
        self, x: Tensor | Sequence[Tensor], v: Tensor | Sequence[Tensor], hole: Hole | Sequence[Hole]
    ) -> tuple[Tensor, Tensor]:
        y, known = self.conv(x, v, hole)
        return self.norm(self.blocks(y), _SLOPE), known


class _DecoderLevel(nn.Module):
    """Upsample features and valid, join the skip and what else there is, convolve, refine."""

    def __init__(
        self, channels: int, others: int, width: int, settings: PyramidUNetConfig, dilations: Sequence[int]
    ) -> None:
        super().__init__()
        self.upsample = _upsampler(channels, settings)
        self.merge = _Refined(PartialConv2d(channels + others, width, 3, padding=1), dilations)

    def forward(
        self, x: Tensor, v: Tensor, others: Sequence[Tensor], other_valids: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        x, v = self.upsample(x, v, Hole.ZERO)
        others = [other.to(x.dtype) for other in others]  # under autocast what is given is float32
        holes = [Hole.ZERO, Hole.ZERO] + [Hole.SCALED] * (len(others) - 1)  # the rest is known everywhere
        return self.merge([x, *others], [v, *other_valids], holes)


class _Head(nn.Module):
    """The last level, at the octave's full size: upsample, join what is given there, convolve.

    Returns the features, and the last three of the upsampled channels as they came out of the kernels.
    """

    def __init__(self, channels: int, settings: PyramidUNetConfig) -> None:
        super().__init__()
        self.upsample = _upsampler(channels, settings)
        self.merge = PartialConv2d(channels + 4, settings.head_width, 3, padding=1)

    def forward(self, x: Tensor, v: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        x, v = self.upsample(x, v, Hole.ZERO)
        parts, valids = [x, given.to(x.dtype)], [v, torch.ones_like(v)]
        y, _ = self.merge(parts, valids, [Hole.ZERO, Hole.SCALED])
        return _rectified(y), x[:, -3:]


def _rectified(x: Tensor) -> Tensor:
    return F.leaky_relu(x, _SLOPE, inplace=True)


def _upsampler(channels: int, settings: PyramidUNetConfig) -> nn.Module:
    """Build the upsampler of a level. CARAFE's kernels begin as bilinear interpolation, nearly."""
    compressed = max(min(settings.compressed_channels, channels // 2), 1)
    upsampler = level_upsampler(settings, channels, compressed)
    if isinstance(upsampler, CarafeUpsample):
        upsampler.begin_as_bilinear()
    return upsampler
