import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inpaint.layers import UPSAMPLERS, PartialConv2d, Upsampler, push_pull
from inpaint.networks import CONFIGS, PartialConvUNet, PartialConvUNetConfig, build_network

# Three halvings, every kind of part, and nothing large.
SMALL = PartialConvUNetConfig(
    widths=(8, 12, 16),
    kernel_sizes=(5, 3),
    head_width=6,
    compressed_channels=8,
    encoder_blocks=(0, 1),
    decoder_blocks=(1, 0),
)
VARIANTS: dict[str, dict[str, Any]] = {
    **{name: {"upsampler": name} for name in UPSAMPLERS},
    **{f"{name}-paper": {"upsampler": name, "head_start": False, "norm": "batch"} for name in UPSAMPLERS},
    "carafe-batch-norm": {"norm": "batch"},
    "carafe-no-head-start": {"head_start": False},
    "carafe-no-head": {"head_width": 0},
    "carafe-paper-no-head": {"head_width": 0, "head_start": False, "norm": "batch"},
}
variants = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)


def network(variant: Mapping[str, Any] | None = None, seed: int = 0) -> PartialConvUNet:
    """In eval mode, with weights and statistics so far from the initial ones that all of them count."""
    torch.manual_seed(seed)
    made = PartialConvUNet(dataclasses.replace(SMALL, **(variant or {})))
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.bias)
        elif isinstance(module, PartialConv2d) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.1)
    nn.init.normal_((made.to_image or made.head.merge.conv).weight, std=0.1)
    return made.eval()


def photo(batch: int = 2, height: int = 32, width: int = 40) -> tuple[Tensor, Tensor]:
    """A picture with a hole of blocks, large enough that some of it stays unknown on the way down."""
    image = torch.rand(batch, 3, height, width)
    mask = (torch.rand(batch, 1, height // 8, width // 8) < 0.5).float()
    mask[..., 1, 1] = 1
    mask[..., 0, 0] = 0
    return image, mask.repeat_interleave(8, 2).repeat_interleave(8, 3)


def preset(name: str, **changes: Any) -> PartialConvUNet:
    with torch.device("meta"):  # sizes only
        made = build_network({**CONFIGS[name], **changes})
    assert isinstance(made, PartialConvUNet)
    return made


# ------------------------------------------------------------------------------------------------------------
# The hole
# ------------------------------------------------------------------------------------------------------------


@variants
@torch.no_grad()
def test_nothing_in_the_hole_changes_a_bit_of_the_output(variant: dict[str, Any]) -> None:
    net = network(variant)
    image, mask = photo()
    wanted = net(torch.where(mask > 0, 0, image), mask)
    assert torch.isfinite(wanted).all()
    contents = [torch.rand_like(image), torch.full_like(image, torch.nan), torch.full_like(image, -torch.inf)]
    for content in contents:
        assert torch.equal(net(torch.where(mask > 0, content, image), mask), wanted)
    # What is known does matter, everywhere in the hole.
    changed = net(torch.where(mask > 0, 0, 1 - image), mask)
    assert (changed != wanted).any(1, keepdim=True)[mask > 0].all()


def test_nothing_in_the_hole_changes_a_bit_of_a_gradient() -> None:
    net = network()
    image, mask = photo()
    results = []
    for content in (0.0, torch.nan):
        filled = torch.where(mask > 0, content, image).requires_grad_()
        loss = net(filled, mask).square().mean()
        results.append(torch.autograd.grad(loss, [filled, *net.parameters()]))
    for first, second in zip(*results, strict=True):
        assert torch.isfinite(first).all() and torch.equal(first, second)
    assert not results[0][0][(mask > 0).expand_as(image)].any()


@pytest.mark.parametrize("name", UPSAMPLERS)
@torch.no_grad()
def test_the_carried_valid_matters(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ones in place of the valid that upsamplers or convolutions return, the result differs."""
    net = network({"upsampler": name})
    image, mask = torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    mask[..., :8] = 0  # a hole so wide that it is still open at the bottom
    wanted = net(image, mask)
    for part in (Upsampler, PartialConv2d):
        forward = part.forward

        def forgets(self: Any, *arguments: Any, forward: Any = forward, **keywords: Any) -> Any:
            features, valid = forward(self, *arguments, **keywords)
            return features, torch.ones_like(valid)

        with monkeypatch.context() as patch:
            patch.setattr(part, "forward", forgets)
            assert (net(image, mask) - wanted).abs().max() > 1e-3


@variants
@pytest.mark.parametrize("hole", ["all", "none"])
def test_full_and_empty_masks_are_finite(variant: dict[str, Any], hole: str) -> None:
    net = network(variant)
    image, mask = photo()
    mask = torch.full_like(mask, float(hole == "all"))
    output = net(image, mask)
    gradients = torch.autograd.grad(output.square().mean(), list(net.parameters()))
    assert torch.isfinite(output).all() and all(torch.isfinite(g).all() for g in gradients)
    if hole == "all":
        assert torch.equal(output, net(torch.rand_like(image), mask))


@torch.no_grad()
def test_a_bool_mask_is_taken() -> None:
    net, (image, mask) = network(), photo()
    assert torch.equal(net(image, mask.bool()), net(image, mask))


@torch.no_grad()
def test_inputs_are_left_as_they_are() -> None:
    net, (image, mask) = network(), photo()
    copies = image.clone(), mask.clone()
    net(image, mask)
    assert torch.equal(image, copies[0]) and torch.equal(mask, copies[1])


@torch.no_grad()
def test_each_picture_of_a_batch_is_its_own() -> None:
    net, (image, mask) = network({"norm": "batch"}), photo()
    together = net(image, mask)
    for i in range(2):
        torch.testing.assert_close(net(image[i : i + 1], mask[i : i + 1]), together[i : i + 1])


@torch.no_grad()
def test_the_head_start_begins_at_the_smooth_fill() -> None:
    image, mask = photo()
    net = PartialConvUNet(SMALL)
    net.choice.offset.fill_(-1e4)  # no line is believed
    output = net(image, mask)
    fill = push_pull(image, 1 - mask)
    assert 0 < (output - fill).square().mean().sqrt() < 0.1


@torch.no_grad()
def test_a_line_that_is_believed_continues_what_crosses_the_hole() -> None:
    """A diagonal edge: the smooth fill blurs it, lines whose two ends are alike do not."""
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    image = (rows > columns).float().expand(1, 3, 64, 64)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 22:42, 22:42] = 1
    net = PartialConvUNet(SMALL)
    nn.init.zeros_(net.to_image.weight)
    nn.init.zeros_(net.choice.to_logits.weight)
    net.choice.slope.copy_(torch.tensor([40.0, 0.0, 0.0]))
    net.choice.offset.fill_(-30)  # only ends that are alike
    errors = [((fill - image) * mask).abs().sum() / mask.sum() / 3 for fill in
              (push_pull(image, 1 - mask), net(image * (1 - mask), mask))]  # fmt: skip
    assert errors[1] < 0.6 * errors[0]


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="norm"):
        PartialConvUNet(dataclasses.replace(SMALL, norm="layer"))


# ------------------------------------------------------------------------------------------------------------
# Training and types
# ------------------------------------------------------------------------------------------------------------


@variants
def test_a_gradient_reaches_every_parameter(variant: dict[str, Any]) -> None:
    net = network(variant).train()
    image, mask = photo()
    (net(image, mask) - image).abs().mean().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("variant", [{}, {"head_start": False, "norm": "batch"}], ids=["released", "paper"])
def test_bfloat16_autocast_is_close_to_float32(variant: dict[str, Any]) -> None:
    net, (image, mask) = network(variant), photo()
    wanted = net(image, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = net(image, mask)
    assert output.dtype == torch.float32
    spread = wanted.detach().std().item()
    assert (output - wanted).square().mean().sqrt().item() < 0.03 * spread
    output.square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in net.parameters())


@pytest.mark.parametrize("upsampler", UPSAMPLERS)
@pytest.mark.parametrize("lower", [False, True], ids=["float32", "bfloat16"])
@torch.no_grad()
def test_every_feature_map_stays_channels_last(upsampler: str, lower: bool) -> None:
    """One map in the other format, and every layer after it pays for turning it."""
    net, (image, mask) = network({"upsampler": upsampler, "norm": "batch"}), photo()
    turned = []

    def look(module: nn.Module, _: Any, output: tuple[Tensor, Tensor]) -> None:
        if not output[0].is_contiguous(memory_format=torch.channels_last):
            turned.append(module)

    for module in net.modules():
        if isinstance(module, PartialConv2d | Upsampler):
            module.register_forward_hook(look)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=lower):
        net(image, mask)
    assert turned == []


# ------------------------------------------------------------------------------------------------------------
# Sizes, settings, presets
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 24), (40, 16)])
@torch.no_grad()
def test_any_multiple_of_the_stride_is_taken(height: int, width: int) -> None:
    net = network()
    assert net.stride == 8
    image, mask = photo(1, 64, 64)
    output = net(image[..., :height, :width], mask[..., :height, :width])
    assert output.shape == (1, 3, height, width) and torch.isfinite(output).all()


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (
            (1, 3, 30, 40),
            (1, 1, 30, 40),
            "height and width must be multiples of 8, got 30×40; inpaint.Inpainter",
        ),
        (
            (1, 3, 32, 36),
            (1, 1, 32, 36),
            "height and width must be multiples of 8, got 32×36; inpaint.Inpainter",
        ),
        ((3, 32, 40), (1, 32, 40), r"image must have shape \[N, 3, H, W\], got \[3, 32, 40\]"),
        ((1, 1, 32, 40), (1, 1, 32, 40), r"image must have shape \[N, 3, H, W\], got \[1, 1, 32, 40\]"),
        ((1, 3, 32, 40), (1, 3, 32, 40), r"mask must have shape \[1, 1, 32, 40\], got \[1, 3, 32, 40\]"),
        ((2, 3, 32, 40), (1, 1, 32, 40), r"mask must have shape \[2, 1, 32, 40\], got \[1, 1, 32, 40\]"),
        ((1, 3, 32, 40), (1, 1, 32, 32), r"mask must have shape \[1, 1, 32, 40\], got \[1, 1, 32, 32\]"),
    ],
)
def test_errors_name_what_does_not_fit(image: tuple[int, ...], mask: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"^PartialConvUNet: {message}"):
        network()(torch.zeros(image), torch.zeros(mask))


@variants
@torch.no_grad()
def test_a_config_that_went_through_json_rebuilds_the_network(variant: dict[str, Any]) -> None:
    net = network(variant)
    text = json.dumps(net.config)
    rebuilt = build_network(json.loads(text))
    assert isinstance(rebuilt, PartialConvUNet)
    assert rebuilt.config == net.config and json.dumps(rebuilt.config) == text
    assert rebuilt.settings == net.settings and rebuilt.stride == net.stride
    rebuilt.eval().load_state_dict(net.state_dict())
    image, mask = photo(1)
    assert torch.equal(rebuilt(image, mask), net(image, mask))


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="unknown network 'UNet'; choose one of GlobalLocal, PartialConvUNet"
    ):
        build_network({"network": "UNet"})
    with pytest.raises(ValueError, match="unknown network None"):
        build_network({"widths": [8, 8]})
    with pytest.raises(ValueError, match=r"PartialConvUNet has no setting depth, size; it has .*upsampler"):
        build_network({"network": "PartialConvUNet", "size": 3, "depth": 2})
    with pytest.raises(ValueError, match="unknown upsampler 'cubic'"):
        build_network({"network": "PartialConvUNet", "upsampler": "cubic"})
    with pytest.raises(ValueError, match=r"at least two widths are needed, got \(8,\)"):
        build_network({"network": "PartialConvUNet", "widths": [8]})


def test_building_does_not_change_the_config_it_is_given() -> None:
    config = json.loads(json.dumps(network().config))
    copy = json.loads(json.dumps(config))
    build_network(config)
    assert config == copy


def test_the_released_network_fits_into_16_mib_in_float16() -> None:
    net = preset("partial-conv-unet")
    assert net.config["upsampler"] == "carafe"
    assert sum(p.numel() for p in net.parameters()) < 8_400_000 - 65_536  # the header's and the names' room
    assert not list(net.buffers())


def test_the_papers_network_has_the_papers_layers() -> None:
    """Liu et al., table 2, with seven halvings for the eighth that a 256-pixel crop has no room for.

    Their last layer, PConv16, goes from 64 + 3 channels to the picture, without normalisation or rectifier.
    """
    net = preset("partial-conv-unet-paper")
    assert net.stride == 128
    stages = [level.down for level in net.encoder]
    encoder = [(s.conv.in_channels, s.conv.out_channels, s.conv.kernel_size, s.conv.stride) for s in stages]
    assert encoder == [
        (3, 64, 7, 2),
        (64, 128, 5, 2),
        (128, 256, 5, 2),
        (256, 512, 3, 2),
        (512, 512, 3, 2),
        (512, 512, 3, 2),
        (512, 512, 3, 2),
    ]
    # Batch normalisation everywhere but in the first and the last layer.
    assert [isinstance(stage.norm, nn.BatchNorm2d) for stage in stages] == [False] + [True] * 6
    levels = [*net.decoder, net.head]
    decoder = [(level.merge.conv.in_channels, level.merge.conv.out_channels) for level in levels]
    assert decoder == [
        (512 + 512, 512),
        (512 + 512, 512),
        (512 + 512, 512),
        (512 + 256, 256),
        (256 + 128, 128),
        (128 + 64, 64),
        (64 + 3, 3),
    ]
    assert {level.merge.conv.kernel_size for level in levels} == {3}
    assert [isinstance(level.merge.norm, nn.BatchNorm2d) for level in levels] == [True] * 6 + [False]
    assert [level.merge.slope for level in levels] == [0.2] * 6 + [1.0]
    assert not any(len(level.blocks) for level in [*net.encoder, *levels])
    assert net.to_image is None


def test_carafe_adds_to_the_papers_network_what_is_published() -> None:
    """0.564 M weights in seven upsamplers, 2.2 %."""
    sizes = {
        name: sum(p.numel() for p in preset("partial-conv-unet-paper", upsampler=name).parameters())
        for name in ("carafe", "nearest")
    }
    assert sizes["carafe"] - sizes["nearest"] == 564_092
    assert round(100 * 564_092 / sizes["nearest"], 1) == 2.2
