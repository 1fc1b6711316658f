"""What a run shows while it goes on: a progress bar, curves and sample pictures."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from inpaint.training.schedule import Schedule, Stage
from inpaint.training.validation import Probes

logger = logging.getLogger("inpaint.training")


class RunLog:
    """The progress bar (standard error), TensorBoard's files and sample pictures of one run in `folder`.

    The bar counts pixels, not steps: a step at 256 px takes four times as long as one at 128 px, and the time
    left takes that into account. Without the tensorboard package the curves are left out, which is said once;
    sample pictures are PNG files in `folder/samples` either way.
    """

    def __init__(self, folder: Path, schedule: Schedule, step: int = 0, enabled: bool = True) -> None:
        self._folder = folder
        self._writer = _tensorboard_writer(folder, step) if enabled else None
        self._schedule = schedule
        # A terminal is redrawn often; a log file, where each redraw is a line, rarely.
        interval = 0.5 if sys.stderr.isatty() else 30.0
        self._bar = tqdm(
            total=schedule.pixels(),
            initial=schedule.pixels(step),
            disable=not enabled,
            mininterval=interval,
            maxinterval=interval,
            smoothing=0.05,
            dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}%|{bar:20}| {elapsed} passed, {remaining} left{postfix}",
        )
        self.restart_clock()

    def restart_clock(self) -> None:
        """Count the rate from now: called after work that is not training."""
        self._since = time.perf_counter()
        self._images = 0

    def advance(self, step: int, stage: Stage) -> None:
        """Count step `step` (from 0) of `stage` as done."""
        self._images += stage.batch
        self._bar.set_description_str(
            f"step {step + 1}/{self._schedule.steps} at {stage.size} px", refresh=False
        )
        self._bar.update(stage.pixels)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add points to the curves after `step` steps, with the rate since the last ones."""
        rate = self._images / max(time.perf_counter() - self._since, 1e-9)
        self._bar.set_postfix_str(f"{rate:.1f} img/s, loss {values['loss/total']:.4f}", refresh=False)
        if self._writer is not None:
            for name, value in {**values, "speed/images_per_second": rate}.items():
                self._writer.add_scalar(name, value, step)
        self.restart_clock()

    def validation(self, step: int, scores: Mapping[str, float], probes: Probes | None = None) -> None:
        """Add points to the validation curves after `step` steps, and those of the network's probes."""
        points = {f"validation/{name}": value for name, value in scores.items()}
        if probes is not None:
            points["validation/psnr_probed"] = probes.psnr
            points |= {f"validation/psnr_{name}": value for name, value in probes.without.items()}
            for level, seen in probes.decoder.kernels.items():
                for name in ("entropy", "peaked", "variance"):
                    points[f"kernels/{level}/{name}"] = getattr(seen, name)
            for level, share in probes.decoder.from_below.items():
                points[f"merges/{level}/from_below"] = share
        if self._writer is not None:
            for name, value in points.items():
                self._writer.add_scalar(name, value, step)

    def samples(self, step: int, grid: np.ndarray) -> None:
        """Show a sheet of sample pictures, uint8 H×W×3, after `step` steps."""
        (self._folder / "samples").mkdir(parents=True, exist_ok=True)
        Image.fromarray(grid).save(self._folder / "samples" / f"step-{step:08d}.png")
        if self._writer is not None:
            self._writer.add_image("samples: input, fill, truth", grid, step, dataformats="HWC")

    def close(self) -> None:
        """End the bar and flush the curves; where they cannot be written, that is said and no more."""
        self._bar.close()
        if self._writer is not None:
            try:
                self._writer.close()
            except OSError as error:
                logger.warning("the last points of the curves were not written (%s)", error)


def _tensorboard_writer(folder: Path, step: int) -> Any | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.warning("no curves: the tensorboard package is not installed (pip install tensorboard)")
        return None
    # What an interrupted run logged after its last checkpoint is trained again, and must not be shown twice.
    return SummaryWriter(str(folder / "curves"), purge_step=step + 1)
