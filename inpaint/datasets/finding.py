"""Sources of photos - folders, tars, patterns, URLs - to the parts that they consist of."""

from __future__ import annotations

import errno
import itertools
import os
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inpaint.urls import is_url, source_label

from .index import is_photo
from .names import PathNames
from .parts import Part
from .storage import LocalFile, RemoteFile, expand_paths, expand_urls

Source = str | Path


@dataclass(frozen=True)
class Broken:
    """A folder or shard that cannot be read: its name and the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class Shard:
    """A tar that is to be indexed. `required`: it was named itself, so that its absence is an error."""

    file: LocalFile | RemoteFile
    required: bool


def find(source: Source) -> list[Part | Shard | Broken]:
    """Return what a source consists of, in order.

    Raises:
        FileNotFoundError: there is nothing of that name.
        ValueError: it is neither a folder nor a tar.
    """
    if is_url(source):
        return _find_by_url(str(source))
    if _exists(Path(source)):
        return _find_below(Path(source))
    found: list[Part | Shard | Broken] = []
    for path in map(Path, expand_paths(str(source))):
        found += _find_below(path) if _exists(path) else [Broken(path.as_posix(), "there is no such shard")]
    if all(isinstance(one, Broken) for one in found):
        raise FileNotFoundError(f"{source}: there is no such folder or tar of photos")
    return found


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # a pattern may be longer than any name
            return False
        raise


def _find_by_url(pattern: str) -> list[Part | Shard | Broken]:
    files = [RemoteFile(url) for url in expand_urls(pattern)]
    if not files:
        raise FileNotFoundError(f"{source_label(pattern)}: no shard fits this")
    for file in files:
        if not _is_shard(file.label):
            raise ValueError(
                f"{file.label}: by URL only .tar shards can be read; name them, and many with "
                "{000000..000099} or *"
            )
    return [Shard(file, required=len(files) == 1) for file in files]


def _find_below(path: Path) -> list[Part | Shard | Broken]:
    if path.is_file():
        if not _is_shard(path.name):
            raise ValueError(f"{path}: give a folder of photos or a .tar of photos, not a single file")
        return [Shard(LocalFile(path), required=True)]
    files, unlisted = _files_below(path)
    found: list[Part | Shard | Broken] = [*unlisted]
    for are_shards, names in itertools.groupby(files, key=_is_shard):
        if are_shards:
            found += [Shard(LocalFile(path / name), required=True) for name in names]
        else:
            found.append(Part(path, PathNames.of(names), None, (path.stem, path.as_posix())))
    return found


def _is_shard(name: str) -> bool:
    # Compressed shards are recognised too, so that they are refused by name instead of being passed over.
    return name.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"))


def _files_below(folder: Path) -> tuple[list[str], list[Broken]]:
    """Return the photos and shards below a folder, with "/", sorted, and the folders that cannot be listed.

    Links to folders are followed, once each. What is hidden is left out.
    """
    unlisted: list[Broken] = []

    def note(error: OSError) -> None:
        unlisted.append(Broken(Path(error.filename).as_posix(), f"cannot be listed ({error.strerror})"))

    found: list[str] = []
    entered: set[str] = set()
    # Links wait until all that really lies here has been seen: so a photo has the name of its own place, and
    # the same one whatever order the file system lists in.
    starts = deque([folder])
    while starts:
        for parent, subfolders, files in os.walk(starts.popleft(), onerror=note):
            real = os.path.realpath(parent)
            if real in entered:
                subfolders.clear()
                continue
            entered.add(real)
            here = Path(parent)
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            starts += [here / name for name in subfolders if (here / name).is_symlink()]
            below = here.relative_to(folder).as_posix()
            prefix = "" if below == "." else f"{below}/"
            found += [
                prefix + name
                for name in files
                if not name.startswith(".") and (is_photo(name) or _is_shard(name))
            ]
    # Folder by folder, as paths are compared: "a/b" comes before "a-b".
    return sorted(found, key=lambda name: name.replace("/", "\0")), unlisted


def refuse_repeated(found: Sequence[Part | Shard | Broken]) -> None:
    """Raise ValueError where a tar is listed twice, or the photos of a folder are, by whatever paths."""
    labels: dict[str, str] = {}
    for shard in (one for one in found if isinstance(one, Shard)):
        if shard.file.key in labels:
            raise listed_twice(labels[shard.file.key], shard.file.label)
        labels[shard.file.key] = shard.file.label
    folders = [one for one in found if isinstance(one, Part)]
    if len(folders) < 2:
        return  # within one folder each subfolder is entered once
    identities = np.concatenate([part.identities(follow_links=False) for part in folders])
    order = np.argsort(identities, kind="stable")
    again = np.flatnonzero(np.diff(identities[order]) == 0)
    if len(again):
        ends = list(itertools.accumulate(map(len, folders)))
        one, other = (_path_of(folders, ends, int(order[place])) for place in (again[0], again[0] + 1))
        raise listed_twice(one, other)


def _path_of(folders: Sequence[Part], ends: Sequence[int], index: int) -> str:
    number = bisect_right(ends, index)
    part = folders[number]
    return f"{part.origins[1]}/{part.names[index - ends[number] + len(part)]}"


def listed_twice(one: str, other: str) -> ValueError:
    """Return the error for photos that are listed under two names, or twice under one."""
    listed = one if one == other else f"{one} is {other}"
    return ValueError(f"the same photos are listed twice ({listed}): give each folder and tar once")
