"""A backbone that learns on one core within minutes: torchvision's RegNet, small."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn
from torchvision.models.regnet import BlockParams, RegNet

WIDTHS = [32, 48, 64, 96]  # channels of the four levels


def small_regnet(norm_layer: Callable[..., nn.Module], first_stride: int = 2) -> nn.Sequential:
    """Return a RegNet of a block a stage, without its classifier, with fresh weights.

    Args:
        norm_layer: torchvision's normalisation.
        first_stride: of the first stage. With 2 the stages `block1` to `block4` are 1/4 to 1/32 of the
            picture's size, with 1 they are 1/2 to 1/16.
    """
    parameters = BlockParams(
        depths=[1, 1, 1, 1],
        widths=WIDTHS,
        group_widths=WIDTHS,  # one group: plain convolutions
        bottleneck_multipliers=[1.0] * 4,
        strides=[first_stride, 2, 2, 2],
    )
    network = RegNet(parameters, stem_width=16, norm_layer=norm_layer)
    return nn.Sequential(OrderedDict(stem=network.stem, **dict(network.trunk_output.named_children())))
