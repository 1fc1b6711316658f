"""The parts of a network that probes look at: CARAFE's levels, and the merges with skips."""

from __future__ import annotations

from torch import nn

from ...layers import CarafeUpsample
from ..partial_conv_unet import PartialConvUNet
from ..pyramid_unet import PyramidUNet


def carafe_levels(network: nn.Module) -> dict[str, CarafeUpsample]:
    """Return the CARAFE upsamplers of any network, by level."""
    return {
        name.removesuffix(".upsample"): module
        for name, module in network.named_modules()
        if isinstance(module, CarafeUpsample)
    }


def kernel_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the weights that predict CARAFE's kernels: those of all content encoders."""
    return [
        weight for part in carafe_levels(network).values() for weight in part.content_encoder.parameters()
    ]


def merging_levels(network: nn.Module) -> dict[str, nn.Module]:
    """Return the decoder's levels that join a skip to what comes from below.

    They run from coarse to fine, each twice as large as the one before it. A network without skips has none.
    """
    if not isinstance(network, PartialConvUNet | PyramidUNet):
        return {}
    levels = {f"decoder.{number}": level for number, level in enumerate(network.decoder)}
    return {**levels, "head": network.head}


def kernel_shape(module: CarafeUpsample) -> tuple[int, int, int]:
    """Return the shape of the kernels of a level: [groups, k², σ²]."""
    return module.groups, module.up_kernel**2, module.scale**2
