"""Photos and masks to training batches, each batch a pure function of ``(seed, step)``.

Nothing here keeps a position: a run that resumes at step 1000 sees exactly the batches that an
uninterrupted one would, whatever the number of threads, the size of the cache, or the processes that share
the work.
"""

from __future__ import annotations

import itertools
import os
import tarfile
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from .images import SUFFIXES, ImageError, decode_rgb
from .masks import MaskRecipe, generator_for, parse_recipe

DEFAULT_CACHE_BYTES = 4 * 1024**3
"""Decoded photos kept in memory unless the caller says otherwise: some 12,000 photos of 384×288 pixels."""

Source = str | Path


# ---------------------------------------------------------------------------------------------------------
# Photos


@dataclass(frozen=True, slots=True)
class _Location:
    """Where a photo's bytes lie: a whole file, or ``size`` bytes of a tar from ``offset``."""

    path: Path
    offset: int = 0
    size: int | None = None


class PhotoSet:
    """Photos by index, read where they lie; made by `open_photos`.

    It holds no open file and no position, so it can be shared by threads, forked and sent to other processes.

    Attributes:
        names: a name for each photo, all different: its path below the opened folder, or its tar member's
            name, with the tar's name in front where several tars have a member of that name.
        broken: name -> reason, for the photos and shards found unreadable so far.
    """

    def __init__(self, names: list[str], locations: list[_Location], broken: dict[str, str]) -> None:
        self.names = names
        self.broken = broken
        self._locations = locations

    def __len__(self) -> int:
        return len(self.names)

    def read_bytes(self, index: int) -> bytes:
        """Return the file of photo ``index`` as it is stored.

        Raises:
            ImageError: the file is gone, unreadable or cut short.
        """
        location = self._locations[index]
        try:
            with location.path.open("rb") as file:
                if location.size is None:
                    return file.read()
                file.seek(location.offset)
                data = file.read(location.size)
        except OSError as error:
            raise ImageError(
                f"{self.names[index]}: cannot read {location.path} ({error.strerror})"
            ) from error
        if len(data) < location.size:
            raise ImageError(f"{self.names[index]}: {location.path} is cut short; fetch it again")
        return data

    def read(self, index: int) -> np.ndarray:
        """Return photo ``index`` as upright uint8 ``H×W×3`` RGB.

        Raises:
            ImageError: it cannot be read; it is then listed in `broken` too.
        """
        try:
            return decode_rgb(self.read_bytes(index))
        except ImageError as error:
            name = self.names[index]
            reason = str(error).removeprefix("image: ").removeprefix(f"{name}: ")
            self.broken[name] = reason
            raise ImageError(f"{name}: {reason}") from error


def open_photos(source: Source | Sequence[Source]) -> PhotoSet:
    """Open a folder of photos, a tar of photos, or several of either, as one `PhotoSet`.

    A folder is searched with its subfolders for photos (by extension: JPEG, PNG, WebP, BMP, TIFF, GIF) and
    for ``.tar`` shards; hidden files are left out. Photos are ordered by path, those of a tar as they lie in
    it. Tars are indexed once, by their headers, and read in place; they must not be compressed. A shard that
    is cut short gives the photos before the cut and is named in `PhotoSet.broken`.

    Raises:
        FileNotFoundError: a source does not exist.
        ValueError: a source is neither a folder nor a tar, a shard is compressed, or there is no photo.
    """
    sources = [Path(source)] if isinstance(source, str | Path) else [Path(path) for path in source]
    names: list[str] = []
    locations: list[_Location] = []
    origins: list[Path] = []
    broken: dict[str, str] = {}
    for path in sources:
        if not path.exists():
            raise FileNotFoundError(f"{path}: there is no such folder or tar of photos")
        if path.is_file() and not _is_shard(path):
            raise ValueError(f"{path}: give a folder of photos or a .tar of photos, not a single file")
        for file in _files_below(path) if path.is_dir() else [path]:
            if _is_shard(file):
                found, origin = _index_shard(file, broken), file
            else:
                found, origin = {file.relative_to(path).as_posix(): _Location(file)}, path
            names += found.keys()
            locations += found.values()
            origins += [origin] * len(found)
    if not names:
        looked = f"looked for {', '.join(SUFFIXES)} and .tar"
        reasons = "".join(f"; {name}: {reason}" for name, reason in broken.items())
        listed = ", ".join(str(path) for path in sources) or "an empty list of sources"
        raise ValueError(f"{listed}: no photo here ({looked}){reasons}")
    return PhotoSet(_distinct(names, origins), locations, broken)


def _is_photo(name: str) -> bool:
    base = name.rpartition("/")[2]
    return Path(base).suffix.lower() in SUFFIXES and not base.startswith(".")


def _is_shard(path: Path) -> bool:
    # Compressed shards are recognised too, so that they are refused by name instead of being passed over.
    return path.name.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"))


def _files_below(folder: Path) -> list[Path]:
    """The photos and shards below a folder, sorted by path; links to folders are followed, once each."""
    found: list[Path] = []
    entered: set[str] = set()
    for parent, subfolders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in entered:
            subfolders.clear()
            continue
        entered.add(real)
        paths = (Path(parent, name) for name in files if not name.startswith("."))
        found += [path for path in paths if _is_photo(path.name) or _is_shard(path)]
    return sorted(found)


def _index_shard(path: Path, broken: dict[str, str]) -> dict[str, _Location]:
    """Find the photos of a tar: name -> place. Of members with one name the last counts, as in extraction."""
    found: dict[str, _Location] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            while (member := archive.next()) is not None:
                if member.isreg() and not member.issparse() and _is_photo(member.name):
                    location = _Location(path, member.offset_data, member.size)
                    found[member.name.removeprefix("./")] = location
                # tarfile would keep a kilobyte for each of what may be millions of photos.
                archive.members.clear()  # type: ignore[attr-defined]
            # tarfile takes a damaged header for the end of the archive; the real end is a block of zeros.
            with path.open("rb") as file:
                file.seek(archive.offset)
                if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                    raise tarfile.ReadError("damaged header")
    except (tarfile.TarError, OSError) as error:
        if not found and _is_compressed(path):
            raise ValueError(
                f"{path}: a compressed tar cannot be read in place; decompress it first (photos are "
                "compressed already, so it hardly grows)"
            ) from error
        broken[path.as_posix()] = f"damaged after {len(found)} photos ({error}); fetch it again"
    return found


def _is_compressed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"))


def _distinct(names: list[str], origins: list[Path]) -> list[str]:
    """Put the tar's or folder's name, or else its path, in front of the names that occur more than once."""
    distinct = names
    for label in (lambda origin: origin.stem, lambda origin: origin.as_posix()):
        repeated = {name for name, times in Counter(distinct).items() if times > 1}
        if not repeated:
            return distinct
        distinct = [
            f"{label(origin)}/{plain}" if name in repeated else name
            for name, plain, origin in zip(distinct, names, origins, strict=True)
        ]
    if len(set(distinct)) < len(distinct):
        raise ValueError(f"the same photos are listed twice ({distinct[0]} …): give each folder and tar once")
    return distinct


class PhotoCache:
    """Decoded photos of a `PhotoSet`, kept in memory up to a limit; safe to share between threads.

    Photos are kept until the limit is reached and none is ever dropped. Every photo is wanted once an epoch
    in a new order, so dropping the least recently used one would throw away photos just as likely to come
    next as the one that replaces them.

    Args:
        photos: where the photos come from.
        limit: most bytes of pixels to keep; 0 keeps nothing.
    """

    def __init__(self, photos: PhotoSet, limit: int = DEFAULT_CACHE_BYTES) -> None:
        if limit < 0:
            raise ValueError(f"cache limit {limit}: give a number of bytes, or 0 for no cache")
        self.photos = photos
        self.limit = limit
        self.bytes_used = 0
        self._kept: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, index: int) -> np.ndarray:
        """Return photo ``index`` as read-only uint8 ``H×W×3``; raises what `PhotoSet.read` does."""
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        photo = self.photos.read(index)
        photo.setflags(write=False)
        with self._lock:
            if index not in self._kept and self.bytes_used + photo.nbytes <= self.limit:
                self._kept[index] = photo
                self.bytes_used += photo.nbytes
        return photo


# ---------------------------------------------------------------------------------------------------------
# Batches


class Batch(NamedTuple):
    """What one training step sees.

    Attributes:
        image: float32 ``[N, 3, H, W]`` in [0, 1], RGB, whole (the hole is not blanked), channels_last.
        mask: float32 ``[N, 1, H, W]``, 1 = hole.
    """

    image: Tensor
    mask: Tensor


class TrainingBatches:
    """Random crops of photos with random holes; batch ``step`` is a pure function of ``(seed, step)``.

    Photos come in an order that is shuffled anew each epoch, and each comes once an epoch. Of a photo, a
    square is cut at a random place and scale, brought to ``size``, and mirrored half of the time. A photo
    whose shorter side is below ``size`` is enlarged. An unreadable photo is replaced by the next readable
    one of the set.

    With several processes, each makes its own ``batch_size / world_size`` samples; put together in the order
    of the ranks they are the batch that a single process would make.

    To change the size or the batch size during training, make another `TrainingBatches` with the same
    ``cache``. The place in the epoch follows from ``step * batch_size``.

    Args:
        photos: the photos.
        recipe: where holes come from, a `MaskRecipe` or its text.
        size: height and width of the crops, pixels.
        batch_size: samples in a whole batch, over all processes.
        seed: of everything random here.
        rank: which process this is, from 0.
        world_size: how many processes share each batch.
        crop_scale: how far crops zoom in: 0 shows the whole shorter side of the photo, 1 shows it at the
            photo's own resolution. Drawn uniformly from this range and limited to [0, 1]; the default leaves
            a fifth of the crops at the photo's own resolution, pixel for pixel, for the sake of fine detail.
        cache: decoded photos to share with other `TrainingBatches` of the same photos; its own by default.

    Raises:
        ValueError: a setting that makes no sense; the message says which.
    """

    def __init__(
        self,
        photos: PhotoSet,
        recipe: MaskRecipe | str,
        size: int,
        batch_size: int,
        seed: int = 0,
        *,
        rank: int = 0,
        world_size: int = 1,
        crop_scale: tuple[float, float] = (0.0, 1.25),
        cache: PhotoCache | None = None,
    ) -> None:
        if size < 1 or batch_size < 1:
            raise ValueError(f"size {size} and batch_size {batch_size} must be at least 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size} processes: ranks run from 0 to {world_size - 1}")
        if batch_size % world_size:
            raise ValueError(f"batch_size {batch_size} cannot be shared evenly by {world_size} processes")
        if crop_scale[0] > crop_scale[1]:
            raise ValueError(f"crop_scale {crop_scale}: give the lower bound first")
        if cache is not None and cache.photos is not photos:
            raise ValueError("the cache holds other photos; make a PhotoCache of these")
        self.photos = photos
        self.recipe = parse_recipe(recipe) if isinstance(recipe, str) else recipe
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.crop_scale = crop_scale
        self.cache = PhotoCache(photos) if cache is None else cache
        share = batch_size // world_size
        self._samples = range(rank * share, (rank + 1) * share)
        self._orders: dict[int, np.ndarray] = {}
        self._unreadable: set[int] = set()
        # The network needs the cores, and photos are already spread over threads by `stream`.
        cv2.setNumThreads(1)

    @property
    def broken(self) -> dict[str, str]:
        """The photos, shards and ready masks found unreadable so far: name -> reason."""
        return {**self.photos.broken, **self.recipe.broken}

    def batch(self, step: int) -> Batch:
        """Return the samples of this process for ``step`` (from 0).

        Raises:
            ImageError: not one photo of the set can be read.
        """
        size, number = self.size, len(self._samples)
        pixels = np.empty((number, size, size, 3), np.uint8)
        holes = np.empty((number, 1, size, size), np.float32)
        for slot, sample in enumerate(self._samples):
            photo = self._read(self._photo_for(step * self.batch_size + sample))
            pixels[slot] = self._crop(photo, generator_for(self.seed, step, sample, "crop"))
            holes[slot, 0] = self.recipe(generator_for(self.seed, step, sample, "mask"), size, size)
        # NumPy, not torch, converts: torch would start a team of threads in each thread of `stream`.
        image = np.divide(pixels, np.float32(255), dtype=np.float32)
        return Batch(torch.from_numpy(image).permute(0, 3, 1, 2), torch.from_numpy(holes))

    def stream(
        self, start_step: int, stop_step: int | None = None, *, threads: int = 1, ahead: int = 4
    ) -> Iterator[Batch]:
        """Yield ``batch(step)`` for each step in order, made ahead of time by a few threads.

        Args:
            start_step: the first step.
            stop_step: one past the last; None goes on for ever.
            threads: how many make batches. Decoding, cropping and drawing all leave the interpreter free.
            ahead: how many batches may wait, finished or in the making.

        The threads end when the iterator is exhausted, closed or dropped.
        """
        if threads < 1 or ahead < 1:
            raise ValueError(f"threads {threads} and ahead {ahead} must be at least 1")
        return self._stream(start_step, stop_step, threads, ahead)

    def _stream(self, start_step: int, stop_step: int | None, threads: int, ahead: int) -> Iterator[Batch]:
        steps = itertools.count(start_step) if stop_step is None else iter(range(start_step, stop_step))
        pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
        try:
            waiting = deque(pool.submit(self.batch, step) for step in itertools.islice(steps, ahead))
            while waiting:
                batch = waiting.popleft().result()
                waiting.extend(pool.submit(self.batch, step) for step in itertools.islice(steps, 1))
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _photo_for(self, position: int) -> int:
        """The photo at a position of the endless sequence of shuffled epochs."""
        epoch, place = divmod(position, len(self.photos))
        order = self._orders.get(epoch)
        if order is None:
            order = generator_for(self.seed, "epoch", epoch).permutation(len(self.photos))
            # Threads work within a few batches of each other; more than a few epochs are needed at once only
            # where an epoch is shorter than a batch, and then it is quickly shuffled again.
            if len(self._orders) >= 4:
                self._orders = {}
            self._orders[epoch] = order
        return int(order[place])

    def _read(self, index: int) -> np.ndarray:
        """Photo ``index``, or the next readable one in the order of the set, whatever was read before."""
        for offset in range(len(self.photos)):
            candidate = (index + offset) % len(self.photos)
            if candidate in self._unreadable:
                continue
            try:
                return self.cache.read(candidate)
            except ImageError:
                self._unreadable.add(candidate)
        name, reason = next(iter(self.photos.broken.items()))
        raise ImageError(f"none of the {len(self.photos)} photos can be read (the first: {name}: {reason})")

    def _crop(self, photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A random square of the photo as uint8 ``size×size×3``."""
        height, width = photo.shape[:2]
        short = min(height, width)
        zoom = min(max(rng.uniform(*self.crop_scale), 0.0), 1.0)
        across, down = rng.random(2)
        mirrored = rng.random() < 0.5
        if short > self.size:
            resized = self.size + zoom * (short - self.size)  # what the shorter side would be resized to
            side = round(self.size * short / resized)
        else:
            side = short
        top, left = int(down * (height - side + 1)), int(across * (width - side + 1))
        square = photo[top : top + side, left : left + side]
        if side != self.size:
            method = cv2.INTER_AREA if side > self.size else cv2.INTER_CUBIC
            square = cv2.resize(square, (self.size, self.size), interpolation=method)
        return square[:, ::-1] if mirrored else square
