"""Settings that cannot work are refused when a layer is built, with the setting's name and a remedy."""

from collections.abc import Callable
from functools import partial

import pytest
from torch import nn

from inpaint.compat.mmcv import CARAFE, CARAFEPack
from inpaint.layers import UPSAMPLERS, CarafeUpsample, build_upsampler
from inpaint.layers.upsamplers import DySampleUpsample, GuidedUpsample, SpatialAttentionUpsample

layer, pack = partial(CarafeUpsample, 16), partial(CARAFEPack, 16)
named = partial(build_upsampler, channels=16)

REFUSED: list[tuple[Callable[[], nn.Module], str]] = [
    # mmcv's names
    (
        lambda: pack(1.5),
        "CARAFEPack: scale_factor must be a whole number of at least 1, got 1.5; take 1 or 2",
    ),
    (lambda: pack(2.0), "CARAFEPack: scale_factor must be a whole number of at least 1, got 2.0; take 2"),
    (lambda: pack(0), "CARAFEPack: scale_factor must be a whole number of at least 1, got 0; take 1 or more"),
    (
        lambda: pack(2, up_group=3),
        "CARAFEPack: up_group must divide the 16 channels, got 3; take one of 1, 2, 4, 8, 16",
    ),
    (
        lambda: pack(2, up_kernel=4),
        "CARAFEPack: up_kernel must be odd, so that it has a middle, got 4; take 3 or 5",
    ),
    (
        lambda: pack(2, up_kernel=25),
        "CARAFEPack: up_kernel must be at most 23, which is what the operator has room for on a GPU, got 25; "
        "take 23 or less",
    ),
    (
        lambda: pack(2, encoder_kernel=2),
        "CARAFEPack: encoder_kernel must be odd, so that it has a middle, got 2; take 1 or 3",
    ),
    (
        lambda: pack(2, encoder_dilation=0),
        "CARAFEPack: encoder_dilation must be a whole number of at least 1, got 0; take 1 or more",
    ),
    (
        lambda: pack(2, compressed_channels=0),
        "CARAFEPack: compressed_channels must be a whole number of at least 1, got 0; take 1 or more",
    ),
    (
        lambda: CARAFE(6, 1, 2),
        "CARAFE: kernel_size must be odd, so that it has a middle, got 6; take 5 or 7",
    ),
    (
        lambda: CARAFE(5, 0, 2),
        "CARAFE: group_size must be a whole number of at least 1, got 0; take 1 or more",
    ),
    (
        lambda: CARAFE(5, 1, 0.5),
        "CARAFE: scale_factor must be a whole number of at least 1, got 0.5; take 1 or more",
    ),
    # this project's
    (
        lambda: layer(scale="2"),
        "CarafeUpsample: scale must be a whole number of at least 1, got '2'; take 1 or more",
    ),
    (
        lambda: layer(compressed_channels=8.5),
        "CarafeUpsample: compressed_channels must be a whole number of at least 1, got 8.5; take 8 or 9",
    ),
    (
        lambda: layer(encoder_kernel=6),
        "CarafeUpsample: encoder_kernel must be odd, so that it has a middle, got 6; take 5 or 7",
    ),
    (
        lambda: layer(up_kernel=-5),
        "CarafeUpsample: up_kernel must be a whole number of at least 1, got -5; take 1 or more",
    ),
    (
        lambda: layer(up_kernel=25),
        "CarafeUpsample: up_kernel must be at most 23, which is what the operator has room for on a GPU, got "
        "25; take 23 or less",
    ),
    (
        lambda: layer(groups=5),
        "CarafeUpsample: groups must divide the 16 channels, got 5; take one of 1, 2, 4, 8, 16",
    ),
    (
        lambda: layer(normalizer="tanh"),
        "CarafeUpsample: normalizer must be one of softmax, sigmoid, sigmoid_normalized, got 'tanh'",
    ),
    (
        lambda: CarafeUpsample(0),
        "CarafeUpsample: channels must be a whole number of at least 1, got 0; take 1 or more",
    ),
    (
        lambda: DySampleUpsample(6, groups=4),
        "DySampleUpsample: groups must divide the 6 channels, got 4; take one of 1, 2, 3, 6",
    ),
    (
        lambda: GuidedUpsample(6, encoder_kernel=4),
        "GuidedUpsample: encoder_kernel must be odd, so that it has a middle, got 4; take 3 or 5",
    ),
    (
        lambda: SpatialAttentionUpsample(6, encoder_kernel=4),
        "SpatialAttentionUpsample: encoder_kernel must be odd, so that it has a middle, got 4; take 3 or 5",
    ),
    # by name
    (
        lambda: named("nearest", up_kernel=7),
        "the upsampler nearest has no up_kernel; carafe, carafe_sigmoid, carafe_sigmoid_normalized have",
    ),
    (
        lambda: named("deconv", encoder_kernel=5),
        "the upsampler deconv has no encoder_kernel; carafe, carafe_sigmoid, carafe_sigmoid_normalized, gum, "
        "spatial_attention have",
    ),
    (
        lambda: named("gum", groups=2),
        "the upsampler gum has no groups; carafe, carafe_sigmoid, carafe_sigmoid_normalized, dysample have",
    ),
]


@pytest.mark.parametrize(("build", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cannot_work_is_refused_when_it_is_built(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError) as error:
        build()
    assert str(error.value) == message


@pytest.mark.parametrize("name", UPSAMPLERS)
@pytest.mark.parametrize("scale", [0, -1, 1.5, None])
def test_no_upsampler_takes_a_scale_that_is_not_a_whole_number(name: str, scale: float | None) -> None:
    with pytest.raises(ValueError, match="scale must be a whole number of at least 1, got"):
        build_upsampler(name, 4, scale)  # type: ignore[arg-type]


def test_what_mmcv_takes_is_taken() -> None:
    """An even encoder with an even dilation keeps the size; up_kernel 1 is the smallest."""
    pack = CARAFEPack(4, 2, up_kernel=1, encoder_kernel=4, encoder_dilation=2)
    assert pack.content_encoder.padding == (3, 3)
    assert CARAFEPack(4, 2, up_kernel=23, up_group=4).content_encoder.out_channels == 23**2 * 4 * 4


def test_settings_by_name_reach_the_layer() -> None:
    carafe = build_upsampler("carafe_sigmoid", 12, 3, 5, up_kernel=7, encoder_kernel=1, groups=4)
    assert isinstance(carafe, CarafeUpsample)
    assert (carafe.up_kernel, carafe.groups, carafe.normalizer, carafe.scale) == (7, 4, "sigmoid", 3)
    assert carafe.content_encoder.weight.shape == (4 * 49 * 9, 5, 1, 1)
    gum = build_upsampler("gum", 12, compressed_channels=5, encoder_kernel=5)
    assert isinstance(gum, GuidedUpsample) and gum.guidance[-1].weight.shape == (8, 5, 5, 5)
