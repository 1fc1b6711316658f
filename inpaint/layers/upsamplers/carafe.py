"""Upsamplers of one shape: `forward(features, valid=None) -> (features, valid)`, None in, None out."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...ops import carafe_fused
from ...ops.memory_format import memory_format_of
from ..partial_conv import Hole, PartialConv2d, renormalize, scale_by_valid


def _repeat(x: Tensor, scale: int) -> Tensor:
    return F.interpolate(x, scale_factor=float(scale), mode="nearest")


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


class CarafeUpsample(Upsampler):
    """CARAFE (Wang et al., ICCV 2019): predict a k×k kernel for each output pixel, reassemble with it.

    Parts, names and order of channels are those of mmcv's `CARAFEPack`, so its state dicts load unchanged: a
    1×1 `channel_compressor` to C_m channels, a `content_encoder` to k_up²·σ² logits, softmax, reassembly.
    Given valid, features are set to 0 where valid is 0 before kernels are predicted, and the masked
    reassembly carries valid.

    Args:
        channels: of the features.
        scale: σ.
        compressed_channels: C_m, of the features that kernels are predicted from.
        encoder_kernel: of the convolution that predicts them.
        up_kernel: k_up, of the reassembly.
        groups: of channels with kernels of their own; divides `channels`.
        normalizer: as for `inpaint.ops.carafe_fused`.

    >>> upsample = CarafeUpsample(channels=32)
    >>> features, valid = torch.randn(1, 32, 8, 8), torch.ones(1, 1, 8, 8)
    >>> result, none = upsample(features)
    >>> result.shape
    torch.Size([1, 32, 16, 16])
    >>> result, known = upsample(features, valid)
    >>> known.shape
    torch.Size([1, 1, 16, 16])
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
        super().__init__()
        self.channels = channels
        self.scale = scale
        self.up_kernel = up_kernel
        self.groups = groups
        self.normalizer = normalizer
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

        Training then starts from a sensible upsampler; flat kernels blur.

        Args:
            flat: the share of the flat kernel. With 0 the other taps would have no weight, and no gradient.
        """
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


class NearestUpsample(Upsampler):
    """Repeats every pixel; valid alike."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known."""
        return _repeat(features, self.scale)

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features, and valid with them."""
        return _repeat(features, self.scale), _repeat(valid, self.scale)


class BilinearUpsample(Upsampler):
    """Bilinear interpolation; with valid the masked formula y = Σ w·v·x / Σ w·v, v' = Σ w·v."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known; corners not aligned."""
        return F.interpolate(features, scale_factor=float(self.scale), mode="bilinear", align_corners=False)

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features, and valid with them."""
        share = self.upsample(valid.float())
        return renormalize(self.upsample(scale_by_valid(features, valid, Hole.ZERO)), share, 1.0, None), share


class _InterpolateConv(Upsampler):
    """Interpolation, then a 3×3 (partial) convolution."""

    interpolation: type[Upsampler]

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.interpolate = self.interpolation(channels, scale)
        self.conv = PartialConv2d(channels, channels, 3, padding=1)

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known."""
        return F.conv2d(self.interpolate.upsample(features), self.conv.weight, self.conv.bias, padding=1)

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features, and valid with them."""
        return self.conv(*self.interpolate.upsample_known(features, valid), hole=Hole.ZERO)


class NearestConvUpsample(_InterpolateConv):
    """Nearest, then a 3×3 (partial) convolution."""

    interpolation = NearestUpsample


class BilinearConvUpsample(_InterpolateConv):
    """Bilinear, then a 3×3 (partial) convolution."""

    interpolation = BilinearUpsample


class DeconvUpsample(Upsampler):
    """Transposed (partial) convolution of kernel 2σ, stride σ; every output pixel sees 2×2 source pixels."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.conv = nn.ConvTranspose2d(channels, channels, 2 * scale, scale)
        # He's bound with the 2×2 source pixels that an output pixel sees; PyTorch counts all (2σ)² taps.
        nn.init.normal_(self.conv.weight, std=(2 / (1 + 0.2**2) / (4 * channels)) ** 0.5)
        nn.init.zeros_(self._bias)

    @property
    def _bias(self) -> Tensor:
        assert self.conv.bias is not None
        return self.conv.bias

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known."""
        return self._crop(self.conv(features), features)

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features, renormalised by how much of the 2×2 is known; the border is unknown."""
        known = scale_by_valid(features, valid, Hole.ZERO)
        sums = self._crop(F.conv_transpose2d(known, self.conv.weight, stride=self.scale), features)
        with torch.autocast(valid.device.type, enabled=False):
            ones = torch.ones(1, 1, 2 * self.scale, 2 * self.scale, device=valid.device)
            mass = self._crop(F.conv_transpose2d(valid.float(), ones, stride=self.scale), features)
        return renormalize(sums, mass, 4.0, self._bias), mass.clamp(max=1)

    def _crop(self, x: Tensor, source: Tensor) -> Tensor:
        """Cut σ/2 rows and columns off each side: a full transposed convolution has (H + 1)·σ rows."""
        first = self.scale // 2
        height, width = source.shape[2] * self.scale, source.shape[3] * self.scale
        return x[:, :, first : first + height, first : first + width]


class PixelShuffleUpsample(Upsampler):
    """A 3×3 (partial) convolution to σ² times the channels, then pixel shuffle."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.conv = PartialConv2d(channels, channels * scale**2, 3, padding=1)

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known."""
        return F.pixel_shuffle(F.conv2d(features, self.conv.weight, self.conv.bias, padding=1), self.scale)

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features, and valid with them."""
        many, valid = self.conv(features, valid, hole=Hole.ZERO)
        return F.pixel_shuffle(many, self.scale), _repeat(valid, self.scale)


class DySampleUpsample(Upsampler):
    """DySample (Liu et al., ICCV 2023): bilinear samples at learned points, with static scope.

    A 1×1 convolution predicts for each output pixel, and for each of up to four groups of channels, how far
    from its own place to sample: a quarter of what it says, in source pixels, so that neighbouring points
    hardly cross. With valid the samples are weighed by it, as in masked bilinear interpolation, and v' is the
    groups' mean, as CARAFE's is: a group none of whose samples is known is 0 there.
    """

    def __init__(self, channels: int, scale: int = 2, groups: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.groups = math.gcd(channels, groups)
        self.offset = nn.Conv2d(channels, 2 * self.groups * scale**2, 1)
        nn.init.normal_(self.offset.weight, std=0.001)
        nn.init.zeros_(self._bias)

    @property
    def _bias(self) -> Tensor:
        assert self.offset.bias is not None
        return self.offset.bias

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known; samples beyond the border take its values."""
        return self._joined(self._sample(self._split(features), self._points(features)), features)

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample known features, and valid with them."""
        n = features.shape[0]
        points = self._points(features)
        known = self._split(scale_by_valid(features, valid, Hole.ZERO))
        each = valid.detach().float().repeat_interleave(self.groups, 0)  # [N·G, 1, H, W]
        share = self._sample(each, points)
        output = renormalize(self._sample(known, points), share, 1.0, None)
        return self._joined(output, features), share.detach().unflatten(0, (n, self.groups)).mean(1)

    def _points(self, features: Tensor) -> Tensor:
        """Return where to sample, [N·G, σH, σW, 2] in the coordinates of grid_sample; x before y."""
        h, w = features.shape[-2:]
        moved = F.pixel_shuffle(self.offset(features).float(), self.scale) * 0.25
        moved = moved.unflatten(1, (2, self.groups)).permute(0, 2, 3, 4, 1).flatten(0, 1)  # [N·G, σH, σW, 2]
        # Output pixel o's centre lies at (o + ½)/σ source pixels, the picture's edges at 0 and its size.
        y, x = (
            (torch.arange(size * self.scale, device=features.device) + 0.5) / self.scale for size in (h, w)
        )
        own = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # [σH, σW, 2]
        return 2 * (own + moved) / own.new_tensor([w, h]) - 1

    def _split(self, features: Tensor) -> Tensor:
        n, c, h, w = features.shape
        return features.reshape(n * self.groups, c // self.groups, h, w)

    def _sample(self, x: Tensor, points: Tensor) -> Tensor:
        return F.grid_sample(x.float(), points, "bilinear", "border", align_corners=False)

    def _joined(self, output: Tensor, features: Tensor) -> Tensor:
        n, c, h, w = features.shape
        joined = output.reshape(n, c, h * self.scale, w * self.scale).to(features.dtype)
        return joined.contiguous(memory_format=memory_format_of(features))


UPSAMPLERS: dict[str, Callable[..., Upsampler]] = {
    "carafe": CarafeUpsample,
    "carafe_sigmoid": partial(CarafeUpsample, normalizer="sigmoid"),
    "carafe_sigmoid_normalized": partial(CarafeUpsample, normalizer="sigmoid_normalized"),
    "nearest": NearestUpsample,
    "bilinear": BilinearUpsample,
    "nearest_conv": NearestConvUpsample,
    "bilinear_conv": BilinearConvUpsample,
    "deconv": DeconvUpsample,
    "pixel_shuffle": PixelShuffleUpsample,
    "dysample": DySampleUpsample,
}


def build_upsampler(name: str, channels: int, scale: int = 2, compressed_channels: int = 64) -> Upsampler:
    """Return a new upsampler by name; `forward(features, valid=None) -> (features, valid)`.

    Args:
        name: one of `UPSAMPLERS`.
        channels: of the features.
        scale: σ.
        compressed_channels: C_m of CARAFE; the others do not use it.

    Raises:
        ValueError: the name is none of `UPSAMPLERS`.

    >>> result, _ = build_upsampler("bilinear", channels=8)(torch.zeros(1, 8, 5, 5))
    >>> result.shape
    torch.Size([1, 8, 10, 10])
    >>> build_upsampler("cubic", channels=8)
    Traceback (most recent call last):
    ValueError: unknown upsampler 'cubic'; choose one of carafe, carafe_sigmoid, carafe_sigmoid_normalized, \
nearest, bilinear, nearest_conv, bilinear_conv, deconv, pixel_shuffle, dysample
    """
    if name not in UPSAMPLERS:
        raise ValueError(f"unknown upsampler {name!r}; choose one of {', '.join(UPSAMPLERS)}")
    settings: dict[str, Any] = {}
    if name.startswith("carafe"):
        settings["compressed_channels"] = compressed_channels
    return UPSAMPLERS[name](channels, scale, **settings)
