import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import several_processes
import torch
from several_processes import ALONE, PATIENCE, SHORT_PATIENCE, start_two
from tiny_training import last_tensors, tiny_trainer
from torch import Tensor

from inpaint.training.saving.checkpoint import list_checkpoints, read_checkpoint

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no torch.distributed"
)


def checkpoint_of(output: Path, step: int) -> Path:
    return dict(list_checkpoints(output / "checkpoints"))[step]


def assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=1e-5, msg=name)


def end(processes: list[subprocess.Popen[str]], waited_for: slice = slice(None)) -> list[int]:
    """The exit codes of those waited for; none is left behind."""
    try:
        for process in processes[waited_for]:
            process.communicate(timeout=PATIENCE)
        return [process.returncode for process in processes[waited_for]]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def one(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """A run in one process: its output and the losses of its steps."""
    output = tmp_path_factory.mktemp("one")
    return output, several_processes.train(ALONE, photos, output)["losses"]


@pytest.fixture(scope="module")
def two(one: tuple[Path, list[float]], photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the scenarios of two processes."""
    output = tmp_path_factory.mktemp("two")
    # What one process left after four steps, for two to go on from.
    (output / "resumed" / "checkpoints").mkdir(parents=True)
    shutil.copy(checkpoint_of(one[0], 4), output / "resumed" / "checkpoints")
    assert end(start_two(photos, output, "killed")) == [0, -9]
    return output


def outcome(two: Path, name: str, rank: int = 0) -> dict[str, Any]:
    return json.loads((two / f"rank-{rank}.json").read_text())[name]


@pytest.mark.parametrize("scenario", ["plain", "accumulated", "sharded"])
def test_two_processes_train_what_one_trains(scenario: str, one: tuple[Path, list[float]], two: Path) -> None:
    assert outcome(two, scenario)["error"] is None
    assert len(one[1]) == 8
    assert outcome(two, scenario)["losses"] == pytest.approx(one[1], rel=1e-4, abs=1e-6)
    assert_close(last_tensors(one[0]), last_tensors(two / scenario))


def test_two_processes_train_adversarially_what_one_trains(photos: Path, two: Path, tmp_path: Path) -> None:
    alone = several_processes.train_adversarially(ALONE, photos, tmp_path)
    assert outcome(two, "adversarial")["losses"] == pytest.approx(alone["losses"], rel=1e-4, abs=1e-6)
    tensors = last_tensors(tmp_path)
    assert any(name.startswith("discriminator_optimizer.") for name in tensors)
    assert_close(tensors, last_tensors(two / "adversarial"))


def test_sharding_changes_no_bit_and_shares_the_work(two: Path) -> None:
    plain, sharded = last_tensors(two / "plain"), last_tensors(two / "sharded")
    assert plain.keys() == sharded.keys()
    assert all(torch.equal(plain[name], sharded[name]) for name in plain)
    folder = checkpoint_of(two / "sharded", 8)
    sizes = [file.stat().st_size for file in folder.glob("shard-*.safetensors")]
    assert len(sizes) == 2
    assert min(sizes) > 0.3 * sum(sizes)
    # No pickle among them: each file is one of safetensors, or JSON.
    assert {file.suffix for file in folder.iterdir()} == {".safetensors", ".json"}
    assert not list((two / "sharded" / "checkpoints").glob(".*"))


def test_shards_of_batch_normalisation_are_whole(two: Path) -> None:
    """Each process has running statistics of its own: those of the main one are what is stored."""
    assert outcome(two, "sharded, batch norm")["error"] is None
    stored = last_tensors(two / "sharded-norm")  # raises where the digest is not that of the content
    assert stored["network.layers.1.running_mean"].any()


def test_processes_with_different_photos_are_stopped(two: Path) -> None:
    for rank in (0, 1):
        assert "the processes have found different photos" in outcome(two, "other photos", rank)["error"]


def test_two_processes_go_on_from_what_one_wrote(one: tuple[Path, list[float]], two: Path) -> None:
    assert outcome(two, "resumed")["losses"] == pytest.approx(one[1][4:], rel=1e-4, abs=1e-6)
    assert_close(last_tensors(one[0]), last_tensors(two / "resumed"))


def test_one_process_goes_on_from_what_two_wrote_in_shards(
    photos: Path, tmp_path: Path, one: tuple[Path, list[float]], two: Path
) -> None:
    written = checkpoint_of(two / "sharded", 4)
    shutil.copytree(written, tmp_path / "checkpoints" / written.name)
    result = several_processes.train(ALONE, photos, tmp_path, resume=True)
    assert result["losses"] == pytest.approx(one[1][4:], rel=1e-4, abs=1e-6)
    assert_close(last_tensors(one[0]), last_tensors(tmp_path))


def test_frozen_batch_normalisation_in_two_processes(two: Path) -> None:
    assert outcome(two, "frozen")["error"] is None
    before, after = (read_checkpoint(checkpoint_of(two / "frozen", step)).tensors for step in (4, 8))
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    norms = {name for name in before if name.startswith("network.layers.1.")}
    assert len(norms) == 5
    assert not norms & changed
    assert {name for name in before if name.startswith("network.")} - norms <= changed


def test_a_loss_that_is_not_finite_ends_both_with_one_sentence(two: Path) -> None:
    # In the second process alone; the mean over both is what both look at.
    first, second = (outcome(two, "not finite", rank)["error"] for rank in (0, 1))
    assert "not finite at step 5: loss/total = nan" in first
    assert "the last checkpoint is" in first
    assert first == second


@pytest.mark.parametrize(("scenario", "writer"), [("single", "cannot write to"), ("sharded", "process 1")])
def test_a_full_disk_ends_both_with_one_sentence(scenario: str, writer: str, two: Path) -> None:
    first, second = (outcome(two, f"full disk, {scenario}", rank)["error"] for rank in (0, 1))
    assert writer in first
    assert "No space left on device" in first
    assert "go on with --resume" in first
    assert first == second
    assert list_checkpoints(two / f"full-{scenario}" / "checkpoints") == []


def test_a_killed_process_ends_the_other_at_once(two: Path) -> None:
    killed = outcome(two, "killed")
    assert "another process of this run ended or does not answer" in killed["error"]
    assert "--resume" in killed["error"]
    assert killed["seconds"] < PATIENCE / 4
    assert [step for step, _ in list_checkpoints(two / "killed" / "checkpoints")] == [4]


def test_a_process_that_hangs_is_given_up(photos: Path, tmp_path: Path) -> None:
    assert end(start_two(photos, tmp_path, "hang"), waited_for=slice(1)) == [0]
    hung = outcome(tmp_path, "hang")
    assert "does not answer" in hung["error"]
    assert SHORT_PATIENCE * 0.9 < hung["seconds"] < PATIENCE / 4


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_gives_the_loss_and_the_weights_of_the_whole_batch(
    parts: int, photos: Path, tmp_path: Path, one: tuple[Path, list[float]]
) -> None:
    result = several_processes.train(ALONE, photos, tmp_path, accumulate=parts)
    assert result["losses"] == pytest.approx(one[1], rel=1e-4, abs=1e-6)
    assert_close(last_tensors(one[0]), last_tensors(tmp_path))


def test_the_parts_of_a_batch_are_what_the_network_sees(photos: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    class Witness(several_processes.TinyNetwork):
        def forward(self, image: Tensor, mask: Tensor) -> Tensor:
            seen.append(len(image))
            return super().forward(image, mask)

    tiny_trainer(several_processes.settings(photos, tmp_path, accumulate=4), Witness()).run()
    assert seen == [2] * 16 + [1] * 16
