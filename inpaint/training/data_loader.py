"""The batches of a whole schedule, made ahead of time and brought to the device."""

from __future__ import annotations

import logging
from collections.abc import Generator

import torch
from torch import Tensor

from inpaint.datasets import Batch, PhotoCache, PhotoSet, TrainingBatches
from inpaint.masks import MaskNotes
from inpaint.masks.recipe import REMEDIES
from inpaint.terminal import printable
from inpaint.training.processes.world import World
from inpaint.training.schedule import Stage
from inpaint.training.settings import TrainSettings

logger = logging.getLogger("inpaint.training")

Batches = Generator[tuple[int, Stage, Batch], None, None]


class DataLoader:
    """Loads what one process is given in each step of a schedule; its stages share decoded photos.

    Args:
        settings: those of the run.
        photos: what it is trained on.
        world: this process and the others, and the device.

    Raises:
        ValueError: a batch cannot be shared evenly by the processes.
    """

    def __init__(self, settings: TrainSettings, photos: PhotoSet, world: World) -> None:
        self.photos = photos
        self._settings = settings
        self._device = world.device
        cache = PhotoCache(photos, int(settings.cache_gib * 2**30))
        self._stages = [
            TrainingBatches(
                photos,
                settings.masks,
                stage.size,
                stage.batch,
                settings.seed,
                rank=world.rank,
                world_size=world.size,
                crop_scale=settings.crop_scale,
                cache=cache,
            )
            for stage in settings.schedule.stages
        ]

    @property
    def broken(self) -> dict[str, str]:
        """The photos, shards and ready masks found unreadable so far: name -> reason."""
        return {name: reason for batches in self._stages for name, reason in batches.broken.items()}

    @property
    def mask_notes(self) -> list[str]:
        """What is worth a word in the ready masks read so far, a sentence for each kind of remark."""
        notes = MaskNotes()
        for batches in self._stages:
            notes.update(batches.recipe.notes)
        return notes.sentences(REMEDIES)

    def steps(self, step: int) -> Batches:
        """Yield (step, stage, batch) from `step` to the end of the schedule, decoded ahead of time."""
        workers, end = self._settings.workers, 0
        told: set[str] = set()
        for stage, batches in zip(self._settings.schedule.stages, self._stages, strict=True):
            start, end = max(end, step), end + stage.steps
            if start >= end:
                continue
            stream = batches.stream(start, end, threads=workers, ahead=2 * workers + 2)
            for number, batch in enumerate(stream, start):
                if new := batches.recipe.notes.by_kind.keys() - told:
                    # At once, since a run takes days; how many masks it concerns is known at its end.
                    for kind in new:
                        name, sentence = next(iter(batches.recipe.notes.by_kind[kind].items()))
                        logger.warning("the mask %s: %s", printable(name), sentence)
                    told |= new
                yield number, stage, batch

    def parts(self, batch: Batch) -> list[Batch]:
        """Return a batch in the `accumulate` parts that are worked through one by one, on the device."""
        number = self._settings.accumulate
        chunks = (map(self._to_device, tensor.chunk(number)) for tensor in batch)
        return [Batch(image, mask) for image, mask in zip(*chunks, strict=True)]

    def _to_device(self, tensor: Tensor) -> Tensor:
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True, memory_format=torch.channels_last)
