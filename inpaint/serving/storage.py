"""The service's private folder: one sub-folder for each job, nothing left behind by a killed service."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import threading
from pathlib import Path

from inpaint.files import lock

from .errors import BusyError

_PREFIX = "inpaint-serving-"
_LOCK = "in-use"
_BUSY_SECONDS = 10.0  # until there may be room again


class Storage:
    """A folder that only this user can open, for uploads and results.

    It is locked while the service lives. What services that were killed have left beside it is removed when
    the next one starts.

    Args:
        parent: where it is made; by default the system's folder for temporary files.
        upload_bytes: all uploads together that there may be at a time. One alone may be larger.

    Attributes:
        folder: the private folder.
        swept: folders of killed services that were removed at the start.
    """

    def __init__(self, parent: Path | None = None, upload_bytes: float = float("inf")) -> None:
        self._upload_bytes = upload_bytes
        self._uploads: dict[str, int] = {}  # folder's name -> bytes
        self._room = threading.Lock()
        parent = parent or Path(tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        self.swept = _sweep(parent)
        new = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))  # mode 0700
        self._lock = (new / _LOCK).open("wb")
        lock(self._lock)
        # Only now under a name that is swept: another service that starts finds it locked.
        self.folder = new.rename(parent / new.name[1:])

    def new_folder(self, upload_bytes: int = 0) -> Path:
        """Make and return an empty folder, whose name cannot be guessed.

        Args:
            upload_bytes: what is going to be received into it, at most.

        Raises:
            BusyError: there is no room for so much beside what is being received or waits.
        """
        name = secrets.token_urlsafe(18)
        with self._room:
            if self._uploads and sum(self._uploads.values()) + upload_bytes > self._upload_bytes:
                raise BusyError("The server holds as many photos as it may; try again later.", _BUSY_SECONDS)
            if upload_bytes:
                self._uploads[name] = upload_bytes
        folder = self.folder / name
        try:
            folder.mkdir(mode=0o700)
        except OSError:
            self.release(folder)
            raise
        return folder

    def release(self, folder: Path) -> None:
        """Note that a folder's uploads are gone."""
        with self._room:
            self._uploads.pop(folder.name, None)

    def remove(self, folder: Path) -> None:
        """Remove a folder with all that is in it."""
        shutil.rmtree(folder, ignore_errors=True)
        self.release(folder)

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
