"""CARAFE as a layer that predicts its kernels."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from partial_conv_oracle import Array, array
from torch import Tensor
from upsampler_examples import known, upsampler

from inpaint.layers import CarafeUpsample, build_upsampler


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
