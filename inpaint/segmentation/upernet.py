"""UperNet (Xiao et al., Unified Perceptual Parsing, ECCV 2018), with a choice of upsamplers.

It upsamples in three places: in the pyramid pooling module, in the top-down path of the feature pyramid, and
where the pyramid's levels are fused. UperNet interpolates bilinearly in all of them, straight to the size
that is wanted. An upsampler by a fixed factor takes their place as in the CARAFE paper:

- pyramid pooling: bilinear to half the size, as the factor is large, and the upsampler from there;
- top-down path: the upsampler, from level to level;
- fusion: one level at a time. The coarsest is upsampled and concatenated with the next one, both are
  upsampled and concatenated with the next, and so on, which gives the same channels in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops import Conv2dNormActivation

from inpaint.layers import build_upsampler

SCALE = 2  # between the levels of a backbone


class _Bilinear(nn.Module):
    """Bilinear interpolation to any size, called as an upsampler is."""

    def forward(self, x: Tensor, *, size: Sequence[int]) -> Tensor:
        return _bilinear(x, size)


def _bilinear(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def _upsampler(name: str, channels: int, settings: Mapping[str, Any]) -> nn.Module:
    return _Bilinear() if name == "bilinear" else build_upsampler(name, channels, SCALE, **settings)


def _conv(channels: int, width: int, kernel: int) -> nn.Module:
    return Conv2dNormActivation(channels, width, kernel)


class PyramidPooling(nn.Module):
    """Pyramid pooling (Zhao et al., PSPNet, CVPR 2017): averages of 1, 2², 3² and 6² cells, and the features.

    Args:
        channels: of the features.
        width: channels of each average, and of the result.
        scales: into how many cells a side is divided.
        upsampler: `bilinear`, or a name of `inpaint.layers.build_upsampler`.
        **settings: of `build_upsampler`.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        scales: Sequence[int] = (1, 2, 3, 6),
        upsampler: str = "bilinear",
        **settings: Any,
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.reductions = nn.ModuleList(_conv(channels, width, 1) for _ in scales)
        self.upsamplers = nn.ModuleList(_upsampler(upsampler, width, settings) for _ in scales)
        self.bottleneck = _conv(channels + len(scales) * width, width, 3)

    def forward(self, features: Tensor) -> Tensor:
        """Return [N, width, H, W] for features [N, C, H, W]."""
        size = features.shape[-2:]
        parts = [features]
        for scale, reduction, up in zip(self.scales, self.reductions, self.upsamplers, strict=True):
            pooled = reduction(F.adaptive_avg_pool2d(features, scale))
            if not isinstance(up, _Bilinear):
                pooled = _bilinear(pooled, [-(-side // SCALE) for side in size])
            parts.append(up(pooled, size=size))
        return self.bottleneck(torch.cat(parts, 1))


class UperNet(nn.Module):
    """UperNet for one task: a class for each pixel.

    In training a batch must have two pictures or more: batch normalisation sees one value of each in the
    average over the whole picture.

    Args:
        backbone: from a picture [N, 3, H, W] to a dict of levels, the finest first, each half as large as the
            one before, odd sizes rounded up.
        channels: of these levels.
        classes: number of them.
        width: channels of every level of the pyramid; 512 in the paper's code.
        ppm: the upsampler of the pyramid pooling module: `bilinear`, which is UperNet's, or another name of
            `inpaint.layers.build_upsampler`.
        fpn: that of the top-down path.
        fuse: that of the fusion.
        dropout: of whole channels before the last convolution.
        **settings: of `build_upsampler`, such as `compressed_channels`.

    Raises:
        ValueError: no upsampler has such a name or setting.
    """

    def __init__(
        self,
        backbone: nn.Module,
        channels: Sequence[int],
        classes: int,
        width: int = 512,
        *,
        ppm: str = "bilinear",
        fpn: str = "bilinear",
        fuse: str = "bilinear",
        dropout: float = 0.1,
        **settings: Any,
    ) -> None:
        super().__init__()
        *finer, coarsest = channels
        count = len(finer)
        self.backbone = backbone
        self.pooling = PyramidPooling(coarsest, width, upsampler=ppm, **settings)
        self.laterals = nn.ModuleList(_conv(c, width, 1) for c in finer)
        self.smoothing = nn.ModuleList(_conv(width, width, 3) for _ in finer)
        self.top_down = nn.ModuleList(_upsampler(fpn, width, settings) for _ in finer)
        # Upsampler i takes what is joined of all the levels above level i.
        self.fusion = nn.ModuleList(_upsampler(fuse, (count - i) * width, settings) for i in range(count))
        self.bottleneck = _conv((count + 1) * width, width, 3)
        self.classifier = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(width, classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [N, classes, H, W] for a picture [N, 3, H, W], normalised for the backbone."""
        levels = list(self.backbone(image).values())
        logits = self.classifier(self.bottleneck(self._fused(self._pyramid(levels))))
        return _bilinear(logits, image.shape[-2:])

    def _pyramid(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the pyramid's levels, the finest first, from those of the backbone."""
        summed = self.pooling(levels[-1])
        pyramid = [summed]
        for index in reversed(range(len(self.laterals))):
            lateral = self.laterals[index](levels[index])
            summed = lateral + self.top_down[index](summed, size=lateral.shape[-2:])
            pyramid.insert(0, self.smoothing[index](summed))
        return pyramid

    def _fused(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Return all levels at the size of the finest, concatenated, the finest first."""
        finest, *coarser = pyramid
        if isinstance(self.fusion[0], _Bilinear):
            return torch.cat(
                [finest, *(self.fusion[0](level, size=finest.shape[-2:]) for level in coarser)], 1
            )
        joined = pyramid[-1]
        for level, up in zip(reversed(pyramid[:-1]), reversed(self.fusion), strict=True):
            joined = torch.cat([level, up(joined, size=level.shape[-2:])], 1)
        return joined


def upernet(
    classes: int,
    backbone: str = "resnet50",
    upsampler: str = "carafe",
    *,
    weights: Any = None,
    width: int = 512,
    **settings: Any,
) -> UperNet:
    """Return an `UperNet` on one of torchvision's ResNets, with one upsampler in all three places.

    Args:
        classes: number of them.
        backbone: a name in `torchvision.models` with the parts of a ResNet, such as `resnext50_32x4d`.
        upsampler: `bilinear`, or another name of `inpaint.layers.build_upsampler`.
        weights: torchvision's of the backbone, such as `"DEFAULT"`, which it downloads; None: fresh ones.
        width: channels of every level of the pyramid.
        **settings: `ppm`, `fpn`, `fuse`, each an upsampler for that place alone; `dropout`; and those of
            `build_upsampler`.

    Raises:
        ValueError: the backbone has no such parts, or there is no such upsampler.

    >>> network = upernet(classes=5, backbone="resnet18", width=16, fuse="bilinear").eval()
    >>> network(torch.zeros(1, 3, 70, 101)).shape
    torch.Size([1, 5, 70, 101])
    """
    body = torchvision.models.get_model(backbone, weights=weights)
    stages = [getattr(body, f"layer{number}", None) for number in range(1, 5)]
    if not all(isinstance(stage, nn.Module) for stage in stages):
        raise ValueError(f"upernet: {backbone!r} has no layer1 to layer4; take one of torchvision's ResNets")
    extractor = create_feature_extractor(body, [f"layer{number}" for number in range(1, 5)])
    with torch.no_grad():
        levels = extractor.eval()(torch.zeros(1, 3, 32, 32))
    extractor.train()
    places = {place: settings.pop(place, upsampler) for place in ("ppm", "fpn", "fuse")}
    return UperNet(
        extractor, [level.shape[1] for level in levels.values()], classes, width, **places, **settings
    )
