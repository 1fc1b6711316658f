"""The layer that predicts the kernels it downsamples with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.layers import CarafeDownsample, Hole


def layer(channels: int = 6, **settings: Any) -> CarafeDownsample:
    """Far from its initial weights, so that each of them counts."""
    made = CarafeDownsample(channels, compressed_channels=4, **settings)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made


def by_definition(made: CarafeDownsample, x: Tensor) -> Tensor:
    """The layer in unfold, softmax and a product."""
    k, groups, stride = made.down_kernel, made.groups, made.stride
    compressed = F.conv2d(x, made.channel_compressor.weight, made.channel_compressor.bias)
    weight, bias = made.content_encoder.weight, made.content_encoder.bias
    logits = F.conv2d(compressed, weight, bias, stride=stride, padding=weight.shape[-1] // 2)
    n, _, rows, columns = logits.shape
    windows = F.unfold(x, k, padding=k // 2, stride=stride).view(n, groups, -1, k * k, rows, columns)
    kernels = logits.view(n, groups, k * k, rows, columns).softmax(2)
    return torch.einsum("ngckhw,ngkhw->ngchw", windows, kernels).flatten(1, 2)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize(("encoder_kernel", "down_kernel", "groups"), [(3, 5, 1), (1, 3, 2), (5, 1, 3)])
@pytest.mark.parametrize(("height", "width"), [(7, 10), (1, 1), (8, 8)])
def test_a_tensor_gives_a_tensor_by_the_definition(
    stride: int, encoder_kernel: int, down_kernel: int, groups: int, height: int, width: int
) -> None:
    made = layer(stride=stride, encoder_kernel=encoder_kernel, down_kernel=down_kernel, groups=groups)
    x = torch.randn(2, 6, height, width)
    result = made(x)
    assert isinstance(result, Tensor)
    assert result.shape == (2, 6, -(-height // stride), -(-width // stride))
    torch.testing.assert_close(result, by_definition(made, x), rtol=1e-5, atol=1e-5)


def test_a_new_layer_pools_the_average() -> None:
    x = torch.randn(1, 6, 9, 12)
    result = CarafeDownsample(6)(x)
    torch.testing.assert_close(result, F.avg_pool2d(x, 5, 2, 2), rtol=0, atol=0.02)


@pytest.mark.parametrize("normalizer", ["softmax", "sigmoid", "sigmoid_normalized"])
def test_nothing_in_the_hole_reaches_the_smaller_features(normalizer: str) -> None:
    made = layer(normalizer=normalizer)
    valid = (torch.rand(2, 1, 7, 10) < 0.5).float()
    x = torch.randn(2, 6, 7, 10)
    results = []
    for content in (0.0, torch.nan, 1e30):
        filled = torch.where(valid > 0, x, content).requires_grad_()
        output, carried = made(filled, valid)
        assert output.shape == (2, 6, 4, 5) and carried.shape == (2, 1, 4, 5)
        gradients = torch.autograd.grad(output.sum(), [filled, *made.parameters()])
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert not output[(carried == 0).expand_as(output)].any()
        results.append([output, carried, *gradients])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_features_that_are_zero_in_the_hole_need_no_pass() -> None:
    made, valid = layer(), (torch.rand(1, 1, 8, 8) < 0.5).float()
    x = torch.randn(1, 6, 8, 8) * valid
    for result, wanted in zip(made(x, valid, Hole.ZERO), made(x, valid), strict=True):
        assert torch.equal(result, wanted)


def test_the_layer_compiles_and_loads_its_own_state() -> None:
    torch.compiler.reset()
    made, other = layer(), layer()
    other.load_state_dict(made.state_dict())
    x, valid = torch.randn(1, 6, 8, 9), torch.ones(1, 1, 8, 9)
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, valid), made(x, valid))
    assert set(made.state_dict()) == {
        f"{part}.{name}" for part in ("channel_compressor", "content_encoder") for name in ("weight", "bias")
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 0}, "channels must be a whole number of at least 1, got 0"),
        ({"stride": 0}, "stride must be a whole number of at least 1, got 0"),
        ({"stride": 1.5}, r"stride must be a whole number of at least 1, got 1.5; take 1 or 2"),
        ({"compressed_channels": 0}, "compressed_channels must be a whole number"),
        ({"encoder_kernel": 2}, "encoder_kernel must be odd"),
        ({"down_kernel": 4}, "down_kernel must be odd, so that it has a middle, got 4; take 3 or 5"),
        ({"down_kernel": 17}, "down_kernel must be at most 15"),
        ({"groups": 4}, "groups must divide the 6 channels, got 4; take one of 1, 2, 3, 6"),
        ({"normalizer": "max"}, "normalizer must be one of softmax, sigmoid, sigmoid_normalized, got 'max'"),
    ],
)
def test_wrong_settings_are_refused_when_the_layer_is_built(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^CarafeDownsample: {message}"):
        CarafeDownsample(**({"channels": 6} | settings))
