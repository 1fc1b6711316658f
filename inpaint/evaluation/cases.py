"""Which pictures and which holes an evaluation has.

The photos are taken in the order of their names, their centre is cropped, and each gets one mask that depends
on the seed and the photo's name only: neither the other photos nor their order can change it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from inpaint.datasets import PhotoSet
from inpaint.images import MAX_SQUARE, ImageError
from inpaint.masks import MaskFolder, MaskRecipe, blanked, generator_for, parse_recipe
from inpaint.masks.recipe import REMEDIES


@dataclass(frozen=True)
class Case:
    """One picture to fill.

    Attributes:
        name: the photo's name in its set.
        image: the whole truth, uint8 H×W×3 RGB.
        mask: bool H×W, True = hole.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray

    @property
    def hole_ratio(self) -> float:
        """Share of the pixels that is hole, 0 to 1."""
        return int(np.count_nonzero(self.mask)) / self.mask.size

    def destroyed(self) -> np.ndarray:
        """Return a copy of the image with the hole painted over: all that a method may see of it."""
        return blanked(self.image, self.mask)


class EvaluationSet:
    """The fixed list of pictures and holes of one evaluation; iterating reads them as `Case`s.

    Photos that cannot be read, or whose mask cannot or has another size, are left out.

    Args:
        photos: where the pictures come from.
        masks: text for `parse_masks`, or what it returned. A mask of a folder that pairs by stem has the
            crop's size, or the photo's, and is then cropped as the photo is.
        seed: masks are drawn from it and the photo's name.
        size: the crop's side in pixels, see `centre_crop`.
        limit: keep that many photos, spread evenly over the sorted names; None keeps all.

    Attributes:
        seed: as given.
        size: as given.
        limit: as given.
        skipped: photos left out so far, and damaged shards: name -> reason.
        enlarged: names of the photos read so far that were smaller than the crop.

    Raises:
        ValueError: A setting cannot work, or the mask folder lacks some photos' masks or has several for one.
    """

    def __init__(
        self,
        photos: PhotoSet,
        masks: str | MaskRecipe | MaskFolder,
        seed: int = 0,
        size: int = 256,
        limit: int | None = None,
    ) -> None:
        if not 1 <= size <= MAX_SQUARE:
            raise ValueError(f"size: expected a crop of 1 to {MAX_SQUARE} pixels a side, got {size}")
        if limit is not None and limit < 1:
            raise ValueError(f"limit: expected at least 1 photo, got {limit}")
        if len(photos) == 0:
            raise ValueError("images: there is no photo to evaluate on")
        self.seed, self.size, self.limit = seed, size, limit
        self._photos = photos
        order = sorted(range(len(photos)), key=lambda index: photos.names[index])
        if limit is not None and limit < len(order):
            order = [order[round(i)] for i in np.linspace(0, len(order) - 1, limit)]
        self._order = order
        self._begin()
        self._masks = parse_masks(masks) if isinstance(masks, str) else masks
        if isinstance(self._masks, MaskFolder):
            self._check_pairs(self._masks)

    @property
    def names(self) -> list[str]:
        """Names of the photos in order, those that will turn out unreadable included."""
        return [self._photos.names[index] for index in self._order]

    @property
    def broken_masks(self) -> dict[str, str]:
        """Masks that were passed over so far, unreadable ones and what is no regular file: name -> reason."""
        return self._masks.broken

    @property
    def mask_notes(self) -> list[str]:
        """What is worth a word in the ready masks read so far, a sentence for each kind of remark."""
        return self._masks.notes.sentences({} if isinstance(self._masks, MaskFolder) else REMEDIES)

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Case]:
        self._begin()
        for index in self._order:
            name = self._photos.names[index]
            try:
                photo, mask = self._read(index)
            except ImageError as error:
                self.skipped[name] = error.reason
                continue
            if min(photo.shape[:2]) < self.size:
                self.enlarged.append(name)
            yield Case(name, centre_crop(photo, self.size), mask)

    def readable(self, names: Container[str]) -> Iterator[str]:
        """Yield those of these photos, in order, that are not left out; each is read when it is asked for."""
        for index in self._order:
            if (name := self._photos.names[index]) in names:
                try:
                    self._read(index)
                except ImageError:
                    continue
                yield name

    def describe(self) -> dict[str, Any]:
        """Return what says which pictures and holes these are, for results.json; call after iterating."""
        masks = str(self._masks)
        if isinstance(self._masks, MaskFolder):
            masks = f"{self._masks.path.name}, by file stem"
        return {
            "masks": masks,
            "seed": self.seed,
            "size": self.size,
            "limit": self.limit,
            "crop": "centre, not resized; where a side is shorter, the centre square enlarged (bicubic)",
            "enlarged": self.enlarged,
            "skipped": self.skipped,
            "broken_masks": self.broken_masks,
        }

    def _begin(self) -> None:
        """Forget what earlier reading found; shards that could not be opened stay named."""
        photos = set(self._photos.names)
        self.skipped = {name: why for name, why in self._photos.broken.items() if name not in photos}
        self.enlarged: list[str] = []

    def _check_pairs(self, folder: MaskFolder) -> None:
        found = {name: folder.files_of(PurePosixPath(name).stem) for name in self.names}
        missing = [name for name, files in found.items() if not files]
        if missing:
            raise ValueError(
                f"masks: {len(missing)} of {len(self)} photos have no mask of their stem in {folder.path} "
                f"(such as {missing[0]}); add them, or draw from it with folder:{folder.path}"
            )
        doubtful = [name for name, files in found.items() if len(files) > 1]
        if doubtful:
            raise ValueError(
                f"masks: {len(doubtful)} of {len(self)} photos have more than one mask of their stem in "
                f"{folder.path} (such as {doubtful[0]}: {', '.join(found[doubtful[0]])}); keep one of each"
            )

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a photo, whole, and the mask of its crop."""
        photo = self._photos.read(index)
        return photo, self._mask(self._photos.names[index], photo)

    def _mask(self, name: str, photo: np.ndarray) -> np.ndarray:
        if isinstance(self._masks, MaskRecipe):
            return self._masks(generator_for(self.seed, name), self.size, self.size)
        mask = self._masks.by_stem(PurePosixPath(name).stem, photo)
        if mask.shape == (self.size, self.size):
            return mask
        if mask.shape == photo.shape[:2]:
            cropped = centre_crop(mask, self.size)
            if cropped.any() and not cropped.all():
                return cropped
            raise ImageError(
                f"its mask has {'nothing but hole' if cropped.any() else 'no hole'} in the crop of "
                f"{self.size}×{self.size}",
                name,
            )
        raise ImageError(
            f"expected a mask of the crop's size {(self.size, self.size)} or the photo's {photo.shape[:2]}, "
            f"got {mask.shape} (height, width)",
            name,
        )


def parse_masks(text: str) -> MaskRecipe | MaskFolder:
    """Return what `--masks` names: a recipe, or a folder of masks that pair with the photos by file stem.

    Raises:
        ValueError: the text is neither; the message says what there is.

    >>> parse_masks("free-form:0.1-0.5")
    parse_recipe('free-form:0.1-0.5')
    """
    try:
        is_folder = Path(text).is_dir()
    except OSError:  # a recipe may be longer than any name
        is_folder = False
    if is_folder:
        return MaskFolder(text)
    try:
        return parse_recipe(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is neither a folder nor a recipe: {error}") from error


def iter_cases(
    photos: PhotoSet, masks: str, seed: int = 0, size: int = 256, limit: int | None = None
) -> Iterator[Case]:
    """Yield the cases of an evaluation one by one; see `EvaluationSet`, which also names broken photos."""
    return iter(EvaluationSet(photos, masks, seed, size, limit))


def centre_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Cut the size×size centre out of a uint8 H×W×3 picture or a bool H×W mask; the result is contiguous.

    Nothing is resized, unless a side is shorter than `size`: then the centre square is enlarged to it, of
    pictures with a bicubic filter and of masks by nearest neighbour.

    >>> centre_crop(np.arange(12, dtype=np.uint8).reshape(3, 4) > 5, 2).tolist()
    [[False, False], [False, True]]
    """
    height, width = image.shape[:2]
    side = min(height, width, size)
    top, left = (height - side) // 2, (width - side) // 2
    crop = np.ascontiguousarray(image[top : top + side, left : left + side])
    if side < size:
        resample = Image.Resampling.NEAREST if crop.dtype == np.bool_ else Image.Resampling.BICUBIC
        crop = np.array(Image.fromarray(crop).resize((size, size), resample), dtype=crop.dtype)
    return crop
