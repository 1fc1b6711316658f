"""What one browser tab works on, and the fills it has made so far. Plain values, without widgets."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from inpaint.images import Photo
from inpaint.inference.inpainter import Detail, grown
from inpaint.inference.plan import bounding_box

THUMBNAIL_SIDE = 192
"""Side of a picture in the strip of fills, in pixels."""


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """What one browser tab works on.

    Attributes:
        name: the photo's file name without suffix; downloads are named after it.
        photo: the photo as it was read, at its own size.
        loaded_mask: bool H×W, a mask file that was loaded into the editor, or None.
    """

    name: str
    photo: Photo
    loaded_mask: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a fill depends on besides photo and mask: equal settings give equal fills.

    Attributes:
        model: the model's name.
        detail: "photo" or "none", see `inpaint.Inpainter`.
        grow: pixels around the mask that are filled, too.
        seed: which of the fills with the photo's texture; 0 where there is only one.
    """

    model: str
    detail: Detail
    grow: int
    seed: int


@dataclasses.dataclass(frozen=True, eq=False)
class KeptFill:
    """One fill, without the pixels that are the photo's.

    Attributes:
        settings: how it was made.
        values: uint8 [pixels of the hole, 3], row by row.
        thumbnail: uint8 h×w×3, the hole and some of what lies around it.
        report: a line about it, in Markdown.
    """

    settings: Settings
    values: np.ndarray
    thumbnail: np.ndarray
    report: str


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """The fills of a photo and mask, of which one is shown.

    Attributes:
        work: what was filled.
        mask: bool H×W as painted.
        fills: oldest first; no two have the same settings.
        shown: index in `fills`.
    """

    work: Work
    mask: np.ndarray
    fills: tuple[KeptFill, ...] = ()
    shown: int = -1

    @property
    def report(self) -> str:
        """The line about the fill that is shown."""
        return self.fills[self.shown].report

    def pixels(self) -> np.ndarray:
        """Return the photo with the fill that is shown, uint8 H×W×3."""
        fill = self.fills[self.shown]
        pixels = self.work.photo.pixels.copy()
        pixels[grown(self.mask, fill.settings.grow)] = fill.values
        return pixels

    def is_of(self, work: Work, mask: np.ndarray) -> bool:
        """Return whether these are fills of that photo and mask."""
        return self.work.photo is work.photo and np.array_equal(self.mask, mask)

    def next_seed(self) -> int:
        """Return a seed that no fill here has."""
        return 1 + max((fill.settings.seed for fill in self.fills), default=-1)

    def with_fill(self, fill: KeptFill, most: int) -> Outcome:
        """Return the outcome that shows one more fill and keeps the `most` newest ones."""
        others = [other for other in self.fills if other.settings != fill.settings]
        fills = (*others, fill)[-most:]
        return dataclasses.replace(self, fills=fills, shown=len(fills) - 1)


def thumbnail_of(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cut a square around the hole out of a photo, and reduce it to `THUMBNAIL_SIDE` at most.

    Args:
        pixels: uint8 H×W×3.
        mask: bool H×W, not empty.

    Returns:
        uint8 h×w×3.
    """
    height, width = mask.shape
    box = bounding_box(mask)
    side = min(32 + round(1.5 * max(box.bottom - box.top, box.right - box.left)), height, width)
    top = min(max((box.top + box.bottom - side) // 2, 0), height - side)
    left = min(max((box.left + box.right - side) // 2, 0), width - side)
    picture = Image.fromarray(pixels[top : top + side, left : left + side])
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return np.asarray(picture)
