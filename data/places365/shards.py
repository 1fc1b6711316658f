"""Repack photos into shards: tars of a few thousand, in webdataset's layout."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import sys
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from inpaint.datasets import PhotoSet
from inpaint.files import sync_folder, write_atomically
from inpaint.images import ImageError, decode_rgb


@dataclass(frozen=True)
class Packing:
    """How photos are put into shards; what is written depends on this and the photos alone.

    Attributes:
        photos_per_shard: how many, the broken ones among them.
        short_side: what larger photos are shrunk to, pixels; 0 keeps all.
        quality: of the JPEG files of photos that were shrunk.
        shuffle: seed of the photos' order; None keeps the source's.
    """

    photos_per_shard: int
    short_side: int = 0
    quality: int = 90
    shuffle: int | None = None

    def order(self, number: int) -> np.ndarray:
        """Return the order in which `number` photos are packed."""
        order = np.arange(number)
        return order if self.shuffle is None else np.random.default_rng(self.shuffle).permutation(order)

    def encode(self, data: bytes, name: str) -> tuple[str, bytes]:
        """Return a photo's name and file as they are to be stored; ImageError if it is broken.

        A photo that is not larger than wanted keeps its bytes.
        """
        pixels = decode_rgb(data)
        height, width = pixels.shape[:2]
        short = min(height, width)
        if not self.short_side or short <= self.short_side:
            return name, data
        size = round(width * self.short_side / short), round(height * self.short_side / short)
        stream = io.BytesIO()
        Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS).save(
            stream, "JPEG", quality=self.quality, optimize=True
        )
        return str(PurePosixPath(name).with_suffix(".jpg")), stream.getvalue()


class MemberNames:
    """What photos are called in shards: their names, less where on this machine their sources lie.

    A photo set puts a source's path or URL in front of the names that several sources have. All such names
    lose the folders that they begin with alike: `/mnt/a/photos/1.jpg` beside `/mnt/b/photos/1.jpg` is
    `a/photos/1.jpg`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._common: dict[str, list[str]] = {"": []}
        for root, (*folders, _) in map(_root_and_parts, names):
            known = self._common.setdefault(root, folders)
            if folders[: len(known)] != known:
                same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(known, folders, strict=False))
                self._common[root] = [one for one, _ in same]

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> str:
        return self._clean(self._names[index])

    def __iter__(self) -> Iterator[str]:
        return map(self._clean, self._names)

    def _clean(self, name: str) -> str:
        root, parts = _root_and_parts(name)
        return "/".join(parts[len(self._common[root]) :])


def _root_and_parts(name: str) -> tuple[str, list[str]]:
    """Where a name starts from, "/" this machine, "://" the network or "" a source, and its parts."""
    root = ""
    if "://" in name:
        root, name = "://", name.rpartition("://")[2]
    elif os.path.isabs(name) or ".." in name.split("/"):  # noqa: PTH117 (there are millions of names)
        root, name = "/", Path(os.path.abspath(name)).as_posix()  # noqa: PTH100 (links are not to be followed)
    return root, [part for part in name.split("/") if part not in ("", ".")]


def distinct_name(name: str, keys: set[str]) -> str:
    """Return the name, changed where webdataset would take the photo for a part of another; add its key.

    A key ends at the first dot. So other dots than the suffix's become `_`, and where the key is there
    already, as with `a.png` after `a.jpg`, a number is put behind it: `a-2.png`.
    """
    path = PurePosixPath(name)
    stem = path.stem.replace(".", "_")
    for ending in itertools.chain([""], (f"-{number}" for number in itertools.count(2))):
        key = str(path.with_name(stem + ending))
        if key not in keys:
            keys.add(key)
            return key + path.suffix
    raise AssertionError("unreachable")


@dataclass
class Catalogue:
    """What is written already: a JSON file beside the shards, rewritten after each.

    Attributes:
        path: the file.
        head: how the shards are packed and of what.
        shards: for each shard the number of its photos, and its broken ones: name -> reason.
    """

    path: Path
    head: dict[str, Any]
    shards: dict[str, dict[str, Any]]

    @property
    def photos(self) -> int:
        """Photos in all shards."""
        return sum(entry["photos"] for entry in self.shards.values())

    @property
    def broken(self) -> dict[str, str]:
        """The photos that were left out: name -> reason."""
        return {name: reason for entry in self.shards.values() for name, reason in entry["broken"].items()}

    @classmethod
    def open(cls, path: Path, names: MemberNames, packing: Packing) -> Catalogue:
        """Begin one, or go on with the one that is there; ValueError if it is about something else."""
        digest = hashlib.sha256()
        for name in names:
            digest.update(name.encode("utf-8", "surrogateescape") + b"\n")
        head = {**vars(packing), "source_photos": len(names), "source_names": digest.hexdigest()}
        if not path.exists():
            return cls(path, head, {})
        try:
            kept = json.loads(path.read_text("utf-8"))
            shards = kept.pop("shards")
        except (ValueError, KeyError, AttributeError) as error:
            raise ValueError(f"{path}: cannot be read ({error}); use another --output") from error
        different = [name for name in head if kept.get(name) != head[name]]
        if different:
            raise ValueError(
                f"{path}: these shards were made with other {', '.join(different)}; repeat that command, or "
                "use another --output"
            )
        return cls(path, head, shards)

    def add(self, name: str, photos: int, broken: dict[str, str]) -> None:
        """Note a shard that is written."""
        self.shards[name] = {"photos": photos, "broken": broken}
        text = json.dumps({**self.head, "shards": self.shards}, indent=1, ensure_ascii=False)
        write_atomically(self.path, text.encode("utf-8", "surrogateescape"))


def write_shards(
    photos: PhotoSet, output: Path, packing: Packing, prefix: str = "places", workers: int = 4
) -> Catalogue:
    """Write photos as `prefix-000000.tar` … into `output`, and `prefix.json`, which says what they hold.

    Goes on where an earlier run stopped: whole shards are kept. Broken photos are named and left out.
    """
    output.mkdir(parents=True, exist_ok=True)
    members = MemberNames(photos.names)
    catalogue = Catalogue.open(output / f"{prefix}.json", members, packing)
    order = packing.order(len(photos))
    with tqdm(total=len(photos), unit="photo", disable=None) as bar, ThreadPoolExecutor(workers) as pool:
        for number, start in enumerate(range(0, len(photos), packing.photos_per_shard)):
            indices = order[start : start + packing.photos_per_shard].tolist()
            path = output / f"{prefix}-{number:06d}.tar"
            if path.name in catalogue.shards and path.exists():
                bar.update(len(indices))
                continue
            encoded = _encoded(photos, members, indices, packing, pool, bar)
            broken = _write_shard(path, photos.names, indices, encoded)
            catalogue.add(path.name, len(indices) - len(broken), broken)
    return catalogue


Encoded = tuple[str, bytes] | ImageError


def _write_shard(
    path: Path, names: Sequence[str], indices: Sequence[int], results: Iterator[Encoded]
) -> dict[str, str]:
    """Write one shard, all or nothing; returns the broken photos, name -> reason."""
    unfinished = path.with_name(f".{path.name}.partial")
    broken: dict[str, str] = {}
    keys: set[str] = set()
    try:
        with unfinished.open("wb") as stream:
            with tarfile.open(fileobj=stream, mode="w") as archive:
                for index, result in zip(indices, results, strict=True):
                    if isinstance(result, ImageError):
                        broken[names[index]] = str(result)
                        tqdm.write(f"left out {names[index]}: {result}", file=sys.stderr)
                        continue
                    name, data = result
                    add_member(archive, distinct_name(name, keys), data)
            # First the shards: the catalogue must not name a shard that a power cut can still lose.
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
        sync_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)
    return broken


def _encoded(
    photos: PhotoSet,
    members: MemberNames,
    indices: Sequence[int],
    packing: Packing,
    pool: ThreadPoolExecutor,
    bar: tqdm,
) -> Iterator[Encoded]:
    """Each photo as it is to be stored, in order, made by several threads a few at a time."""

    def encode(index: int) -> Encoded:
        try:
            return packing.encode(photos.read_bytes(index), members[index])
        except ImageError as error:
            return ImageError(error.reason)

    for start in range(0, len(indices), 256):
        for result in pool.map(encode, indices[start : start + 256]):
            bar.update(1)
            yield result


def add_member(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file to a tar, without owner and time, so that the same files give the same tar."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
