"""UperNet: its three places of upsampling, whatever the upsampler and the size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.layers import UPSAMPLERS, CarafeUpsample
from inpaint.segmentation import UperNet, upernet

CHANNELS = (4, 6, 8, 10)


class Levels(nn.Module):
    """Four levels of strides 4 to 32."""

    def __init__(self) -> None:
        super().__init__()
        sides = zip((3, *CHANNELS), CHANNELS, (4, 2, 2, 2), strict=False)
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 3, stride, 1) for a, b, stride in sides)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        levels = {}
        for number, stage in enumerate(self.stages):
            x = levels[str(number)] = stage(x)
        return levels


def network(**places: str) -> UperNet:
    torch.manual_seed(0)
    made = UperNet(Levels(), CHANNELS, classes=5, width=6, **places)  # type: ignore[arg-type]
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return made.eval()


def composed(made: UperNet, image: Tensor, resize: Callable[[Tensor, Sequence[int]], Tensor]) -> Tensor:
    """UperNet written once more, from the paper, with nothing but weights from the network."""
    weights = made.state_dict()

    def conv(x: Tensor, name: str) -> Tensor:
        kernel = weights[f"{name}.0.weight"]
        norm = [weights[f"{name}.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(F.conv2d(x, kernel, padding=kernel.shape[-1] // 2), *norm).relu()

    c2, c3, c4, c5 = made.backbone(image).values()
    cells = [F.adaptive_avg_pool2d(c5, cells) for cells in (1, 2, 3, 6)]
    if resize is interpolated:
        pooled = [resize(conv(x, f"pooling.reductions.{i}"), c5.shape[-2:]) for i, x in enumerate(cells)]
    else:
        half = [(side + 1) // 2 for side in c5.shape[-2:]]
        halves = [interpolated(conv(x, f"pooling.reductions.{i}"), half) for i, x in enumerate(cells)]
        pooled = [resize(x, c5.shape[-2:]) for x in halves]
    f5 = conv(torch.cat([c5, *pooled], 1), "pooling.bottleneck")
    f4 = conv(c4, "laterals.2") + resize(f5, c4.shape[-2:])
    f3 = conv(c3, "laterals.1") + resize(f4, c3.shape[-2:])
    f2 = conv(c2, "laterals.0") + resize(f3, c2.shape[-2:])
    p2, p3, p4 = (conv(f, f"smoothing.{i}") for i, f in enumerate((f2, f3, f4)))
    if resize is interpolated:
        fused = [p2, *(resize(p, p2.shape[-2:]) for p in (p3, p4, f5))]
    else:
        both = torch.cat([p4, resize(f5, p4.shape[-2:])], 1)
        three = torch.cat([p3, resize(both, p3.shape[-2:])], 1)
        fused = [p2, resize(three, p2.shape[-2:])]
    x = conv(torch.cat(fused, 1), "bottleneck")
    logits = F.conv2d(x, weights["classifier.1.weight"], weights["classifier.1.bias"])
    return interpolated(logits, image.shape[-2:])


def interpolated(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def repeated(x: Tensor, size: Sequence[int]) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, : size[0], : size[1]]


@pytest.mark.parametrize("size", [(128, 192), (70, 101), (33, 64)], ids=str)
@pytest.mark.parametrize(("name", "resize"), [("bilinear", interpolated), ("nearest", repeated)])
def test_the_network_is_the_papers_composition(
    name: str, resize: Callable[[Tensor, Sequence[int]], Tensor], size: tuple[int, int]
) -> None:
    made, image = network(ppm=name, fpn=name, fuse=name), torch.randn(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(made(image), composed(made, image, resize))


def test_carafe_takes_every_place_and_with_the_middle_tap_alone_is_nearest() -> None:
    made = network(ppm="carafe", fpn="carafe", fuse="carafe")
    parts = {name: part for name, part in made.named_modules() if isinstance(part, CarafeUpsample)}
    assert {name: part.channels for name, part in parts.items()} == {
        **{f"pooling.upsamplers.{i}": 6 for i in range(4)},
        **{f"top_down.{i}": 6 for i in range(3)},
        **{f"fusion.{i}": 6 * (3 - i) for i in range(3)},
    }
    for part in parts.values():
        nn.init.zeros_(part.content_encoder.weight)
        with torch.no_grad():
            part.content_encoder.bias.view(25, 4)[12] = 1e4
    other, image = network(ppm="nearest", fpn="nearest", fuse="nearest"), torch.randn(2, 3, 70, 101)
    shared = {name: tensor for name, tensor in made.state_dict().items() if name in other.state_dict()}
    other.load_state_dict(shared)
    with torch.no_grad():
        assert torch.equal(made(image), other(image))


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_every_upsampler_trains(name: str) -> None:
    made = network(ppm=name, fpn=name, fuse=name).train()
    logits = made(torch.randn(2, 3, 70, 101))
    assert logits.shape == (2, 5, 70, 101)
    F.cross_entropy(logits, torch.randint(5, (2, 70, 101))).backward()
    assert [n for n, p in made.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_one_place_alone_is_as_much_as_an_ablation_wants() -> None:
    made = network(fuse="carafe")
    carafe = [name for name, part in made.named_modules() if isinstance(part, CarafeUpsample)]
    assert carafe == ["fusion.0", "fusion.1", "fusion.2"]


def test_backbones_are_torchvisions_resnets_by_name() -> None:
    made = upernet(classes=3, backbone="resnet18", width=8, ppm="bilinear", up_kernel=3)
    assert made.training and made.backbone.training
    assert [conv[0].in_channels for conv in made.laterals] == [64, 128, 256]
    assert made.top_down[0].up_kernel == 3
    for wrong, message in (
        ({"backbone": "vgg11"}, r"'vgg11' has no layer1 to layer4; take one of torchvision's ResNets"),
        ({"backbone": "resnet18", "upsampler": "cubic"}, r"unknown upsampler 'cubic'"),
    ):
        with pytest.raises(ValueError, match=message):
            upernet(classes=3, width=8, **wrong)  # type: ignore[arg-type]
