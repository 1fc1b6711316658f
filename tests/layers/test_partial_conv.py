import warnings
from typing import Any

import numpy as np
import pytest
import torch
from partial_conv_oracle import array, nvidia, soft, window_sums
from torch import Tensor

from inpaint.layers import Hole, PartialConv2d

# (kernel, stride, padding, dilation, height, width)
WINDOWS = [
    (1, 1, 0, 1, 3, 4),
    (3, 1, 1, 1, 5, 7),
    (3, 1, 0, 1, 7, 5),
    (3, 2, 1, 1, 9, 8),
    (5, 2, 2, 1, 8, 11),
    (7, 2, 3, 1, 9, 7),
    (3, 1, 2, 2, 7, 6),
    (3, 2, 4, 3, 8, 9),
    (3, 1, 3, 1, 4, 3),  # more padding than half the kernel: windows that lie wholly outside
    (2, 2, 0, 1, 6, 7),
    (3, 3, 1, 1, 1, 1),
]
windows = pytest.mark.parametrize("window", WINDOWS, ids=lambda w: "k{}-s{}-p{}-d{}-{}x{}".format(*w))


def layer_and_features(
    window: tuple[int, ...], channels: int = 3, outputs: int = 4, bias: bool = True, batch: int = 2
) -> tuple[PartialConv2d, Tensor]:
    kernel_size, stride, padding, dilation, height, width = window
    layer = PartialConv2d(channels, outputs, kernel_size, stride, padding, dilation, bias).double()
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    return layer, torch.randn(batch, channels, height, width, dtype=torch.float64)


def binary(*shape: int, share: float = 0.4) -> Tensor:
    return (torch.rand(shape) < share).double()


def slow_sums(layer: PartialConv2d, features: Tensor, mask: Tensor) -> Any:
    settings = layer.stride, layer.padding, layer.dilation
    return window_sums(array(features), array(mask), array(layer.weight), *settings)


def bias_of(layer: PartialConv2d) -> Any:
    return None if layer.bias is None else array(layer.bias)


def assert_equals(result: tuple[Tensor, Tensor], wanted: tuple[Any, Any]) -> None:
    features, valid = result
    torch.testing.assert_close(features, torch.from_numpy(wanted[0]), rtol=1e-6, atol=1e-6)
    assert valid.dtype == torch.float32
    torch.testing.assert_close(valid.double(), torch.from_numpy(wanted[1]), rtol=1e-6, atol=1e-6)


# ------------------------------------------------------------------------------------------------------------
# The definition
# ------------------------------------------------------------------------------------------------------------


@windows
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_equals_nvidias_single_channel_layer(window: tuple[int, ...], bias: bool) -> None:
    layer, x = layer_and_features(window, bias=bias)
    mask = binary(2, 1, *x.shape[2:])
    assert_equals(layer(x, mask), nvidia(slow_sums(layer, x, mask), bias_of(layer)))


@windows
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_equals_nvidias_multi_channel_layer(window: tuple[int, ...], bias: bool) -> None:
    layer, x = layer_and_features(window, bias=bias)
    mask = binary(*x.shape, share=0.25)
    assert_equals(layer(x, mask), nvidia(slow_sums(layer, x, mask), bias_of(layer)))


@windows
@pytest.mark.parametrize("channels", [1, 3], ids=["one-valid", "valid-per-channel"])
def test_soft_valid_weighs_the_pixels(window: tuple[int, ...], channels: int) -> None:
    layer, x = layer_and_features(window)
    valid = torch.rand(2, channels, *x.shape[2:], dtype=torch.float64) * binary(2, channels, *x.shape[2:])
    assert_equals(layer(x, valid), soft(slow_sums(layer, x, valid), bias_of(layer)))


@pytest.mark.parametrize("window", [(3, 1, 1, 1, 6, 7), (5, 2, 2, 1, 7, 5)], ids=str)
@pytest.mark.parametrize("kind", ["binary", "soft"])
def test_a_concatenation_equals_the_explicit_multi_channel_mask(window: tuple[int, ...], kind: str) -> None:
    """Two tensors with one valid each, against one tensor with a mask per channel."""
    layer, x = layer_and_features(window, channels=8)
    parts = list(x.split([3, 5], dim=1))
    valids = [binary(2, 1, *x.shape[2:]) for _ in parts]
    if kind == "soft":
        valids = [v * torch.rand_like(v) for v in valids]
    explicit = torch.cat([v.expand_as(part) for part, v in zip(parts, valids, strict=True)], dim=1)
    formula = nvidia if kind == "binary" else soft
    assert_equals(layer(parts, valids), formula(slow_sums(layer, x, explicit), bias_of(layer)))
    assert_equals(layer(x, explicit), formula(slow_sums(layer, x, explicit), bias_of(layer)))
    # One of them may bring a mask per channel itself.
    mixed = layer(parts, [valids[0], valids[1].expand_as(parts[1])])
    torch.testing.assert_close(mixed[0], layer(x, explicit)[0], rtol=1e-5, atol=1e-5)


def test_all_valid_is_convolution_away_from_the_border() -> None:
    layer, x = layer_and_features((3, 1, 1, 1, 8, 9))
    output, valid = layer(x, torch.ones(2, 1, 8, 9))
    plain = torch.nn.functional.conv2d(x, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(output[..., 1:-1, 1:-1], plain[..., 1:-1, 1:-1])
    assert (valid == 1).all()
    # At the border the outside is unknown: what is known is scaled up by 9/6 on an edge.
    assert layer.bias is not None
    edge = (plain - layer.bias[:, None, None])[..., 0, 4] * 9 / 6 + layer.bias
    torch.testing.assert_close(output[..., 0, 4], edge)


def test_a_window_without_known_pixels_gives_exactly_zero() -> None:
    layer, x = layer_and_features((3, 1, 1, 1, 7, 7))
    valid = torch.ones(2, 1, 7, 7)
    valid[..., 1:6, 1:6] = 0
    output, left = layer(x, valid)
    assert not output[..., 2:5, 2:5].any() and not left[..., 2:5, 2:5].any()
    assert (output[..., 1, 1:-1] != 0).all() and (left[..., 1, :] == 1).all()
    output, left = layer(x, torch.zeros_like(valid))
    assert not output.any() and not left.any()


def test_a_hole_shrinks_by_the_kernels_radius() -> None:
    layer = PartialConv2d(1, 1, 5, padding=2)
    valid = torch.ones(1, 1, 11, 11)
    valid[..., 2:9, 2:9] = 0
    _, left = layer(torch.zeros_like(valid), valid)
    assert (left == 0).nonzero()[:, 2:].tolist() == [[y, x] for y in (4, 5, 6) for x in (4, 5, 6)]


def test_a_faded_valid_stays_finite() -> None:
    layer = PartialConv2d(1, 1, 1)
    for level in (1e-3, 1e-20, 1e-38, 1e-44):
        x = torch.ones(1, 1, 1, 1, requires_grad=True)
        output, left = layer(x, torch.full((1, 1, 1, 1), level))
        gradient = torch.autograd.grad(output.sum(), x)[0]
        assert torch.isfinite(output).all() and torch.isfinite(gradient).all() and left.item() >= 0


# ------------------------------------------------------------------------------------------------------------
# The hole
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels_last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("per_channel", [False, True], ids=["one-valid", "valid-per-channel"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_nothing_in_the_hole_changes_a_bit(
    channels_last: bool, per_channel: bool, dtype: torch.dtype
) -> None:
    layer, x = layer_and_features((3, 2, 1, 1, 9, 8))
    layer, x = layer.to(dtype), x.to(dtype)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    valid = binary(2, 3 if per_channel else 1, 9, 8).float()
    results = []
    for content in (0.0, torch.nan, torch.inf, -1e30):
        filled = torch.where(valid > 0, x, content).requires_grad_()
        output, left = layer(filled, valid)
        gradients = torch.autograd.grad(output.float().square().sum(), [filled, *layer.parameters()])
        results.append([output, left, *gradients])
    for result in results:
        assert all(torch.isfinite(tensor).all() for tensor in result)
        assert all(torch.equal(tensor, wanted) for tensor, wanted in zip(result, results[0], strict=True))


def test_a_kept_promise_about_the_hole_changes_nothing() -> None:
    layer, x = layer_and_features((3, 1, 1, 1, 6, 7), channels=6)
    valid = binary(2, 1, 6, 7)
    raw = layer(x, valid)
    for hole in (Hole.ZERO, Hole.SCALED):
        result = layer(x * valid, valid, hole)
        assert torch.equal(result[0], raw[0]) and torch.equal(result[1], raw[1])

    level = valid * torch.rand_like(valid)
    raw = layer(x, level)
    for given, hole in ((x * valid, Hole.ZERO), (x * level, Hole.SCALED)):
        result = layer(given, level, hole)
        torch.testing.assert_close(result[0], raw[0])
        assert torch.equal(result[1], raw[1])

    parts, holes = list(x.split([2, 4], dim=1)), [Hole.ARBITRARY, Hole.SCALED]
    result = layer([parts[0], parts[1] * level], [level, level], holes)
    torch.testing.assert_close(result[0], raw[0], rtol=1e-5, atol=1e-5)  # sums of valid are float32


# ------------------------------------------------------------------------------------------------------------
# A module among torch's
# ------------------------------------------------------------------------------------------------------------


def test_the_state_dict_is_a_convolutions() -> None:
    shapes = {name: tuple(value.shape) for name, value in PartialConv2d(3, 8, 5).state_dict().items()}
    assert shapes == {"weight": (8, 3, 5, 5), "bias": (8,)}
    assert list(PartialConv2d(3, 8, 5, bias=False).state_dict()) == ["weight"]
    PartialConv2d(3, 8, 5).load_state_dict(torch.nn.Conv2d(3, 8, 5).state_dict())


def test_gradients_are_right() -> None:
    layer, x = layer_and_features((3, 2, 1, 1, 4, 5), channels=2, outputs=2, batch=1)
    valid = binary(1, 1, 4, 5) * torch.rand(1, 1, 4, 5, dtype=torch.float64)

    def function(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x, valid))[0]

    parameters = [parameter.detach().requires_grad_() for parameter in (layer.weight, layer.bias)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The ratio is a float32 of which the result's sixteenth digit knows nothing.
        assert torch.autograd.gradcheck(function, (x.requires_grad_(), *parameters), atol=1e-5)


def test_autocast_lowers_the_convolution_and_not_the_sums_of_valid() -> None:
    layer = PartialConv2d(40, 8, 5, stride=2, padding=2)
    x = torch.randn(2, 40, 11, 9)
    valid = torch.rand(2, 1, 11, 9) / 30  # window sums below 1, where their every digit is returned
    wanted, wanted_valid = layer(x, valid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, left = layer(x, valid)
    assert output.dtype == torch.bfloat16 and left.dtype == torch.float32
    assert torch.equal(left, wanted_valid) and (left < 1).any()
    largest = wanted.detach().abs().max().item()
    torch.testing.assert_close(output.float(), wanted, rtol=2e-2, atol=2e-2 * largest)


@pytest.mark.parametrize(("dilation", "padding"), [(1, 1), (2, 2), (1, 3)])
def test_window_sums_of_many_channels_are_exact(dilation: int, padding: int) -> None:
    """The mean of ones is 1 however many of the 9·1000 are known; 8991 has more digits than bfloat16."""
    layer = PartialConv2d(1000, 1, 3, padding=padding, dilation=dilation, bias=False).double()
    torch.nn.init.constant_(layer.weight, 1 / 9000)
    parts = [torch.ones(1, 999, 5, 5).double(), torch.ones(1, 1, 5, 5).double()]
    valids = [torch.ones(1, 1, 5, 5), torch.zeros(1, 1, 5, 5)]
    with torch.autocast("cpu", dtype=torch.bfloat16):  # leaves float64 alone, and would lower the sums
        output, left = layer(parts, valids)
    np.testing.assert_allclose(output.detach().numpy(), array(left > 0), rtol=1e-6)


def test_channels_last_is_kept_and_changes_nothing() -> None:
    layer, x = layer_and_features((3, 1, 1, 1, 6, 7), channels=4)
    layer, x, valid = layer.float(), x.float(), binary(2, 1, 6, 7)
    wanted = layer(x, valid)
    output, left = layer.to(memory_format=torch.channels_last)(
        x.contiguous(memory_format=torch.channels_last), valid
    )
    assert output.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(output, wanted[0], rtol=1e-5, atol=1e-5)
    assert torch.equal(left, wanted[1])


def test_an_empty_batch_passes() -> None:
    output, valid = PartialConv2d(3, 4, 3, padding=1)(torch.zeros(0, 3, 5, 6), torch.zeros(0, 1, 5, 6))
    assert output.shape == (0, 4, 5, 6) and valid.shape == (0, 1, 5, 6)


def test_inputs_are_left_as_they_are() -> None:
    layer, x = layer_and_features((3, 1, 1, 1, 6, 7))
    valid = binary(2, 1, 6, 7)
    copies = x.clone(), valid.clone()
    for hole in Hole:
        layer(x, valid, hole)
    assert torch.equal(x, copies[0]) and torch.equal(valid, copies[1])


@pytest.mark.parametrize(
    ("features", "valids", "message"),
    [
        ([(1, 4, 5, 5)], [(1, 1, 5, 5)], "features must have 6 channels, got 4"),
        ([(1, 2, 5, 5), (1, 3, 5, 5)], [(1, 1, 5, 5)] * 2, "features must have 6 channels, got 5"),
        (
            [(1, 6, 5, 5)],
            [(1, 1, 5, 4)],
            r"valid must have shape .* or \[1, 6, 5, 5\], got \[1, 1, 5, 4\]",
        ),
        ([(1, 6, 5, 5)], [(1, 2, 5, 5)], r"valid must have shape .* got \[1, 2, 5, 5\]"),
        ([(2, 6, 5, 5)], [(1, 1, 5, 5)], r"valid must have shape \[2, 1, 5, 5\] .* got \[1, 1, 5, 5\]"),
        ([(1, 6, 5, 5)], [(1, 5, 5)], r"valid must have shape .* got \[1, 5, 5\]"),
        ([(1, 2, 5, 5), (1, 4, 5, 5)], [(1, 1, 5, 5)], "2 features need as many valid, got 1"),
    ],
)
def test_errors_name_what_does_not_fit(
    features: list[tuple[int, ...]], valids: list[tuple[int, ...]], message: str
) -> None:
    layer = PartialConv2d(6, 4, 3, padding=1)
    with pytest.raises(ValueError, match=f"^PartialConv2d: {message}$"):
        layer([torch.zeros(shape) for shape in features], [torch.zeros(shape) for shape in valids])
