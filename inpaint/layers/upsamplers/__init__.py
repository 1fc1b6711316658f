"""Upsamplers of one shape, so that a network or an ablation names one by a word."""

from .base import Upsampler
from .building import UPSAMPLERS, build_upsampler
from .carafe import CarafeUpsample
from .dysample import DySampleUpsample

__all__ = ["UPSAMPLERS", "CarafeUpsample", "DySampleUpsample", "Upsampler", "build_upsampler"]
