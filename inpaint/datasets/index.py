"""Which photos a tar holds and where in it they lie: found once by its headers, kept small, and remembered.

A tar has no table of contents. Reading the headers of 1.8 million members takes a minute or more, so what was
found is written to a cache folder (`$INPAINT_CACHE_DIR`, else `$XDG_CACHE_HOME/inpaint`, else
`~/.cache/inpaint`), from which restarts and the other processes of a run read it. The cache may be deleted at
any time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import tarfile
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from inpaint.images import SUFFIXES

from .names import PathNames, PathNamesBuilder, repeated_names, smallest
from .storage import LocalFile, RemoteFile

logger = logging.getLogger("inpaint.datasets")

WORTH_KEEPING = 0.05
"""Seconds of indexing from which on the result is written to the cache: below, reading it is no quicker."""

_FORMAT = 1  # of the cache's files; to be raised when their meaning changes
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
        damage: why the tar could not be read to its end; "" where it could.
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
    """Whether a file of this name is taken for a photo: by its suffix, and hidden files are not."""
    base = name.rpartition("/")[2]
    return Path(base).suffix.lower() in SUFFIXES and not base.startswith(".")


def _scan(stream: BinaryIO, label: str, size: int, advance: Advance) -> TarIndex:
    names, offsets, sizes = PathNamesBuilder(), array("Q"), array("Q")
    damage, told = "", 0
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while (member := archive.next()) is not None:
                if member.isreg() and not member.issparse() and is_photo(member.name):
                    names.append(member.name.removeprefix("./"))
                    offsets.append(member.offset_data)
                    sizes.append(member.size)
                # tarfile would keep a kilobyte for each of what may be millions of photos.
                archive.members.clear()  # type: ignore[attr-defined]
                if member.offset_data - told > 1 << 24:
                    advance(member.offset_data - told)
                    told = member.offset_data
            # tarfile takes a damaged header for the end of the archive; the real end is a block of zeros.
            stream.seek(archive.offset)
            if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError("damaged header")
    except tarfile.TarError as error:
        if not names and _is_compressed(stream):
            raise ValueError(
                f"{label}: a compressed tar cannot be read in place; decompress it first (photos are "
                "compressed already, so it hardly grows)"
            ) from error
        damage = f"damaged after {len(names)} photos ({error}); fetch it again"
    advance(max(0, size - told))
    return _last_of_each_name(names.build(), np.array(offsets), np.array(sizes), damage)


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
    # The operator's library lies in the same folder, under `ops`.
    root = (
        os.environ.get("INPAINT_CACHE_DIR")
        or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "inpaint"
    )
    name = hashlib.sha256(os.fsencode(key)).hexdigest()[:32]
    return Path(root).expanduser() / "tars" / f"{name}.npz"


def _load(path: Path, stamp: str) -> TarIndex | None:
    """The index kept in a file, if it is there, whole, and of this version of the tar."""
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
        # The libraries meet broken files with every kind of exception: BadZipFile, NotImplementedError...
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
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        logger.debug("the index of a tar was not kept in %s: %s", path, error)
