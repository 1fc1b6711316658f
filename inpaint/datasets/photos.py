"""Photos by index, wherever they lie: in folders, in tars, behind URLs."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from inpaint.files import open_regular
from inpaint.images import MAX_FILE_BYTES, SUFFIXES, ImageError, LimitError, decode_rgb

from .index import TarIndex, index_tar, is_photo
from .names import PathNames, TextList, repeated_names
from .storage import LocalFile, LostError, RemoteFile, expand_paths, expand_urls, is_url, source_label

DEFAULT_CACHE_BYTES = 4 * 1024**3
"""Decoded photos kept in memory unless the caller says otherwise: some 12,000 photos of 384×288 pixels."""

_REMOTE_INDEXERS = 8  # shards indexed at a time where waiting for the network takes most of it

Source = str | Path


@dataclass(eq=False)
class _Part:
    """Photos that lie together: the members of a tar, or single files below a folder.

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
        return self._labelled(index, self.names[index])

    def all_names(self) -> Iterator[str]:
        if self.label is None:
            return iter(self.names)
        return itertools.starmap(self._labelled, enumerate(self.names))

    def _labelled(self, index: int, name: str) -> str:
        label = 0 if self.label is None else int(self.label[index])
        return f"{self.origins[label - 1]}/{name}" if label else name

    def identities(self, *, follow_links: bool = True) -> np.ndarray:
        """For each photo the hash of where it lies, int64: equal for the same file, or member of one tar.

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
        """The bytes of a photo; LostError where the whole part is lost, OSError where this photo is."""
        if isinstance(self.place, Path):
            with open_regular(self.place / self.names[index]) as stream:
                _check_size(os.fstat(stream.fileno()).st_size)
                return stream.read()
        assert self.index is not None
        size = int(self.index.sizes[index])
        _check_size(size)  # a header may claim any, and it would be allocated
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
    """The names of the links in a folder; none where it is gone meanwhile."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:
        return frozenset()


class _Names(TextList):
    """The names of all parts, one after the other."""

    def __init__(self, parts: Sequence[_Part], starts: Sequence[int]) -> None:
        self._parts, self._starts = parts, starts

    def __len__(self) -> int:
        return self._starts[-1]

    def _text(self, index: int) -> str:
        number = bisect_right(self._starts, index) - 1
        return self._parts[number].name(index - self._starts[number])

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(part.all_names() for part in self._parts)


class PhotoSet:
    """Photos by index, read where they lie; made by `open_photos`.

    It holds no open file and no position, so it can be shared by threads, forked and sent to other processes.
    Names and places take some 30 bytes a photo.

    Attributes:
        names: a name for each photo, all different: its path below the opened folder, or its tar member's
            name, with the tar's name in front where several tars have a member of that name.
        broken: name -> reason, for the photos and shards found unreadable so far.
    """

    def __init__(self, parts: Sequence[_Part], broken: dict[str, str]) -> None:
        self._parts = [part for part in parts if len(part)]
        # Where each part begins, and at the end the number of photos.
        self._starts = list(itertools.accumulate(map(len, self._parts), initial=0))
        self._lost: dict[int, str] = {}
        self.names: Sequence[str] = _Names(self._parts, self._starts)
        self.broken = broken

    def __len__(self) -> int:
        return self._starts[-1]

    def read_bytes(self, index: int) -> bytes:
        """Return the file of photo ``index`` as it is stored.

        Raises:
            ImageError: the file is gone, unreadable, cut short, no regular file, or larger than
                `inpaint.images.MAX_FILE_BYTES`. Where a whole shard turns out to be gone, it is listed in
                `broken`, and not asked for any more.
        """
        number, local = self._locate(index)
        part = self._parts[number]
        try:
            if number in self._lost:
                raise LostError(self._lost[number])
            return part.read(local)
        except LostError as error:
            label = part.origins[1]
            self._lost[number] = str(error)
            self.broken[label] = str(error).removeprefix(f"{label}: ")
            raise ImageError(f"{self.names[index]}: {error}") from error
        except ImageError as error:
            raise ImageError(f"{self.names[index]}: {error}") from error
        except OSError as error:
            place = part.place / part.names[local] if isinstance(part.place, Path) else part.place.label
            raise ImageError(
                f"{self.names[index]}: cannot read {place} ({error.strerror or error})"
            ) from error

    def read(self, index: int) -> np.ndarray:
        """Return photo ``index`` as upright uint8 ``H×W×3`` RGB.

        Raises:
            ImageError: it cannot be read, or its header declares more than `inpaint.images.MAX_PIXELS`, which
                are then not decoded. It is listed in `broken` too, unless its whole shard is.
        """
        try:
            return decode_rgb(self.read_bytes(index))
        except ImageError as error:
            name = self.names[index]
            # There is nothing here that would raise a limit.
            told = error.naming() if isinstance(error, LimitError) else str(error)
            reason = told.removeprefix("image: ").removeprefix(f"{name}: ")
            if self._locate(index)[0] not in self._lost:
                self.broken[name] = reason
            raise ImageError(f"{name}: {reason}") from error

    def shares_with(self, other: PhotoSet) -> int:
        """Return how many of these photos are photos of the other set too, whatever their names there.

        These are the same files, symbolic links followed, and the same members of one tar. Copies are not
        recognised, nor is one object behind two URLs. For a million photos it takes some seconds and
        a hundred megabytes for a moment, and it lists their folders once more.
        """
        ours, theirs = ([part.identities() for part in photos._parts] for photos in (self, other))
        if not ours or not theirs:
            return 0
        return int(np.count_nonzero(np.isin(np.concatenate(ours), np.concatenate(theirs))))

    def after(self, index: int) -> int:
        """Return the photo to take where photo ``index`` cannot be read.

        It is the next one. Where the whole shard is lost it is the one at the same distance in what follows,
        so that the photos of a lost shard are not all replaced by a single one.
        """
        number, _ = self._locate(index)
        step = len(self._parts[number]) if number in self._lost else 1
        return (index + step) % len(self)

    def _locate(self, index: int) -> tuple[int, int]:
        """The part in which a photo lies, and its index there."""
        if not 0 <= index < len(self):
            raise IndexError(f"photo {index} of {len(self)}")
        number = bisect_right(self._starts, index) - 1
        return number, index - self._starts[number]


def open_photos(source: Source | Sequence[Source]) -> PhotoSet:
    """Open a folder of photos, a tar of photos, or several of either, as one `PhotoSet`.

    A folder is searched with its subfolders for photos (by extension: JPEG, PNG, WebP, BMP, TIFF, GIF) and
    for ``.tar`` shards; hidden files and what lies in hidden folders are left out. Photos are ordered by
    path, those of a tar as they lie in it. Tars are indexed once, by their headers, and read in place; they
    must not be compressed. A shard that is cut short gives the photos before the cut and is named in
    `PhotoSet.broken`, as is a folder that cannot be listed.

    Shards may also be given by a pattern, ``places-{000000..000099}.tar`` or ``places-*.tar``, and by URL,
    with a pattern or without: ``https://…/places-{000000..000099}.tar``, ``s3://…``, or with
    ``simplecache::`` in front to copy each shard to this machine when it is first read. A shard of a pattern
    that is missing is named in `PhotoSet.broken`.

    Raises:
        FileNotFoundError: a source does not exist.
        ValueError: a source is neither a folder nor a tar, a shard is compressed, a URL is of a kind that
            cannot be read here, a tar or a folder's photos are listed twice, or there is no photo.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    broken: dict[str, str] = {}
    found = [part for one in sources for part in _find(one, broken)]
    _refuse_repeated(found)
    parts = _indexed(found, broken)
    if not any(map(len, parts)):
        looked = f"looked for {', '.join(SUFFIXES)} and .tar"
        reasons = "".join(f"; {name}: {reason}" for name, reason in broken.items())
        listed = ", ".join(source_label(one) for one in sources) or "an empty list of sources"
        raise ValueError(f"{listed}: no photo here ({looked}){reasons}")
    _make_distinct(parts)
    return PhotoSet(parts, broken)


def open_photos_in_turn(
    source: Source | Sequence[Source], group: torch.distributed.ProcessGroup | None = None
) -> PhotoSet:
    """Open photos in each process of a distributed run: on each machine one process first, then the others.

    So tars are indexed by one process and the others find the index in the cache. Alone it is `open_photos`,
    and raises the same. All processes have to call it. They wait as members of `group`, all processes by
    default, and no longer than its timeout.
    """
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return open_photos(source)
    # Where nobody says which process of this machine it is, each could be the first.
    is_first = int(os.environ.get("LOCAL_RANK", "0")) == 0
    try:
        photos = open_photos(source) if is_first else None
    finally:
        # Where the first fails the others go on all the same, and fail with the same message.
        devices = [torch.cuda.current_device()] if distributed.get_backend(group) == "nccl" else None
        distributed.barrier(group, device_ids=devices)
    return open_photos(source) if photos is None else photos


# ---------------------------------------------------------------------------------------------------------
# Finding


@dataclass(frozen=True)
class _Shard:
    """A tar that is to be indexed. `required`: it was named itself, so that its absence is an error."""

    file: LocalFile | RemoteFile
    required: bool


def _find(source: Source, broken: dict[str, str]) -> list[_Part | _Shard]:
    """What a source consists of, in order."""
    if is_url(source):
        return _find_by_url(str(source))
    if _exists(Path(source)):
        return _find_below(Path(source), broken)
    found: list[_Part | _Shard] = []
    paths = [Path(path) for path in expand_paths(str(source))]
    for path in paths:
        if _exists(path):
            found += _find_below(path, broken)
        else:
            broken[path.as_posix()] = "there is no such shard"
    if not found:
        raise FileNotFoundError(f"{source}: there is no such folder or tar of photos")
    return found


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # a pattern may be longer than any name
            return False
        raise


def _find_by_url(pattern: str) -> list[_Part | _Shard]:
    files = [RemoteFile(url) for url in expand_urls(pattern)]
    if not files:
        raise FileNotFoundError(f"{source_label(pattern)}: no shard fits this")
    for file in files:
        if not _is_shard(file.label):
            raise ValueError(
                f"{file.label}: by URL only .tar shards can be read; name them, and many with "
                "{000000..000099} or *"
            )
    return [_Shard(file, required=len(files) == 1) for file in files]


def _find_below(path: Path, broken: dict[str, str]) -> list[_Part | _Shard]:
    if path.is_file():
        if not _is_shard(path.name):
            raise ValueError(f"{path}: give a folder of photos or a .tar of photos, not a single file")
        return [_Shard(LocalFile(path), required=True)]
    found: list[_Part | _Shard] = []
    for are_shards, names in itertools.groupby(_files_below(path, broken), key=_is_shard):
        if are_shards:
            found += [_Shard(LocalFile(path / name), required=True) for name in names]
        else:
            found.append(_Part(path, PathNames.of(names), None, (path.stem, path.as_posix())))
    return found


def _is_shard(name: str) -> bool:
    # Compressed shards are recognised too, so that they are refused by name instead of being passed over.
    return name.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"))


def _files_below(folder: Path, broken: dict[str, str]) -> list[str]:
    """The photos and shards below a folder, with "/", sorted; links to folders are followed, once each.

    What is hidden is left out, and a folder that cannot be listed is named in `broken`.
    """

    def note(error: OSError) -> None:
        broken[Path(error.filename).as_posix()] = f"cannot be listed ({error.strerror})"

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
    return sorted(found, key=lambda name: name.replace("/", "\0"))


# ---------------------------------------------------------------------------------------------------------
# Indexing


def _indexed(found: Sequence[_Part | _Shard], broken: dict[str, str]) -> list[_Part]:
    """Turn the shards into parts, in order; those that cannot be read are named and left out."""
    shards = [one for one in found if isinstance(one, _Shard)]
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
            parts = [_settled(one, indexed, broken) if isinstance(one, _Shard) else one for one in found]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [part for part in parts if part is not None]


def _refuse_repeated(found: Sequence[_Part | _Shard]) -> None:
    """ValueError where a tar is listed twice, or the photos of a folder are, by whatever paths."""
    labels: dict[str, str] = {}
    for shard in (one for one in found if isinstance(one, _Shard)):
        if shard.file.key in labels:
            raise _listed_twice(labels[shard.file.key], shard.file.label)
        labels[shard.file.key] = shard.file.label
    folders = [one for one in found if isinstance(one, _Part)]
    if len(folders) < 2:
        return  # of one folder each is entered once
    identities = np.concatenate([part.identities(follow_links=False) for part in folders])
    order = np.argsort(identities, kind="stable")
    again = np.flatnonzero(np.diff(identities[order]) == 0)
    if len(again):
        ends = list(itertools.accumulate(map(len, folders)))
        one, other = (_path_of(folders, ends, int(order[place])) for place in (again[0], again[0] + 1))
        raise _listed_twice(one, other)


def _path_of(folders: Sequence[_Part], ends: Sequence[int], index: int) -> str:
    number = bisect_right(ends, index)
    part = folders[number]
    return f"{part.origins[1]}/{part.names[index - ends[number] + len(part)]}"


def _listed_twice(one: str, other: str) -> ValueError:
    listed = one if one == other else f"{one} is {other}"
    return ValueError(f"the same photos are listed twice ({listed}): give each folder and tar once")


def _index(shard: _Shard, advance: Callable[[int], None]) -> TarIndex | OSError:
    try:
        return index_tar(shard.file, advance)
    except OSError as error:
        return error


def _settled(shard: _Shard, indexed: Iterator[TarIndex | OSError], broken: dict[str, str]) -> _Part | None:
    index, file = next(indexed), shard.file
    if isinstance(index, LostError) and shard.required:
        raise FileNotFoundError(str(index))
    if isinstance(index, OSError):
        broken[file.label] = str(index).removeprefix(f"{file.label}: ")
        return None
    if index.damage:
        broken[file.label] = index.damage
    return _Part(file, index.names, index, (file.stem, file.label))


def _size(file: LocalFile) -> int:
    try:
        return file.path.stat().st_size
    except OSError:
        return 0


def _make_distinct(parts: Sequence[_Part]) -> None:
    """Put the tar's or folder's name, or else its path, in front of the names that occur more than once."""
    parts = [part for part in parts if len(part)]
    if len(parts) == 1:
        return  # neither a folder nor an indexed tar has two files of one name
    ends = list(itertools.accumulate(map(len, parts)))
    names = _Names(parts, [0, *ends])
    for label in (1, 2):
        repeated = repeated_names(names)
        if not repeated.any():
            return
        for part, here in zip(parts, np.split(repeated, ends[:-1]), strict=True):
            if here.any():
                part.label = np.zeros(len(part), np.uint8) if part.label is None else part.label
                part.label[here] = label
    repeated = repeated_names(names)
    if repeated.any():  # such as two URLs that differ in nothing but what is secret in them
        name = names[int(np.flatnonzero(repeated)[0])]
        raise _listed_twice(name, name)


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise ImageError(f"{size / 1e9:.1f} GB are no photo (at most {MAX_FILE_BYTES / 1e9:.1f} GB are read)")


# ---------------------------------------------------------------------------------------------------------
# Keeping


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
