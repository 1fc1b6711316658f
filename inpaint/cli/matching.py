"""Which mask of a folder belongs to which photo: by their paths in their folders, without extension."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

USUAL_SUFFIXES = ("_mask", "-mask", ".mask", " mask", "_hole")
"""What masks that lie beside their photos are called after these."""


class MaskMatcher:
    """The masks of a folder, to be asked for by photo.

    Names match whatever their Unicode normal form (macOS writes another than most), and where no other photo
    takes a mask, whatever their capitals.

    Args:
        masks: paths in the folder of masks.
        photos: paths in the folder of photos, all that will be asked for.
        suffix: what the masks' names end in; those of other names are no masks.
    """

    def __init__(self, masks: Iterable[Path], photos: Iterable[Path], suffix: str = "") -> None:
        self._by_key: dict[str, list[Path]] = {}
        self.unused = []
        for mask in masks:
            if mask.stem.endswith(suffix) and mask.stem != suffix:
                self._by_key.setdefault(_key(mask, suffix), []).append(mask)
            else:
                self.unused.append(mask)
        exact = {_key(photo) for photo in photos}
        self._by_folded: dict[str, list[Path]] = {}
        for key, found in self._by_key.items():
            if key not in exact:
                self._by_folded.setdefault(key.casefold(), []).extend(found)
        self._taken: set[Path] = set()

    def masks_of(self, photo: Path) -> list[Path]:
        """Return every mask of a photo's name; the photo then has taken them."""
        key = _key(photo)
        found = self._by_key.get(key) or self._by_folded.get(key.casefold(), [])
        self._taken.update(found)
        return found

    def left(self) -> list[Path]:
        """Return the masks that no photo has taken, sorted."""
        masks = [mask for found in self._by_key.values() for mask in found if mask not in self._taken]
        return sorted([*masks, *self.unused])

    def suffix_for(self, photo: Path) -> str | None:
        """Return the suffix with which a photo without a mask would have one."""
        key = _key(photo)
        return next((suffix for suffix in USUAL_SUFFIXES if key + suffix in self._by_key), None)


def is_named_as_mask(path: Path, suffix: str) -> bool:
    """Return whether a file beside photos is a mask by its name.

    >>> is_named_as_mask(Path("trip/dog_mask.png"), "_mask"), is_named_as_mask(Path("dog.png"), "_mask")
    (True, False)
    """
    return path.stem.endswith(suffix) and path.stem != suffix


def _key(path: Path, suffix: str = "") -> str:
    return unicodedata.normalize("NFC", path.with_name(path.stem.removesuffix(suffix)).as_posix())
