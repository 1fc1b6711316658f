"""Kills, full disks, damaged files: none costs more than the steps since the last checkpoint."""

import errno
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from several_processes import ALONE
from tiny_training import TinyNetwork, last_tensors, tiny_settings, tiny_trainer
from torch import nn

from inpaint.training.processes.signals import signals_noted
from inpaint.training.results import Results
from inpaint.training.run_log import RunLog
from inpaint.training.saving.checkpoint import (
    CheckpointError,
    DamagedCheckpointError,
    list_checkpoints,
    read_checkpoint,
    read_newest_checkpoint,
    save_checkpoint,
    save_sharded_checkpoint,
)
from inpaint.training.saving.folder import OutputError, locked
from inpaint.training.schedule import Schedule
from inpaint.training.trainer import Stop
from inpaint.weights import read_metadata

FORMATS = ("single", "sharded")


def checkpoints(output: Path) -> dict[int, Path]:
    return dict(list_checkpoints(output / "checkpoints"))


def save_steps(folder: Path, form: str, *steps: int, keep: int = 9) -> None:
    for step in steps:
        torch.manual_seed(step)
        what = (folder, step, {"network": nn.Linear(5, 5)}, {}, {}, keep)
        save_checkpoint(*what) if form == "single" else save_sharded_checkpoint(ALONE, *what)


# --- killed while saving ------------------------------------------------------------------------------------


def save_and_be_killed(folder: Path, form: str, name: str, call: int) -> None:
    real, calls = getattr(os, name), iter(range(call))

    def die(*arguments: object, **options: object) -> object:
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    setattr(os, name, die)
    save_steps(folder, form, 3, keep=1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows neither forks nor kills in this way")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("form", "name", "call", "newest"),
    [
        ("single", "fsync", 0, 2),  # written, not flushed
        ("single", "replace", 0, 2),
        ("single", "fsync", 1, 3),  # renamed, the folder not flushed
        ("sharded", "fsync", 0, 2),
        ("sharded", "fsync", 1, 2),  # all shares are there, but not what describes them
        ("sharded", "replace", 1, 2),
    ],
)
def test_a_kill_inside_save_leaves_the_last_checkpoint_whole(
    form: str, name: str, call: int, newest: int, tmp_path: Path
) -> None:
    save_steps(tmp_path, form, 1, 2)
    child = multiprocessing.get_context("fork").Process(
        target=save_and_be_killed, args=(tmp_path, form, name, call)
    )
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert [step for step, _ in list_checkpoints(tmp_path)] == [1, 2, 3][:newest]
    checkpoint = read_newest_checkpoint(tmp_path)
    assert checkpoint is not None
    torch.manual_seed(newest)
    assert torch.equal(checkpoint.tensors["network.weight"], nn.Linear(5, 5).weight)


def test_leftovers_are_removed_at_the_next_start(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    (folder / ".step-00000003.partial").mkdir(parents=True)
    for path in (
        folder / ".step-00000003.partial" / "shard",
        folder / ".step-2.partial",
        tmp_path / ".a.partial",
    ):
        path.write_bytes(b"half of it")
    (tmp_path / "notes.partial").write_text("mine")
    tiny_trainer(tiny_settings(photos, tmp_path, resume=True))
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".lock", "checkpoints", "notes.partial"]


# --- disks --------------------------------------------------------------------------------------------------


def run_script(script: ModuleType, photos: Path, output: Path, *more: str) -> int:
    flags = ["--data", photos, "--output", output, "--device", "cpu", "--schedule", "16x2:4", "--resume"]
    flags += ["--loss-perceptual", "0", "--loss-style", "0", "--checkpoint-every", "1", "--keep", "9"]
    flags += ["--network-config", '{"widths": [8, 12], "head_width": 4}', *more]
    return script.main([str(flag) for flag in flags])


def the_error(caplog: pytest.LogCaptureFixture) -> str:
    (error,) = (record.message for record in caplog.records if record.levelname == "ERROR")
    return error


def test_a_full_disk_is_an_error_and_costs_little(
    script: ModuleType,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert run_script(script, photos, tmp_path / "whole") == 0
    real = os.fsync

    def full(descriptor: int) -> None:
        if 2 in checkpoints(tmp_path / "full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert run_script(script, photos, tmp_path / "full") == 1
    assert "No space left on device" in the_error(caplog)
    assert "step-00000002.safetensors" in the_error(caplog)
    assert "go on with --resume" in the_error(caplog)
    assert [*checkpoints(tmp_path / "full")] == [1, 2]
    assert run_script(script, photos, tmp_path / "full") == 0
    expected = last_tensors(tmp_path / "whole")
    assert [
        name
        for name, value in last_tensors(tmp_path / "full").items()
        if not torch.equal(value, expected[name])
    ] == []


def test_an_output_that_cannot_be_written_is_found_before_training(
    script: ModuleType,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("inpaint.training.trainer.Trainer.run", lambda trainer: pytest.fail("it trained"))
    taken = tmp_path / "taken"
    taken.write_text("a file of mine")
    assert run_script(script, photos, taken) == 1
    assert f"--output {taken} is a file: name a folder" in the_error(caplog)
    assert taken.read_text() == "a file of mine"

    caplog.clear()
    locked = tmp_path / "locked"
    locked.mkdir()
    if os.geteuid() == 0:  # whom no permission stops; the kernel's own folders do
        locked = Path("/proc/self/locked")
    else:
        locked.chmod(0o500)
    assert run_script(script, photos, locked) == 1
    assert f"--output {locked} cannot be written" in the_error(caplog)


# --- damaged checkpoints ------------------------------------------------------------------------------------


def largest_file(path: Path) -> Path:
    return path if path.is_file() else max(path.iterdir(), key=lambda file: file.stat().st_size)


def cut_short(path: Path) -> None:
    file = largest_file(path)
    file.write_bytes(file.read_bytes()[:-40])


def flip_a_bit_of_a_weight(path: Path) -> None:
    file = largest_file(path)
    data = bytearray(file.read_bytes())
    data[-3] ^= 4
    file.write_bytes(data)


def flip_a_bit_of_the_state(path: Path) -> None:
    file = path if path.is_file() else path / "checkpoint.json"
    data = file.read_bytes()
    place = data.index(b"trained_seconds")
    file.write_bytes(data[:place] + b"s" + data[place + 1 :])


def remove_a_file(path: Path) -> None:
    largest_file(path).write_bytes(b"") if path.is_file() else largest_file(path).unlink()


def remove_the_description(path: Path) -> None:
    path.write_bytes(b"{}") if path.is_file() else (path / "checkpoint.json").unlink()


DAMAGES = (cut_short, flip_a_bit_of_a_weight, flip_a_bit_of_the_state, remove_a_file, remove_the_description)


@pytest.fixture(scope="module", params=FORMATS)
def finished(request: pytest.FixtureRequest, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("finished")
    assert tiny_trainer(tiny_settings(photos, output, checkpoint_format=request.param)).run() is Stop.FINISHED
    assert [*checkpoints(output)] == [4, 8, 10]
    return output


@pytest.mark.parametrize("damage", DAMAGES)
def test_from_a_damaged_checkpoint_it_goes_back_to_the_one_before(
    damage: Callable[[Path], None],
    finished: Path,
    photos: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    output = shutil.copytree(finished, tmp_path / "output")
    newest = checkpoints(output)[10]
    damage(newest)
    with pytest.raises(DamagedCheckpointError, match=newest.name):
        read_checkpoint(newest)
    trainer = tiny_trainer(tiny_settings(photos, output, resume=True))
    assert trainer.step == 8
    (warning,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert str(newest) in warning
    assert f"kept as {newest.name}.damaged" in warning
    assert newest.with_name(f"{newest.name}.damaged").exists()
    assert trainer.run() is Stop.FINISHED
    expected = last_tensors(finished)
    assert all(torch.equal(value, expected[name]) for name, value in last_tensors(output).items())


def test_nothing_but_damaged_checkpoints_is_an_error(finished: Path, photos: Path, tmp_path: Path) -> None:
    output = shutil.copytree(finished, tmp_path / "output")
    for path in checkpoints(output).values():
        cut_short(path)
    with pytest.raises(CheckpointError, match=r"all 3 are damaged.*another --output"):
        tiny_trainer(tiny_settings(photos, output, resume=True))
    assert len(list((output / "checkpoints").glob("*.damaged"))) == 3


def test_an_earlier_damaged_one_of_the_same_name_is_kept_too(tmp_path: Path) -> None:
    for form in ("sharded", "sharded", "single", "single"):
        save_steps(tmp_path, form, 1, 2)
        cut_short(list_checkpoints(tmp_path)[-1][1])
        read_newest_checkpoint(tmp_path)
        shutil.rmtree(tmp_path / "step-00000001", ignore_errors=True)
    assert len(list(tmp_path.glob("step-00000002*.damaged*"))) == 4


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_steps(tmp_path, "single", 1)

    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("inpaint.training.saving.checkpoint.safe_open", denied)
    with pytest.raises(CheckpointError, match=r"cannot read.*Permission denied") as refusal:
        read_newest_checkpoint(tmp_path)
    assert not isinstance(refusal.value, DamagedCheckpointError)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [1]


# --- shards and signals -------------------------------------------------------------------------------------


def test_old_shards_are_dropped(tmp_path: Path) -> None:
    save_steps(tmp_path, "sharded", 1, 2, 3, keep=2)
    save_steps(tmp_path, "single", 4, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000004.safetensors"]


def test_a_torch_without_shards_in_safetensors_says_so(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("torch.distributed.checkpoint.HuggingFaceStorageWriter")
    with pytest.raises(ValueError, match=r"--checkpoint-format sharded: torch .* pickles.*single"):
        tiny_trainer(tiny_settings(photos, tmp_path, checkpoint_format="sharded"))


@pytest.fixture
def usual_ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.usefixtures("usual_ctrl_c")
def test_a_second_signal_ends_at_once_but_not_under_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    with signals_noted() as received, pytest.raises(KeyboardInterrupt):
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
    assert received == [signal.SIGINT]
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with signals_noted() as received:
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
    assert set(received) == {signal.SIGINT}


def test_two_runs_do_not_share_an_output(photos: Path, tmp_path: Path) -> None:
    trainer = tiny_trainer(tiny_settings(photos, tmp_path))
    with locked(tmp_path):
        with pytest.raises(OutputError, match="another run writes there"):
            trainer.run()
        with pytest.raises(OutputError, match="another run writes there"):
            tiny_trainer(tiny_settings(photos, tmp_path, resume=True))
    assert trainer.run() is Stop.FINISHED
    assert tiny_trainer(tiny_settings(photos, tmp_path, resume=True)).run() is Stop.FINISHED


def test_a_run_that_was_overtaken_leaves_the_other_ones_checkpoints(photos: Path, tmp_path: Path) -> None:
    slow = tiny_trainer(tiny_settings(photos, tmp_path))
    assert tiny_trainer(tiny_settings(photos, tmp_path)).run() is Stop.FINISHED
    before = {path: path.read_bytes() for path in checkpoints(tmp_path).values()}
    with pytest.raises(OutputError, match=r"another run has written there meanwhile.*--resume"):
        slow.run()
    assert {path: path.read_bytes() for path in checkpoints(tmp_path).values()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_without_locks_it_trains_and_says_so(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert tiny_trainer(tiny_settings(photos, tmp_path)).run() is Stop.FINISHED
    assert "no locks here" in caplog.text and "let no other run write there" in caplog.text


def test_weights_that_were_not_written_at_the_end_are_written_by_resume(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint of the last step is on the disk, and the disk is full."""
    trainer = tiny_trainer(tiny_settings(photos, tmp_path, checkpoint_every=0))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trainer.results, "save_last", full)
    with pytest.raises(OutputError, match=r"step-00000010.*--resume"):
        trainer.run()
    assert not (tmp_path / "last.safetensors").exists()
    assert tiny_trainer(tiny_settings(photos, tmp_path, resume=True)).run() is Stop.FINISHED
    assert read_metadata(tmp_path / "last.safetensors")["step"] == "10"
    for name, value in load_file(tmp_path / "last.safetensors").items():
        wanted = last_tensors(tmp_path)[f"average.{name}"]
        torch.testing.assert_close(value, wanted.half(), check_dtype=False)


def test_curves_that_cannot_be_finished_do_not_hide_what_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tensorboard")
    log = RunLog(tmp_path, Schedule.parse("16x4:5"))

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log._writer, "close", full)
    log.close()
    assert "the last points of the curves were not written" in caplog.text


def test_weights_beyond_float16_are_kept_in_float32(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = TinyNetwork()
    statistics = network.layers[1].running_var
    assert isinstance(statistics, torch.Tensor)
    statistics.fill_(1e6)
    Results(tmp_path, network).save_last(3, 1.0)
    assert load_file(tmp_path / "last.safetensors")["layers.1.running_var"].eq(1e6).all()
    assert "written as float32" in caplog.text
