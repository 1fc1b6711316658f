"""Ready masks in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inpaint.files import why_not_regular
from inpaint.images import SUFFIXES, ImageError

from .checks import MaskNotes, read_checked_mask
from .sizes import check_size, enlarge


class MaskFolder:
    """A flat folder of ready masks, such as the NVIDIA irregular mask test set.

    Pixels above 127 are hole; `invert=True` is for sets drawn the other way round. Masks come at their own
    size: resizing is the caller's choice. Files are sorted by name, other files and hidden ones are ignored.

    Attributes:
        names: the file names.
        broken: name -> reason, for the masks that `draw` had to pass over, and for what is named as a mask
            is, and is no regular file.
        notes: what is worth a word in the masks read so far.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no mask.
    """

    def __init__(self, path: str | Path, *, invert: bool = False) -> None:
        self.path = Path(path)
        self.invert = invert
        if not self.path.is_dir():
            raise FileNotFoundError(f"{self.path}: there is no such folder of masks")
        self.names = []
        self.broken: dict[str, str] = {}
        self.notes = MaskNotes()
        for entry in sorted(self.path.iterdir()):
            if entry.suffix.lower() in SUFFIXES and not entry.name.startswith("."):
                if reason := why_not_regular(entry):
                    self.broken[entry.name] = reason
                else:
                    self.names.append(entry.name)
        if not self.names:
            reasons = "".join(f"; {name} {reason}" for name, reason in self.broken.items())
            raise ValueError(
                f"{self.path}: no mask in this folder (looked for {', '.join(SUFFIXES)}){reasons}"
            )
        self._by_stem: dict[str, list[int]] = {}
        for index, name in enumerate(self.names):
            self._by_stem.setdefault(Path(name).stem, []).append(index)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int, photo: np.ndarray | None = None) -> np.ndarray:
        """Return mask `index` as bool H×W.

        Args:
            index: place of its name in `names`.
            photo: uint8 H×W×3, which the mask may not be itself.

        Raises:
            ImageError: the file is unreadable, too large for a photo, or cannot be meant as a mask: it has
                no hole, or nothing but hole.
        """
        checked = read_checked_mask(self.path / self.names[index], invert=self.invert, photo=photo)
        self.notes.add(self.names[index], checked)
        return checked.mask

    def files_of(self, stem: str) -> list[str]:
        """Return the names of the masks whose file name without extension is `stem`."""
        return [self.names[index] for index in self._by_stem.get(stem, [])]

    def by_stem(self, stem: str, photo: np.ndarray | None = None) -> np.ndarray:
        """Return the mask whose file name without extension is `stem`, for `photo`.

        Raises:
            KeyError: there is none.
            ValueError: there are several.
            ImageError: the file is unreadable.
        """
        found = self._by_stem.get(stem, [])
        if not found:
            raise KeyError(f"{self.path}: no mask is named {stem!r} (masks pair with photos by file stem)")
        if len(found) > 1:
            files = ", ".join(self.files_of(stem))
            raise ValueError(f"{self.path}: {stem!r} has more than one mask ({files}); keep one of them")
        return self.read(found[0], photo)

    def draw(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Return a random mask of the folder at `height`×`width`.

        The mask is resized with nearest neighbours until it just covers the wanted size, and what stands out
        is cropped at a random place. A mask that `read` refuses is noted in `broken` and the next one is
        taken.

        Raises:
            ImageError: not one mask of the folder can be used.
        """
        check_size(height, width)
        first = int(rng.integers(len(self)))
        across, down = rng.random(2)
        for offset in range(len(self)):
            index = (first + offset) % len(self)
            if self.names[index] in self.broken:
                continue
            try:
                mask = self.read(index)
            except ImageError as error:
                self.broken[self.names[index]] = error.reason
                continue
            scale = max(height / mask.shape[0], width / mask.shape[1])
            rows = max(height, round(scale * mask.shape[0]))
            columns = max(width, round(scale * mask.shape[1]))
            covering = enlarge(mask.view(np.uint8), rows, columns)
            top, left = int(down * (rows - height + 1)), int(across * (columns - width + 1))
            return np.ascontiguousarray(covering[top : top + height, left : left + width]).view(bool)
        name, reason = next(iter(self.broken.items()))
        raise ImageError(
            f"none of the {len(self)} masks can be used (the first: {name}: {reason})", str(self.path)
        )
