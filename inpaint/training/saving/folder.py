"""A run's output folder: found writable before any training, and cleaned of what a killed process left."""

from __future__ import annotations

import errno
import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inpaint.files import prepare_folder

logger = logging.getLogger("inpaint.training")


class OutputError(RuntimeError):
    """The output folder cannot be written; the message names it, the reason and the remedy."""


def prepare_output(folder: Path) -> None:
    """Make `folder` if it is missing, and write a little into it.

    Raises:
        OutputError: that failed.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"--output {folder} is a file: name a folder")
        prepare_folder(folder)
    except OSError as error:
        raise OutputError(
            f"--output {folder} cannot be written ({error.strerror}): permit writing there, make room, or "
            "name another folder"
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of `folder` in this context, or until the process ends.

    Some network file systems have no locks: a warning then says that nothing keeps other runs out.

    Raises:
        OutputError: another run is in it.
    """
    with (folder / ".lock").open("w") as file:
        try:
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"--output {folder}: another run writes there; wait for it, or name another folder"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP):
                raise
            logger.warning("--output %s: no locks here (%s); let no other run write there", folder, error)
        yield


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left unfinished in `folder`: whatever is named `.*.partial`."""
    for path in folder.glob(".*.partial"):
        logger.info("removing %s, which an earlier process left unfinished", path)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
