"""Which photo goes with which mask, and where its results are written."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from inpaint.cli.arguments import UsageError
from inpaint.cli.console import say
from inpaint.files import prepare_folder, remove_partials, why_not_regular
from inpaint.images import SUFFIXES


@dataclass(frozen=True)
class Task:
    """One photo to fill.

    Attributes:
        photo: where it is read.
        masks: every mask of its stem: exactly one, or it is an error.
        outputs: where its fills are written, one for each, in one folder and of one suffix.
    """

    photo: Path
    masks: list[Path]
    outputs: list[Path]


def pair_files(image: Path, mask: Path, output: Path, count: int) -> list[Task]:
    """Find the photos, the masks of each, and where each result goes.

    Args:
        image: photo, or folder of photos.
        mask: mask, or folder of masks, which pair with the photos by file stem.
        output: file or folder; is made where it does not exist.
        count: number of results of each photo.

    Raises:
        UsageError: the paths make no sense together, or nothing can be written to `output`.
        OSError: a folder cannot be listed, or a name is too long.
    """
    for option, path in (("--image", image), ("--mask", mask)):
        if not path.exists():
            raise UsageError(f"{option} {path}: there is no such file or folder")
    photos = [image]
    if image.is_dir():
        photos, ignored = _image_files(image)
        if not photos:
            raise UsageError(f"--image {image}: holds no photos ({', '.join(SUFFIXES)})")
        if ignored:
            say(f"note: ignored in {image}, not an image by its suffix: {', '.join(ignored)}")
        if output.exists() and not output.is_dir():
            raise UsageError(f"--output {output}: is a file; results of a folder of photos go to a folder")
    into_folder = image.is_dir() or output.is_dir() or not output.suffix

    masks_by_stem: dict[str, list[Path]] = {}
    if mask.is_dir():
        for path in _image_files(mask)[0]:
            masks_by_stem.setdefault(path.stem, []).append(path)
    tasks = [
        Task(
            photo=photo,
            masks=masks_by_stem.get(photo.stem, []) if mask.is_dir() else [mask],
            outputs=_numbered(output / photo.name if into_folder else output, count),
        )
        for photo in photos
    ]
    sources = _FileLocations(
        [*photos, *itertools.chain.from_iterable(masks_by_stem.values()), *([] if mask.is_dir() else [mask])]
    )
    for path in itertools.chain.from_iterable(task.outputs for task in tasks):
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"--output {path}: unknown format; end it in one of {', '.join(SUFFIXES)}")
        if _is_folder(path):
            raise UsageError(f"--output {path}: is a folder; a photo cannot be written there")
        source = sources.at(path)
        if source is not None:
            fill = f"{path.name} " if count > 1 else ""
            raise UsageError(
                f"--output {output}: {fill}would overwrite {source}; name another file or folder"
            )
    folder = output if into_folder else output.parent
    try:
        prepare_folder(folder)
    except OSError as error:
        raise UsageError(f"--output {folder}: no photo can be written there ({error.strerror})") from error
    remove_partials(folder, {path.name for task in tasks for path in task.outputs})
    return tasks


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


def _numbered(path: Path, count: int) -> list[Path]:
    """Return the paths of `count` results: photo.png, or photo-1.png, photo-2.png and so on.

    Two photos have no path in common: the number is what follows the last hyphen.

    >>> [path.name for path in _numbered(Path("photo.png"), 2)]
    ['photo-1.png', 'photo-2.png']
    """
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(1, count + 1)]


def _image_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Return what a folder holds of images by suffix, sorted, and the names of its other files; none hidden.

    A pipe or the like that is named as an image is returned as one: reading it is an error that names it.
    """
    images, others = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() in SUFFIXES:
            images.append(path)
        elif path.is_file():
            others.append(path.name)
        elif not path.is_dir():
            others.append(f"{path.name} ({why_not_regular(path)})")
    return images, others
