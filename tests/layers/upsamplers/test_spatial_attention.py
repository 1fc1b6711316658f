"""Spatial attention: nearest-neighbour upsampling, and every pixel scaled by a predicted weight."""

import numpy as np
import pytest
import torch
from partial_conv_oracle import Array, array
from torch import Tensor
from upsampler_examples import known, upsampler

from inpaint.layers import build_upsampler
from inpaint.layers.upsamplers import SpatialAttentionUpsample
from inpaint.ops import carafe


def by_loops(x: Array, weight: Array, bias: float, scale: int) -> Array:
    """y[o] = sigmoid(Σ w·x↑ + b)[o] · x↑[o] with x↑[o] = x[⌊o/σ⌋], pixel by pixel; x [C, H, W]."""
    channels, height, width = x.shape
    radius = weight.shape[-1] // 2
    out = np.zeros((channels, height * scale, width * scale))
    for oy, ox in np.ndindex(out.shape[1:]):
        logit = bias
        for i, j in np.ndindex(weight.shape[1:]):
            py, px = oy + i - radius, ox + j - radius
            if 0 <= py < height * scale and 0 <= px < width * scale:
                logit += weight[:, i, j] @ x[:, py // scale, px // scale]
        out[:, oy, ox] = x[:, oy // scale, ox // scale] / (1 + np.exp(-logit))
    return out


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("encoder_kernel", [1, 3, 5])
@pytest.mark.parametrize("kind", [None, "binary", "soft"])
def test_it_equals_its_formula(scale: int, encoder_kernel: int, kind: str | None) -> None:
    layer = build_upsampler("spatial_attention", 3, scale, encoder_kernel=encoder_kernel).double()
    assert isinstance(layer, SpatialAttentionUpsample)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(1, 3, 4, 5).double()
    weight, bias = array(layer.attention.weight)[0], array(layer.attention.bias).item()
    if kind is None:
        output = layer(x)
    else:
        valid = known(kind, 1, 4, 5)
        output, left = layer(x, valid)
        x = torch.where(valid > 0, x, 0)
        assert torch.equal(left, valid.repeat_interleave(scale, 2).repeat_interleave(scale, 3))
    torch.testing.assert_close(output[0], torch.from_numpy(by_loops(array(x[0]), weight, bias, scale)))


def test_it_is_reassembly_with_a_single_tap() -> None:
    layer, x = upsampler("spatial_attention", 4), torch.randn(2, 4, 5, 6)
    assert isinstance(layer, SpatialAttentionUpsample)
    raised = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    wanted = carafe(x, layer.attention(raised).sigmoid(), kernel_size=1)
    torch.testing.assert_close(layer(x), wanted)


def test_it_has_the_papers_number_of_parameters() -> None:
    """2.3 thousand at 256 channels."""
    assert sum(p.numel() for p in build_upsampler("spatial_attention", 256).parameters()) == 2305


@pytest.mark.parametrize("kind", [None, "soft"])
def test_gradients_are_those_of_differences(kind: str | None) -> None:
    layer = upsampler("spatial_attention", 3).double()
    valid = None if kind is None else known(kind, 1, 4, 3).double()

    def forward(x: Tensor, *_: Tensor) -> Tensor:
        return layer(x) if valid is None else layer(x, valid)[0]

    x = torch.randn(1, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(forward, (x, *layer.parameters()))
