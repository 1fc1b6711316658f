"""Validation during training: the evaluation protocol's cases, scored with the averaged weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from inpaint.datasets import PhotoSet, open_photos
from inpaint.datasets.storage import source_label
from inpaint.training.settings import TrainSettings

if TYPE_CHECKING:
    from inpaint.evaluation.protocol import Case

logger = logging.getLogger("inpaint.training")

# Enough for the cores or a GPU to work on, little enough for 256 px pictures to fit anywhere.
BATCH = 8

Autocast = Callable[[], AbstractContextManager[Any]]


class Validator:
    """Fills and scores the same cases again and again.

    `cases` are pictures of one size with their holes; `autocast` makes the context the network runs in.
    """

    def __init__(self, cases: Sequence[Case], device: torch.device, autocast: Autocast) -> None:
        self.cases = cases
        self._device = device
        self._autocast = autocast

    def score(self, network: nn.Module) -> dict[str, float]:
        """Mean PSNR in dB of the uint8 composites, of the whole pictures and of the holes alone."""
        return self._scores(self.fill(network))

    def telea(self) -> dict[str, float]:
        """The same scores for OpenCV's Telea diffusion with radius 3: what a network has to beat."""
        import cv2

        return self._scores(
            cv2.inpaint(case.image, case.mask.astype(np.uint8), 3, cv2.INPAINT_TELEA) for case in self.cases
        )

    @torch.inference_mode()
    def fill(self, network: nn.Module, count: int | None = None) -> Iterator[np.ndarray]:
        """The composites of the first `count` cases, or of all: uint8 H×W×3."""
        cases = self.cases[:count]
        for start in range(0, len(cases), BATCH):
            batch = cases[start : start + BATCH]
            image = np.stack([case.image for case in batch])  # [N, H, W, 3]
            mask = np.stack([case.mask for case in batch])[..., None]  # [N, H, W, 1]
            with self._autocast():
                prediction = network(*self._inputs(image, mask))
            pixels = prediction.float().clamp(0, 1).mul(255).round().to(torch.uint8)
            yield from np.where(mask, pixels.permute(0, 2, 3, 1).cpu().numpy(), image)

    def sheet(self, network: nn.Module, count: int = 6) -> np.ndarray:
        """One row per case, input with a grey hole, fill and truth side by side: uint8 picture."""
        rows = []
        for case, filled in zip(self.cases, self.fill(network, count), strict=False):
            hidden = np.where(case.mask[..., None], np.uint8(128), case.image)
            rows.append(np.concatenate([hidden, filled, case.image], axis=1))
        return np.concatenate(rows)

    def _inputs(self, image: np.ndarray, mask: np.ndarray) -> tuple[Tensor, Tensor]:
        # NHWC memory seen as NCHW is channels_last already.
        known = torch.from_numpy(np.where(mask, np.uint8(0), image)).to(self._device).permute(0, 3, 1, 2)
        return known.float() / 255, torch.from_numpy(mask).to(self._device).permute(0, 3, 1, 2).float()

    def _scores(self, results: Iterator[np.ndarray]) -> dict[str, float]:
        from inpaint import metrics  # brings scikit-image, which a machine that only trains need not have

        whole, hole = [], []
        for case, result in zip(self.cases, results, strict=True):
            whole.append(metrics.psnr(case.image, result))
            in_hole = metrics.psnr_hole(case.image, result, case.mask)
            if in_hole is not None:
                hole.append(in_hole)
        return {"psnr": fmean(whole), "psnr_hole": fmean(hole)} if hole else {"psnr": fmean(whole)}


def build_validator(
    settings: TrainSettings, training: PhotoSet, device: torch.device, autocast: Autocast
) -> Validator:
    """The validation that the settings ask for, with OpenCV's score in the log as the mark to beat.

    Warns of photos that are among the `training` photos, and names what cannot be read. Raises
    FileNotFoundError for photos that are not there, ValueError where none could be read.
    """
    from inpaint.evaluation.protocol import EvaluationSet

    photos = open_photos(list(settings.val_data))
    limit = settings.val_count or None
    chosen = EvaluationSet(photos, settings.val_masks, settings.val_seed, settings.val_size, limit)
    cases = list(chosen)
    broken = {**chosen.skipped, **chosen.broken_masks}
    listed = "".join(f"\n  {name}: {reason}" for name, reason in broken.items())
    if not cases:
        sources = " ".join(map(source_label, settings.val_data))
        raise ValueError(f"--val-data {sources}: no photo could be read:{listed}")
    if broken:
        logger.warning("%d validation photos, shards or masks were left out:%s", len(broken), listed)
    if shared := photos.shares_with(training):
        logger.warning(
            "%d of the %d photos of --val-data are trained on: the scores say little of new photos",
            shared,
            len(photos),
        )
    validator = Validator(cases, device, autocast)
    logger.info("validation on %d photos; Telea: %s", len(cases), decibels(validator.telea()))
    return validator


def decibels(scores: dict[str, float]) -> str:
    """Scores for a line of a log."""
    return ", ".join(f"{name} {value:.2f} dB" for name, value in scores.items())
