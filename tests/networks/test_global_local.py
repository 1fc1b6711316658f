import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from inpaint import Inpainter
from inpaint.layers import UPSAMPLERS, push_pull
from inpaint.networks import GlobalLocal, GlobalLocalConfig, build_network

SMALL = GlobalLocalConfig(width=8, compressed_channels=3, dilations=(1, 2))
VARIANTS: dict[str, dict[str, Any]] = {
    **{name: {"upsampler": name} for name in UPSAMPLERS},
    "carafe-head-start": {"head_start": True, "norm": "channel"},
    "deconv-no-norm": {"upsampler": "deconv", "norm": "none"},
}
variants = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)

# Iizuka et al., table 1: kernel, dilation, stride (a half for a deconvolution), output channels.
TABLE = [
    (5, 1, 1, 64),
    (3, 1, 2, 128),
    (3, 1, 1, 128),
    (3, 1, 2, 256),
    (3, 1, 1, 256),
    (3, 1, 1, 256),
    (3, 2, 1, 256),
    (3, 4, 1, 256),
    (3, 8, 1, 256),
    (3, 16, 1, 256),
    (3, 1, 1, 256),
    (3, 1, 1, 256),
    (4, 1, 0.5, 128),
    (3, 1, 1, 128),
    (4, 1, 0.5, 64),
    (3, 1, 1, 32),
    (3, 1, 1, 3),
]


def network(variant: Mapping[str, Any] | None = None) -> GlobalLocal:
    """In eval mode, with statistics that are not those of a fresh network, and no rectifier always off."""
    made = GlobalLocal(dataclasses.replace(SMALL, **(variant or {})))
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.bias, 0.5, 0.1)
    return made.eval()


def photo(batch: int = 2, height: int = 20, width: int = 28) -> tuple[Tensor, Tensor]:
    image, mask = torch.rand(batch, 3, height, width), torch.zeros(batch, 1, height, width)
    mask[..., 4:13, 5:19] = 1
    return image, mask


def papers(upsampler: str) -> GlobalLocal:
    return GlobalLocal(GlobalLocalConfig(upsampler=upsampler, norm="none"))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# ------------------------------------------------------------------------------------------------------------
# The paper's table
# ------------------------------------------------------------------------------------------------------------


def test_the_deconvolution_network_has_the_papers_weights() -> None:
    """6.07 million, of which its two deconvolutions have 655.6 thousand."""
    sizes, channels = [], 4
    for kernel, _, _, width in TABLE:
        sizes.append(kernel**2 * channels * width + width)
        channels = width
    net = papers("deconv")
    assert count(net) == sum(sizes) == 6_066_179
    assert count(net.up_to_half) + count(net.up_to_full) == sizes[12] + sizes[14] == 655_552


def test_carafe_takes_the_deconvolutions_place_with_a_fifth_of_the_weights() -> None:
    net = papers("carafe")
    assert count(net.up_to_half) + count(net.up_to_full) == 140_104


@torch.no_grad()
def test_the_network_is_the_papers_table() -> None:
    """Row after row with the network's own weights in the order of the table."""
    net = papers("deconv")
    for parameter in net.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.1)
    parameters = iter(net.parameters())
    image, mask = photo(1, 36, 40)
    x = torch.cat([torch.where(mask > 0, 0, 2 * image - 1), mask], dim=1)
    for row, (kernel, dilation, stride, width) in enumerate(TABLE):
        weight, bias = next(parameters), next(parameters)
        assert len(bias) == width
        if stride < 1:
            x = F.conv_transpose2d(x, weight, bias, stride=2, padding=1)
        else:
            x = F.conv2d(x, weight, bias, int(stride), dilation * (kernel // 2), dilation)
        x = x.sigmoid() if row == len(TABLE) - 1 else x.relu()
    torch.testing.assert_close(net(image, mask), x, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_carafe_costs_no_more_than_a_twentieth_over_the_deconvolutions() -> None:
    counts = {}
    for name in ("deconv", "carafe"):
        with FlopCounterMode(display=False) as counter:
            papers(name)(torch.zeros(1, 3, 32, 32), torch.ones(1, 1, 32, 32))
        counts[name] = counter.get_total_flops()
    table, channels, side = 0, 4, 32.0
    for kernel, _, stride, width in TABLE:
        # A deconvolution works at every pixel of its source, a convolution at every pixel it makes.
        side, work = side / stride, (side if stride < 1 else side / stride) ** 2
        table, channels = table + int(2 * kernel**2 * channels * width * work), width
    assert counts["deconv"] == table
    assert 1 < counts["carafe"] / counts["deconv"] < 1.05


def test_batch_normalisation_follows_every_convolution_but_the_last() -> None:
    for name, layers in (("deconv", 17), ("nearest", 15)):
        made = list(GlobalLocal(GlobalLocalConfig(upsampler=name)).modules())
        assert sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in made) == layers
        assert sum(isinstance(m, nn.BatchNorm2d) for m in made) == layers - 1


# ------------------------------------------------------------------------------------------------------------
# The hole
# ------------------------------------------------------------------------------------------------------------


@variants
@torch.no_grad()
def test_nothing_in_the_hole_changes_a_bit_of_the_output(variant: dict[str, Any]) -> None:
    net, (image, mask) = network(variant), photo()
    wanted = net(torch.where(mask > 0, 0, image), mask)
    assert wanted.shape == image.shape and torch.isfinite(wanted).all()
    for content in (torch.rand_like(image), torch.full_like(image, torch.nan)):
        assert torch.equal(net(torch.where(mask > 0, content, image), mask), wanted)
    assert not torch.equal(net(image, 1 - mask), wanted)


@variants
@pytest.mark.parametrize("hole", [0.0, 1.0])
def test_full_and_empty_masks_are_finite_and_every_weight_learns(
    variant: dict[str, Any], hole: float
) -> None:
    net, (image, mask) = network(variant).train(), photo()
    output = net(image, torch.full_like(mask, hole))
    (output - torch.rand_like(image)).square().mean().backward()
    assert torch.isfinite(output).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@torch.no_grad()
def test_the_head_start_begins_at_the_smooth_fill() -> None:
    net, (image, mask) = network({"head_start": True, "norm": "channel"}), photo()
    off = (net(image, mask) - push_pull(image, 1 - mask)).abs()
    assert 0 < off.max() < 0.1
    assert not off[(mask == 0).expand_as(off)].any()


@torch.no_grad()
def test_without_it_the_picture_lies_between_0_and_1() -> None:
    net, (image, mask) = network(), photo()
    nn.init.normal_(net.to_image.weight, std=10)
    output = net(image, mask)
    assert (output >= 0).all() and (output <= 1).all() and (output > 0.99).any() and (output < 0.01).any()


# ------------------------------------------------------------------------------------------------------------
# Types, sizes, settings
# ------------------------------------------------------------------------------------------------------------


@variants
def test_bfloat16_autocast_is_close_to_float32(variant: dict[str, Any]) -> None:
    net, (image, mask) = network(variant), photo()
    wanted = net(image, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = net(image, mask)
    assert output.dtype == torch.float32
    assert (output - wanted).square().mean().sqrt() < 0.05 * wanted.std()


@torch.no_grad()
def test_any_multiple_of_the_stride_is_taken_and_nothing_else() -> None:
    net = network()
    for size in ((4, 4), (8, 20)):
        assert net(torch.rand(1, 3, *size), torch.ones(1, 1, *size)).shape == (1, 3, *size)
    with pytest.raises(ValueError, match=r"^GlobalLocal: height and width must be multiples of 4, got 10×8"):
        net(torch.rand(1, 3, 10, 8), torch.ones(1, 1, 10, 8))
    with pytest.raises(ValueError, match=r"^GlobalLocal: mask must have shape \[1, 1, 8, 8\]"):
        net(torch.rand(1, 3, 8, 8), torch.ones(1, 3, 8, 8))


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown norm 'layer'; choose one of batch, channel, none"):
        network({"norm": "layer"})
    with pytest.raises(ValueError, match="unknown upsampler 'cubic'"):
        network({"upsampler": "cubic"})
    with pytest.raises(ValueError, match=r"GlobalLocal: width must be at least 2 .* got 1 and"):
        network({"width": 1})
    with pytest.raises(ValueError, match="GlobalLocal: dilations must be positive"):
        network({"dilations": []})
    with pytest.raises(ValueError, match=r"GlobalLocal has no setting depth; it has .*upsampler"):
        build_network({"network": "GlobalLocal", "depth": 2})


@variants
@torch.no_grad()
def test_a_config_that_went_through_json_rebuilds_the_network(variant: dict[str, Any]) -> None:
    net, (image, mask) = network(variant), photo()
    rebuilt = build_network(json.loads(json.dumps(net.config)))
    rebuilt.eval().load_state_dict(net.state_dict())
    assert torch.equal(rebuilt(image, mask), net(image, mask))


def test_it_fills_photos_of_any_size() -> None:
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (37, 51, 3), dtype=np.uint8), np.zeros((37, 51), bool)
    mask[5:20, 30:51] = True
    filled = Inpainter(network(), "cpu")(image, mask)
    assert filled.shape == image.shape and (filled[~mask] == image[~mask]).all()
    assert (filled[mask] != image[mask]).any()
