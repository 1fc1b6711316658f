"""Validation during training: the evaluation protocol's cases, scored with the averaged weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from inpaint.evaluation.protocol import Case

# Enough for the cores or a GPU to work on, little enough for 256 px pictures to fit anywhere.
BATCH = 8


class Validator:
    """Fills and scores the same cases again and again.

    `cases` are pictures of one size with their holes; `autocast` makes the context the network runs in.
    """

    def __init__(
        self, cases: Sequence[Case], device: torch.device, autocast: Callable[[], AbstractContextManager[Any]]
    ) -> None:
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
