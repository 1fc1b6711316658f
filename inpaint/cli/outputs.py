"""Where results are written: what must not lie there, and what may stay."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from inpaint.cli.arguments import UsageError
from inpaint.files import prepare_folder, remove_partials
from inpaint.images import SUFFIXES

Existing = Literal["refuse", "skip", "overwrite"]
"""What is done where a result exists."""


def check_outputs(
    output: Path, into_folder: bool, paths: list[Path], sources: Iterable[Path], existing: Existing
) -> set[Path]:
    """Make sure that results can be written before the first is computed.

    Args:
        output: the user's word for where they go.
        into_folder: whether that is a folder.
        paths: each result.
        sources: the photos and masks that are read.
        existing: what is done where a result exists.

    Returns:
        The results that exist and stay.

    Raises:
        UsageError: a result cannot be written, or would overwrite what may not be overwritten.
    """
    locations = _FileLocations(sources)
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"--output {path}: unknown format; end it in one of {', '.join(SUFFIXES)}")
        if _is_folder(path):
            raise UsageError(f"--output {path}: is a folder; a photo cannot be written there")
        source = locations.at(path)
        if source is not None:
            fill = f"{path.relative_to(output) if into_folder else path.name} " if len(paths) > 1 else ""
            raise UsageError(
                f"--output {output}: {fill}would overwrite {source}; name another file or folder"
            )
    there = {path for path in paths if os.path.lexists(path)}
    if there and existing == "refuse":
        first = next(path for path in paths if path in there)
        told = f"{len(there)} of {len(paths)} results exist, such as {first}" if len(paths) > 1 else "exists"
        raise UsageError(
            f"--output {output}: {told}; --skip-existing leaves what is there and makes the rest, "
            "--overwrite makes all anew"
        )
    folder = output if into_folder else output.parent
    try:
        prepare_folder(folder)
    except OSError as error:
        raise UsageError(f"--output {folder}: no photo can be written there ({error.strerror})") from error
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(path.name)
    for parent, found in names.items():
        remove_partials(parent, found)
    return there if existing == "skip" else set()


def numbered(path: Path, count: int) -> list[Path]:
    """Return the paths of `count` results: photo.png, or photo-1.png, photo-2.png and so on.

    Two photos have no path in common: the number is what follows the last hyphen.

    >>> [path.name for path in numbered(Path("photo.png"), 2)]
    ['photo-1.png', 'photo-2.png']
    """
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(1, count + 1)]


def _is_folder(path: Path) -> bool:
    """Whether this is a folder; raises OSError where there can be nothing of that name."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


class _FileLocations:
    """Where files lie, to find one of them by another path that leads there."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = {key: path for path in paths for key in self._keys(path)}

    def at(self, path: Path) -> Path | None:
        """Return the file that a path leads to, or would: a link to nothing, or to itself, is one too."""
        return next((self._paths[key] for key in self._keys(path) if key in self._paths), None)

    @staticmethod
    def _keys(path: Path) -> Iterator[str | tuple[int, int]]:
        # `Path.resolve` raises where links go round in a circle.
        yield os.path.realpath(path)
        # Other names of one file: hard links, and capitals where the system takes them for small letters.
        with contextlib.suppress(OSError):
            status = path.stat()
            yield status.st_dev, status.st_ino
