"""What a run leaves to be used: the averaged weights, last and best, scored and shown as it goes on."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from inpaint.networks import Network
from inpaint.training.run_log import RunLog
from inpaint.training.validation import LEAST_WORTH, Probes, Validator, decibels
from inpaint.weights import WeightsError, read_metadata, save_weights

logger = logging.getLogger("inpaint.training")


class Results:
    """The files `last.safetensors` and `best.safetensors` (float16, config inside) and the samples of a run.

    For the main process. `network` holds the averaged weights; without a `validator` there are neither scores
    nor best weights nor samples. OSError from the file system is passed on.
    """

    def __init__(self, folder: Path, network: Network) -> None:
        self.best: dict[str, float] | None = None  # best validation so far: psnr, step
        self.validator: Validator | None = None
        self.probes: Probes | None = None  # of the last validation
        self._folder = folder
        self._network = network

    def save_last(self, step: int, seconds: float) -> None:
        """Write the weights after `step` steps and that time of training as `last.safetensors`."""
        self._write("last.safetensors", step, seconds)

    def save_last_if_missing(self, step: int, seconds: float) -> None:
        """Do so where the file is not of that step: a run may end between its checkpoint and its weights."""
        try:
            facts = read_metadata(self._folder / "last.safetensors")
        except WeightsError:
            facts = {}
        if facts.get("step") != str(step):
            self.save_last(step, seconds)

    def validate(self, step: int, seconds: float, log: RunLog) -> None:
        """Score and probe the weights; write them as `best.safetensors` if none before had a higher PSNR."""
        if self.validator is None:
            return
        scores, self.probes = self.validator.validate(self._network)
        log.validation(step, scores, self.probes)
        improved = self.best is None or scores["psnr"] > self.best["psnr"]
        if improved:
            self.best = {"psnr": scores["psnr"], "step": step}
            self._write("best.safetensors", step, seconds, scores)
        found = f"; {self.probes}" if self.probes is not None else ""
        logger.info("step %d: %s%s%s", step, decibels(scores), " (best so far)" if improved else "", found)
        log.restart_clock()

    def warn_of_nothing_learnt(self) -> None:
        """Say so if the last validation found the network's own prediction to be worth nothing."""
        if self.probes is None or self.probes.worth.get("without_residual", LEAST_WORTH) >= LEAST_WORTH:
            return
        logger.warning(
            "the network has learnt next to nothing over what it is given: without its own prediction its "
            "fills score %.2f dB, with it %.2f dB",
            self.probes.without["without_residual"],
            self.probes.psnr,
        )

    def sample(self, step: int, log: RunLog) -> None:
        """Show what the weights make of the first validation photos."""
        if self.validator is not None:
            log.samples(step, self.validator.sheet(self._network))
            log.restart_clock()

    def _write(self, name: str, step: int, seconds: float, scores: dict[str, float] | None = None) -> None:
        facts = {"step": str(step), "hours": f"{seconds / 3600:.2f}"}
        facts |= {f"validation_{key}": f"{value:.3f}" for key, value in (scores or {}).items()}
        path = self._folder / name
        try:
            save_weights(self._network, path, metadata=facts)
        except WeightsError as error:  # the training goes on in more range than float16 has
            logger.warning("%s; written as float32", error)
            save_weights(self._network, path, dtype=torch.float32, metadata=facts)
