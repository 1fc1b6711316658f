"""Files: which names are files at all, whole-or-nothing writes, and the cache folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

_LONGEST_PART = 200  # bytes of a name that are kept in its temporary file's; most systems allow 255 in all
_PARTIAL = re.compile(r"\.(.+)\.[0-9a-f]{8}\.partial", re.DOTALL)


class NotRegularError(OSError):
    """A pipe, a device, a socket or a folder where a file is meant: reading it may never end."""


def open_regular(path: Path | str) -> BinaryIO:
    """Open a file for reading, links followed.

    Raises `NotRegularError` for everything that is no regular file, without waiting for it, and
    OSError for what cannot be opened.
    """
    # Checked before opening, because opening a device may have effects, and again on the open file, because
    # the path may have changed in between. O_NONBLOCK: opening a pipe must not wait for its writer.
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


def write_atomically(path: Path, data: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file so that `path` holds either what it held before or all of `data`, whatever happens.

    Args:
        path: the file, in a folder that exists.
        data: its bytes, or a function that writes them to a stream.

    Raises:
        OSError: the disk says no; `path` then holds what it held before.
    """
    partial = partial_path(path)
    try:
        with partial.open("xb") as stream:
            lock(stream)
            if callable(data):
                data(stream)
            else:
                stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def prepare_folder(folder: Path) -> None:
    """Make a folder and try to write there, before work whose results would be lost to it; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"can this be written?")


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk: a renamed file can be lost in a power cut until then."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # Windows opens no folders, and a folder may be one that can be written and not listed
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)


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
        return  # a folder that cannot be listed cannot be cleaned
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
    """Return a name as it stands in that of its temporary file: itself, or if it is long, a digest."""
    data = os.fsencode(name)
    return name if len(data) <= _LONGEST_PART else hashlib.sha256(data).hexdigest()[:32]
