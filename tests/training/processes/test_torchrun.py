"""train.py under torchrun, which starts it again after a kill and passes on a cluster's SIGTERM."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from several_processes import PATIENCE
from tiny_training import last_tensors

import inpaint
from inpaint.training.saving.checkpoint import list_checkpoints, read_checkpoint

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or sys.platform == "win32", reason="torchrun and POSIX signals"
)

TARGET = Path(__file__).with_name("torchrun_target.py")


def start(
    photos: Path, output: Path, steps: int, restarts: int = 0, **variables: str
) -> subprocess.Popen[str]:
    """Two processes under torchrun; the caller ends it."""
    root = str(Path(inpaint.__file__).parents[1])
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [
        "--data", photos, "--output", output, "--resume", "--device", "cpu", "--schedule", f"16x4:{steps}",
        "--loss-perceptual", "0", "--loss-style", "0", "--checkpoint-every", "4", "--sample-every", "0",
        "--network-config", '{"widths": [8, 12], "head_width": 4}',
    ]  # fmt: skip
    command = [sys.executable, *torchrun, "--max-restarts", str(restarts), TARGET, *arguments]
    return subprocess.Popen(
        [*map(str, command)],
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", **variables},
        stderr=subprocess.PIPE,
        text=True,
    )


def messages_of(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=PATIENCE)[1]
    finally:
        if process.poll() is None:
            process.terminate()  # torchrun ends its processes then; killed, it would leave them behind
            process.communicate(timeout=PATIENCE)


def test_a_killed_process_costs_the_steps_since_the_last_checkpoint(photos: Path, tmp_path: Path) -> None:
    # Both at once: most of the time is Python's start.
    undisturbed = start(photos, tmp_path / "undisturbed", 12)
    killed = start(photos, tmp_path / "killed", 12, restarts=1, KILL_AT="6")
    messages = [messages_of(process) for process in (undisturbed, killed)]
    assert [undisturbed.returncode, killed.returncode] == [0, 0], messages
    assert "resumed from" in messages[1]
    assert "after step 4" in messages[1]
    expected, tensors = last_tensors(tmp_path / "undisturbed"), last_tensors(tmp_path / "killed")
    assert expected.keys() == tensors.keys()
    assert [name for name, value in expected.items() if not torch.equal(value, tensors[name])] == []


def test_sigterm_leaves_a_checkpoint(photos: Path, tmp_path: Path) -> None:
    process = start(photos, tmp_path, 100_000)
    try:
        deadline = time.monotonic() + PATIENCE
        while not list_checkpoints(tmp_path / "checkpoints") and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
    finally:
        messages = messages_of(process)
    step, path = list_checkpoints(tmp_path / "checkpoints")[-1]
    assert "SIGTERM: finishing this step" in messages
    assert f"stopped after step {step} of 100000: asked to end" in messages
    assert read_checkpoint(path).state["step"] == step
    assert not list((tmp_path / "checkpoints").glob(".*"))
