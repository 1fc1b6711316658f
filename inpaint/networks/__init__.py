"""Networks, one file per figure in the papers.

A `Network` takes `(image in [0, 1], mask)` and returns the whole predicted picture. `CONFIGS` names some of
their configurations, and `build_network` makes a network of one.
"""

from .base import Network
from .building import CONFIGS, NETWORKS, build_network
from .discriminators import GlobalLocalDiscriminator, PatchDiscriminator
from .global_local import GlobalLocal, GlobalLocalConfig
from .partial_conv_unet import PartialConvUNet, PartialConvUNetConfig
from .pyramid_unet import PyramidUNet, PyramidUNetConfig
from .upsampling import UpsamplingConfig, level_upsampler

__all__ = [
    "CONFIGS",
    "NETWORKS",
    "GlobalLocal",
    "GlobalLocalConfig",
    "GlobalLocalDiscriminator",
    "Network",
    "PartialConvUNet",
    "PartialConvUNetConfig",
    "PatchDiscriminator",
    "PyramidUNet",
    "PyramidUNetConfig",
    "UpsamplingConfig",
    "build_network",
    "level_upsampler",
]
