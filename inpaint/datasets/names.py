"""Millions of file names in little memory."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

_BLOCK = 1 << 16  # names turned into Python objects at a time while all are gone through


class TextList(Sequence[str]):
    """A sequence of strings that makes each one when it is asked for; equal to any sequence of the same."""

    __hash__ = None  # type: ignore[assignment]

    def _text(self, index: int) -> str:
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._text(one) for one in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} names")
        return self._text(index % len(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __repr__(self) -> str:
        return f"<{len(self)} names{f', {self[0]} …' if len(self) else ''}>"


@dataclass(frozen=True, eq=False, repr=False)
class PackedText(TextList):
    """Strings in two arrays.

    Attributes:
        data: uint8, the UTF-8 bytes of all strings end to end.
        ends: where in `data` each string ends.
    """

    data: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def _text(self, index: int) -> str:
        start = int(self.ends[index - 1]) if index else 0
        return _decoded(self.data[start : int(self.ends[index])].tobytes())

    def __iter__(self) -> Iterator[str]:
        start = 0
        for first in range(0, len(self), _BLOCK):
            ends = self.ends[first : first + _BLOCK].tolist()
            block, offset = self.data[start : ends[-1]].tobytes(), start
            for end in ends:
                yield _decoded(block[start - offset : end - offset])
                start = end


@dataclass(frozen=True, eq=False, repr=False)
class PathNames(TextList):
    """Paths with "/" between their parts; what comes before the last "/" is kept once for all that share it.

    The 1.8 million photos of a Places tar take 18 bytes each so, against some 100 as a list of strings.

    Attributes:
        folders: the distinct folders, with their last "/"; "" for none.
        folder: for each path the number of its folder.
        bases: for each path its last part.
    """

    folders: PackedText
    folder: np.ndarray
    bases: PackedText

    def __len__(self) -> int:
        return len(self.folder)

    def _text(self, index: int) -> str:
        return self.folders[int(self.folder[index])] + self.bases[index]

    def __iter__(self) -> Iterator[str]:
        folders = list(self.folders)
        bases = iter(self.bases)
        for first in range(0, len(self), _BLOCK):
            for number in self.folder[first : first + _BLOCK].tolist():
                yield folders[number] + next(bases)

    @property
    def nbytes(self) -> int:
        """Bytes of memory in all arrays."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything there is to store; `from_arrays` turns it back."""
        return {
            "folder_text": self.folders.data,
            "folder_ends": self.folders.ends,
            "folder": self.folder,
            "base_text": self.bases.data,
            "base_ends": self.bases.ends,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> PathNames:
        """Return the names whose `arrays` these are; ValueError if they cannot be."""
        folders = PackedText(arrays["folder_text"], arrays["folder_ends"])
        bases = PackedText(arrays["base_text"], arrays["base_ends"])
        for packed in (folders, bases):
            ends = packed.ends.astype(np.int64)
            if (np.diff(ends, prepend=0) < 0).any() or (ends[-1] if len(ends) else 0) != len(packed.data):
                raise ValueError("strings that do not lie end to end")
        folder = arrays["folder"]
        if len(folder) != len(bases) or (len(folder) and int(folder.max()) >= len(folders)):
            raise ValueError("names without a folder")
        return cls(folders, folder, bases)

    @classmethod
    def of(cls, paths: Iterable[str]) -> PathNames:
        """Pack these paths."""
        builder = PathNamesBuilder()
        for path in paths:
            builder.append(path)
        return builder.build()


class PathNamesBuilder:
    """Collects the names of a `PathNames` one by one, already packed."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._folder = array("L")
        self._data = bytearray()
        self._ends = array("Q")

    def __len__(self) -> int:
        return len(self._folder)

    def append(self, path: str) -> None:
        """Add a name at the end."""
        cut = path.rfind("/") + 1
        self._folder.append(self._numbers.setdefault(path[:cut], len(self._numbers)))
        self._data += _encoded(path[cut:])
        self._ends.append(len(self._data))

    def build(self) -> PathNames:
        """Return the names so far."""
        folders = [_encoded(folder) for folder in self._numbers]
        ends = np.cumsum([len(folder) for folder in folders], dtype=np.uint64)
        return PathNames(
            PackedText(np.frombuffer(b"".join(folders), np.uint8), smallest(ends)),
            smallest(np.array(self._folder)),
            PackedText(np.frombuffer(bytes(self._data), np.uint8), smallest(np.array(self._ends))),
        )


def smallest(numbers: np.ndarray) -> np.ndarray:
    """Return these numbers (0 or more) in the smallest unsigned type that holds them all."""
    return numbers.astype(np.min_scalar_type(int(numbers.max()) if len(numbers) else 0))


def repeated_names(names: Sequence[str]) -> np.ndarray:
    """Return which names occur more than once, as bool [N]; takes some 30 bytes a name for a moment."""
    hashes = np.fromiter(map(hash, names), np.int64, len(names))
    order = np.argsort(hashes)
    same = np.diff(hashes[order]) == 0
    suspects = np.sort(np.unique(np.concatenate([order[1:][same], order[:-1][same]])))
    repeated = np.zeros(len(names), bool)
    # Different names may, very rarely, have equal hashes.
    times = Counter(names[index] for index in suspects.tolist())
    for index in suspects.tolist():
        repeated[index] = times[names[index]] > 1
    return repeated


# Names in a tar need not be UTF-8; their bytes are kept, as tarfile and os do.
def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
