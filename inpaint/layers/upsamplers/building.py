"""Upsamplers by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from functools import partial

from .attention import SpatialAttentionUpsample
from .base import Upsampler
from .carafe import CarafeUpsample
from .convolutional import BilinearConvUpsample, DeconvUpsample, NearestConvUpsample, PixelShuffleUpsample
from .dysample import DySampleUpsample
from .guided import GuidedUpsample
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
    "gum": GuidedUpsample,
    "spatial_attention": SpatialAttentionUpsample,
    "dysample": DySampleUpsample,
}
"""Upsamplers by name; plug-ins add theirs (`inpaint.plugins`)."""


def build_upsampler(
    name: str,
    channels: int,
    scale: int = 2,
    compressed_channels: int = 64,
    *,
    up_kernel: int | None = None,
    encoder_kernel: int | None = None,
    groups: int | None = None,
) -> Upsampler:
    """Return a new upsampler by name: `up(features)` is a Tensor, `up(features, valid)` the pair.

    Args:
        name: one of `UPSAMPLERS`.
        channels: of the features.
        scale: σ.
        compressed_channels: C_m of CARAFE and GUM; the others do not use it.
        up_kernel: the reassembly kernel of CARAFE. None, here and below: the upsampler's own default.
        encoder_kernel: of the convolutions that predict: of CARAFE, GUM and spatial attention.
        groups: of channels with kernels or points of their own: of CARAFE and DySample.

    Raises:
        ValueError: the name is none of `UPSAMPLERS`, the upsampler has no such setting, or cannot have this
            value of it.

    >>> import torch
    >>> build_upsampler("bilinear", channels=8)(torch.zeros(1, 8, 5, 5)).shape
    torch.Size([1, 8, 10, 10])
    >>> build_upsampler("nearest", channels=8, up_kernel=7)
    Traceback (most recent call last):
    ValueError: the upsampler nearest has no up_kernel; carafe, carafe_sigmoid, carafe_sigmoid_normalized have
    >>> build_upsampler("cubic", channels=8)
    Traceback (most recent call last):
    ValueError: unknown upsampler 'cubic'; choose one of carafe, carafe_sigmoid, carafe_sigmoid_normalized, \
nearest, bilinear, nearest_conv, bilinear_conv, deconv, pixel_shuffle, gum, spatial_attention, dysample
    """
    settings = {"up_kernel": up_kernel, "encoder_kernel": encoder_kernel, "groups": groups}
    given = {setting: value for setting, value in settings.items() if value is not None}
    check_upsampler_settings(name, given)
    if has_setting(name, "compressed_channels"):
        given["compressed_channels"] = compressed_channels
    upsampler = UPSAMPLERS[name](channels, scale, **given)
    if not isinstance(upsampler, Upsampler):  # of a plug-in
        raise ValueError(f"the upsampler {name} is a {type(upsampler).__name__}, no inpaint.layers.Upsampler")
    return upsampler


def check_upsampler_settings(name: str, settings: Collection[str]) -> None:
    """Raise ValueError unless there is an upsampler of this name that has all of these settings."""
    if name not in UPSAMPLERS:
        raise ValueError(f"unknown upsampler {name!r}; choose one of {', '.join(UPSAMPLERS)}")
    for setting in settings:
        if not has_setting(name, setting):
            others = [other for other in UPSAMPLERS if has_setting(other, setting)]
            raise ValueError(f"the upsampler {name} has no {setting}; {', '.join(others)} have")


def has_setting(name: str, setting: str) -> bool:
    """Return whether the upsampler of this name takes a setting.

    >>> has_setting("carafe", "up_kernel"), has_setting("deconv", "up_kernel")
    (True, False)
    """
    return setting in inspect.signature(UPSAMPLERS[name]).parameters
