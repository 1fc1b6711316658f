from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from partial_conv_oracle import Array, array, soft, window_sums
from torch import Tensor, nn

from inpaint.layers import UPSAMPLERS, CarafeUpsample, Hole, Upsampler, build_upsampler
from inpaint.layers.upsamplers import DySampleUpsample

NAMES = ["carafe", "carafe_sigmoid", "carafe_sigmoid_normalized"]
NAMES += ["nearest", "bilinear", "nearest_conv", "bilinear_conv", "deconv", "pixel_shuffle"]
NAMES += ["gum", "spatial_attention", "dysample"]
names = pytest.mark.parametrize("name", NAMES)
scales = pytest.mark.parametrize("scale", [1, 2, 3, 4])
VALIDS = ["binary", "soft", "all", "none"]
valids = pytest.mark.parametrize("kind", VALIDS)


def upsampler(name: str, channels: int = 3, scale: int = 2) -> Upsampler:
    """Far from its initial weights, so that each of them counts."""
    layer = build_upsampler(name, channels, scale)
    for parameter in layer.parameters():
        # Through GUM's five convolutions, weights of 0.3 would move every point far out of the picture.
        fan_in = parameter[0].numel() if name == "gum" else 1
        nn.init.normal_(parameter, std=min(0.3, fan_in**-0.5))
    return layer


def known(kind: str, batch: int, height: int, width: int) -> Tensor:
    noise = torch.rand(batch, 1, height, width)
    if kind in ("all", "none"):
        return torch.full_like(noise, float(kind == "all"))
    valid = (noise < 0.4).float()
    return valid if kind == "binary" else valid * torch.rand_like(valid)


# ------------------------------------------------------------------------------------------------------------
# What all have in common
# ------------------------------------------------------------------------------------------------------------


def test_the_upsamplers_are_those_of_the_contract() -> None:
    assert set(NAMES) == set(UPSAMPLERS)


@pytest.mark.parametrize("name", UPSAMPLERS)
@scales
@pytest.mark.parametrize(("height", "width"), [(5, 7), (1, 1), (4, 1)])
def test_shapes_and_types(name: str, scale: int, height: int, width: int) -> None:
    layer = upsampler(name, 4, scale)
    x, valid = torch.randn(2, 4, height, width), known("soft", 2, height, width)
    plain = layer(x)
    assert isinstance(plain, Tensor) and plain.shape == (2, 4, height * scale, width * scale)
    output, left = layer(x, valid)
    assert output.shape == plain.shape and output.dtype == torch.float32
    assert left.shape == (2, 1, height * scale, width * scale) and left.dtype == torch.float32
    assert (left >= 0).all() and (left <= 1).all()


@pytest.mark.parametrize("name", UPSAMPLERS)
@scales
def test_all_valid_equals_the_plain_form_away_from_the_border(name: str, scale: int) -> None:
    layer = upsampler(name, 3, scale)
    x = torch.randn(1, 3, 9, 11)
    output, left = layer(x, torch.ones(1, 1, 9, 11))
    inside = (..., slice(3 * scale, -3 * scale), slice(3 * scale, -3 * scale))
    torch.testing.assert_close(output[inside], layer(x)[inside], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(left[inside], torch.ones_like(left[inside]))


@pytest.mark.parametrize("name", UPSAMPLERS)
@pytest.mark.parametrize("kind", ["binary", "soft", "none"])
@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("channels_last", [False, True], ids=["nchw", "channels_last"])
def test_nothing_in_the_hole_changes_a_bit(name: str, kind: str, scale: int, channels_last: bool) -> None:
    layer = upsampler(name, 4, scale)
    x, valid = torch.randn(2, 4, 5, 7), known(kind, 2, 5, 7)
    if channels_last:
        layer, x = (t.to(memory_format=torch.channels_last) for t in (layer, x))
    results = []
    for content in (0.0, torch.nan, torch.inf, 1e30):
        filled = torch.where(valid > 0, x, content).requires_grad_()
        output, left = layer(filled, valid)
        gradients = torch.autograd.grad(output.square().sum(), [filled, *layer.parameters()])
        results.append([output, left, *gradients])
    assert all(torch.isfinite(tensor).all() for tensor in results[0])
    for result in results[1:]:
        assert all(torch.equal(tensor, wanted) for tensor, wanted in zip(result, results[0], strict=True))
    assert not results[0][2][(valid == 0).expand_as(x)].any()


@pytest.mark.parametrize("name", UPSAMPLERS)
@valids
def test_features_are_zero_where_nothing_is_known(name: str, kind: str) -> None:
    layer = upsampler(name)
    output, left = layer(torch.randn(2, 3, 9, 9), known(kind, 2, 9, 9))
    assert not output[(left == 0).expand_as(output)].any()
    if kind == "none":
        assert not left.any()


@pytest.mark.parametrize("name", UPSAMPLERS)
@pytest.mark.parametrize("kind", ["binary", "soft"])
def test_a_kept_promise_about_the_hole_changes_nothing(name: str, kind: str) -> None:
    layer, valid = upsampler(name), known(kind, 2, 5, 7)
    x = torch.randn(2, 3, 5, 7)
    raw, promised = layer(x, valid), layer(torch.where(valid > 0, x, 0), valid, Hole.ZERO)
    assert torch.equal(raw[0], promised[0]) and torch.equal(raw[1], promised[1])


@pytest.mark.parametrize("name", UPSAMPLERS)
@pytest.mark.parametrize("scale", [2, 3])
def test_channels_last_is_kept_and_changes_nothing(name: str, scale: int) -> None:
    layer, valid = upsampler(name, 4, scale), known("soft", 2, 5, 7)
    x = torch.randn(2, 4, 5, 7)
    wanted, wanted_left = layer(x, valid)
    plain = layer(x)
    layer, x = (t.to(memory_format=torch.channels_last) for t in (layer, x))
    output, left = layer(x, valid)
    torch.testing.assert_close(output, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(left, wanted_left)
    torch.testing.assert_close(layer(x), plain, rtol=1e-4, atol=1e-4)
    assert output.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_autocast_keeps_valid_in_float32(name: str) -> None:
    layer = upsampler(name, 8)
    x, valid = torch.randn(1, 8, 6, 5), known("soft", 1, 6, 5)
    wanted, wanted_left = layer(x, valid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, left = layer(x.bfloat16(), valid)
    assert output.dtype == torch.bfloat16 and left.dtype == torch.float32
    scale = wanted.detach().abs().max().item()
    torch.testing.assert_close(output.float(), wanted, rtol=0.05, atol=0.05 * scale)
    # Where what is learned decides on valid, it has bfloat16's digits; elsewhere it is exact.
    learned = name.startswith("carafe") or name in ("dysample", "gum")
    torch.testing.assert_close(left, wanted_left, rtol=0, atol=0.05 if learned else 0)


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_every_weight_gets_a_gradient(name: str) -> None:
    layer = upsampler(name, 4)
    x, valid = torch.randn(2, 4, 6, 6), known("binary", 2, 6, 6)
    for forward in (layer, lambda x: layer(x, valid)[0]):
        layer.zero_grad()
        (forward(x).square().sum() + 0 * x.sum().requires_grad_()).backward()
        assert all(p.grad is not None and p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_the_first_weights_keep_the_features_magnitude(name: str) -> None:
    layer = build_upsampler(name, 32)
    output = layer(torch.randn(1, 32, 24, 24))
    assert 0.1 < output.std().item() < 3


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown upsampler 'cubic'; choose one of carafe, .*pixel_shuffle"):
        build_upsampler("cubic", 4)


# ------------------------------------------------------------------------------------------------------------
# Each by its formula
# ------------------------------------------------------------------------------------------------------------


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
@valids
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


# ------------------------------------------------------------------------------------------------------------
# CARAFE
# ------------------------------------------------------------------------------------------------------------


def mmcv_state_dict(channels: int) -> dict[str, Tensor]:
    """What `mmcv.ops.CARAFEPack(channels, scale_factor=2).state_dict()` holds."""
    return {
        "channel_compressor.weight": torch.randn(64, channels, 1, 1) / channels**0.5,
        "channel_compressor.bias": torch.randn(64),
        "content_encoder.weight": torch.randn(100, 64, 3, 3) / 24,
        "content_encoder.bias": torch.randn(100),
    }


def carafe_pack(x: Tensor, weights: dict[str, Tensor]) -> Array:
    """Compress, encode, pixel shuffle, softmax over 5×5, reassemble: the published module, step by step."""
    compressed = F.conv2d(x, weights["channel_compressor.weight"], weights["channel_compressor.bias"])
    encoded = F.conv2d(
        compressed, weights["content_encoder.weight"], weights["content_encoder.bias"], padding=1
    )
    kernels = array(F.softmax(F.pixel_shuffle(encoded, 2), dim=1))
    features = np.pad(array(x), ((0, 0), (0, 0), (2, 2), (2, 2)))
    batch, _, height, width = kernels.shape
    out = np.zeros((batch, x.shape[1], height, width))
    for n, oy, ox, i, j in np.ndindex(batch, height, width, 5, 5):
        out[n, :, oy, ox] += kernels[n, i * 5 + j, oy, ox] * features[n, :, oy // 2 + i, ox // 2 + j]
    return out


def test_carafe_has_the_papers_number_of_parameters() -> None:
    assert sum(parameter.numel() for parameter in CarafeUpsample(256).parameters()) == 74_148


def test_mmcvs_weights_load_unchanged() -> None:
    weights = mmcv_state_dict(6)
    layer = CarafeUpsample(6, scale=2)
    assert {k: v.shape for k, v in layer.state_dict().items()} == {k: v.shape for k, v in weights.items()}
    layer.load_state_dict(weights, strict=True)
    x = torch.randn(2, 6, 5, 7)
    output = layer(x)
    torch.testing.assert_close(
        output.double(), torch.from_numpy(carafe_pack(x, weights)), rtol=1e-5, atol=1e-5
    )


def test_carafe_predicts_its_kernels_from_known_features_alone() -> None:
    """The masked form is masked reassembly with the logits of features that are 0 in the hole."""
    layer = upsampler("carafe", 4)
    x, valid = torch.randn(2, 4, 6, 7), known("binary", 2, 6, 7)
    emptied = torch.where(valid > 0, x, 0)
    logits = layer.content_encoder(layer.channel_compressor(emptied))
    kernels = F.softmax(F.pixel_shuffle(logits, 2), dim=1)
    mass, sums = torch.zeros(2, 1, 12, 14), torch.zeros(2, 4, 12, 14)
    for tap in range(25):
        i, j = divmod(tap, 5)
        window, v = (
            F.interpolate(F.pad(t, (2, 2, 2, 2))[..., i : i + 6, j : j + 7], scale_factor=2.0)
            for t in (emptied, valid)
        )
        weight = kernels[:, tap : tap + 1] * v
        mass, sums = mass + weight, sums + weight * window
    wanted = torch.where(mass > 0, sums / mass.clamp(min=1e-20), 0)
    output, left = layer(x, valid)
    torch.testing.assert_close(output, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(left, mass, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("normalizer", ["softmax", "sigmoid", "sigmoid_normalized"])
def test_carafes_settings_reach_the_operator(normalizer: str) -> None:
    layer = CarafeUpsample(
        8, scale=3, compressed_channels=5, encoder_kernel=5, up_kernel=3, groups=2, normalizer=normalizer
    )
    assert layer.content_encoder.weight.shape == (2 * 9 * 9, 5, 5, 5)
    output, left = layer(torch.randn(1, 8, 4, 5), torch.ones(1, 1, 4, 5))
    assert output.shape == (1, 8, 12, 15) and left.shape == (1, 1, 12, 15)
    assert normalizer in repr(layer) and "groups=2" in repr(layer)


def test_carafe_starts_as_an_even_blur() -> None:
    """Logits near 0 make every kernel a mean of 25."""
    x = torch.randn(1, 16, 9, 9)
    mean = F.interpolate(F.avg_pool2d(x, 5, stride=1, padding=2), scale_factor=2.0)
    torch.testing.assert_close(CarafeUpsample(16)(x), mean, rtol=0, atol=0.05)


@pytest.mark.parametrize("normalizer", ["sigmoid", "sigmoid_normalized"])
def test_the_normalizer_is_a_word_of_the_name(normalizer: str) -> None:
    named = build_upsampler(f"carafe_{normalizer}", 4, compressed_channels=2)
    assert isinstance(named, CarafeUpsample) and named.normalizer == normalizer
    assert named.channel_compressor.out_channels == 2


# ------------------------------------------------------------------------------------------------------------
# DySample
# ------------------------------------------------------------------------------------------------------------


def sample_by_loops(x: Array, valid: Array | None, offsets: Array, scale: int) -> tuple[Array, Array]:
    """DySample's definition, pixel by pixel: x [C, H, W], offsets [2·G·σ², H, W] as the convolution gives.

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
        move_x, move_y = offsets[read].reshape(2, groups, -1)[:, group, sub] / 4
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
        wanted, mass = sample_by_loops(array(x[i]), known_of, array(offsets[i]), scale)
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
