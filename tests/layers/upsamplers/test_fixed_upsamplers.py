"""Upsamplers whose weights are the same at every pixel, each by its formula in plain loops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from partial_conv_oracle import Array, array, soft, window_sums
from torch import Tensor
from upsampler_examples import known, upsampler

from inpaint.layers import build_upsampler

scales = pytest.mark.parametrize("scale", [1, 2, 3, 4])


def assert_equals(result: tuple[Tensor, Tensor], wanted: tuple[Array, Array]) -> None:
    for tensor, expected in zip(result, wanted, strict=True):
        torch.testing.assert_close(tensor.double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-5)


def slow_nearest(x: Array, valid: Array, scale: int) -> tuple[Array, Array]:
    x = np.where(valid > 0, x, 0)
    return (
        x.repeat(scale, axis=2).repeat(scale, axis=3),
        valid.repeat(scale, axis=2).repeat(scale, axis=3),
    )


def slow_bilinear(x: Array, valid: Array, scale: int) -> tuple[Array, Array]:
    """y = Σ w·v·x / Σ w·v and v' = Σ w·v over the four neighbours, the image's edge repeated."""
    batch, channels, height, width = x.shape
    out = np.zeros((batch, channels, height * scale, width * scale))
    share = np.zeros((batch, 1, height * scale, width * scale))
    for n, oy, ox in np.ndindex(batch, height * scale, width * scale):
        sy, sx = max((oy + 0.5) / scale - 0.5, 0), max((ox + 0.5) / scale - 0.5, 0)
        y0, x0 = int(sy), int(sx)
        total = np.zeros(channels)
        for py, px, w in (
            (y0, x0, (1 - sy + y0) * (1 - sx + x0)),
            (y0, x0 + 1, (1 - sy + y0) * (sx - x0)),
            (y0 + 1, x0, (sy - y0) * (1 - sx + x0)),
            (y0 + 1, x0 + 1, (sy - y0) * (sx - x0)),
        ):
            py, px = min(py, height - 1), min(px, width - 1)
            v = valid[n, 0, py, px]
            if v > 0:
                total += w * v * x[n, :, py, px]
                share[n, 0, oy, ox] += w * v
        if share[n, 0, oy, ox] > 0:
            out[n, :, oy, ox] = total / share[n, 0, oy, ox]
    return out, share


def slow_deconv(x: Array, valid: Array, scale: int, weight: Array, bias: Array) -> tuple[Array, Array]:
    """Each source pixel paints a 2σ×2σ patch; an output pixel is scaled up by 4 / (known patches over it)."""
    batch, channels, height, width = x.shape
    size = 2 * scale
    sums = np.zeros((batch, channels, (height + 1) * scale, (width + 1) * scale))
    mass = np.zeros((batch, 1, *sums.shape[2:]))
    for n, y, column in np.ndindex(batch, height, width):
        v = valid[n, 0, y, column]
        if v > 0:
            patch = (slice(y * scale, y * scale + size), slice(column * scale, column * scale + size))
            sums[(n, slice(None), *patch)] += np.einsum("c,cdij->dij", x[n, :, y, column] * v, weight)
            mass[(n, 0, *patch)] += v
    first = scale // 2
    kept = (..., slice(first, first + height * scale), slice(first, first + width * scale))
    sums, mass = sums[kept], mass[kept]
    means = sums * 4 / np.where(mass > 0, mass, 1) + bias[None, :, None, None]
    return np.where(mass > 0, means, 0), np.clip(mass, 0, 1)


def slow_pixel_shuffle(x: Array, valid: Array, scale: int, weight: Array, bias: Array) -> tuple[Array, Array]:
    many, left = soft(window_sums(x, valid, weight, padding=1), bias)
    batch, channels, height, width = x.shape
    out = np.zeros((batch, channels, height * scale, width * scale))
    for n, c, oy, ox in np.ndindex(out.shape):
        out[n, c, oy, ox] = many[n, c * scale**2 + oy % scale * scale + ox % scale, oy // scale, ox // scale]
    return out, left.repeat(scale, axis=2).repeat(scale, axis=3)


Slow = Callable[[Any, Array, Array, int], tuple[Array, Array]]
FORMULAS: dict[str, Slow] = {
    "nearest": lambda layer, x, v, s: slow_nearest(x, v, s),
    "bilinear": lambda layer, x, v, s: slow_bilinear(x, v, s),
    "deconv": lambda layer, x, v, s: slow_deconv(x, v, s, array(layer.conv.weight), array(layer.conv.bias)),
    "pixel_shuffle": lambda layer, x, v, s: slow_pixel_shuffle(
        x, v, s, array(layer.conv.weight), array(layer.conv.bias)
    ),
    "nearest_conv": lambda layer, x, v, s: soft(
        window_sums(*slow_nearest(x, v, s), array(layer.conv.weight), padding=1), array(layer.conv.bias)
    ),
    "bilinear_conv": lambda layer, x, v, s: soft(
        window_sums(*slow_bilinear(x, v, s), array(layer.conv.weight), padding=1), array(layer.conv.bias)
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
@scales
@pytest.mark.parametrize("kind", ["binary", "soft", "all", "none"])
def test_the_masked_form_equals_its_formula(name: str, scale: int, kind: str) -> None:
    layer = upsampler(name, 2, scale)
    x, valid = torch.randn(1, 2, 3, 5), known(kind, 1, 3, 5)
    if "bilinear" in name and scale == 3:
        # torch's weights of thirds are not exactly 0 on a source pixel, so a trace of its neighbour is known.
        valid = valid.clamp(min=0.1)
    assert_equals(layer(x, valid), FORMULAS[name](layer, array(x), array(valid), scale))


@scales
def test_bilinear_carries_a_valid_that_is_exactly_one_where_all_is_known(scale: int) -> None:
    _, left = build_upsampler("bilinear", 1, scale)(torch.zeros(1, 1, 7, 9), torch.ones(1, 1, 7, 9))
    assert (left <= 1).all()
    torch.testing.assert_close(left, torch.ones_like(left))
