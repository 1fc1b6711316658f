"""Layers that carry validity: partial convolution, upsamplers of one contract, downsampling."""

from .directional import LINE_FEATURES, LINES, directional_candidates
from .downsample import CarafeDownsample
from .norm import ChannelNorm
from .partial_conv import Hole, PartialConv2d
from .push_pull import coarsest_fill, halved, known_averages, push_pull, raised
from .upsamplers import (
    UPSAMPLERS,
    CarafeUpsample,
    Upsampler,
    build_upsampler,
    check_upsampler_settings,
)

__all__ = [
    "LINES",
    "LINE_FEATURES",
    "UPSAMPLERS",
    "CarafeDownsample",
    "CarafeUpsample",
    "ChannelNorm",
    "Hole",
    "PartialConv2d",
    "Upsampler",
    "build_upsampler",
    "check_upsampler_settings",
    "coarsest_fill",
    "directional_candidates",
    "halved",
    "known_averages",
    "push_pull",
    "raised",
]
