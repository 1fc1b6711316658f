"""Photos by index, wherever they lie: in folders, in tars, behind URLs."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from inpaint.images import ImageError, decode_rgb

from .names import TextList
from .parts import Part
from .storage import LostError


class NamesOfParts(TextList):
    """The names of all parts, one after the other."""

    def __init__(self, parts: Sequence[Part], starts: Sequence[int]) -> None:
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

    def __init__(self, parts: Sequence[Part], broken: dict[str, str]) -> None:
        self._parts = [part for part in parts if len(part)]
        # Where each part begins, and at the end the number of photos.
        self._starts = list(itertools.accumulate(map(len, self._parts), initial=0))
        self._lost: dict[int, LostError] = {}
        self.names: Sequence[str] = NamesOfParts(self._parts, self._starts)
        self.broken = broken

    def __len__(self) -> int:
        return self._starts[-1]

    def read_bytes(self, index: int) -> bytes:
        """Return the file of photo `index` as it is stored.

        Raises:
            ImageError: the file is gone, unreadable, cut short, no regular file, or larger than
                `inpaint.images.MAX_FILE_BYTES`. Where a whole shard turns out to be gone, it is listed in
                `broken`, and not asked for any more.
        """
        number, local = self._locate(index)
        part, name = self._parts[number], self.names[index]
        try:
            if number in self._lost:
                raise self._lost[number]
            return part.read(local)
        except LostError as error:
            self._lost[number] = error
            self.broken[error.name] = error.reason
            raise ImageError(str(error), name) from error
        except ImageError as error:
            raise error.named(name) from error
        except OSError as error:
            place = part.place / part.names[local] if isinstance(part.place, Path) else part.place.label
            raise ImageError(f"cannot read {place} ({error.strerror or error})", name) from error

    def read(self, index: int) -> np.ndarray:
        """Return photo `index` as upright uint8 H×W×3 RGB.

        Raises:
            ImageError: it cannot be read, or its header declares more than `inpaint.images.MAX_PIXELS`, which
                are then not decoded. It is listed in `broken` too, unless its whole shard is.
        """
        name = self.names[index]
        try:
            return decode_rgb(self.read_bytes(index))
        except ImageError as error:
            if self._locate(index)[0] not in self._lost:
                self.broken[name] = error.reason
            # Not a LimitError: no argument here raises a limit.
            raise ImageError(error.reason, name) from error

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
        """Return the photo to take where photo `index` cannot be read.

        It is the next one. Where the whole shard is lost it is the one at the same distance in what follows,
        so that the photos of a lost shard are not all replaced by a single one.
        """
        number, _ = self._locate(index)
        step = len(self._parts[number]) if number in self._lost else 1
        return (index + step) % len(self)

    def _locate(self, index: int) -> tuple[int, int]:
        """Return the part in which a photo lies, and its index there."""
        if not 0 <= index < len(self):
            raise IndexError(f"photo {index} of {len(self)}")
        number = bisect_right(self._starts, index) - 1
        return number, index - self._starts[number]
