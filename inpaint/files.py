"""Files of unknown origin: which of them are files at all, and what killed runs leave of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

_LONGEST_PART = 200  # bytes of a name that are kept in its temporary file's; most systems allow 255 in all
_PARTIAL = re.compile(r"\.(.+)\.[0-9a-f]{8}\.partial", re.DOTALL)


class NotRegularError(OSError):
    """A pipe, a device, a socket or a folder where a file is meant: reading it may never end."""


def open_regular(path: Path | str) -> BinaryIO:
    """Open a file for reading, links followed.

    Raises :class:`NotRegularError` for everything that is no regular file, without waiting for it, and
    OSError for what cannot be opened.
    """
    # Looked at before, as opening a device may do something, and once more when it is what it is. In between
    # it may have become a pipe, which is not waited for.
    _check_mode(Path(path).stat().st_mode)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_mode(os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def why_not_regular(path: Path | str) -> str | None:
    """Say what a path is instead of a regular file ("is a pipe and not a file"); None where it is one.

    Links are followed. What is not there is said, too.
    """
    try:
        _check_mode(Path(path).stat().st_mode)
    except NotRegularError as error:
        return str(error)
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    return None


def _check_mode(mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    raise NotRegularError(f"is {kinds.get(stat.S_IFMT(mode), 'something else')} and not a file")


def cache_folder() -> Path:
    """Return the folder of what can be made again: indexes of tars, the compiled operator.

    It is `$INPAINT_CACHE_DIR`, else `$XDG_CACHE_HOME/inpaint`, else `~/.cache/inpaint`; it may not exist yet.
    """
    given = os.environ.get("INPAINT_CACHE_DIR")
    folder = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "inpaint"
    return folder.expanduser()


def partial_path(path: Path) -> Path:
    """Return a new name beside `path` for what is being written; `remove_partials` knows it again."""
    return path.with_name(f".{_part(path.name)}.{secrets.token_hex(4)}.partial")


def remove_partials(folder: Path, names: Iterable[str]) -> None:
    """Remove what killed processes left half-written of the files `names` of a folder.

    What a process is still writing, and what else lies in the folder, stays.
    """
    wanted = {_part(name) for name in names}
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return  # what cannot be listed cannot be tidied
    for entry in entries:
        found = _PARTIAL.fullmatch(entry.name)
        if found and found[1] in wanted and entry.is_file(follow_symlinks=False):
            # Someone else's file, or one that another process has just removed.
            with contextlib.suppress(OSError), open_regular(entry.path) as stream:
                if lock(stream):
                    Path(entry.path).unlink()


def lock(stream: BinaryIO) -> bool:
    """Mark an open file as in use until it is closed.

    False where another process has marked it, or where there are no locks (Windows, some network drives).
    """
    try:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _part(name: str) -> str:
    """A name as it stands in that of its temporary file: itself, or if it is long, a digest."""
    data = os.fsencode(name)
    return name if len(data) <= _LONGEST_PART else hashlib.sha256(data).hexdigest()[:32]
