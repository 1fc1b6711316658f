"""The service's private folder: one sub-folder for each job, nothing left behind by a killed service."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from pathlib import Path

from inpaint.files import lock

_PREFIX = "inpaint-serving-"
_LOCK = "in-use"


class Storage:
    """A folder that only this user can open, for uploads and results.

    It is locked while the service lives. What services that were killed have left beside it is removed when
    the next one starts.

    Attributes:
        folder: the private folder.
        swept: folders of killed services that were removed at the start.
    """

    def __init__(self, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        self.swept = _sweep(parent)
        new = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))  # mode 0700
        self._lock = (new / _LOCK).open("wb")
        lock(self._lock)
        # Only now under a name that is swept: another service that starts finds it locked.
        self.folder = new.rename(parent / new.name[1:])

    def new_folder(self) -> Path:
        """Make and return an empty folder, whose name cannot be guessed."""
        folder = self.folder / secrets.token_urlsafe(18)
        folder.mkdir(mode=0o700)
        return folder

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def _sweep(parent: Path) -> int:
    """Remove the folders of this user's services that no longer live; return how many there were."""
    count = 0
    for folder in parent.glob(f"{_PREFIX}*"):
        # Another user's folder, or one that another service is removing at this moment.
        with contextlib.suppress(OSError):
            if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != _user():
                continue
            with (folder / _LOCK).open("ab") as stream:
                if not lock(stream):
                    continue
                shutil.rmtree(folder)
                count += 1
    return count


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0
