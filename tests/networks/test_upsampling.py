"""The settings of upsamplers in the configurations of networks."""

import dataclasses
import json
from typing import Any

import pytest
import torch
from torch import nn

from inpaint.layers import CarafeUpsample, Upsampler
from inpaint.layers.upsamplers import DySampleUpsample, GuidedUpsample
from inpaint.networks import (
    CONFIGS,
    GlobalLocalConfig,
    PartialConvUNetConfig,
    PyramidUNetConfig,
    build_network,
)
from inpaint.weights import installed_models, read_metadata

SMALL: dict[str, dict[str, Any]] = {
    "PyramidUNet": {"widths": (8, 8, 12), "decoder_widths": (8, 8), "head_width": 4},
    "PartialConvUNet": {"widths": (8, 12), "head_width": 4},
    "GlobalLocal": {"width": 8, "dilations": (1, 2)},
}
networks = pytest.mark.parametrize("network", SMALL)


def build(network: str, **settings: Any) -> nn.Module:
    return build_network({"network": network, **SMALL[network], **settings})


def upsamplers(made: nn.Module) -> list[Upsampler]:
    return [part for part in made.modules() if isinstance(part, Upsampler)]


@networks
@torch.no_grad()
def test_settings_reach_every_level(network: str) -> None:
    made = build(network, up_kernel=7, encoder_kernel=1)
    levels = upsamplers(made)
    assert len(levels) >= 2
    for level in levels:
        assert isinstance(level, CarafeUpsample) and level.up_kernel == 7 and level.scale == 2
        assert level.content_encoder.kernel_size == (1, 1)
    image, mask = torch.rand(1, 3, 32, 40), torch.zeros(1, 1, 32, 40)
    mask[..., 5:20, 7:30] = 1
    assert made.eval()(image, mask).isfinite().all()
    rebuilt = build_network(json.loads(json.dumps(made.config)))
    assert rebuilt.config == made.config and made.config["up_kernel"] == 7
    rebuilt.load_state_dict(made.state_dict())


@networks
def test_groups_are_those_that_divide_a_level(network: str) -> None:
    """The head of PyramidUNet has three channels more, the coarser octave's fill."""
    levels = upsamplers(build(network, groups=4))
    assert all(isinstance(level, CarafeUpsample) for level in levels)
    wanted = [1 if level.channels % 2 else 4 for level in levels]
    assert [level.groups for level in levels] == wanted and 4 in wanted
    for level in upsamplers(build(network, upsampler="dysample", groups=2)):
        assert isinstance(level, DySampleUpsample) and level.groups == (1 if level.channels % 2 else 2)


@networks
@torch.no_grad()
def test_the_smallest_kernels_work(network: str) -> None:
    made = build(network, up_kernel=1).eval()
    assert made(torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16)).isfinite().all()
    gum = upsamplers(build(network, upsampler="gum", encoder_kernel=5, compressed_channels=3))
    assert all(isinstance(level, GuidedUpsample) for level in gum)


@networks
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"upsampler": "nearest", "up_kernel": 5}, "the upsampler nearest has no up_kernel; carafe, "),
        ({"upsampler": "deconv", "groups": 2}, "the upsampler deconv has no groups; carafe, "),
        ({"upsampler": "dysample", "encoder_kernel": 3}, "the upsampler dysample has no encoder_kernel; "),
        ({"up_kernel": 4}, "CarafeUpsample: up_kernel must be odd, .*, got 4; take 3 or 5"),
        ({"up_kernel": 25}, "CarafeUpsample: up_kernel must be at most 23, "),
        ({"up_kernel": 8191}, "up_kernel must hold numbers up to 63, got 8191"),
        ({"encoder_kernel": 99999}, "encoder_kernel must hold numbers up to 63, got 99999"),
        ({"encoder_kernel": 0}, "CarafeUpsample: encoder_kernel must be a whole number of at least 1, got 0"),
        ({"groups": 0}, "CarafeUpsample: groups must be a whole number of at least 1, got 0"),
        (
            {"groups": 2.5},
            "CarafeUpsample: groups must be a whole number of at least 1, got 2.5; take 2 or 3",
        ),
        (
            {"groups": 7},
            "groups must divide the channels of a level, .*, got 7; take a divisor of one of them",
        ),
        ({"scale": 3}, "has no setting scale; it has "),
    ],
)
def test_what_cannot_work_is_refused(network: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(network, **settings)


@pytest.mark.parametrize("config", [GlobalLocalConfig, PartialConvUNetConfig, PyramidUNetConfig])
def test_what_is_left_to_the_upsampler_is_not_written(config: type[Any]) -> None:
    """So that earlier versions read the files of networks which they know."""
    new = {"up_kernel", "encoder_kernel", "groups"}
    assert {field.name for field in dataclasses.fields(config)} >= new
    assert not new & config().to_json().keys()
    assert config(groups=2).to_json().items() >= {"groups": 2, "upsampler": "carafe"}.items()
    assert new & config(groups=2).to_json().keys() == {"groups"}


def test_released_weights_are_of_the_networks_that_their_files_describe() -> None:
    for model in installed_models():
        config = json.loads(read_metadata(model.folder / "model.safetensors")["config"])
        with torch.device("meta"):
            assert json.loads(json.dumps(build_network(config).config)) == config


@pytest.mark.parametrize("name", CONFIGS)
def test_stating_carafes_defaults_changes_no_weight(name: str) -> None:
    given = {"upsampler": "carafe"}
    with torch.device("meta"):
        plain = build_network({**CONFIGS[name], **given}).state_dict()
        stated = build_network({**CONFIGS[name], **given, "up_kernel": 5, "encoder_kernel": 3, "groups": 1})
    assert {k: v.shape for k, v in stated.state_dict().items()} == {k: v.shape for k, v in plain.items()}
