"""The output folder of one run: prepared, locked, and its checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inpaint.training.saving.checkpoint import (
    Checkpoint,
    CheckpointError,
    list_checkpoints,
    read_newest_checkpoint,
)
from inpaint.training.saving.folder import OutputError, locked, prepare_output, remove_leftovers

logger = logging.getLogger("inpaint.training")


class Output:
    """The folder that a run writes to.

    For the main process, but for `writing` and `last_checkpoint`.

    Attributes:
        folder: where weights, curves and sample pictures lie.
        checkpoints: the folder of the checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self._known: list[tuple[int, Path]] = []  # the checkpoints that `prepare` left

    def prepare(self, resume: bool) -> Checkpoint | None:
        """Make the folder, remove what a killed process left half-written, and read the newest checkpoint.

        Args:
            resume: whether to go on from a checkpoint; None is returned if there is none.

        Raises:
            CheckpointError: there are checkpoints and they are not to be resumed, or none can be read.
            OutputError: nothing can be written there, or another run is writing.
        """
        prepare_output(self.folder)
        if list_checkpoints(self.checkpoints) and not resume:
            raise CheckpointError(
                f"{self.checkpoints} holds checkpoints of an earlier run: go on with --resume, or "
                "give another --output"
            )
        with locked(self.folder):
            for folder in (self.folder, self.checkpoints):
                remove_leftovers(folder)
            checkpoint = read_newest_checkpoint(self.checkpoints) if resume else None
            self._known = list_checkpoints(self.checkpoints)
        if checkpoint is None and resume:
            logger.info("no checkpoint in %s: starting from the beginning", self.checkpoints)
        return checkpoint

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other runs out of the folder in this context.

        Raises:
            OutputError: another run is there, or has written since `prepare`.
        """
        with locked(self.folder):
            if list_checkpoints(self.checkpoints) != self._known:
                raise OutputError(
                    f"--output {self.folder}: another run has written there meanwhile; go on from what it "
                    "left with --resume, or name another folder"
                )
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Raise OutputError, which says what to do, for what the file system refuses in this context."""
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"cannot write to {self.folder} ({error}); {self.last_checkpoint()}. Make room or permit "
                "writing, then go on with --resume"
            ) from error

    def last_checkpoint(self) -> str:
        """Say which checkpoint is the newest, for messages."""
        existing = list_checkpoints(self.checkpoints)
        return f"the last checkpoint is {existing[-1][1]}" if existing else "there is no checkpoint yet"
