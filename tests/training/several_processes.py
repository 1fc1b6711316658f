"""What two processes do together; run as a script, it is one of them, with torchrun's variables set.

python several_processes.py PHOTOS OUTPUT killed|hang: each scenario writes to OUTPUT/NAME, and what became of
it to OUTPUT/rank-R.json. One pair of processes does nearly everything: starting them takes longer than that.
"""

import datetime
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from tiny_training import TinyJudge, TinyNetwork, tiny_settings
from torch import Tensor, nn

import inpaint
from inpaint.datasets import PhotoSet, open_photos
from inpaint.networks import Network
from inpaint.training import adversary, run_log
from inpaint.training.adversary import AdversarySettings
from inpaint.training.processes.world import LostProcessError, World, join_world
from inpaint.training.schedule import Schedule
from inpaint.training.trainer import Trainer

# Seconds to wait for another process: starting one takes long where tests compete for few cores.
PATIENCE = 240
# Seconds that the two wait for each other where one of them hangs.
SHORT_PATIENCE = 4

ALONE = World(0, 1, torch.device("cpu"))
SCHEDULE = Schedule.parse("16x8:4,32x4:4")
# All three phases, and a gradient penalty in the last. Not with hinge: while all logits lie within the margin
# its gradients cancel in the last bias, and Adam makes the rounding noise that is left as large as any.
ADVERSARY = AdversarySettings("patch", weight=0.1, objective="bce", r1=0.5, r1_every=3, start=4, alone=2)


class EncoderNetwork(TinyNetwork):
    """Batch normalisation both in what it calls its encoder and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers.append(nn.BatchNorm2d(3))

    @property
    def encoder(self) -> nn.Module:
        return self.layers[:3]


def settings(photos: Path, output: Path, **changes: Any) -> Any:
    base = {"schedule": SCHEDULE, "precision": "fp32", "warmup": 0, "lr": 2e-3, "log_every": 1}
    return tiny_settings(photos, output, **{**base, **changes})


def train(
    world: World, photos: Path, output: Path, network: Network | None = None, **changes: Any
) -> dict[str, Any]:
    """The loss of each step, what was raised, and after how many seconds."""
    losses: list[float] = []

    def note(log: Any, step: int, values: Mapping[str, float]) -> None:
        losses.append(values["loss/total"])

    torch.manual_seed(0)
    network = network or TinyNetwork(batch_norm=False)
    started, error = time.monotonic(), None
    with mock.patch.object(run_log.RunLog, "scalars", note):
        try:
            trainer = Trainer(settings(photos, output, **changes), network, open_photos([photos]), world)
            trainer.prepare()
            trainer.run()
        except (RuntimeError, OSError, ValueError) as raised:
            error = raised
    return {
        "losses": losses,
        "error": error and str(error),
        "seconds": time.monotonic() - started,
        "raised": error,
    }


def train_adversarially(world: World, photos: Path, output: Path, **changes: Any) -> dict[str, Any]:
    """`train` against a discriminator."""
    with mock.patch.object(adversary, "_build", lambda settings: TinyJudge()):
        return train(world, photos, output, adversary=ADVERSARY, **changes)


def train_on_others(world: World, photos: Path, output: Path) -> dict[str, Any]:
    """The second process has one photo less."""
    find = open_photos

    def all_but_one(sources: list[Path]) -> PhotoSet:
        found = find(sources)
        found.names = found.names[:-1]
        return found

    with mock.patch.dict(globals(), {"open_photos": all_but_one} if world.rank else {}):
        return train(world, photos, output)


class At(TinyNetwork):
    """Does something in its forward pass of a step (from 0)."""

    def __init__(self, step: int, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__(batch_norm=False)
        self.left, self.act = step, act

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        self.left -= 1
        prediction = super().forward(image, mask)
        return self.act(prediction) if self.left == -1 else prediction


def full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def scenarios(world: World, photos: Path, output: Path) -> dict[str, dict[str, Any]]:
    """All that end in order, by name."""
    to_nan = At(5, lambda prediction: prediction * torch.nan) if world.rank == 1 else None
    results = {
        "plain": train(world, photos, output / "plain"),
        "accumulated": train(world, photos, output / "accumulated", accumulate=2),
        "sharded": train(world, photos, output / "sharded", checkpoint_format="sharded"),
        "sharded, batch norm": train(
            world, photos, output / "sharded-norm", TinyNetwork(), checkpoint_format="sharded"
        ),
        "other photos": train_on_others(world, photos, output / "others"),
        "resumed": train(world, photos, output / "resumed", resume=True),
        "frozen": train(world, photos, output / "frozen", EncoderNetwork(), finetune_steps=4),
        "adversarial": train_adversarially(world, photos, output / "adversarial"),
        "not finite": train(world, photos, output / "not finite", to_nan),
    }
    for name, rank in (("single", 0), ("sharded", 1)):
        with mock.patch("os.fsync", full_disk) if world.rank == rank else mock.patch("os.sync"):
            results[f"full disk, {name}"] = train(
                world, photos, output / f"full-{name}", checkpoint_format=name
            )
    return results


def be_killed(prediction: Tensor) -> Tensor:
    os.kill(os.getpid(), signal.SIGKILL)
    return prediction


def hang(prediction: Tensor) -> Tensor:
    time.sleep(PATIENCE)
    return prediction


def main(photos: Path, output: Path, last: str) -> None:
    path = output / f"rank-{os.environ['RANK']}.json"
    patience = PATIENCE
    if last == "hang":
        # Both are here before the short patience begins.
        with join_world("cpu", datetime.timedelta(seconds=PATIENCE)):
            patience = SHORT_PATIENCE
        os.environ["MASTER_PORT"] = os.environ["SECOND_PORT"]
    results = {}
    try:
        with join_world("cpu", datetime.timedelta(seconds=patience)) as world:
            if last == "killed":
                results = scenarios(world, photos, output)
                write(path, results)
            network = At(5, be_killed if last == "killed" else hang) if world.rank else None
            results[last] = train(world, photos, output / last, network)
            raise results[last]["raised"]
    except LostProcessError as error:
        results[last]["error"] = str(error)
    write(path, results)


def write(path: Path, results: dict[str, dict[str, Any]]) -> None:
    told = {name: {k: v for k, v in result.items() if k != "raised"} for name, result in results.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told))


def start_two(*arguments: object) -> list[subprocess.Popen[str]]:
    """This script twice, with what torchrun sets and without the time that it takes; the caller ends them."""
    ports = []
    with socket.socket() as first, socket.socket() as second:
        for found in (first, second):
            found.bind(("127.0.0.1", 0))
            ports.append(str(found.getsockname()[1]))
    root = str(Path(inpaint.__file__).parents[1])
    shared = {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": ports[0], "SECOND_PORT": ports[1]}
    command = [sys.executable, __file__, *map(str, arguments)]
    return [
        subprocess.Popen(
            command, env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE, text=True,
        )
        for rank in "01"
    ]  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
