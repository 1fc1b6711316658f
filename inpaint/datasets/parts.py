"""Photos that lie together: the members of a tar, or single files below a folder."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inpaint.files import open_regular
from inpaint.images import MAX_FILE_BYTES, ImageError

from .index import TarIndex
from .names import PathNames
from .storage import LocalFile, RemoteFile


@dataclass(eq=False)
class Part:
    """One part of a `PhotoSet`.

    Attributes:
        place: the tar, or the folder.
        names: of the members, or the files' paths below the folder.
        index: where the members lie; None for files.
        origins: what is put in front of a name that occurs elsewhere too: the tar's or folder's name, or its
            whole path.
        label: for each name, how many of `origins` down it was necessary to go (0 = the bare name); None = 0.
    """

    place: LocalFile | RemoteFile | Path
    names: PathNames
    index: TarIndex | None
    origins: tuple[str, str]
    label: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """Return the name of a photo, different from all others of the set."""
        return self._labelled(index, self.names[index])

    def all_names(self) -> Iterator[str]:
        """Return the names of all photos, in order."""
        if self.label is None:
            return iter(self.names)
        return itertools.starmap(self._labelled, enumerate(self.names))

    def _labelled(self, index: int, name: str) -> str:
        label = 0 if self.label is None else int(self.label[index])
        return f"{self.origins[label - 1]}/{name}" if label else name

    def identities(self, *, follow_links: bool = True) -> np.ndarray:
        """Return for each photo the hash of where it lies, int64: equal for the same file, or tar member.

        A file that is a link lies where it leads, or, without `follow_links`, where the link does.
        """
        places: Iterator[tuple[str, str | int]]
        if isinstance(self.place, Path):
            places = _file_places(self.place, self.names, follow_links)
        else:
            assert self.index is not None
            key = self.place.key
            places = ((key, offset) for offset in self.index.offsets.tolist())
        return np.fromiter(map(hash, places), np.int64, len(self))

    def read(self, index: int) -> bytes:
        """Return the bytes of a photo.

        Raises:
            LostError: the whole part is lost.
            OSError: this photo cannot be read.
            ImageError: it is cut short, or too large for a photo.
        """
        if isinstance(self.place, Path):
            with open_regular(self.place / self.names[index]) as stream:
                _check_size(os.fstat(stream.fileno()).st_size)
                return stream.read()
        assert self.index is not None
        size = int(self.index.sizes[index])
        _check_size(size)  # checked first: a header may claim any size, which would be allocated
        data = self.place.read(int(self.index.offsets[index]), size)
        if len(data) < size:
            raise ImageError(f"{self.place.label} is cut short; fetch it again")
        return data


def _file_places(folder: Path, names: PathNames, follow_links: bool) -> Iterator[tuple[str, str]]:
    """For each file the real folder in which it lies, and its name there."""
    parents = [folder / name for name in names.folders]
    real = [os.path.realpath(parent) for parent in parents]
    links = [_links_in(parent) if follow_links else frozenset() for parent in parents]
    for number, base in zip(names.folder.tolist(), names.bases, strict=True):
        if base in links[number]:
            parent, _, base = os.path.realpath(parents[number] / base).rpartition(os.sep)
            yield parent, base
        else:
            yield real[number], base


def _links_in(folder: Path) -> frozenset[str]:
    """Return the names of the links in a folder; none where it is gone meanwhile."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:
        return frozenset()


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise ImageError(f"{size / 1e9:.1f} GB are no photo (at most {MAX_FILE_BYTES / 1e9:.1f} GB are read)")
