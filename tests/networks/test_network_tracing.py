"""Where a pixel was gathered from: against the formula in loops, and against what networks really give."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import FeaturePyramidNetwork

from inpaint.compat import use_carafe
from inpaint.layers import CarafeUpsample
from inpaint.networks import build_network
from inpaint.networks.tracing import gather_through, record_reassemblies, trace
from inpaint.ops import carafe_fused

PYRAMID = {
    "network": "PyramidUNet",
    "widths": [6, 8],
    "kernel_sizes": [3, 3],
    "decoder_widths": [6],
    "encoder_blocks": [[], []],
    "decoder_blocks": [[]],
    "head_width": 4,
}


def sharpened(network: nn.Module) -> nn.Module:
    """Give a fresh network kernels that are not flat."""
    for layer in network.modules():
        if isinstance(layer, CarafeUpsample):
            nn.init.normal_(layer.content_encoder.weight, std=0.3)
    return network.eval()


def weights_in_loops(
    layer: CarafeUpsample, logits: np.ndarray, valid: np.ndarray, pixel: tuple
) -> np.ndarray:
    """The weights of one output pixel, from the definition of the masked reassembly."""
    height, width = valid.shape
    scale, side, groups = layer.scale, layer.up_kernel, layer.groups
    row, column = pixel
    found = np.zeros((height, width))
    for group in range(groups):
        taps = {}
        for tap in range(side**2):
            channel = (group * side**2 + tap) * scale**2 + (row % scale) * scale + column % scale
            y = row // scale + tap // side - side // 2
            x = column // scale + tap % side - side // 2
            logit = logits[channel, row // scale, column // scale]
            if 0 <= y < height and 0 <= x < width and valid[y, x] > 0:
                taps[y, x] = math.exp(logit) * valid[y, x]
        total = sum(taps.values())
        for (y, x), weight in taps.items():
            found[y, x] += weight / total / groups
    return found


@pytest.mark.parametrize(("scale", "side", "groups"), [(2, 5, 1), (3, 3, 2)])
def test_what_is_gathered_is_the_masked_kernel(scale: int, side: int, groups: int) -> None:
    layer = CarafeUpsample(4, scale, 8, up_kernel=side, groups=groups)
    nn.init.normal_(layer.content_encoder.weight, std=0.5)
    features, valid = torch.randn(1, 4, 5, 7), torch.rand(1, 1, 5, 7)
    valid[..., 1:4, 2:5] = 0
    (call,) = record_reassemblies(nn.Sequential(layer), lambda: layer(features, valid))
    assert call.source_size == (5, 7) and call.target_size == (5 * scale, 7 * scale)
    for pixel in ((0, 0), (5, 8), (3 * scale - 1, 2 * scale), (5 * scale - 1, 7 * scale - 1)):
        start = torch.zeros(call.target_size)
        start[pixel] = 1
        gathered = call.gather(start).numpy()
        expected = weights_in_loops(layer, call.logits[0].numpy(), valid[0, 0].numpy(), pixel)
        np.testing.assert_allclose(gathered, expected, atol=1e-6)
        assert (gathered[valid[0, 0].numpy() == 0] == 0).all()


def test_a_chain_of_reassemblies_is_followed_to_its_first_source() -> None:
    network = nn.Sequential(CarafeUpsample(3), CarafeUpsample(3, scale=3, up_kernel=3))
    for layer in network:
        nn.init.normal_(layer.content_encoder.weight, std=0.5)
    features = torch.rand(1, 3, 6, 5)
    output = network(features)[0]
    calls = record_reassemblies(network, lambda: network(features))
    assert [call.name for call in calls] == ["0", "1"]
    start = torch.zeros(36, 30)
    start[17, 20] = 1
    levels = gather_through(calls, start)
    assert [(level.name, level.factor, tuple(level.weights.shape)) for level in levels] == [
        ("1", 3, (12, 10)),
        ("0", 6, (6, 5)),
    ]
    # What was gathered, times what lies there, is the output.
    torch.testing.assert_close((levels[-1].weights * features[0]).sum((1, 2)), output[:, 17, 20])
    # Cropped to an odd size, as in a pyramid, it is the same.
    cropped = gather_through(calls, start[:35, :28])
    torch.testing.assert_close(cropped[-1].weights, levels[-1].weights)
    with pytest.raises(ValueError, match="the weights are"):
        gather_through(calls, start[:30])


@pytest.mark.parametrize("size", [(40, 56), (44, 36)])
def test_a_network_that_only_follows_its_kernels_gives_the_traced_sum(size: tuple[int, int]) -> None:
    network = sharpened(build_network({**PYRAMID, "smallest": 8}))
    nn.init.zeros_(network.to_image.weight)
    network.to_image.bias.data = torch.tensor([0.0, 0, 0, 1])  # add nothing, follow the kernels fully
    # Grey, so that the smooth fill, which is linear but for its clamping, is clamped alike in all channels.
    image, mask = torch.rand(1, 1, *size).expand(1, 3, *size), torch.zeros(1, 1, *size)
    mask[..., 9:31, 5:28] = 1
    mask[..., 3:6, 30:34] = 1
    with torch.no_grad():
        output = network(image, mask)[0]
    for pixel in ((10, 6), (20, 15), (30, 27), (4, 32)):
        found = trace(network, image, mask, pixel)
        expected = output[:, pixel[0], pixel[1]]
        torch.testing.assert_close((found.weights * image[0]).sum((1, 2)), expected, atol=1e-4, rtol=0)
        assert float(found.weights.sum()) == pytest.approx(1, abs=1e-4) and abs(found.rest) < 1e-4
        assert (found.weights[mask[0, 0] > 0] == 0).all()
        assert [level.factor for level in found.levels[:-1]] == [2, 4, 8][: len(found.levels) - 1]
        assert found.levels[-1].name == "smooth fill"


@pytest.mark.parametrize(
    "config",
    [
        {"network": "PartialConvUNet", "widths": (4, 8, 8), "head_width": 4},
        {"network": "GlobalLocal", "width": 8},
        PYRAMID,
    ],
    ids=["partial-conv-unet", "global-local", "pyramid-unet"],
)
def test_nothing_comes_from_the_hole(config: dict) -> None:
    network = sharpened(build_network(config))
    image, mask = torch.rand(1, 3, 64, 48), torch.zeros(1, 1, 64, 48)
    mask[..., 20:44, 16:33] = 1
    image = (
        torch.where(mask > 0, torch.nan, image) if config["network"] != "GlobalLocal" else image * (1 - mask)
    )
    found = trace(network, image, mask, (31, 25))
    assert (found.weights[mask[0, 0] > 0] == 0).all()
    assert 0 < float(found.weights.sum()) < 1 + 1e-4
    assert float(found.weights.sum()) + found.rest == pytest.approx(1, abs=1e-3)


def test_what_cannot_be_traced() -> None:
    image, mask = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    mask[..., 10:20, 10:20] = 1
    network = build_network(PYRAMID)
    for pixel in ((9, 15), (-1, 15), (15, 32)):
        with pytest.raises(ValueError, match="no pixel of the hole"):
            trace(network, image, mask, pixel)
    with pytest.raises(ValueError, match="has no CARAFE layer"):
        trace(build_network({**PYRAMID, "upsampler": "nearest"}), image, mask, (15, 15))
    layer = CarafeUpsample(3)
    with pytest.raises(ValueError, match="none of the network's CARAFE layers was called"):
        record_reassemblies(nn.Sequential(layer), lambda: None)
    (call,) = record_reassemblies(nn.Sequential(layer), lambda: layer(torch.rand(2, 3, 4, 4)))
    with pytest.raises(ValueError, match="was given 2 pictures at once"):
        call.gather(torch.ones(8, 8))


def test_a_feature_pyramid_is_followed_to_its_top() -> None:
    """As in figure 5 of the paper, and at odd sizes, where each result is cropped."""
    pyramid = FeaturePyramidNetwork([4, 6, 10], 8)
    use_carafe(pyramid)
    sharpened(pyramid)
    sizes = [(25, 19), (13, 10), (7, 5)]
    levels = {
        str(n): torch.randn(1, c, *size) for n, (c, size) in enumerate(zip([4, 6, 10], sizes, strict=True))
    }
    calls = record_reassemblies(pyramid, lambda: pyramid(levels))
    start = torch.zeros(25, 19)
    start[11, 18] = 1
    found = gather_through(calls, start)
    assert [tuple(level.weights.shape) for level in found] == [(13, 10), (7, 5)]
    # The top's part of that pixel: what remains of it where the finer laterals are nothing.
    lateral = pyramid.inner_blocks[2](levels["2"])
    middle = carafe_fused(lateral, calls[0].logits)[..., :13, :10]
    below = carafe_fused(middle, calls[1].logits)[..., :25, :19]
    torch.testing.assert_close((found[-1].weights * lateral[0]).sum((1, 2)), below[0, :, 11, 18])
