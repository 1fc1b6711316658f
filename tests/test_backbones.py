"""The ImageNet networks whose features losses and metrics compare."""

import pickle
import warnings
from pathlib import Path

import pytest
import torch
from random_backbones import save_squeezenet
from safetensors.torch import save_file
from torchvision.models import squeezenet1_1, vgg16

from inpaint.backbones import build_backbone, find_backbone


@pytest.fixture(scope="module")
def squeezenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backbone") / "squeezenet.safetensors"
    save_squeezenet(path)
    return path


def test_backbone_gives_torchvisions_maps_at_a_common_scale(squeezenet_file: Path) -> None:
    backbone = build_backbone(f"squeezenet:{squeezenet_file}")
    torch.manual_seed(3)
    reference = squeezenet1_1().features
    images = torch.rand(2, 3, 33, 41)
    x = (images - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    maps = backbone(images)
    assert len(maps) == 3
    for index, layer in enumerate((1, 4, 7)):
        expected = reference[: layer + 1](x)
        torch.testing.assert_close(maps[index] / backbone.scales[index], expected, rtol=1e-4, atol=1e-5)
    # Maps lie at a half, a quarter and an eighth of the picture.
    assert [map_.shape[-1] for map_ in backbone(torch.rand(1, 3, 64, 64))] == [31, 15, 7]


def test_backbone_scales_make_weights_of_other_input_ranges_equal(
    tmp_path: Path, squeezenet_file: Path
) -> None:
    save_squeezenet(tmp_path / "large.safetensors", factor=50)
    images = torch.rand(1, 3, 32, 32)
    ours = build_backbone(f"squeezenet:{squeezenet_file}")(images)
    large = build_backbone(f"squeezenet:{tmp_path / 'large.safetensors'}")(images)
    for a, b in zip(ours, large, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_backbone_is_frozen_and_lets_gradients_through(squeezenet_file: Path) -> None:
    backbone = build_backbone(f"squeezenet:{squeezenet_file}").train()
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    sum(map_.sum() for map_ in backbone(images)).backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_vgg16_is_found_in_torch_hubs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"vgg16.*https://.*squeezenet:FILE.*weights of the perceptual"
    ):
        build_backbone("vgg16")
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in vgg16().features[:17].state_dict().items()}
    state = {f"features.{name}": torch.randn(shape) * 0.05 for name, shape in shapes.items()}
    (tmp_path / "checkpoints").mkdir()
    torch.save(state, tmp_path / "checkpoints" / "vgg16-00000000.pth")
    backbone = build_backbone("vgg16")
    assert [tuple(map_.shape[1:]) for map_ in backbone(torch.rand(1, 3, 32, 32))] == [
        (64, 16, 16),
        (128, 8, 8),
        (256, 4, 4),
    ]
    assert torch.equal(backbone.stages[0].weight, state["features.0.weight"])
    assert backbone.scales.tolist() == [1, 1, 1]  # the published weights refer to the maps as they are


class Exploit:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("pickle-was-run"),))


def test_bad_backbone_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"resnet.*squeezenet, vgg16"):
        build_backbone("resnet")
    with pytest.raises(FileNotFoundError, match=r"missing\.safetensors"):
        build_backbone("squeezenet:missing.safetensors")
    Path("cut.safetensors").write_bytes(b"\x10\x00\x00")
    with pytest.raises(ValueError, match=r"cut\.safetensors"):
        build_backbone("squeezenet:cut.safetensors")
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, "some.safetensors")
    with pytest.raises(ValueError, match=r"some\.safetensors.*squeezenet1_1"):
        build_backbone("squeezenet:some.safetensors")
    Path("evil.pth").write_bytes(pickle.dumps(Exploit(), protocol=2))
    with pytest.raises(ValueError, match=r"evil\.pth"):
        build_backbone("vgg16:evil.pth")
    assert not Path("pickle-was-run").exists()


@pytest.mark.parametrize("name", ["squeezenet", "vgg16"])
def test_every_stage_is_a_slice_of_lpips(name: str, tmp_path: Path) -> None:
    lpips = pytest.importorskip("lpips.pretrained_networks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it calls torchvision with a retired argument
        reference = getattr(lpips, name)(pretrained=False).eval()
    # Its slices keep the layers' numbers: "slice2.3.weight" is layer 3's.
    state = {f"features.{key.split('.', 1)[1]}": value for key, value in reference.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    backbone = build_backbone(f"{name}:{tmp_path}/weights.safetensors", every_stage=True)
    images = torch.rand(1, 3, 37, 45)
    with torch.inference_mode():
        expected = reference((images - backbone.mean) / backbone.std)
        maps = backbone(images)
    assert len(maps) == len(expected)
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_smallest_picture_of_which_every_stage_has_a_map(squeezenet_file: Path) -> None:
    side = find_backbone(f"squeezenet:{squeezenet_file}").minimum_side
    backbone = build_backbone(f"squeezenet:{squeezenet_file}", every_stage=True)
    assert all(map_.numel() for map_ in backbone(torch.rand(1, 3, side, side + 20)))
    with pytest.raises(RuntimeError):
        backbone(torch.rand(1, 3, side - 1, side + 20))
