"""The completion network of Global&Local, with its upsamplers as a part of their own.

Iizuka, Simo-Serra and Ishikawa, Globally and Locally Consistent Image Completion, SIGGRAPH 2017, table 1;
Wang et al., CARAFE, ICCV 2019, section 4.3, puts CARAFE in the place of its two deconvolutions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..layers import ChannelNorm, push_pull
from .base import Network
from .upsampling import UpsamplingConfig, check_upsamplers, level_upsampler


@dataclass(frozen=True)
class GlobalLocalConfig(UpsamplingConfig):
    """The sizes and choices of a `GlobalLocal`. All of it is JSON.

    The upsampler "deconv" is the paper's: transposed convolutions of kernel 4 and stride 2 that halve the
    channels. All others keep the channels, and the convolution behind them takes them down.
    """

    # Channels of the first layer; the layers at half the size have twice, those at a quarter four times as
    # many.
    width: int = 64
    # How far apart the taps of the 3×3 convolutions at a quarter of the size are.
    dilations: tuple[int, ...] = (1, 1, 2, 4, 8, 16, 1, 1)
    # After every convolution but the last. "batch": the paper's. "channel": over the channels of each pixel,
    # whatever the batch. "none": it hardly learns.
    norm: str = "batch"
    # Predict, in the hole, a residual over a smooth fill of it; known pixels are passed on. The paper
    # predicts the whole picture from one whose hole is grey.
    head_start: bool = False


class GlobalLocal(Network):
    """Convolutions down to a quarter of the size, dilated ones there, two upsamplings back.

    It knows of the hole by a fourth channel; what the hole of the input holds influences nothing. Its name
    comes from the two discriminators that it is trained against, `GlobalLocalDiscriminator`.
    """

    def __init__(self, config: GlobalLocalConfig | None = None) -> None:
        settings = config or GlobalLocalConfig()
        super().__init__({"network": "GlobalLocal", **settings.to_json()}, stride=4)
        self.settings = settings
        if self.settings.width < 2 or self.settings.compressed_channels < 1:
            raise ValueError(
                "GlobalLocal: width must be at least 2 and compressed_channels positive, got "
                f"{self.settings.width} and {self.settings.compressed_channels}"
            )
        if not self.settings.dilations or min(self.settings.dilations) < 1:
            raise ValueError(
                f"GlobalLocal: dilations must be positive, at least one, got {self.settings.dilations}"
            )
        full, half, quarter = (self.settings.width * factor for factor in (1, 2, 4))
        if self.settings.norm not in _NORMS:
            raise ValueError(
                f"GlobalLocal: unknown norm {self.settings.norm!r}; choose one of {', '.join(_NORMS)}"
            )
        self.encoder = nn.Sequential(
            self._conv(4, full, kernel_size=5),
            self._conv(full, half, stride=2),
            self._conv(half, half),
            self._conv(half, quarter, stride=2),
        )
        self.middle = nn.Sequential(
            *(self._conv(quarter, quarter, dilation=dilation) for dilation in self.settings.dilations)
        )
        self.up_to_half, channels = self._upsampler(quarter, half)
        self.at_half = self._conv(channels, half)
        self.up_to_full, channels = self._upsampler(half, full)
        self.at_full = self._conv(channels, full // 2)
        check_upsamplers(self, self.settings)
        self.to_image = nn.Conv2d(full // 2, 3, 3, padding=1)
        if self.settings.head_start:  # begin at the smooth fill
            nn.init.normal_(self.to_image.weight, std=1e-2)
            nn.init.zeros_(self.to_image.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture; compositing is the caller's.

        Args:
            image: [N, 3, H, W] in [0, 1]; H and W multiples of `stride`; what the hole holds is never used.
            mask: [N, 1, H, W], 1 (True) = hole.

        Returns:
            [N, 3, H, W] float32, in [0, 1] without the head start, not clamped with it.

        Raises:
            ValueError: shapes do not fit.
        """
        self.check_inputs(image, mask)
        mask = mask.float()
        fill = push_pull(image, 1 - mask) if self.settings.head_start else torch.where(mask > 0, 0.5, image)
        x = torch.cat([2 * fill - 1, mask], dim=1).contiguous(memory_format=torch.channels_last)
        x = self.middle(self.encoder(x))
        x = self.at_half(self.up_to_half(x))
        x = self.at_full(self.up_to_full(x))
        picture = self.to_image(x).float()
        return fill + mask * picture / 2 if self.settings.head_start else picture.sigmoid()

    def _conv(
        self, channels: int, width: int, kernel_size: int = 3, stride: int = 1, dilation: int = 1
    ) -> nn.Module:
        padding = dilation * (kernel_size // 2)
        conv = nn.Conv2d(channels, width, kernel_size, stride, padding, dilation)
        return nn.Sequential(_he(conv), _NORMS[self.settings.norm](width), nn.ReLU(inplace=True))

    def _upsampler(self, channels: int, width: int) -> tuple[nn.Module, int]:
        """Return the upsampling of `channels`, and how many come out of it: `width` or as many as went in."""
        if self.settings.upsampler == "deconv":
            deconv = nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1)
            return nn.Sequential(_he(deconv), _NORMS[self.settings.norm](width), nn.ReLU(inplace=True)), width
        return level_upsampler(self.settings, channels, self.settings.compressed_channels), channels


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "channel": ChannelNorm,
    "none": lambda _: nn.Identity(),
}


def _he(conv: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    """Initialise by He's rule for the rectifier that follows, and return the layer.

    Of a deconvolution's taps an output pixel sees a quarter.
    """
    fan_in = conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1]
    if isinstance(conv, nn.ConvTranspose2d):
        fan_in //= conv.stride[0] * conv.stride[1]
    nn.init.normal_(conv.weight, std=(2 / fan_in) ** 0.5)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv
