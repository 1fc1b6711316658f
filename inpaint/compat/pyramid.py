"""torchvision's feature pyramid with CARAFE in its top-down path."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from inpaint.layers import CarafeUpsample
from inpaint.layers.scripting import NotScriptable

SCALE = 2  # between the levels of a pyramid


class CarafeFeaturePyramid(NotScriptable, FeaturePyramidNetwork):
    """torchvision's `FeaturePyramidNetwork` with CARAFE in place of nearest interpolation.

    Each level but the topmost has an upsampler of its own, as in the CARAFE paper. Everything else is
    torchvision's, and so are the names of its weights. A level may have an odd size: what is upsampled from
    the level above is cut to it at the right and at the bottom. Output pixel o is made from source pixel
    ⌊o/2⌋, so a cut moves nothing.

    Args:
        in_channels_list: of the levels, the finest first.
        out_channels: of every result.
        extra_blocks: torchvision's extra levels.
        norm_layer: torchvision's normalisation.
        **settings: of `inpaint.layers.CarafeUpsample`, such as `compressed_channels`.

    >>> import torch
    >>> pyramid = CarafeFeaturePyramid([8, 16], out_channels=4)
    >>> levels = {"fine": torch.zeros(1, 8, 7, 10), "coarse": torch.zeros(1, 16, 4, 5)}
    >>> [tuple(level.shape) for level in pyramid(levels).values()]
    [(1, 4, 7, 10), (1, 4, 4, 5)]
    """

    upsamplers: nn.ModuleList

    def __init__(
        self,
        in_channels_list: list[int],
        out_channels: int,
        extra_blocks: ExtraFPNBlock | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(in_channels_list, out_channels, extra_blocks, norm_layer)
        self.upsamplers = make_upsamplers(self, **settings)

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the pyramid of feature maps of all levels, the finest first.

        Args:
            x: the backbone's levels, the finest first, each half as large as the one before.

        Raises:
            ValueError: a level is neither twice as large as the one above it nor one pixel less.
        """
        names, levels = list(x.keys()), list(x.values())
        summed = self.inner_blocks[-1](levels[-1])
        results = [self.layer_blocks[-1](summed)]
        for index in range(len(levels) - 2, -1, -1):
            lateral = self.inner_blocks[index](levels[index])
            summed = lateral + self.upsamplers[index](summed, size=lateral.shape[-2:])
            results.insert(0, self.layer_blocks[index](summed))
        if self.extra_blocks is not None:
            results, names = self.extra_blocks(results, levels, names)
        return OrderedDict(zip(names, results, strict=False))


def make_upsamplers(pyramid: FeaturePyramidNetwork, **settings: Any) -> nn.ModuleList:
    """Return new upsamplers for all levels but the topmost; `settings` are those of `CarafeUpsample`."""
    channels = channels_of(pyramid)
    return nn.ModuleList(CarafeUpsample(channels, SCALE, **settings) for _ in pyramid.inner_blocks[1:])


def channels_of(pyramid: FeaturePyramidNetwork) -> int:
    """Return how many channels the results of a pyramid have."""
    return next(m.out_channels for m in pyramid.inner_blocks.modules() if isinstance(m, nn.Conv2d))


def give_upsamplers(pyramid: FeaturePyramidNetwork, upsamplers: nn.ModuleList) -> None:
    """Make torchvision's pyramid a `CarafeFeaturePyramid` in place, so that weights and hooks stay."""
    pyramid.upsamplers = upsamplers
    pyramid.__class__ = CarafeFeaturePyramid
