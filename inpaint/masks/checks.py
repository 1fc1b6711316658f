"""Masks that cannot be meant: what is refused, and what is worth a word to the user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, eq=False)
class CheckedMask:
    """A mask with at least one pixel to fill and one to fill from.

    Attributes:
        mask: bool H×W, True in the hole.
        notes: what is worth a word, as sentences for people.
    """

    mask: np.ndarray
    notes: list[str]


def read_checked_mask(
    source: Path | str | bytes,
    *,
    invert: bool = False,
    max_pixels: int = MAX_PIXELS,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> CheckedMask:
    """Read a mask file and check it, see `check_mask`.

    Raises:
        ImageError: what `inpaint.images.read_photo` raises, or the mask cannot be meant.
    """
    picture = read_photo(source, max_pixels=max_pixels, max_file_bytes=max_file_bytes, pixels_only=True)
    try:
        return check_mask(picture, invert=invert)
    except ImageError as error:
        raise error.named("" if isinstance(source, bytes) else str(source)) from None


def check_mask(picture: Photo, *, invert: bool = False) -> CheckedMask:
    """Make a mask of a picture: hole where the luminance is above 127, transparency left out.

    Where that leaves no known pixel and the picture has transparency, what is opaque is the hole.

    Args:
        picture: the mask as a picture.
        invert: black is the hole, not white.

    Raises:
        ImageError: there is nothing to fill, or nothing to fill from, or colours and transparency tell
            different holes.

    >>> check_mask(Photo(np.ones((2, 2, 3), np.uint8)))
    Traceback (most recent call last):
        ...
    inpaint.images.errors.ImageError: a mask without a hole: no pixel is above 127, the largest value is 1; \
white = fill. Values 0 and 1? Multiply them by 255
    """
    grey = np.asarray(Image.fromarray(picture.pixels).convert("L"))
    mask, notes = (grey > _THRESHOLD) != invert, []
    opaque = None if picture.alpha is None else picture.alpha > _THRESHOLD
    if opaque is not None and (opaque.all() or not opaque.any()):
        opaque = None  # says nothing
    if not mask.any():
        raise ImageError(_why_empty(grey, opaque is not None, invert))
    if mask.all():
        if opaque is None:
            raise ImageError(_why_full(invert))
        mask = opaque
        notes.append("its colours leave nothing to fill from, so its transparency counts: opaque = fill")
        return CheckedMask(mask, [*notes, *_large(mask, invert)])
    between = float(np.mean((grey >= _NEARLY) & (grey <= 255 - _NEARLY)))
    if between > BETWEEN_SHARE:
        if opaque is not None and _tells_another_hole(opaque, mask):
            raise ImageError(
                "a photo with transparent parts is no mask: its transparency tells another hole than its "
                "colours; save it as black and white, white = fill"
            )
        told = "127 or darker" if invert else "brighter than 127"
        notes.append(
            f"{between:.0%} of the mask is neither black nor white, as in a photo; what is {told} is filled, "
            f"{mask.mean():.0%} of it"
        )
    return CheckedMask(mask, [*notes, *_large(mask, invert)])


def _large(mask: np.ndarray, invert: bool) -> list[str]:
    share = float(mask.mean())
    if share <= LARGE_SHARE:
        return []
    fill, keep = ("black", "white") if invert else ("white", "black")
    return [f"the mask covers {share:.1%} of the photo; {fill} = fill, {keep} = keep. Is it inverted?"]


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
