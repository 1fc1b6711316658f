"""Validation during training: the evaluation protocol's cases, scored with the averaged weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from inpaint.datasets import PhotoSet, open_photos
from inpaint.masks import blanked
from inpaint.networks import Network
from inpaint.networks.probes import (
    Decoder,
    constant_kernels,
    inspect_decoder,
    without_below,
    without_residual,
)
from inpaint.terminal import printable
from inpaint.training.settings import TrainSettings
from inpaint.urls import source_label

if TYPE_CHECKING:
    from inpaint.evaluation.cases import Case

logger = logging.getLogger("inpaint.training")

# Enough to use the cores or a GPU well, and few enough for 256 px pictures to fit in any memory.
BATCH = 8

# Which parts are switched off in turn: the name of the score without each, and what the log calls it.
PROBED = {
    "without_residual": "the residual",
    "without_below_8": "what is below 1/8",
    "constant_kernels": "predicted kernels",
}

# A residual that adds less than this many dB is as good as none.
LEAST_WORTH = 0.05

Autocast = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Probes:
    """What parts of a network are worth, on some of the cases.

    Attributes:
        psnr: mean PSNR in dB of the whole network on these cases.
        without: the same without a part, by the names in PROBED; parts that the network lacks are not there.
        decoder: its kernels and merges on the first batch of these cases.
    """

    psnr: float
    without: dict[str, float]
    decoder: Decoder

    @property
    def worth(self) -> dict[str, float]:
        """How many dB each part adds."""
        return {name: self.psnr - psnr for name, psnr in self.without.items()}

    def __str__(self) -> str:
        return "worth " + ", ".join(
            f"of {PROBED[name]} {worth:z.2f} dB" for name, worth in self.worth.items()
        )


class Validator:
    """Fills and scores the same cases again and again.

    Args:
        cases: pictures of one size with their holes.
        device: where the network is.
        autocast: makes the context that the network runs in.
        probe_count: `validate` probes on so many of the cases, spread over them.
        batch: how many cases a network is given at a time.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        device: torch.device,
        autocast: Autocast,
        probe_count: int = 0,
        batch: int = BATCH,
    ) -> None:
        self.cases = cases
        self._size = batch
        count = min(probe_count, len(cases))
        self._probed = [round(i) for i in np.linspace(0, len(cases) - 1, count)]
        self._device = device
        self._autocast = autocast

    def score(self, network: Network) -> dict[str, float]:
        """Return the mean PSNR in dB of the uint8 composites, of whole pictures and of the holes alone."""
        return self._scores(self.fill(network))

    def validate(self, network: Network) -> tuple[dict[str, float], Probes | None]:
        """Return the scores, and what the network's parts are worth.

        That is None if the network has none of these parts, or none is probed. The network must be in
        evaluation mode, and is left as it was.
        """
        each = list(self._each(self.cases, self.fill(network)))
        return _means(each), self._probe(network, [each[index]["psnr"] for index in self._probed])

    @torch.inference_mode()
    def _probe(self, network: Network, psnrs: Sequence[float]) -> Probes | None:
        """Probe the network, given its PSNR on each of the cases for it."""
        if not psnrs:
            return None
        cases = [self.cases[index] for index in self._probed]
        with self._autocast():
            decoder = inspect_decoder(network, [self._batch(network, cases[: self._size])])
        kernels = {level: seen.mean for level, seen in decoder.kernels.items()}
        probes = {
            "without_residual": without_residual(network),
            "without_below_8": without_below(network, 8),
            "constant_kernels": constant_kernels(network, kernels),
        }
        without = {}
        for name, probe in probes.items():
            if probe is not None:
                with probe:
                    fills = self._fills(network, cases)
                    without[name] = fmean(scores["psnr"] for scores in self._each(cases, fills))
        return Probes(fmean(psnrs), without, decoder) if without else None

    def harmonic(self) -> dict[str, float]:
        """Return the same scores for the membrane, the best of the baselines."""
        from inpaint.evaluation.methods import harmonic

        return self._scores(harmonic(case.image, case.mask) for case in self.cases)

    def fill(self, network: Network, count: int | None = None) -> Iterator[np.ndarray]:
        """Yield the composites of the first `count` cases, or of all: uint8 H×W×3."""
        return self._fills(network, self.cases[:count])

    @torch.inference_mode()
    def _fills(self, network: Network, cases: Sequence[Case]) -> Iterator[np.ndarray]:
        for start in range(0, len(cases), self._size):
            batch = cases[start : start + self._size]
            with self._autocast():
                prediction = network(*self._batch(network, batch))
            for case, filled in zip(batch, network.to_pixels(prediction), strict=True):
                yield np.where(case.mask[..., None], filled, case.image)

    def batches(self, network: Network) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all cases as the network takes them, images [N, 3, H, W] and masks [N, 1, H, W]."""
        for start in range(0, len(self.cases), self._size):
            yield self._batch(network, self.cases[start : start + self._size])

    def sheet(self, network: Network, count: int = 6) -> np.ndarray:
        """Return a picture with a row per case: input with a grey hole, fill and truth; uint8 H×W×3."""
        rows = []
        for case, filled in zip(self.cases, self.fill(network, count), strict=False):
            hidden = blanked(case.image, case.mask)
            rows.append(np.concatenate([hidden, filled, case.image], axis=1))
        return np.concatenate(rows)

    def _batch(self, network: Network, cases: Sequence[Case]) -> tuple[Tensor, Tensor]:
        image = np.stack([case.image for case in cases])  # [N, H, W, 3]
        mask = np.stack([case.mask for case in cases])  # [N, H, W]
        return network.to_input(image, mask, self._device)

    def _scores(self, results: Iterator[np.ndarray]) -> dict[str, float]:
        return _means(list(self._each(self.cases, results)))

    def _each(self, cases: Sequence[Case], results: Iterator[np.ndarray]) -> Iterator[dict[str, float]]:
        """Yield the scores of each composite; that of the hole where there is one."""
        from inpaint import metrics  # brings scikit-image, which a machine that only trains need not have

        for case, result in zip(cases, results, strict=True):
            in_hole = metrics.psnr_hole(case.image, result, case.mask)
            hole = {} if in_hole is None else {"psnr_hole": in_hole}
            yield {"psnr": metrics.psnr(case.image, result), **hole}


def _means(each: Sequence[dict[str, float]]) -> dict[str, float]:
    values = {name: [scores[name] for scores in each if name in scores] for name in ("psnr", "psnr_hole")}
    return {name: fmean(numbers) for name, numbers in values.items() if numbers}


def build_validator(
    settings: TrainSettings, training: PhotoSet, device: torch.device, autocast: Autocast
) -> Validator:
    """Build the validation that the settings ask for, and log the membrane's score for comparison.

    Warns of photos that are among the `training` photos, and names what cannot be read.

    Raises:
        FileNotFoundError: the photos are not there.
        ValueError: none could be read.
    """
    from inpaint.evaluation.cases import EvaluationSet

    photos = open_photos(list(settings.val_data))
    limit = settings.val_count or None
    chosen = EvaluationSet(photos, settings.val_masks, settings.val_seed, settings.val_size, limit)
    cases = list(chosen)
    broken = {**chosen.skipped, **chosen.broken_masks}
    listed = "".join(f"\n  {printable(f'{name}: {reason}')}" for name, reason in broken.items())
    if not cases:
        sources = " ".join(map(source_label, settings.val_data))
        raise ValueError(f"--val-data {sources}: no photo could be read:{listed}")
    if broken:
        logger.warning("%d validation photos, shards or masks were left out:%s", len(broken), listed)
    for note in chosen.mask_notes:
        logger.warning("validation: %s", printable(note))
    if shared := photos.shares_with(training):
        logger.warning(
            "%d of the %d photos of --val-data are trained on: the scores say little of new photos",
            shared,
            len(photos),
        )
    validator = Validator(cases, device, autocast, settings.probe_count)
    logger.info("validation on %d photos; harmonic: %s", len(cases), decibels(validator.harmonic()))
    return validator


def decibels(scores: dict[str, float]) -> str:
    """Return scores as text for a line of a log."""
    return ", ".join(f"{name} {value:.2f} dB" for name, value in scores.items())
