"""Files of unknown origin: which are files at all, how their names are shown, what killed runs leave."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

_LONGEST_PART = 200  # bytes of a name that are kept in its temporary file's; most systems allow 255 in all
_PARTIAL = re.compile(r"\.(.+)\.[0-9a-f]{8}\.partial", re.DOTALL)
# What changes how the rest of a line is shown: control and direction characters, line ends, unknown bytes.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # of the same class, and part of how some scripts are written


class NotRegularError(OSError):
    """A pipe, a device, a socket or a folder where a file is meant: reading it may never end."""


def open_regular(path: Path | str) -> BinaryIO:
    """Open a file for reading, links followed.

    Raises :class:`NotRegularError` for everything that is no regular file, without waiting for it, and
    OSError for what cannot be opened.
    """
    # Opening a pipe waits for its writer unless told not to; what was opened is what is looked at.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise NotRegularError(f"is {_kind(mode)} and not a file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def why_not_regular(path: Path | str) -> str | None:
    """Say what a path is instead of a regular file ("is a pipe and not a file"); None where it is one.

    Links are followed. What is not there is said, too.
    """
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    return None if stat.S_ISREG(mode) else f"is {_kind(mode)} and not a file"


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def printable(text: str) -> str:
    r"""Return a text of one line with all that would steer a terminal written as an escape, such as \x1b."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _UNPRINTABLE and character not in _JOINERS
        else character
        for character in text
    )


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
