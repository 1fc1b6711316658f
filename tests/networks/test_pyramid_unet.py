import dataclasses
import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.layers import UPSAMPLERS, CarafeUpsample, PartialConv2d, push_pull
from inpaint.networks import CONFIGS, PyramidUNet, PyramidUNetConfig, build_network, probes

# Two halvings, every kind of part, and nothing large.
SMALL = PyramidUNetConfig(
    widths=(8, 12),
    kernel_sizes=(5, 3),
    decoder_widths=(8,),
    head_width=6,
    compressed_channels=6,
    encoder_blocks=((), (2,)),
    decoder_blocks=((1,),),
    smallest=8,
)


def network(**changes: Any) -> PyramidUNet:
    """In evaluation mode, with weights so far from the initial ones that all of them count."""
    torch.manual_seed(0)
    made = PyramidUNet(dataclasses.replace(SMALL, **changes))
    for module in made.modules():
        if isinstance(module, PartialConv2d) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, CarafeUpsample):
            nn.init.normal_(module.content_encoder.weight, std=0.2)
    nn.init.normal_(made.to_image.weight, std=0.1)
    return made.eval()


def photo(height: int = 32, width: int = 40, batch: int = 2) -> tuple[Tensor, Tensor]:
    """A picture with a wide hole, a known speck in it, and one beside it."""
    torch.manual_seed(1)
    image = torch.rand(batch, 3, height, width)
    mask = torch.zeros(batch, 1, height, width)
    mask[..., height // 8 : -height // 4, width // 4 :] = 1
    mask[..., height // 2, width // 2] = 0
    mask[..., -1, 0] = 1
    return image, mask


@pytest.mark.parametrize("upsampler", UPSAMPLERS)
@torch.no_grad()
def test_nothing_in_the_hole_changes_a_bit_of_the_output(upsampler: str) -> None:
    made = network(upsampler=upsampler)
    image, mask = photo()
    wanted = made(torch.where(mask > 0, 0, image), mask)
    assert torch.isfinite(wanted).all()
    for content in (torch.rand_like(image), torch.full_like(image, torch.nan)):
        assert torch.equal(made(torch.where(mask > 0, content, image), mask), wanted)
    # What is known does matter, everywhere in the hole.
    changed = made(torch.where(mask > 0, 0, 1 - image), mask)
    assert (changed != wanted).any(1, keepdim=True)[mask > 0].all()


def test_nothing_in_the_hole_changes_a_bit_of_a_gradient() -> None:
    made = network()
    image, mask = photo()
    results = []
    for content in (0.0, torch.nan):
        filled = torch.where(mask > 0, content, image)
        loss = torch.stack([fill.square().mean() for fill in made(filled, mask, all_octaves=True)]).sum()
        results.append(torch.autograd.grad(loss, list(made.parameters())))
    for first, second in zip(*results, strict=True):
        assert torch.isfinite(first).all() and torch.equal(first, second)
    assert all(gradient.any() for gradient in results[0])


@torch.no_grad()
def test_known_pixels_come_back_as_they_are() -> None:
    image, mask = photo()
    fill = network()(image, mask)
    torch.testing.assert_close(torch.where(mask > 0, 0, fill), torch.where(mask > 0, 0, image))
    empty = torch.zeros_like(mask)
    torch.testing.assert_close(network()(image, empty), image)


@torch.no_grad()
def test_without_its_residual_it_is_the_membrane() -> None:
    """With as many sweeps, bit for bit; with half as many, nearly."""
    image, mask = photo(64, 64)
    image = F.interpolate(image[..., ::8, ::8], scale_factor=8.0, mode="bilinear")
    membrane = push_pull(image, 1 - mask)
    for sweeps, tolerance in ((12, 0.0), (6, 0.05)):
        made = network(sweeps=sweeps)
        with probes.without_residual(made):  # type: ignore[union-attr]
            torch.testing.assert_close(made(image, mask), membrane, rtol=0, atol=tolerance)
        assert (made(image, mask) - membrane).abs().max() > 0.05


@pytest.mark.parametrize(
    ("size", "octaves"),
    [((32, 40), [(32, 40), (16, 20), (8, 10)]), ((4, 4), [(4, 4)]), ((12, 44), [(12, 44), (6, 22), (3, 11)])],
)
@torch.no_grad()
def test_octaves_are_halved_upwards_until_little_is_left(
    size: tuple[int, int], octaves: list[tuple[int, int]]
) -> None:
    fills = network()(*photo(*size), all_octaves=True)
    assert [tuple(fill.shape[-2:]) for fill in fills] == octaves
    assert all(torch.isfinite(fill).all() for fill in fills)
    assert torch.equal(fills[0], network()(*photo(*size)))


@torch.no_grad()
def test_every_octave_is_done_with_what_the_coarser_one_made() -> None:
    """An octave by hand: the U-Net on the smooth fill that starts from the coarser octave's fill."""
    made = network()
    image, mask = photo()
    fine, coarse, _ = made(image, mask, all_octaves=True)
    seen: list[tuple[Tensor, ...]] = []
    made._octave, octave = (lambda *given: seen.append(given) or octave(*given)), made._octave  # type: ignore
    made(image, mask)
    smooth, share, given_coarse, handed_down = seen[-1]
    assert torch.equal(given_coarse, coarse) and torch.equal(share, 1 - mask)
    torch.testing.assert_close(smooth + mask * octave(smooth, share, given_coarse, handed_down)[0], fine)
    unknown = torch.zeros_like(handed_down)
    assert not torch.equal(octave(smooth, share, given_coarse, unknown)[0], octave(*seen[-1])[0])
    assert not torch.equal(octave(smooth, share, 1 - given_coarse, handed_down)[0], octave(*seen[-1])[0])


@torch.no_grad()
def test_the_hole_counts_by_its_confidence() -> None:
    image, mask = photo()
    fills = [network(confidence=confidence)(image, mask) for confidence in (0.0, 0.5, 1.0)]
    assert all(torch.isfinite(fill).all() for fill in fills)
    assert not torch.equal(fills[0], fills[1]) and not torch.equal(fills[1], fills[2])


@pytest.mark.parametrize("value", [0.0, 1.0])
@torch.no_grad()
def test_full_and_empty_masks_are_finite(value: float) -> None:
    image, mask = photo()
    fill = network()(image, torch.full_like(mask, value))
    assert torch.isfinite(fill).all() and fill.shape == image.shape


@torch.no_grad()
def test_kernels_begin_as_bilinear_interpolation() -> None:
    torch.manual_seed(0)
    made = PyramidUNet(SMALL)
    upsample = made.head.upsample
    assert isinstance(upsample, CarafeUpsample)
    features = torch.rand(1, upsample.channels, 12, 12)
    bilinear = F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
    flat = F.avg_pool2d(features, 5, 1, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    inner = (..., slice(4, -4), slice(4, -4))  # beyond the border lie zeros
    wanted = (0.9 * bilinear + 0.1 * flat)[inner]
    torch.testing.assert_close(upsample(features)[inner], wanted, atol=0.02, rtol=0)


def test_a_config_builds_the_network_again() -> None:
    made = network(confidence=0.25)
    again = build_network(json.loads(json.dumps(made.config)))
    again.load_state_dict(made.state_dict())
    image, mask = photo()
    with torch.no_grad():
        assert torch.equal(again.eval()(image, mask), made(image, mask))
    assert isinstance(build_network(CONFIGS["pyramid-unet"]), PyramidUNet)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"widths": (8,)}, "two widths"),
        ({"widths": (8, 0)}, "positive"),
        ({"kernel_sizes": (5, 4)}, "odd"),
        ({"kernel_sizes": (5,)}, "kernel_sizes must have 2"),
        ({"decoder_widths": (8, 8)}, "decoder_widths must have 1"),
        ({"encoder_blocks": ((), (0,))}, "dilations"),
        ({"confidence": 1.5}, "confidence"),
        ({"smallest": 1}, "smallest"),
        ({"upsampler": "magic"}, "carafe"),
    ],
)
def test_sizes_that_no_network_has_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        PyramidUNet(dataclasses.replace(SMALL, **changes))


def test_sizes_that_it_cannot_halve_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        network()(*photo(30, 40))


@torch.no_grad()
def test_below_a_scale_nothing_counts() -> None:
    """Deep weights, and whole octaves, lose their influence where what comes from below a scale is taken."""
    made = network()
    image, mask = photo(32, 32)
    fills = {1: made(image, mask)}
    for scale in (2, 4):
        with probes.without_below(made, scale):  # type: ignore[union-attr]
            fills[scale] = made(image, mask)
            coarsest = made(image, mask, all_octaves=True)[-1]
        # 8×8, the coarsest octave at a quarter of the size, is corrected where the scale reaches that far.
        membrane = push_pull(F.avg_pool2d(image, 4), 1 - mask[..., ::4, ::4])
        assert coarsest.shape == membrane.shape
    assert torch.equal(made(image, mask), fills[1])
    assert len({fill.sum().item() for fill in fills.values()}) == 3
    # With all below 1/1 gone, the encoder's and the decoder's features may be anything. Predicted kernels
    # carry valid, too, which stays: so they are constant here.
    constant = probes.constant_kernels(made, probes.nearest_kernels(made))
    with constant, probes.without_below(made, 1):  # type: ignore[union-attr]
        alone = made(image, mask)
        for part in (*made.encoder, *made.decoder):
            for weight in part.parameters():
                weight.add_(0.1)
        assert torch.equal(made(image, mask), alone)


@torch.no_grad()
def test_its_decoder_can_be_looked_into() -> None:
    made = network()
    seen = probes.inspect_decoder(made, [photo()])
    assert list(seen.kernels) == ["decoder.0", "head"] == list(seen.from_below)
    assert [level.scale for level in seen.kernels.values()] == [2, 1]
    assert all(0 < share < 1 for share in seen.from_below.values())


@pytest.mark.parametrize(
    "hole", [(0, 0, 3, 5), (70, 100, 90, 128), (40, 0, 44, 128), (95, 127, 96, 128)], ids=str
)
@torch.no_grad()
def test_a_fill_near_the_hole_is_that_of_the_whole_octave(hole: tuple[int, int, int, int]) -> None:
    """Every octave's, for holes at the picture's corners and sides; and less is made."""
    top, left, bottom, right = hole
    mask = torch.zeros(2, 1, 96, 128)
    mask[0, :, top:bottom, left:right] = 1
    image = torch.rand(2, 3, 96, 128)
    made = network()
    seen: list[int] = []
    made.head.register_forward_hook(lambda module, given, output: seen.append(output[0][0].numel()))
    fills, made.whole_octaves = made(image, mask, all_octaves=True), True
    for fill, wanted in zip(fills, made(image, mask, all_octaves=True), strict=True):
        torch.testing.assert_close(fill, wanted, rtol=0, atol=1e-5)
    assert seen[len(fills) - 1] < seen[-1]


@torch.no_grad()
def test_autocast_changes_little_and_leaves_the_membrane() -> None:
    made, (image, mask) = network(), photo()
    wanted = made(image, mask)
    with torch.autocast("cpu", torch.bfloat16):
        fill = made(image, mask)
        with probes.without_residual(made):  # type: ignore[union-attr]
            smooth = made(image, mask)
    assert fill.dtype == torch.float32 and not torch.equal(fill, wanted)
    torch.testing.assert_close(fill, wanted, rtol=0, atol=0.03)
    with probes.without_residual(made):  # type: ignore[union-attr]
        assert torch.equal(smooth, made(image, mask))
