"""Which photos a tar holds and where in it they lie: found once by its headers, kept small, and remembered.

A tar has no table of contents. Reading the headers of 1.8 million members takes a minute or more, so what was
found is written to `inpaint.files.cache_folder`, from which restarts and the other processes of a run read
it. The cache may be deleted at any time.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import tarfile
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np

from inpaint.files import cache_folder, write_atomically
from inpaint.images import SUFFIXES

from .names import PathNames, PathNamesBuilder, repeated_names, smallest
from .storage import LocalFile, RemoteFile

logger = logging.getLogger("inpaint.datasets")

WORTH_KEEPING = 0.05
"""Seconds of indexing from which on the result is written to the cache: below, reading it is no quicker."""

_FORMAT = 2  # of the cache's files; to be raised when their meaning changes
_TAIL = 1 << 20  # bytes after the end mark that are searched for more members
_LARGEST_COMMON_RECORD = 1 << 16
_LARGEST_EXTENSION = 1 << 24  # bytes of a long name, or of attributes that do not fit into a header
_EXTENSIONS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
_NONSENSE = "a header that makes no sense"
# What tarfile makes of headers that make no sense, besides its own errors.
_MALFORMED = (ValueError, OverflowError, IndexError, RecursionError)
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")

Advance = Callable[[int], None]
"""Told how many more bytes of a tar have been passed."""


@dataclass(frozen=True, eq=False)
class TarIndex:
    """The photos of one tar, in the order in which they lie.

    Attributes:
        names: of the members, without a leading "./". Of members with one name the last counts, as in
            extraction.
        offsets: where each photo's bytes begin in the tar.
        sizes: how many they are.
        damage: which of its photos cannot be read, and why; "" where all can, as far as its headers tell.
    """

    names: PathNames
    offsets: np.ndarray
    sizes: np.ndarray
    damage: str = ""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def nbytes(self) -> int:
        """Bytes of memory: about 30 a photo for Places."""
        return self.names.nbytes + self.offsets.nbytes + self.sizes.nbytes


def index_tar(file: LocalFile | RemoteFile, advance: Advance = lambda passed: None) -> TarIndex:
    """Index a tar, from the cache where it is known there.

    Raises:
        LostError: it is not there.
        OSError: it cannot be read.
        ValueError: it is compressed.
    """
    size, version = file.size_and_version()
    kept = _cache_file(file.key)
    stamp = f"{_FORMAT} {version}"
    index = _load(kept, stamp) if version else None
    if index is not None:
        advance(size)
        return index
    started = time.perf_counter()
    index = file.with_stream(lambda stream: _scan(stream, file.label, size, advance))
    if version and time.perf_counter() - started >= WORTH_KEEPING:
        _save(kept, stamp, index)
    return index


def is_photo(name: str) -> bool:
    """Return whether a file of this path is taken for a photo: by its suffix.

    What is hidden, or lies in a hidden folder, is not: thumbnails and what a Mac writes beside its files.
    """
    hidden = any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))
    return not hidden and Path(name).suffix.lower() in SUFFIXES


class _Header(tarfile.TarInfo):
    """A header of a tar; ReadError where tarfile would believe a size that makes no sense."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        # With a negative size tarfile would go back and loop for ever; it reads long names of any length.
        if header.size < 0 or (header.type in _EXTENSIONS and header.size > _LARGEST_EXTENSION):
            raise tarfile.ReadError(_NONSENSE)
        return header


class _Found:
    """The photos of a tar as they are found, packed: a header is some kilobytes, and there are millions."""

    def __init__(self) -> None:
        self.names = PathNamesBuilder()
        self.offsets, self.sizes = array("Q"), array("Q")
        self.whole = 0  # photos that do not reach beyond the end of the file
        self.left_out = 0
        self._links = array("Q")  # which of them are hard links...
        self._targets = PathNamesBuilder()  # ...and to what

    def add(self, header: tarfile.TarInfo, size: int) -> None:
        """Note a photo of a tar of `size` bytes; OverflowError for a place that no file has."""
        if header.issparse() or header.issym():
            self.left_out += 1
        elif header.isreg():
            self.sizes.append(header.size)
            self.offsets.append(header.offset_data)
            self.names.append(header.name.removeprefix("./"))
            self.whole += header.offset_data + header.size <= size
        elif header.islnk():
            self._links.append(len(self.names))
            self._targets.append(header.linkname.removeprefix("./"))
            self.sizes.append(0)
            self.offsets.append(0)
            self.names.append(header.name.removeprefix("./"))

    def index(self, fault: str) -> TarIndex:
        """Return the index of what was found in a tar that has this fault, or none."""
        names, offsets, sizes = self.names.build(), np.array(self.offsets), np.array(self.sizes)
        placed = _follow_links(names, offsets, sizes, np.array(self._links), self._targets.build())
        lost = len(names) - int(np.count_nonzero(placed))
        damage = []
        if fault:
            whole = self.whole + len(self._links) - lost
            damage.append(f"damaged after {whole} photos ({fault}); fetch it again")
        if left_out := self.left_out + lost:
            damage.append(
                f"{left_out} photos are left out (links to what is no photo in it, or sparse files); pack it "
                "anew with --dereference --hard-dereference and without --sparse"
            )
        if lost:
            names = PathNames.of(names[index] for index in np.flatnonzero(placed).tolist())
        return _last_of_each_name(names, offsets[placed], sizes[placed], "; ".join(damage))


def _scan(stream: BinaryIO, label: str, size: int, advance: Advance) -> TarIndex:
    found, passed, told = _Found(), 0, 0
    try:
        with tarfile.open(fileobj=stream, mode="r:", tarinfo=_Header) as archive:
            while (header := archive.next()) is not None:
                if header.size < 0 or archive.offset <= passed:
                    raise tarfile.ReadError(_NONSENSE)
                passed = archive.offset
                if is_photo(header.name):
                    found.add(header, size)
                # tarfile would keep each of them.
                archive.members.clear()  # type: ignore[attr-defined]
                if passed > size:
                    raise tarfile.ReadError("unexpected end of data")
                if passed - told > 1 << 24:
                    advance(passed - told)
                    told = passed
            fault = _fault_at_end(stream, archive.offset, size)
    except (tarfile.TarError, *_MALFORMED, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place that no file has
            raise
        if not found.names and _is_compressed(stream):
            raise ValueError(
                f"{label}: a compressed tar cannot be read in place; decompress it first (photos are "
                "compressed already, so it hardly grows)"
            ) from error
        fault = str(error) if isinstance(error, tarfile.TarError) else _NONSENSE
    advance(max(0, size - told))
    return found.index(fault)


def _fault_at_end(stream: BinaryIO, end: int, size: int) -> str:
    """Return what is wrong where tarfile sees no more members; it takes a broken header for the end."""
    stream.seek(end)
    mark = stream.read(tarfile.BLOCKSIZE)
    if len(mark) < tarfile.BLOCKSIZE:
        return "it has no end mark"
    if any(mark):
        return "damaged header"
    if stream.read(_TAIL).strip(b"\0"):
        return "more follows its end mark; of tars that were put together give each by itself"
    # Tools fill the last record with zeros: mostly 10 kB, and seldom more than some megabytes, a power of
    # two. More zeros than that are those of a file that was made in its full size before it was fetched.
    record = _LARGEST_COMMON_RECORD
    while size - end > record + tarfile.BLOCKSIZE:
        record *= 2
    if record > _LARGEST_COMMON_RECORD and size % record:
        return f"nothing but zeros from byte {end} on"
    return ""


def _follow_links(
    names: PathNames, offsets: np.ndarray, sizes: np.ndarray, links: np.ndarray, targets: PathNames
) -> np.ndarray:
    """Give each hard link the place of the photo that it names; which photos have a place then, as bool [N].

    A link means the last member of that name before it, which may be a link too.
    """
    placed = np.ones(len(names), bool)
    if not len(links):
        return placed
    hashes = np.fromiter(map(hash, names), np.int64, len(names))
    order = np.argsort(hashes, kind="stable")
    wanted = np.fromiter(map(hash, targets), np.int64, len(targets))
    firsts = np.searchsorted(hashes, wanted, "left", order)
    lasts = np.searchsorted(hashes, wanted, "right", order)
    for link, target, first, last in zip(links.tolist(), targets, firsts, lasts, strict=True):
        before = first + np.searchsorted(order[first:last], link)
        candidates = reversed(order[first:before])
        found = next((one for one in candidates if placed[one] and names[int(one)] == target), None)
        if found is None:
            placed[link] = False
        else:
            offsets[link], sizes[link] = offsets[found], sizes[found]
    return placed


def _is_compressed(stream: BinaryIO) -> bool:
    stream.seek(0)
    return stream.read(6).startswith(_COMPRESSED)


def _last_of_each_name(names: PathNames, offsets: np.ndarray, sizes: np.ndarray, damage: str) -> TarIndex:
    """Give the first of the members with one name the place of the last, and leave out the others."""
    kept = np.ones(len(names), bool)
    first: dict[str, int] = {}
    for index in np.flatnonzero(repeated_names(names)).tolist():
        place = first.setdefault(names[index], index)
        offsets[place], sizes[place], kept[index] = offsets[index], sizes[index], place == index
    if not kept.all():
        names = PathNames.of(names[index] for index in np.flatnonzero(kept).tolist())
    return TarIndex(names, smallest(offsets[kept]), smallest(sizes[kept]), damage)


# ---------------------------------------------------------------------------------------------------------
# The cache


def _cache_file(key: str) -> Path:
    name = hashlib.sha256(os.fsencode(key)).hexdigest()[:32]
    return cache_folder() / "tars" / f"{name}.npz"


def _load(path: Path, stamp: str) -> TarIndex | None:
    """Return the index kept in a file, if it is there, whole, and of this version of the tar."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["stamp"]) != stamp:
                return None
            arrays = {name: stored[name] for name in stored.files}
        names, offsets, sizes = PathNames.from_arrays(arrays), arrays["offsets"], arrays["sizes"]
        if not len(names) == len(offsets) == len(sizes):
            raise ValueError("a place is missing")
        return TarIndex(names, offsets, sizes, str(arrays["damage"]))
    except FileNotFoundError:
        return None
    except Exception as error:
        # Broken files raise all kinds of exceptions in the libraries: BadZipFile, NotImplementedError...
        logger.debug("the index kept in %s cannot be used: %s", path, error)
        return None


def _save(path: Path, stamp: str, index: TarIndex) -> None:
    """Keep an index for the next time; without a folder to write to there is no next time."""
    arrays = {
        "stamp": np.array(stamp),
        "damage": np.array(index.damage),
        "offsets": index.offsets,
        "sizes": index.sizes,
        **index.names.arrays(),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda stream: np.savez(stream, **arrays))  # type: ignore[arg-type]
    except OSError as error:
        logger.debug("the index of a tar was not kept in %s: %s", path, error)
