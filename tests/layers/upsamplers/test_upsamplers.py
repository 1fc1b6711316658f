"""What all upsamplers have in common."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from upsampler_examples import known, upsampler

from inpaint.layers import UPSAMPLERS, Hole, build_upsampler

NAMES = ["carafe", "carafe_sigmoid", "carafe_sigmoid_normalized"]
NAMES += ["nearest", "bilinear", "nearest_conv", "bilinear_conv", "deconv", "pixel_shuffle"]
NAMES += ["gum", "spatial_attention", "dysample"]
names = pytest.mark.parametrize("name", NAMES)
scales = pytest.mark.parametrize("scale", [1, 2, 3, 4])
VALIDS = ["binary", "soft", "all", "none"]
valids = pytest.mark.parametrize("kind", VALIDS)


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
# The size that is asked for
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UPSAMPLERS)
@pytest.mark.parametrize(("scale", "size"), [(2, (9, 14)), (2, (10, 13)), (3, (13, 19)), (1, (5, 7))])
def test_a_size_is_cropped_from_the_whole(name: str, scale: int, size: tuple[int, int]) -> None:
    layer = upsampler(name, 4, scale)
    x, valid = torch.randn(2, 4, 5, 7), known("binary", 2, 5, 7)
    first = (..., slice(size[0]), slice(size[1]))
    assert torch.equal(layer(x, size=size), layer(x)[first])
    lateral = torch.empty(2, 3, *size)
    output, left = layer(x, valid, size=lateral.shape[-2:])
    assert output.shape[-2:] == left.shape[-2:] == size
    for cropped, whole in zip((output, left), layer(x, valid), strict=True):
        assert torch.equal(cropped, whole[first])


@pytest.mark.parametrize("name", UPSAMPLERS)
@pytest.mark.parametrize(
    ("size", "remedy"),
    [
        ((8, 14), "take a height from 9 to 10"),
        ((11, 14), "take a height from 9 to 10"),
        ((9, 12), "take a width from 13 to 14"),
        ((9, 15), "take a width from 13 to 14"),
        ((9,), r"size must be \(height, width\), such as lateral.shape\[-2:\], got \(9,\)"),
    ],
)
def test_a_size_that_cropping_cannot_give_is_refused(name: str, size: tuple[int, ...], remedy: str) -> None:
    layer, x = upsampler(name, 4), torch.randn(1, 4, 5, 7)
    for arguments in ((x,), (x, torch.ones(1, 1, 5, 7))):
        with pytest.raises(ValueError, match=remedy):
            layer(*arguments, size=size)


@pytest.mark.parametrize("height", [16, 15, 17, 1])
def test_an_odd_pyramid_is_added_up(height: int) -> None:
    """Each level is half of the finer one, rounded up, as strides of 2 leave it."""
    laterals = [torch.randn(1, 4, height, 21)]
    while len(laterals) < 4:
        laterals.append(F.max_pool2d(laterals[-1], 3, 2, 1))
    up, x = build_upsampler("carafe", 4), laterals[-1]
    for lateral in laterals[-2::-1]:
        x = lateral + up(x, size=lateral.shape[-2:])
    assert x.shape == laterals[0].shape


def test_cropping_keeps_each_pixel_over_its_source() -> None:
    x = torch.randn(1, 2, 4, 5)
    output = build_upsampler("nearest", 2, 3)(x, size=(11, 13))
    for oy, ox in np.ndindex(11, 13):
        assert torch.equal(output[..., oy, ox], x[..., oy // 3, ox // 3])


# ------------------------------------------------------------------------------------------------------------
# Parts of something else
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_it_stands_in_a_sequence(name: str) -> None:
    sequence = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), build_upsampler(name, 4), nn.ReLU())
    assert sequence(torch.randn(1, 3, 5, 6)).shape == (1, 4, 10, 12)


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_it_compiles_into_one_graph(name: str) -> None:
    torch.compiler.reset()
    layer = upsampler(name, 4)

    def function(x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return layer(x), layer(x, size=(9, 14)), *layer(x, valid)

    x, valid = torch.randn(1, 4, 5, 7), known("soft", 1, 5, 7)
    results = torch.compile(function, fullgraph=True, backend="eager")(x, valid)
    torch.testing.assert_close(results, function(x, valid))


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_it_is_exported_with_the_size_of_a_finer_level(name: str) -> None:
    layer = upsampler(name, 4).eval()

    class Join(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = layer

        def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
            return fine + self.up(coarse, size=fine.shape[-2:])

    h, w = (torch.export.Dim(axis, min=2, max=64) for axis in "hw")
    free = {2: h, 3: w}, {2: 2 * h - 1, 3: 2 * w}
    tensors = torch.randn(1, 4, 5, 7), torch.randn(1, 4, 9, 14)
    program = torch.export.export(Join(), tensors, dynamic_shapes=free)
    others = torch.randn(1, 4, 6, 3), torch.randn(1, 4, 11, 6)
    torch.testing.assert_close(program.module()(*others), Join()(*others))
