"""`open_photos`: found sources to one set of photos."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from inpaint.images import SUFFIXES
from inpaint.urls import source_label

from .finding import Broken, Shard, Source, find, listed_twice, refuse_repeated
from .index import TarIndex, index_tar
from .names import repeated_names
from .parts import Part
from .photos import NamesOfParts, PhotoSet
from .storage import LocalFile, LostError, RemoteFile, ShardError

_REMOTE_INDEXERS = 8  # shards indexed at a time: most of the time is spent waiting for the network


def open_photos(source: Source | Sequence[Source]) -> PhotoSet:
    """Open a folder of photos, a tar of photos, or several of either, as one `PhotoSet`.

    A folder is searched with its subfolders for photos (by extension: JPEG, PNG, WebP, BMP, TIFF, GIF) and
    for `.tar` shards; hidden files and what lies in hidden folders are left out. Photos are ordered by
    path, those of a tar as they lie in it. Tars are indexed once, by their headers, and read in place; they
    must not be compressed. A shard that is cut short gives the photos before the cut and is named in
    `PhotoSet.broken`, as is a folder that cannot be listed.

    Shards may also be given by a pattern, `places-{000000..000099}.tar` or `places-*.tar`, and by URL,
    with a pattern or without: `https://…/places-{000000..000099}.tar`, `s3://…`, or with
    `simplecache::` in front to copy each shard to this machine when it is first read. A shard of a pattern
    that is missing is named in `PhotoSet.broken`.

    Raises:
        FileNotFoundError: a source does not exist.
        ValueError: a source is neither a folder nor a tar, a shard is compressed, a URL is of a kind that
            cannot be read here, a tar or a folder's photos are listed twice, or there is no photo.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    found = [part for one in sources for part in find(one)]
    refuse_repeated(found)
    indexed = _indexed(found)
    parts = [one for one in indexed if isinstance(one, Part)]
    broken = {one.name: one.reason for one in indexed if isinstance(one, Broken)}
    if not any(map(len, parts)):
        looked = f"looked for {', '.join(SUFFIXES)} and .tar"
        reasons = "".join(f"; {name}: {reason}" for name, reason in broken.items())
        listed = ", ".join(source_label(one) for one in sources) or "an empty list of sources"
        raise ValueError(f"{listed}: no photo here ({looked}){reasons}")
    _make_distinct(parts)
    return PhotoSet(parts, broken)


def _indexed(found: Sequence[Part | Shard | Broken]) -> list[Part | Broken]:
    """Turn each shard into a part, a fault, or both, in order."""
    shards = [one for one in found if isinstance(one, Shard)]
    remote = any(isinstance(shard.file, RemoteFile) for shard in shards)
    with (
        tqdm(desc="indexing", unit="B", unit_scale=True, delay=1, disable=None, leave=False) as bar,
        ThreadPoolExecutor(_REMOTE_INDEXERS if remote else 1) as pool,
    ):
        bar.total = sum(_size(shard.file) for shard in shards if isinstance(shard.file, LocalFile)) or None
        lock = threading.Lock()

        def advance(passed: int) -> None:
            with lock:
                bar.update(passed)

        indexed = pool.map(lambda shard: _index(shard, advance), shards)
        try:
            return [
                part
                for one in found
                for part in (_settled(one, next(indexed)) if isinstance(one, Shard) else [one])
            ]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _index(shard: Shard, advance: Callable[[int], None]) -> TarIndex | OSError:
    try:
        return index_tar(shard.file, advance)
    except OSError as error:
        return error


def _settled(shard: Shard, index: TarIndex | OSError) -> list[Part | Broken]:
    file = shard.file
    if isinstance(index, LostError) and shard.required:
        raise FileNotFoundError(str(index))
    if isinstance(index, OSError):
        return [Broken(file.label, index.reason if isinstance(index, ShardError) else str(index))]
    damage = [Broken(file.label, index.damage)] if index.damage else []
    return [Part(file, index.names, index, (file.stem, file.label)), *damage]


def _size(file: LocalFile) -> int:
    try:
        return file.path.stat().st_size
    except OSError:
        return 0


def _make_distinct(parts: Sequence[Part]) -> None:
    """Put the tar's or folder's name, or else its path, in front of the names that occur more than once."""
    parts = [part for part in parts if len(part)]
    if len(parts) == 1:
        return  # neither a folder nor an indexed tar has two files of one name
    ends = list(itertools.accumulate(map(len, parts)))
    names = NamesOfParts(parts, [0, *ends])
    for label in (1, 2):
        repeated = repeated_names(names)
        if not repeated.any():
            return
        for part, here in zip(parts, np.split(repeated, ends[:-1]), strict=True):
            if here.any():
                part.label = np.zeros(len(part), np.uint8) if part.label is None else part.label
                part.label[here] = label
    repeated = repeated_names(names)
    if repeated.any():  # such as two URLs that differ in their secrets alone
        name = names[int(np.flatnonzero(repeated)[0])]
        raise listed_twice(name, name)
