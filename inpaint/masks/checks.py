"""Masks that cannot be meant: what is refused, and what is worth a word to the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from PIL import Image

from inpaint.images import MAX_FILE_BYTES, MAX_PIXELS, ImageError, Photo, read_photo

LARGE_SHARE = 0.9
"""A hole of more than this share of its photo is worth a word: the mask may be inverted."""

BETWEEN_SHARE = 0.2
"""Share of pixels that are neither nearly black nor nearly white from which a mask looks like a photo."""

_THRESHOLD = 127
_NEARLY = 32  # grey levels
_DIFFERENT_SHARE = 0.01  # of pixels in which transparency tells another hole than the colours

Kind = Literal["transparency", "photo", "large"]
"""What a note is about: transparency counts, the mask looks like a photo, the hole is nearly everything."""


@dataclass(frozen=True, eq=False)
class CheckedMask:
    """A mask with at least one pixel to fill and one to fill from.

    Attributes:
        mask: bool H×W, True in the hole.
        remarks: what is worth a word: what it is about -> a sentence for people.
    """

    mask: np.ndarray
    remarks: Mapping[Kind, str]

    @property
    def notes(self) -> list[str]:
        """The sentences of `remarks`."""
        return list(self.remarks.values())


@dataclass
class MaskNotes:
    """What is worth a word in many masks, told once for each kind and not once for each mask.

    Attributes:
        by_kind: what it is about -> name of a mask -> sentence, in the order in which they were found.

    >>> notes, white = MaskNotes(), np.full((1, 20, 3), 255, np.uint8)
    >>> white[0, 0] = 0
    >>> for name in ("a.png", "b.png"):
    ...     notes.add(name, check_mask(Photo(white)))
    >>> print(*notes.sentences())
    2 masks, such as a.png: the mask covers 95.0% of the photo; white = fill, black = keep. Is it inverted?
    """

    by_kind: dict[Kind, dict[str, str]] = field(default_factory=dict)

    def add(self, name: str, checked: CheckedMask) -> None:
        """Note what there is to say of a mask; a mask that is read again counts once."""
        for kind, sentence in checked.remarks.items():
            self.by_kind.setdefault(kind, {}).setdefault(name, sentence)

    def update(self, other: MaskNotes) -> None:
        """Add what was noted elsewhere."""
        for kind, sentences in list(other.by_kind.items()):
            mine = self.by_kind.setdefault(kind, {})
            for name, sentence in list(sentences.items()):
                mine.setdefault(name, sentence)

    def sentences(self, remedies: Mapping[Kind, str] = MappingProxyType({})) -> list[str]:
        """Return a sentence for each kind, which says how many masks it concerns, and shows the first.

        Args:
            remedies: what to do about a kind, as a sentence, where the caller knows that.
        """
        told = []
        for kind, sentences in list(self.by_kind.items()):
            name, sentence = next(iter(sentences.items()))
            who = f"{len(sentences)} masks, such as {name}" if len(sentences) > 1 else f"the mask {name}"
            told.append(" ".join(filter(None, [f"{who}: {sentence}", remedies.get(kind)])))
        return told


def read_checked_mask(
    source: Path | str | bytes,
    *,
    invert: bool = False,
    photo: np.ndarray | None = None,
    max_pixels: int = MAX_PIXELS,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> CheckedMask:
    """Read a mask file and check it, see `check_mask`.

    Raises:
        ImageError: what `inpaint.images.read_photo` raises, or the mask cannot be meant.
    """
    picture = read_photo(source, max_pixels=max_pixels, max_file_bytes=max_file_bytes, pixels_only=True)
    try:
        return check_mask(picture, invert=invert, photo=photo)
    except ImageError as error:
        raise error.named("" if isinstance(source, bytes) else str(source)) from None


def check_mask(picture: Photo, *, invert: bool = False, photo: np.ndarray | None = None) -> CheckedMask:
    """Make a mask of a picture: hole where the luminance is above 127, transparency left out.

    Where that leaves no known pixel and the picture has transparency, what is opaque is the hole.

    Args:
        picture: the mask as a picture.
        invert: black is the hole, not white.
        photo: uint8 H×W×3, what is to be filled; without it, it is not seen that the mask is the photo.

    Raises:
        ImageError: there is nothing to fill, or nothing to fill from, colours and transparency tell
            different holes, or the mask is the photo.

    >>> check_mask(Photo(np.ones((2, 2, 3), np.uint8)))
    Traceback (most recent call last):
        ...
    inpaint.images.errors.ImageError: a mask without a hole: no pixel is above 127, the largest value is 1; \
white = fill. Values 0 and 1? Multiply them by 255
    """
    grey = np.asarray(Image.fromarray(picture.pixels).convert("L"))
    mask = (grey > _THRESHOLD) != invert
    remarks: dict[Kind, str] = {}
    opaque = None if picture.alpha is None else picture.alpha > _THRESHOLD
    if opaque is not None and (opaque.all() or not opaque.any()):
        opaque = None  # says nothing
    if not mask.any():
        raise ImageError(_why_empty(grey, opaque is not None, invert))
    if mask.all():
        if opaque is None:
            raise ImageError(_why_full(invert))
        mask = opaque
        remarks["transparency"] = (
            "its colours leave nothing to fill from, so its transparency counts: opaque = fill"
        )
        return CheckedMask(mask, {**remarks, **_large(mask, fill="opaque", keep="transparent")})
    fill, keep = ("black", "white") if invert else ("white", "black")
    between = float(np.mean((grey >= _NEARLY) & (grey <= 255 - _NEARLY)))
    if between > BETWEEN_SHARE:
        if opaque is not None and _tells_another_hole(opaque, mask):
            raise ImageError(
                "a photo with transparent parts is no mask: its transparency tells another hole than its "
                "colours; save it as black and white, white = fill"
            )
        if photo is not None and np.array_equal(photo, picture.pixels):
            raise ImageError(f"the mask is the photo itself; it has to be black and white, {fill} = fill")
        told = "127 or darker" if invert else "brighter than 127"
        remarks["photo"] = (
            f"{between:.0%} of the mask is neither black nor white, as in a photo; what is {told} is filled, "
            f"{mask.mean():.0%} of it"
        )
    return CheckedMask(mask, {**remarks, **_large(mask, fill, keep)})


def _large(mask: np.ndarray, fill: str, keep: str) -> dict[Kind, str]:
    share = float(mask.mean())
    if share <= LARGE_SHARE:
        return {}
    return {
        "large": f"the mask covers {share:.1%} of the photo; {fill} = fill, {keep} = keep. Is it inverted?"
    }


def _tells_another_hole(opaque: np.ndarray, mask: np.ndarray) -> bool:
    different = float(np.mean(opaque != mask))
    return _DIFFERENT_SHARE < different < 1 - _DIFFERENT_SHARE


def _why_full(invert: bool) -> str:
    keep = "white" if invert else "black"
    return f"the mask covers everything, which leaves nothing to fill from; {keep} = keep"


def _why_empty(grey: np.ndarray, has_transparency: bool, invert: bool) -> str:
    if invert:
        return (
            f"a mask without a hole: no pixel is below 128, the smallest value is {grey.min()}; black = fill"
        )
    largest = int(grey.max())
    told = "all of it is black" if largest == 0 else f"no pixel is above 127, the largest value is {largest}"
    remedy = ""
    if largest == 1:
        remedy = ". Values 0 and 1? Multiply them by 255"
    elif has_transparency:
        remedy = ". What is painted on a transparent layer is to be white"
    elif largest:
        remedy = ". Colours and class numbers are to become white"
    return f"a mask without a hole: {told}; white = fill{remedy}"
