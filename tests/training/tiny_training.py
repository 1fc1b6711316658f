"""A network and settings small enough to train in a test; run as a script, it trains in a process of its own.

python tiny_training.py PHOTOS OUTPUT STEPS
"""

import logging
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inpaint.datasets import open_photos
from inpaint.losses import LossWeights
from inpaint.networks import Network
from inpaint.training.processes.world import join_world
from inpaint.training.saving.checkpoint import list_checkpoints, read_checkpoint
from inpaint.training.schedule import Schedule
from inpaint.training.settings import TrainSettings
from inpaint.training.trainer import Stop, Trainer

PIXEL_TERMS = LossWeights(perceptual=0, style=0, log_mse=0.1)


class TinyNetwork(Network):
    """A few convolutions, with running statistics unless `batch_norm` is off."""

    def __init__(self, batch_norm: bool = True) -> None:
        super().__init__({"network": "Tiny", "batch_norm": batch_norm}, stride=4)
        self.layers = nn.Sequential(
            nn.Conv2d(4, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8) if batch_norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(8, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        return self.layers(torch.cat([image, mask], dim=1)).sigmoid()


class TinyJudge(nn.Module):
    """A discriminator to go with it."""

    smallest = 8

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2), nn.LeakyReLU(0.2), nn.Conv2d(6, 1, 3))

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        return self.layers(torch.cat([image, mask], dim=1)).flatten(1)


def tiny_settings(photos: Path, output: Path, **changes: Any) -> TrainSettings:
    settings = {
        "schedule": Schedule.parse("16x4:5,32x2:5"),
        "masks": "box:0.1-0.5",
        "loss": PIXEL_TERMS,
        "warmup": 3,
        "lr": 1e-2,
        "device": "cpu",
        "checkpoint_every": 4,
        "sample_every": 0,
        "keep": 10,
    }
    return TrainSettings(data=(str(photos),), output=str(output), **{**settings, **changes})


def tiny_trainer(settings: TrainSettings, network: Network | None = None) -> Trainer:
    with join_world(settings.device) as world:
        torch.manual_seed(settings.seed)
        trainer = Trainer(settings, network or TinyNetwork(), open_photos(list(settings.data)), world)
        trainer.prepare()
    return trainer


def last_tensors(output: Path) -> dict[str, Tensor]:
    """What the newest checkpoint of a run holds."""
    return read_checkpoint(list_checkpoints(output / "checkpoints")[-1][1]).tensors


def main(photos: str, output: str, steps: str) -> int:
    settings = tiny_settings(
        Path(photos), Path(output), schedule=Schedule.parse(f"16x4:{steps}"), precision="fp32", warmup=0
    )
    with join_world("cpu") as world:
        torch.manual_seed(0)
        trainer = Trainer(settings, TinyNetwork(), open_photos([photos]), world)
        trainer.prepare()
        stop = trainer.run()
    return 130 if stop is Stop.INTERRUPTED else 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    torch.set_num_threads(1)
    sys.exit(main(*sys.argv[1:]))
