"""Upsamplers by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .base import Upsampler
from .carafe import CarafeUpsample
from .convolutional import BilinearConvUpsample, DeconvUpsample, NearestConvUpsample, PixelShuffleUpsample
from .dysample import DySampleUpsample
from .interpolation import BilinearUpsample, NearestUpsample

UPSAMPLERS: dict[str, Callable[..., Upsampler]] = {
    "carafe": CarafeUpsample,
    "carafe_sigmoid": partial(CarafeUpsample, normalizer="sigmoid"),
    "carafe_sigmoid_normalized": partial(CarafeUpsample, normalizer="sigmoid_normalized"),
    "nearest": NearestUpsample,
    "bilinear": BilinearUpsample,
    "nearest_conv": NearestConvUpsample,
    "bilinear_conv": BilinearConvUpsample,
    "deconv": DeconvUpsample,
    "pixel_shuffle": PixelShuffleUpsample,
    "dysample": DySampleUpsample,
}


def build_upsampler(name: str, channels: int, scale: int = 2, compressed_channels: int = 64) -> Upsampler:
    """Return a new upsampler by name; `forward(features, valid=None) -> (features, valid)`.

    Args:
        name: one of `UPSAMPLERS`.
        channels: of the features.
        scale: σ.
        compressed_channels: C_m of CARAFE; the others do not use it.

    Raises:
        ValueError: the name is none of `UPSAMPLERS`.

    >>> import torch
    >>> result, _ = build_upsampler("bilinear", channels=8)(torch.zeros(1, 8, 5, 5))
    >>> result.shape
    torch.Size([1, 8, 10, 10])
    >>> build_upsampler("cubic", channels=8)
    Traceback (most recent call last):
    ValueError: unknown upsampler 'cubic'; choose one of carafe, carafe_sigmoid, carafe_sigmoid_normalized, \
nearest, bilinear, nearest_conv, bilinear_conv, deconv, pixel_shuffle, dysample
    """
    if name not in UPSAMPLERS:
        raise ValueError(f"unknown upsampler {name!r}; choose one of {', '.join(UPSAMPLERS)}")
    settings: dict[str, Any] = {}
    if name.startswith("carafe"):
        settings["compressed_channels"] = compressed_channels
    return UPSAMPLERS[name](channels, scale, **settings)
