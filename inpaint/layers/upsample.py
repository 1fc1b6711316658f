"""Upsamplers of one shape: `forward(features, valid=None) -> (features, valid)`, None in, None out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import carafe_fused
from .partial_conv import PartialConv2d, channel_mass, renormalize, select_known


def _repeat(x: Tensor, scale: int) -> Tensor:
    return F.interpolate(x, scale_factor=float(scale), mode="nearest")


class CarafeUpsample(nn.Module):
    """CARAFE (Wang et al., ICCV 2019): predict a k×k kernel for each output pixel, reassemble with it.

    Parts, names and order of channels are those of mmcv's `CARAFEPack`, so its state dicts load unchanged: a 1×1
    `channel_compressor` to C_m channels, a `content_encoder` to k_up²·σ² logits, softmax, reassembly. Given valid,
    features are set to 0 where valid is 0 before kernels are predicted, and the masked reassembly carries valid.
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
        """The paper's: Xavier for the compressor, N(0, 0.001) for the encoder, so kernels start almost flat."""
        nn.init.xavier_uniform_(self.channel_compressor.weight)
        nn.init.normal_(self.content_encoder.weight, std=0.001)
        for conv in (self.channel_compressor, self.content_encoder):
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, features: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """[N, C, H, W] (and valid [N, 1, H, W]) -> [N, C, σH, σW] (and valid [N, 1, σH, σW])."""
        known = features if valid is None else torch.where(valid > 0, features, 0)
        logits = self.content_encoder(self.channel_compressor(known))
        settings = (self.up_kernel, self.groups, self.scale, self.normalizer)
        if valid is None:
            return carafe_fused(known, logits, *settings), None  # type: ignore[return-value]
        return carafe_fused(known, logits, *settings, valid=valid)  # type: ignore[return-value]

    def extra_repr(self) -> str:
        """The numbers that the two convolutions do not show."""
        return f"scale={self.scale}, up_kernel={self.up_kernel}, groups={self.groups}, {self.normalizer}"


class NearestUpsample(nn.Module):
    """Repeats every pixel; valid alike. What is unknown becomes 0."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, features: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """[N, C, H, W] -> [N, C, σH, σW]."""
        if valid is None:
            return _repeat(features, self.scale), None
        return _repeat(torch.where(valid > 0, features, 0), self.scale), _repeat(valid, self.scale)


class BilinearUpsample(nn.Module):
    """Bilinear interpolation; with valid the masked formula y = Σ w·v·x / Σ w·v, v' = Σ w·v."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, features: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """[N, C, H, W] -> [N, C, σH, σW]."""
        if valid is None:
            return self._interpolate(features), None
        share = self._interpolate(valid.float())
        return renormalize(self._interpolate(select_known(features, valid)), share, 1.0, None), share

    def _interpolate(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=float(self.scale), mode="bilinear", align_corners=False)


class _InterpolateConv(nn.Module):
    """Interpolation, then a 3×3 (partial) convolution."""

    interpolation: type[nn.Module]

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.interpolate = self.interpolation(channels, scale)
        self.conv = PartialConv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """[N, C, H, W] -> [N, C, σH, σW]."""
        features, valid = self.interpolate(features, valid)
        if valid is None:
            return F.conv2d(features, self.conv.weight, self.conv.bias, padding=1), None
        return self.conv(features, valid)


class NearestConvUpsample(_InterpolateConv):
    """Nearest, then a 3×3 (partial) convolution."""

    interpolation = NearestUpsample


class BilinearConvUpsample(_InterpolateConv):
    """Bilinear, then a 3×3 (partial) convolution."""

    interpolation = BilinearUpsample


class DeconvUpsample(nn.Module):
    """Transposed (partial) convolution of kernel 2σ and stride σ; every output pixel sees 2×2 source pixels."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.conv = nn.ConvTranspose2d(channels, channels, 2 * scale, scale)
        nn.init.kaiming_normal_(self.conv.weight, a=0.2)
        with torch.no_grad():
            self.conv.weight *= scale  # fan-in as PyTorch counts it includes taps that other pixels use
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """[N, C, H, W] -> [N, C, σH, σW]."""
        if valid is None:
            return self._crop(self.conv(features), features), None
        sums = F.conv_transpose2d(select_known(features, valid), self.conv.weight, stride=self.scale)
        with torch.autocast(valid.device.type, enabled=False):
            ones = torch.ones(1, 1, 2 * self.scale, 2 * self.scale, device=valid.device)
            mass = F.conv_transpose2d(channel_mass([valid], [valid]), ones, stride=self.scale)
        mass = self._crop(mass, features)
        return renormalize(self._crop(sums, features), mass, 4.0, self.conv.bias), mass.clamp(max=1)

    def _crop(self, x: Tensor, source: Tensor) -> Tensor:
        """The (H + 1)·σ rows of the full transposed convolution without σ/2 at either end."""
        first = self.scale // 2
        height, width = source.shape[2] * self.scale, source.shape[3] * self.scale
        return x[:, :, first : first + height, first : first + width]


class PixelShuffleUpsample(nn.Module):
    """A 3×3 (partial) convolution to σ² times the channels, then pixel shuffle."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.conv = PartialConv2d(channels, channels * scale**2, 3, padding=1)

    def forward(self, features: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """[N, C, H, W] -> [N, C, σH, σW]."""
        if valid is None:
            many = F.conv2d(features, self.conv.weight, self.conv.bias, padding=1)
            return F.pixel_shuffle(many, self.scale), None
        many, valid = self.conv(features, valid)
        return F.pixel_shuffle(many, self.scale), _repeat(valid, self.scale)


UPSAMPLERS: dict[str, type[nn.Module]] = {
    "carafe": CarafeUpsample,
    "nearest": NearestUpsample,
    "bilinear": BilinearUpsample,
    "nearest_conv": NearestConvUpsample,
    "bilinear_conv": BilinearConvUpsample,
    "deconv": DeconvUpsample,
    "pixel_shuffle": PixelShuffleUpsample,
}


def build_upsampler(name: str, channels: int, scale: int = 2) -> nn.Module:
    """An upsampler by name; `forward(features, valid=None) -> (features, valid)`.

    Raises:
        ValueError: the name is none of `UPSAMPLERS`.
    """
    if name not in UPSAMPLERS:
        raise ValueError(f"unknown upsampler {name!r}; choose one of {', '.join(UPSAMPLERS)}")
    return UPSAMPLERS[name](channels, scale)
