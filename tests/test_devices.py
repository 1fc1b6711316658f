"""Names of devices at every door, on machines that have GPUs and others; the GPUs are pretended."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import skimage.data
import torch
from PIL import Image

from inpaint import Inpainter
from inpaint.devices import check_device_name, choose_device


def script(name: str) -> Callable[[list[str]], int]:
    """The main function of a script of the project's top folder."""
    return runpy.run_path(str(Path(__file__).parents[1] / f"{name}.py"))["main"]


@pytest.fixture
def _two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)


@pytest.mark.usefixtures("_two_gpus")
@pytest.mark.parametrize(
    ("name", "device"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")]
)
def test_a_name_is_a_device_with_its_index(name: str, device: str) -> None:
    assert choose_device(name) == choose_device(torch.device(device)) == torch.device(device)


@pytest.mark.parametrize(
    "name", ["", "gpu", "meta", "cuda:", "cuda:x", "cuda:-1", "cuda:1 ", "cuda:1\n", "CPU"]
)
def test_other_names_are_refused_before_torch_is_asked(name: str) -> None:
    for door in (check_device_name, choose_device):
        with pytest.raises(ValueError, match="expected auto, cpu, cuda or cuda:NUMBER"):
            door(name)


@pytest.mark.usefixtures("_two_gpus")
@pytest.mark.parametrize("door", ["python", "train", "evaluate", "run"])
def test_every_door_takes_a_gpu_by_its_number(
    door: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Number 9 is read, and found not to be there."""
    photos, mask = tmp_path / "photos", tmp_path / "mask.png"
    photos.mkdir()
    Image.fromarray(skimage.data.astronaut()[:64, :64]).save(photos / "a.png")
    Image.new("L", (64, 64), 255).save(mask)
    message = "device cuda:9: there is no GPU 9, torch sees 2"
    arguments = ["--output", str(tmp_path / "out"), "--device", "cuda:9"]
    if door == "python":
        with pytest.raises(ValueError, match=message):
            Inpainter.from_pretrained("pconv-carafe", device="cuda:9")
        return
    if door == "train":
        assert script("train")(["--data", str(photos), *arguments]) == 1
    elif door == "evaluate":
        evaluated = ["--images", str(photos), "--masks", "box", "--methods", "telea", "--size", "64"]
        assert script("evaluate")([*evaluated, *arguments]) == 2
    else:
        from inpaint.cli import main

        with pytest.raises(SystemExit) as stop:
            main(["run", "--image", str(photos / "a.png"), "--mask", str(mask), *arguments])
        assert stop.value.code == 2
    assert message in capsys.readouterr().err + caplog.text
