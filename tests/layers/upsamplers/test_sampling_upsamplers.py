"""DySample and GUM: bilinear samples at predicted points."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from partial_conv_oracle import Array, array
from torch import Tensor, nn
from upsampler_examples import known, upsampler

from inpaint.layers import build_upsampler
from inpaint.layers.upsamplers import DySampleUpsample, GuidedUpsample


def sample_by_loops(x: Array, valid: Array | None, offsets: Array, scale: int) -> tuple[Array, Array]:
    """Bilinear samples pixel by pixel: x [C, H, W], offsets [2·G·σ², H, W] in source pixels.

    Returns the output [C, σH, σW] and each group's known mass [G, σH, σW].
    """
    channels, height, width = x.shape
    groups = len(offsets) // (2 * scale**2)
    depth = channels // groups
    output = np.zeros((channels, height * scale, width * scale))
    left = np.zeros((groups, height * scale, width * scale))
    for group, oy, ox in np.ndindex(groups, height * scale, width * scale):
        sub = oy % scale * scale + ox % scale
        read = (slice(None), oy // scale, ox // scale)
        move_x, move_y = offsets[read].reshape(2, groups, -1)[:, group, sub]
        # In source pixels whose centres are whole numbers; beyond the border lies what is at it.
        py = np.clip((oy + 0.5) / scale + move_y - 0.5, 0, height - 1)
        px = np.clip((ox + 0.5) / scale + move_x - 0.5, 0, width - 1)
        own = slice(group * depth, (group + 1) * depth)
        mass, total = 0.0, np.zeros(depth)
        for ny in (int(np.floor(py)), int(np.floor(py)) + 1):
            for nx in (int(np.floor(px)), int(np.floor(px)) + 1):
                weight = max(0.0, 1 - abs(py - ny)) * max(0.0, 1 - abs(px - nx))
                if weight == 0:
                    continue
                known = 1.0 if valid is None else valid[0, ny, nx]
                mass, total = mass + weight * known, total + weight * known * x[own, ny, nx]
        output[own, oy, ox] = total / mass if mass > 0 else 0
        left[group, oy, ox] = mass
    return output, left


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("kind", [None, "binary", "soft"])
def test_dysample_equals_its_definition(scale: int, kind: str | None) -> None:
    layer, x = build_upsampler("dysample", 8, scale).double(), torch.randn(2, 8, 5, 6).double()
    assert isinstance(layer, DySampleUpsample) and layer.groups == 4
    nn.init.normal_(layer.offset.weight)
    valid = None if kind is None else known(kind, 2, 5, 6)
    output, left = (layer(x), None) if valid is None else layer(x, valid)
    seen = x if valid is None else torch.where(valid > 0, x, 0)
    offsets = F.conv2d(seen, layer.offset.weight, layer.offset.bias)
    for i in range(2):
        known_of = None if valid is None else array(valid[i])
        wanted, mass = sample_by_loops(array(x[i]), known_of, array(offsets[i]) / 4, scale)
        # By a rounding error a point on a pixel lies beside it, and sees a little of the next.
        clear = torch.from_numpy(mass > 1e-4).repeat_interleave(2, 0)
        assert clear.any()
        torch.testing.assert_close(output[i][clear], torch.from_numpy(wanted)[clear], rtol=1e-3, atol=1e-3)
        if left is not None:
            wanted_left = torch.from_numpy(mass.mean(0, keepdims=True))
            torch.testing.assert_close(left[i].double(), wanted_left, rtol=1e-4, atol=1e-4)


def test_dysample_without_offsets_is_bilinear() -> None:
    layer, x = build_upsampler("dysample", 6), torch.randn(1, 6, 5, 7)
    assert isinstance(layer, DySampleUpsample) and layer.groups == 2
    nn.init.zeros_(layer.offset.weight)
    torch.testing.assert_close(layer(x), build_upsampler("bilinear", 6)(x))


def test_dysample_takes_groups_that_divide_the_channels() -> None:
    layer = build_upsampler("dysample", 6, groups=3)
    assert isinstance(layer, DySampleUpsample) and layer.offset.out_channels == 2 * 3 * 4


def guidance_by_hand(layer: GuidedUpsample, x: Tensor) -> Tensor:
    """The guidance module written out: which kernels, paddings and rectifiers it has."""
    first, *dilated, last = (part for part in layer.guidance if isinstance(part, nn.Conv2d))
    y = F.relu(F.conv2d(x, first.weight, first.bias))
    for conv, dilation in zip(dilated, (1, 2, 4), strict=True):
        y = F.relu(F.conv2d(y, conv.weight, conv.bias, padding=dilation, dilation=dilation))
    return F.conv2d(y, last.weight, last.bias, padding=1)


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("kind", [None, "binary", "soft"])
def test_gum_equals_its_definition(scale: int, kind: str | None) -> None:
    layer, x = upsampler("gum", 4, scale).double(), torch.randn(2, 4, 5, 6).double()
    assert isinstance(layer, GuidedUpsample)
    valid = None if kind is None else known(kind, 2, 5, 6)
    output, left = (layer(x), None) if valid is None else layer(x, valid)
    offsets = guidance_by_hand(layer, x if valid is None else torch.where(valid > 0, x, 0))
    assert offsets.abs().max() > 0.5  # it does sample elsewhere
    for i in range(2):
        known_of = None if valid is None else array(valid[i])
        wanted, mass = sample_by_loops(array(x[i]), known_of, array(offsets[i]), scale)
        clear = torch.from_numpy(mass > 1e-6).expand(4, -1, -1)
        torch.testing.assert_close(output[i][clear], torch.from_numpy(wanted)[clear])
        if left is not None:
            torch.testing.assert_close(left[i].double(), torch.from_numpy(mass))


def test_gum_without_offsets_is_bilinear() -> None:
    layer, x = build_upsampler("gum", 6, 3), torch.randn(1, 6, 5, 7)
    assert isinstance(layer, GuidedUpsample)
    nn.init.zeros_(layer.guidance[-1].weight)
    torch.testing.assert_close(layer(x), build_upsampler("bilinear", 6, 3)(x))


def test_gum_begins_as_bilinear_nearly() -> None:
    x = torch.randn(1, 16, 12, 12)
    difference = build_upsampler("gum", 16)(x) - build_upsampler("bilinear", 16)(x)
    assert 0 < difference.std() < 0.05


def test_gum_sees_seventeen_pixels_around() -> None:
    layer, x = upsampler("gum", 2), torch.randn(1, 2, 25, 25, requires_grad=True)
    assert isinstance(layer, GuidedUpsample)
    for part in layer.guidance:
        if isinstance(part, nn.Conv2d):  # positive, so that no rectifier is shut
            nn.init.constant_(part.weight, 0.1)
            nn.init.ones_(part.bias)
    (seen,) = torch.autograd.grad(layer.offsets(x)[..., 24:26, 24:26].sum(), x)
    reached = seen[0].abs().sum(0).nonzero()
    assert (reached.amin(0).tolist(), reached.amax(0).tolist()) == ([4, 4], [20, 20])


@pytest.mark.parametrize("name", ["gum", "dysample"])
@pytest.mark.parametrize("kind", [None, "soft"])
def test_gradients_are_those_of_differences(name: str, kind: str | None) -> None:
    layer = upsampler(name, 4).double()
    valid = None if kind is None else known(kind, 1, 4, 3).double()

    def forward(x: Tensor, *_: Tensor) -> Tensor:
        return layer(x) if valid is None else layer(x, valid)[0]

    x = torch.randn(1, 4, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(forward, (x, *layer.parameters()), fast_mode=True)
