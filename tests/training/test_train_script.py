"""train.py from its command line to its files, with a small network of the released kind."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torchvision.models import squeezenet1_1

from inpaint.networks import GlobalLocalDiscriminator, PatchDiscriminator
from inpaint.training import adversary, trainer
from inpaint.training.saving.checkpoint import list_checkpoints
from inpaint.weights import load_weights

SMALL = ["--network-config", '{"widths": [8, 12], "head_width": 4}', "--device", "cpu"]
PIXEL_TERMS = ["--loss-perceptual", "0", "--loss-style", "0"]


def test_train_resume_and_start_again_from_the_weights(
    script: ModuleType, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = [
        "--data",
        str(photos),
        "--val-data",
        str(photos),
        "--val-size",
        "32",
        "--val-masks",
        "box:0.1-0.4",
    ]
    first += [*SMALL, *PIXEL_TERMS, "--schedule", "16x2:2,32x1:1", "--output", str(tmp_path / "first")]
    assert script.main(first) == 0
    best = tmp_path / "first" / "best.safetensors"
    network, metadata = load_weights(best)
    assert network.config["widths"] == (8, 12)
    assert metadata["step"] == "3"

    assert script.main(first) == 1  # an earlier run is not overwritten
    assert "--resume" in caplog.text
    assert script.main([*first, "--resume"]) == 0

    second = [
        "--data",
        str(photos),
        *PIXEL_TERMS,
        "--output",
        str(tmp_path / "second"),
        "--schedule",
        "16x2:1",
    ]
    assert script.main([*second, *SMALL, "--init", str(best), "--lr", "1e-12"]) == 0
    started, _ = load_weights(tmp_path / "second" / "last.safetensors")
    for name, value in started.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name], rtol=0, atol=1e-6)

    caplog.clear()
    assert script.main([*second, "--init", str(best), "--output", str(tmp_path / "third")]) == 1
    assert "best.safetensors do not fit the network" in caplog.text


def test_the_upsampler_is_one_word(script: ModuleType, photos: Path, tmp_path: Path) -> None:
    arguments = [
        "--data",
        str(photos),
        *SMALL,
        *PIXEL_TERMS,
        "--output",
        str(tmp_path),
        "--schedule",
        "16x2:1",
    ]
    assert script.main([*arguments, "--upsampler", "nearest"]) == 0
    with safe_open(tmp_path / "last.safetensors", "pt") as file:
        assert json.loads(file.metadata()["config"])["upsampler"] == "nearest"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "missing"], "missing"),
        (["--network-config", '{"colour": 1}'], "colour"),
        (["--init", "missing.safetensors"], r"missing.safetensors"),
        (["--loss-style", "1", "--backbone", "squeezenet:missing.safetensors"], "missing.safetensors"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--schedule", "15x1:1"], "stride"),
        (["--up-kernel", "4"], "up_kernel must be odd, so that it has a middle, got 4; take 3 or 5"),
        (
            ["--up-groups", "7"],
            "groups must divide the channels of a level, 12, 8, got 7; take a divisor of one of them",
        ),
    ],
)
def test_what_cannot_work_is_one_clear_line(
    arguments: list[str],
    words: str,
    script: ModuleType,
    photos: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    base = ["--data", str(photos), "--output", str(tmp_path), *SMALL, *PIXEL_TERMS]
    assert script.main([*base, *arguments]) == 1
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert words in errors[0]
    assert not list(tmp_path.iterdir())  # nothing was left behind


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ema-decay", "2"], "--ema-decay must lie between 0 and 1"),
        (["--network", "pconv-unet"], "--network must be one of pyramid-unet, partial-conv-unet, partial"),
        (["--upsampler", "sinc"], "--upsampler must be one of carafe, carafe_sigmoid, "),
        (
            ["--upsampler", "nearest", "--up-kernel", "7"],
            "--up-kernel: the upsampler nearest has no up_kernel; carafe, carafe_sigmoid, ",
        ),
        (
            ["--network", "global-local-paper", "--up-groups", "2"],
            "--up-groups: the upsampler deconv has no groups; carafe, ",
        ),
        (
            ["--backbone", "resnet:FILE"],
            "unknown perceptual backbone 'resnet': choose one of squeezenet, vgg",
        ),
        (["--device", "toaster"], "device toaster: expected auto, cpu, cuda or cuda:NUMBER"),
        (["--masks", "typo"], "--masks: mask recipe 'typo': unknown kind 'typo'"),
        (["--masks", "folder:missing"], "--masks: missing: there is no such folder of masks"),
        (["--val-masks", "box:0.5-0.1"], "--val-masks: mask recipe 'box:0.5-0.1': a hole ratio runs from 0"),
    ],
)
def test_what_is_known_to_be_wrong_is_a_usage_error(
    arguments: list[str], message: str, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before photos, weights and the output are looked for: none of these is there."""
    with pytest.raises(SystemExit) as stop:
        script.main(["--data", "x", "--output", "y", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_missing_weights_are_told_of_before_photos_are_looked_for(
    script: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = ["--backbone", "vgg16:missing.pth", "--device", "cpu"]
    assert script.main(["--data", str(tmp_path / "none"), "--output", str(tmp_path / "out"), *missing]) == 1
    assert "weights of the perceptual backbone vgg16 not found" in caplog.text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("stop", "code"), [("FINISHED", 0), ("OUT_OF_TIME", 0), ("TERMINATED", 0), ("INTERRUPTED", 130)]
)
def test_exit_codes(stop: str, code: int, script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "train", lambda settings: trainer.Stop[stop])
    assert script.main(["--data", "x", "--output", "y"]) == code


SMALL_PYRAMID = {
    "widths": [8, 12],
    "kernel_sizes": [5, 3],
    "encoder_blocks": [[], [1]],
    "decoder_widths": [8],
    "decoder_blocks": [[]],
    "head_width": 4,
}


@pytest.mark.parametrize(
    ("preset", "small"),
    [
        ("pconv-carafe", SMALL_PYRAMID),
        ("pconv-carafe-sharp", SMALL_PYRAMID),
        ("pconv-paper", {"widths": [8, 12], "head_width": 4}),
        ("gl-carafe", {"width": 4, "dilations": [1, 2]}),
        ("gl-paper", {"width": 4, "dilations": [1, 2]}),
    ],
)
def test_a_preset_trains_resumes_and_is_evaluated(
    preset: str,
    small: dict[str, object],
    script: ModuleType,
    evaluate_script: ModuleType,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through the scripts alone; the network and the paper's large discriminators are made small."""
    monkeypatch.setattr(
        adversary, "_build",
        lambda settings: PatchDiscriminator(widths=(4, 4)) if settings.discriminator == "patch"
        else GlobalLocalDiscriminator(width=1, hidden=4),
    )  # fmt: skip
    run = ["--preset", preset, "--data", str(photos), "--device", "cpu", "--output", str(tmp_path / "run")]
    run += ["--network-config", json.dumps(small), "--masks", "box:0.1-0.3", "--checkpoint-every", "0"]
    if preset == "pconv-paper":
        run += ["--finetune-steps", "1"]
    elif preset != "pconv-carafe":
        run += ["--adversary-start", "1", "--adversary-alone", "1"]
    backbone = tmp_path / "squeezenet.safetensors"
    save_file({k: v for k, v in squeezenet1_1().state_dict().items() if k.startswith("features")}, backbone)
    run += ["--backbone", f"squeezenet:{backbone}"]
    run += ["--schedule", "64x2:3"]
    assert script.main([*run, "--max-minutes", "1e-9"]) == 0
    assert [step for step, _ in list_checkpoints(tmp_path / "run" / "checkpoints")] == [1]
    assert script.main([*run, "--resume"]) == 0
    weights = tmp_path / "run" / "last.safetensors"
    assert load_weights(weights)[1]["step"] == "3"

    scores = tmp_path / "scores"
    arguments = ["--images", str(photos), "--masks", "box:0.1-0.3", "--size", "40", "--output", str(scores)]
    assert evaluate_script.main([*arguments, "--methods", f"{weights},telea"]) == 0
    methods = json.loads((scores / "results.json").read_text())["methods"]
    assert methods[str(weights)]["count"] == methods["telea"]["count"] > 0
    assert methods[str(weights)]["psnr"] > 5
