"""Upsamplers of one contract, so that a network or an ablation names one by a word."""

from .attention import SpatialAttentionUpsample
from .base import Upsampler
from .building import UPSAMPLERS, build_upsampler, check_upsampler_settings
from .carafe import CarafeUpsample
from .dysample import DySampleUpsample
from .guided import GuidedUpsample

__all__ = [
    "UPSAMPLERS",
    "CarafeUpsample",
    "DySampleUpsample",
    "GuidedUpsample",
    "SpatialAttentionUpsample",
    "Upsampler",
    "build_upsampler",
    "check_upsampler_settings",
]
