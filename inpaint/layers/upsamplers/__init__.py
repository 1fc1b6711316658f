"""Upsamplers of one shape, so that a network or an ablation names one by a word."""

from .carafe import UPSAMPLERS, CarafeUpsample, DySampleUpsample, Upsampler, build_upsampler

__all__ = ["UPSAMPLERS", "CarafeUpsample", "DySampleUpsample", "Upsampler", "build_upsampler"]
