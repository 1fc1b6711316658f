import dataclasses
import json
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_training
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from skimage.metrics import peak_signal_noise_ratio
from tiny_training import TinyNetwork, last_tensors, tiny_settings, tiny_trainer
from torch import Tensor, nn

import inpaint
from inpaint.datasets import TrainingBatches, open_photos
from inpaint.evaluation import iter_cases
from inpaint.losses import LossWeights
from inpaint.networks import CONFIGS, Network, build_network
from inpaint.training.building import build_training_network
from inpaint.training.processes.world import World
from inpaint.training.saving.checkpoint import CheckpointError, list_checkpoints, read_checkpoint
from inpaint.training.schedule import Schedule
from inpaint.training.settings import TrainSettings
from inpaint.training.trainer import NonFiniteLossError, Stop, Trainer
from inpaint.training.validation import Validator
from inpaint.weights import save_weights

SCRIPT = Path(tiny_training.__file__)

# Seconds to wait for another process: starting one takes long where tests compete for few cores.
PATIENCE = 300


class NetworkThat(TinyNetwork):
    """Does something in its forward pass number `call` (from 0)."""

    def __init__(self, call: int, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.left, self.act = call, act

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        prediction = super().forward(image, mask)
        self.left -= 1
        return self.act(prediction) if self.left == -1 else prediction


def raise_signal(number: signal.Signals) -> Callable[[Any], Any]:
    def act(prediction: Any) -> Any:
        signal.raise_signal(number)
        return prediction

    return act


def fail(prediction: Tensor) -> Tensor:
    raise KeyError("the power went out")


def assert_same_bits(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert {name.split(".")[0] for name in ours} == {"network", "average", "optimizer"}
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


@pytest.fixture(scope="module")
def uninterrupted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    output = tmp_path_factory.mktemp("uninterrupted")
    assert tiny_trainer(tiny_settings(photos, output)).run() is Stop.FINISHED
    return last_tensors(output)


# The first step, the last of the first stage, the first of the second, one in its midst.
@pytest.mark.parametrize("step", [0, 4, 5, 7])
def test_interrupted_and_resumed_equals_uninterrupted(
    step: int, photos: Path, tmp_path: Path, uninterrupted: dict[str, Tensor]
) -> None:
    settings = tiny_settings(photos, tmp_path, checkpoint_every=0)
    network = NetworkThat(step, raise_signal(signal.SIGTERM))
    assert tiny_trainer(settings, network).run() is Stop.TERMINATED
    assert [done for done, _ in list_checkpoints(tmp_path / "checkpoints")] == [step + 1]

    resumed = tiny_trainer(tiny_settings(photos, tmp_path, resume=True, workers=1))
    assert resumed.step == step + 1
    assert resumed.run() is Stop.FINISHED
    assert_same_bits(last_tensors(tmp_path), uninterrupted)


def test_octaves_and_muon_resume_bit_for_bit(photos: Path, tmp_path: Path) -> None:
    small = {"widths": (4, 6), "kernel_sizes": (3, 3), "decoder_widths": (4,), "head_width": 4, "smallest": 4}
    blocks = {"encoder_blocks": ((), (1,)), "decoder_blocks": ((),), "compressed_channels": 2}
    ended = []
    for cut in (0, 3):
        output = tmp_path / str(cut)
        loss = LossWeights(perceptual=0, style=0, log_mse=0.4, coarser=0.5)
        for steps in [cut, 6] if cut else [6]:
            torch.manual_seed(0)
            network = build_network({**CONFIGS["pyramid-unet"], **small, **blocks})
            settings = tiny_settings(
                photos, output, schedule=Schedule.parse("16x4:6"), optimizer="muon", loss=loss, resume=True,
                checkpoint_every=1, val_data=(),
            )  # fmt: skip
            trainer = tiny_trainer(settings, network)
            if steps < 6:
                calls = iter(range(steps))
                network.register_forward_hook(
                    lambda *_, calls=calls: raise_signal(signal.SIGTERM)(None) if next(calls) == 2 else None
                )
            trainer.run()
            assert trainer.step == steps
        ended.append(last_tensors(output))
    assert any("momentum" in name for name in ended[0])
    assert_same_bits(*ended)


def test_a_crash_costs_what_came_after_the_last_checkpoint(
    photos: Path, tmp_path: Path, uninterrupted: dict[str, Tensor]
) -> None:
    with pytest.raises(KeyError, match="power"):
        tiny_trainer(tiny_settings(photos, tmp_path), NetworkThat(6, fail)).run()
    resumed = tiny_trainer(tiny_settings(photos, tmp_path, resume=True))
    assert resumed.step == 4
    resumed.run()
    assert_same_bits(last_tensors(tmp_path), uninterrupted)


def test_the_loop_against_a_plain_one(photos: Path, tmp_path: Path) -> None:
    settings = tiny_settings(photos, tmp_path, precision="fp32", grad_clip=0.05, weight_decay=0.1)
    # Without batch normalisation: the gradient of a bias before it is rounding noise, which Adam makes large.
    trainer = tiny_trainer(settings, TinyNetwork(batch_norm=False))
    network = TinyNetwork(batch_norm=False)
    network.load_state_dict(trainer.network.state_dict())
    trainer.run()

    weights = dict(network.named_parameters())
    average = {name: value.detach().clone() for name, value in weights.items()}
    matrices = [value for value in weights.values() if value.ndim > 1]
    vectors = [value for value in weights.values() if value.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=False)
    clipped = 0
    for step in range(10):
        size, number = (16, 4) if step < 5 else (32, 2)
        image, mask = TrainingBatches(open_photos([photos]), "box:0.1-0.5", size, number, 0).batch(step)
        prediction = network(image * (1 - mask), mask)
        error = (prediction - image).abs()
        region = torch.nn.functional.max_pool2d(mask, 3, 1, 1)
        filled = torch.where(mask > 0, prediction, image)
        across = (filled.diff(dim=3) * region[..., 1:] * region[..., :-1]).abs().sum()
        down = (filled.diff(dim=2) * region[..., 1:, :] * region[..., :-1, :]).abs().sum()
        mse = (filled - image).pow(2).flatten(1).mean(1)
        loss = (error * (1 - mask)).mean() + 6 * (error * mask).mean() + 0.1 * (across + down) / image.numel()
        loss = loss + 0.1 * torch.log(mse + 1 / 255**2).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.cat([value.grad.flatten() for value in weights.values()]).norm()
        clipped += int(norm > 0.05)
        for value in weights.values():
            value.grad *= min(1.0, 0.05 / float(norm))
        for group in optimizer.param_groups:
            cosine = 0.02 + 0.98 * (1 + math.cos(math.pi * step / 9)) / 2
            group["lr"] = 1e-2 * cosine * min(1, (step + 1) / 3)
        optimizer.step()
        keep = min(0.999, (1 + step) / (10 + step))
        average = {name: keep * old + (1 - keep) * weights[name].detach() for name, old in average.items()}
    assert clipped > 0
    for name, value in trainer.network.named_parameters():
        torch.testing.assert_close(value, weights[name], rtol=1e-3, atol=1e-5)
    for name, value in trainer.average.network.named_parameters():
        torch.testing.assert_close(value, average[name], rtol=1e-3, atol=1e-5)


def test_the_network_never_sees_the_truth_in_the_hole(photos: Path, tmp_path: Path) -> None:
    class Witness(TinyNetwork):
        def forward(self, image: Tensor, mask: Tensor) -> Tensor:
            assert mask.sum() > 0
            assert (image * mask).abs().sum() == 0
            assert (image * (1 - mask)).abs().sum() > 0
            return super().forward(image, mask)

    tiny_trainer(tiny_settings(photos, tmp_path), Witness()).run()


def test_another_seed_is_another_run(photos: Path, tmp_path: Path, uninterrupted: dict[str, Tensor]) -> None:
    tiny_trainer(tiny_settings(photos, tmp_path, seed=1)).run()
    assert not torch.equal(
        last_tensors(tmp_path)["network.layers.0.weight"], uninterrupted["network.layers.0.weight"]
    )


def start_script(photos: Path, output: Path, steps: int) -> subprocess.Popen[str]:
    """Training in a process of its own; the caller ends it."""
    root = str(Path(inpaint.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(photos), str(output), str(steps)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM or SIGINT to send to a process")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_from_outside_leaves_a_checkpoint(
    number: signal.Signals, code: int, photos: Path, tmp_path: Path
) -> None:
    process = start_script(photos, tmp_path, 100_000)
    try:
        deadline = time.monotonic() + PATIENCE
        while not list_checkpoints(tmp_path / "checkpoints") and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, messages = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == code, messages
    assert f"{number.name}: finishing this step" in messages
    step, path = list_checkpoints(tmp_path / "checkpoints")[-1]
    assert f"stopped after step {step} of 100000" in messages
    assert read_checkpoint(path).state["step"] == step
    assert (tmp_path / "last.safetensors").is_file()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_anything_is_written(
    value: float, photos: Path, tmp_path: Path
) -> None:
    network = NetworkThat(6, lambda prediction: prediction * value)
    with pytest.raises(NonFiniteLossError) as stop:
        # Due to checkpoint after the very step that fails.
        tiny_trainer(tiny_settings(photos, tmp_path, checkpoint_every=7, checkpoint_minutes=0), network).run()
    message = str(stop.value)
    assert "at step 6" in message
    assert "loss/hole = nan" in message or "loss/hole = inf" in message
    assert "there is no checkpoint yet" in message
    assert list_checkpoints(tmp_path / "checkpoints") == []


def test_a_loss_that_is_not_finite_names_the_last_checkpoint(photos: Path, tmp_path: Path) -> None:
    network = NetworkThat(6, lambda prediction: prediction * float("nan"))
    with pytest.raises(NonFiniteLossError, match=r"the last checkpoint is .*step-00000004\.safetensors"):
        tiny_trainer(tiny_settings(photos, tmp_path), network).run()
    tensors = last_tensors(tmp_path)
    assert all(torch.isfinite(value).all() for value in tensors.values())


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("finished")
    tiny_trainer(tiny_settings(photos, output)).run()
    return output


def test_an_earlier_run_is_not_overwritten(photos: Path, finished: Path) -> None:
    with pytest.raises(CheckpointError, match=r"--resume.*another --output"):
        tiny_trainer(tiny_settings(photos, finished))


def test_resuming_with_other_settings_names_them(photos: Path, finished: Path) -> None:
    with pytest.raises(CheckpointError) as refusal:
        tiny_trainer(tiny_settings(photos, finished, resume=True, lr=0.5, masks="box:0.1-0.4"))
    assert "--lr: 0.01 there, 0.5 now" in str(refusal.value)
    assert "--masks: box:0.1-0.5 there, box:0.1-0.4 now" in str(refusal.value)
    assert "--schedule" not in str(refusal.value)
    with pytest.raises(CheckpointError, match=r"network: .*'batch_norm': True.* there"):
        tiny_trainer(tiny_settings(photos, finished, resume=True), TinyNetwork(batch_norm=False))


def test_the_same_photos_may_have_moved(photos: Path, finished: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(photos, tmp_path / "moved")
    assert tiny_trainer(tiny_settings(moved, finished, resume=True)).step == 10
    (moved / "coffee-0.png").unlink()
    with pytest.raises(CheckpointError, match="--data: other photos"):
        tiny_trainer(tiny_settings(moved, finished, resume=True))


def test_resuming_a_finished_run_changes_nothing(photos: Path, finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*.safetensors")}
    assert tiny_trainer(tiny_settings(photos, finished, resume=True)).run() is Stop.FINISHED
    assert {path: path.read_bytes() for path in finished.rglob("*.safetensors")} == before


def test_resume_without_a_checkpoint_starts_from_the_beginning(photos: Path, tmp_path: Path) -> None:
    # So that one command serves a scheduler that starts, stops and restarts a job.
    trainer = tiny_trainer(tiny_settings(photos, tmp_path, resume=True))
    assert trainer.step == 0
    assert trainer.run() is Stop.FINISHED


def test_the_time_limit_stops_with_checkpoint_and_validation(photos: Path, tmp_path: Path) -> None:
    settings = tiny_settings(
        photos, tmp_path, max_minutes=1e-6, val_data=(str(photos),), val_size=32, checkpoint_every=0
    )
    assert tiny_trainer(settings).run() is Stop.OUT_OF_TIME
    assert [step for step, _ in list_checkpoints(tmp_path / "checkpoints")] == [1]
    assert (tmp_path / "best.safetensors").is_file()


def test_checkpoints_by_minutes(photos: Path, tmp_path: Path) -> None:
    tiny_trainer(tiny_settings(photos, tmp_path, checkpoint_every=0, checkpoint_minutes=1e-9)).run()
    assert [step for step, _ in list_checkpoints(tmp_path / "checkpoints")] == list(range(1, 11))


def test_training_lowers_the_loss_and_writes_curves(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = tiny_settings(
        photos,
        tmp_path,
        schedule=Schedule.parse("16x8:120"),
        log_every=1,
        sample_every=60,
        val_data=(str(photos),),
        val_size=32,
        val_every=60,
    )
    tiny_trainer(settings).run()
    curves = EventAccumulator(str(tmp_path / "curves"))
    curves.Reload()
    tags = curves.Tags()
    wanted = {
        "loss/total",
        "loss/hole",
        "learning_rate",
        "gradient/norm",
        "speed/images_per_second",
        "validation/psnr",
    }
    assert wanted <= set(tags["scalars"])
    assert len(tags["images"]) == 1
    hole = [point.value for point in curves.Scalars("loss/hole")]
    assert len(hole) == 120
    assert np.mean(hole[-20:]) < 0.8 * np.mean(hole[:20])
    assert curves.Scalars("learning_rate")[2].value == pytest.approx(1e-2, rel=0.01)  # warmed up
    assert [point.step for point in curves.Scalars("validation/psnr")] == [60, 120]
    with Image.open(tmp_path / "samples" / "step-00000120.png") as sheet:
        assert sheet.size == (3 * 32, 6 * 32)


def test_without_tensorboard_it_trains_and_says_so_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert tiny_trainer(tiny_settings(photos, tmp_path, log_every=1)).run() is Stop.FINISHED
    assert len([record for record in caplog.records if "tensorboard" in record.message]) == 1


def test_a_resumed_run_keeps_the_curves_up_to_its_checkpoint(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    validation = {"val_data": (str(photos),), "val_size": 32, "val_every": 4, "log_every": 1}
    with pytest.raises(KeyError):  # after step 7, three steps after the checkpoint
        tiny_trainer(tiny_settings(photos, tmp_path, **validation), NetworkThat(8, fail)).run()
    tiny_trainer(tiny_settings(photos, tmp_path, **validation, resume=True)).run()
    curves = EventAccumulator(str(tmp_path / "curves"))
    curves.Reload()
    assert [point.step for point in curves.Scalars("loss/total")] == list(range(1, 11))
    assert [point.step for point in curves.Scalars("validation/psnr")] == [4, 8, 10]


def test_best_and_last_weights(photos: Path, tmp_path: Path) -> None:
    settings = tiny_settings(photos, tmp_path, val_data=(str(photos),), val_size=32, val_every=3)
    trainer = tiny_trainer(settings)
    trainer.run()
    state = read_checkpoint(list_checkpoints(tmp_path / "checkpoints")[-1][1]).state
    with safe_open(tmp_path / "best.safetensors", "pt") as file:
        best = file.metadata()
    assert json.loads(best["config"]) == {"network": "Tiny", "batch_norm": True}
    assert int(best["step"]) == state["best"]["step"] in (3, 6, 9, 10)
    assert float(best["validation_psnr"]) == pytest.approx(state["best"]["psnr"], abs=1e-3)
    for name, value in load_file(tmp_path / "last.safetensors").items():
        torch.testing.assert_close(
            value, trainer.average.network.state_dict()[name].half(), check_dtype=False
        )
    for words in best.values():
        assert str(tmp_path) not in words  # what is published says nothing about the machine


def test_a_score_on_other_holes_is_no_mark_to_beat(photos: Path, tmp_path: Path) -> None:
    validation = {"val_data": (str(photos),), "val_size": 32, "val_every": 3}
    tiny_trainer(tiny_settings(photos, tmp_path, **validation)).run()
    resumed = tiny_settings(photos, tmp_path, resume=True, **validation)
    assert tiny_trainer(resumed).results.best is not None
    assert tiny_trainer(dataclasses.replace(resumed, val_seed=1)).results.best is None


def test_validation_scores_the_composite_as_scikit_image_does(photos: Path) -> None:
    cases = list(iter_cases(open_photos([photos]), "box:0.1-0.5", 0, 32))
    assert len(cases) == 6
    network = TinyNetwork().eval()
    validator = Validator(cases, torch.device("cpu"), lambda: torch.autocast("cpu", enabled=False))
    expected = []
    for case, filled in zip(cases, validator.fill(network), strict=True):
        known = np.where(case.mask[..., None], 0, case.image) / 255
        image = torch.from_numpy(known).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            prediction = (
                network(image, torch.from_numpy(case.mask)[None, None].float())[0].permute(1, 2, 0).numpy()
            )
        by_hand = np.where(case.mask[..., None], np.rint(prediction * 255).clip(0, 255), case.image).astype(
            np.uint8
        )
        np.testing.assert_array_equal(filled[~case.mask], case.image[~case.mask])
        assert np.abs(filled.astype(int) - by_hand).max() <= 1  # rounding at a half
        expected.append(peak_signal_noise_ratio(case.image, filled, data_range=255))
    assert validator.score(network)["psnr"] == pytest.approx(np.mean(expected))
    assert validator.harmonic()["psnr"] > validator.score(network)["psnr"] + 3  # untrained


def test_broken_validation_photos_are_named(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "torn.png").write_bytes((photos / "coffee-0.png").read_bytes()[:200])
    settings = tiny_settings(
        photos, tmp_path / "out", schedule=Schedule.parse("16x4:1"), val_data=(str(folder),), val_size=32
    )
    assert tiny_trainer(settings).run() is Stop.FINISHED
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert any("1 validation photos" in message and "torn.png" in message for message in warnings)
    assert not any("trained on" in message for message in warnings)


def test_validation_on_training_photos_is_warned_of(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "link").symlink_to(photos)
    settings = tiny_settings(
        photos,
        tmp_path / "out",
        schedule=Schedule.parse("16x4:1"),
        val_data=(str(tmp_path / "link"),),
        val_size=32,
    )
    assert tiny_trainer(settings).run() is Stop.FINISHED
    assert "6 of the 6 photos of --val-data are trained on" in caplog.text


def test_broken_photos_are_named_at_the_end(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "torn.png").write_bytes((photos / "coffee-0.png").read_bytes()[:200])
    settings = tiny_settings(folder, tmp_path / "out", schedule=Schedule.parse("16x7:2"))
    assert tiny_trainer(settings).run() is Stop.FINISHED
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert any("1 broken files were left out" in message and "torn.png" in message for message in warnings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": Schedule.parse("16x4:1,30x4:1")}, r"--schedule.*stride 4.*\[30\]"),
        ({"val_data": ("photos",), "val_size": 50}, r"--val-size.*stride 4.*\[50\]"),
        ({"masks": "blob"}, "blob"),
        ({"loss": LossWeights(perceptual=0, style=0, coarser=1)}, "--loss-coarser 1 needs a network"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_training(
    changes: dict, message: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_trainer(tiny_settings(photos, tmp_path, **changes))


def test_batches_must_divide_among_the_processes(photos: Path, tmp_path: Path) -> None:
    world = World(rank=0, size=3, device=torch.device("cpu"))
    with pytest.raises(ValueError, match=r"multiples of the 3 processes.*16x4:5"):
        Trainer(tiny_settings(photos, tmp_path), TinyNetwork(), open_photos([photos]), world)


def test_precision_is_a_setting_and_the_layout_channels_last(photos: Path, tmp_path: Path) -> None:
    seen: list[tuple[torch.dtype, bool]] = []

    def note(prediction: Tensor) -> Tensor:
        weight = network.layers[0].weight
        seen.append((prediction.dtype, weight.is_contiguous(memory_format=torch.channels_last)))
        return prediction

    for precision in ("bf16", "fp32"):
        network = NetworkThat(0, note)
        settings: TrainSettings = tiny_settings(photos, tmp_path / precision, precision=precision)
        tiny_trainer(settings, network).run()
    assert seen == [(torch.bfloat16, True), (torch.float32, True)]


def test_compile_trains_what_eager_trains(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[nn.Module] = []
    real = torch.compile

    def quick(model: nn.Module) -> Any:
        compiled.append(model)
        return real(model, backend="aot_eager")  # inductor's code would take longer than the whole test file

    monkeypatch.setattr(torch, "compile", quick)
    schedule = Schedule.parse("16x4:3")
    ends = []
    for wanted in (False, True):
        settings = tiny_settings(
            photos, tmp_path / str(wanted), schedule=schedule, precision="fp32", compile=wanted
        )
        trainer = tiny_trainer(settings)
        trainer.run()
        ends.append(trainer.network.state_dict())
    assert len(compiled) == 1
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_holds_no_signature_of_a_url(photos: Path, tmp_path: Path) -> None:
    trainer = tiny_trainer(tiny_settings(photos, tmp_path))
    url = "https://user:word@host/places.tar?X-Amz-Signature=SECRET"
    trainer.settings = dataclasses.replace(trainer.settings, data=(url, str(photos)), val_data=(url,))
    trainer.save()
    stored = list_checkpoints(tmp_path / "checkpoints")[-1][1]
    assert b"SECRET" not in stored.read_bytes() and b"word" not in stored.read_bytes()
    settings = read_checkpoint(stored).state["settings"]
    assert settings["data"] == ["https://host/places.tar", str(photos)]
    assert settings["val_data"] == ["https://host/places.tar"]


# ------------------------------------------------------------------------------------------------------------
# The network of the settings
# ------------------------------------------------------------------------------------------------------------

SMALL = {"widths": [8, 12], "head_width": 4}


def small(photos: Path, tmp_path: Path, config: dict[str, Any] | None = None, **changes: Any) -> Network:
    settings = tiny_settings(photos, tmp_path / "run", network_config={**SMALL, **(config or {})}, **changes)
    return build_training_network(settings)


def test_weights_to_begin_with_are_taken_and_those_of_another_network_named(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    started, path = small(photos, tmp_path), tmp_path / "first.safetensors"
    save_weights(started, path, dtype=torch.float32)
    for name, value in small(photos, tmp_path, init=str(path)).state_dict().items():
        assert torch.equal(value, started.state_dict()[name]), name
    assert not caplog.text
    # The same tensors, which this network uses in another way.
    small(photos, tmp_path, init=str(path), upsampler="carafe_sigmoid")
    assert "are of another network" in caplog.text
    assert "upsampler: carafe there, carafe_sigmoid now" in caplog.text
    with pytest.raises(ValueError, match=r"first.safetensors do not fit the network"):
        small(photos, tmp_path, {"head_width": 8}, init=str(path))


def test_weights_to_begin_with_that_are_gone(photos: Path, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.safetensors")
    with pytest.raises(ValueError, match=r"--init: .*gone.safetensors: there is no such weights file$"):
        small(photos, tmp_path, init=gone)
    with pytest.raises(ValueError, match="a run that is resumed needs no --init"):
        small(photos, tmp_path, init=gone, resume=True)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"widths": [8, -1]}, "widths and compressed_channels must be positive"),
        ({"kernel_sizes": []}, "kernel_sizes must be odd numbers, at least one"),
        ({"kernel_sizes": [4]}, "kernel_sizes must be odd numbers, at least one"),
        ({"decoder_blocks": [-1]}, "decoder_blocks must be numbers from 0, at least one"),
        ({"widths": 8}, "cannot be built"),
    ],
)
def test_sizes_that_no_network_has(
    config: dict[str, Any], message: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        small(photos, tmp_path, config)


def test_compiling_without_a_compiler_is_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/nonexistent")
    with pytest.raises(ValueError, match=r"--compile needs a C\+\+ compiler"):
        tiny_trainer(tiny_settings(photos, tmp_path, compile=True))


def test_the_upsamplers_settings_are_flags_above_the_networks_config(photos: Path, tmp_path: Path) -> None:
    made = small(photos, tmp_path, {"up_kernel": 9, "groups": 4}, up_kernel=7, encoder_kernel=1, up_groups=2)
    assert made.config.items() >= {"up_kernel": 7, "encoder_kernel": 1, "groups": 2}.items()
    assert small(photos, tmp_path, {"up_kernel": 9}).config["up_kernel"] == 9
    assert not {"up_kernel", "encoder_kernel", "groups"} & small(photos, tmp_path).config.keys()
