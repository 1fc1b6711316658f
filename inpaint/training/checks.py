"""What is asked of settings, network, photos and processes together, before the first step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from inpaint.networks import Network
from inpaint.ops.build import has_compiler
from inpaint.training.processes.world import World
from inpaint.training.settings import TrainSettings


def check_sizes(settings: TrainSettings, stride: int, processes: int) -> None:
    """Raise ValueError for sizes that the network's stride, or batches that the processes, do not divide."""
    stages = settings.schedule.stages
    sizes = {"--schedule": [stage.size for stage in stages]}
    if settings.val_data:
        sizes["--val-size"] = [settings.val_size]
    for flag, values in sizes.items():
        unfit = [value for value in values if value % stride]
        if unfit:
            raise ValueError(f"{flag}: sizes must be multiples of the network's stride {stride}, got {unfit}")
    parts = settings.accumulate
    odd = [stage for stage in stages if stage.batch % (processes * parts)]
    if odd:
        raise ValueError(
            f"--schedule: batches must be multiples of the {processes} processes times --accumulate {parts}, "
            f"got {odd[0]}"
        )


def check_compiler(settings: TrainSettings, device: torch.device) -> None:
    """Raise ValueError where torch.compile would find no C++ compiler, which it needs for the CPU."""
    if settings.compile and device.type == "cpu" and not has_compiler():
        raise ValueError("--compile needs a C++ compiler: install one (g++ or clang), or leave the flag out")


def check_adversary(settings: TrainSettings, smallest: int) -> None:
    """Raise ValueError for pictures that are smaller than the discriminator takes, in pixels."""
    least = min(stage.size for stage in settings.schedule.stages)
    if least < smallest:
        raise ValueError(
            f"--adversary-discriminator {settings.adversary.discriminator}: it needs pictures of at least "
            f"{smallest} px, --schedule has {least}"
        )


def check_octaves(settings: TrainSettings, network: Network) -> None:
    """Raise ValueError where the loss has a term for coarser octaves, and the network gives none."""
    if settings.loss.coarser > 0 and not network.gives_octaves:
        raise ValueError(
            f"--loss-coarser {settings.loss.coarser:g} needs a network that fills octave by octave, "
            f"as --network pyramid-unet does; {settings.network} does not: set it to 0"
        )


def agreed_digest(names: Sequence[str], world: World) -> str:
    """SHA-256 of the photos' names, a line each; ValueError in all processes where one has found others."""
    digest = hashlib.sha256()
    for number, name in enumerate(names):  # of millions, without a text of them all
        # Names of files need not be UTF-8.
        digest.update(("\n" if number else "").encode() + name.encode(errors="surrogateescape"))
    own = digest.hexdigest()
    if not world.agree(own == world.from_main(lambda: own)):
        raise ValueError(
            f"--data: the processes have found different photos, this one {len(names)}: give all hosts the "
            "same files under the same names"
        )
    return own
