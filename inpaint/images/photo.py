"""A photo in memory, and the formats and sizes of the files that it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from .metadata import Metadata

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""What is read and written; everything else Pillow knows (FITS, EPS, ...) is left out on purpose."""

SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".gif": "GIF",
}
"""File suffix (lower case) -> format."""

LOSSY_FORMATS = frozenset({"JPEG", "GIF"})
"""Formats whose files do not give back every pixel exactly as it was written."""

ALPHA_FORMATS = frozenset({"PNG", "WEBP", "TIFF", "GIF"})
"""Formats that are written with a photo's alpha channel."""

MAX_PIXELS = 50_000_000
"""Largest width × height that is decoded unless the caller says otherwise. Pillow's own limit is not used."""

MAX_FILE_BYTES = 512_000_000
"""Largest file that is read unless the caller says otherwise: more than `MAX_PIXELS` take uncompressed."""

MAX_SQUARE = math.isqrt(MAX_PIXELS)
"""Side of the largest square that photos are cut to: it has the pixels of the largest photo."""

_WIDE_PER_VALUE = 257  # 65535 / 255

PROFILE_SPACE = {"L": b"GRAY", "LA": b"GRAY", "RGB": b"RGB ", "RGBA": b"RGB "}
"""Pillow's mode -> the colour space that a fitting ICC profile names in its header."""


@dataclass
class Photo:
    """One photo with everything of its file that is worth keeping.

    Attributes:
        pixels: uint8 H×W×3, RGB, upright, C-contiguous.
        alpha: uint8 H×W, or None where the file has none.
        grey: the file has no colours; it is written as a grey file again.
        exif: EXIF block with the orientation reset, without the thumbnail (it would still show what was
            painted over); empty where the file has none.
        icc: colour profile that fits `pixels`; empty where the file has none.
        format: one of `FORMATS`.
        notes: what was changed in reading and filling, as sentences for people.
        wide: the pixels of a file of 16 bits a channel as they are: uint16 H×W×3, or H×W×4 with its alpha;
            None for other files. `pixels` and `alpha` are the same rounded to 8 bits.
        metadata: what else the file carries.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    exif: bytes = b""
    icc: bytes = b""
    format: str = "PNG"
    notes: list[str] = field(default_factory=list)
    wide: np.ndarray | None = None
    metadata: Metadata = field(default_factory=Metadata)

    def filled(self, fill: np.ndarray, mask: np.ndarray) -> Photo:
        """Return the photo with a fill in its hole; all else stays, to the bit.

        What is filled is opaque. Where the photo is transparent in the hole alone, the result has no alpha.

        Args:
            fill: uint8 H×W×3; read in the hole only.
            mask: bool H×W, the hole as it was filled, the pixels included that a mask was grown by.

        >>> photo = Photo(np.zeros((1, 2, 3), np.uint8), alpha=np.array([[255, 0]], np.uint8))
        >>> result = photo.filled(np.full((1, 2, 3), 9, np.uint8), np.array([[False, True]]))
        >>> result.pixels[0].tolist(), result.alpha
        ([[0, 0, 0], [9, 9, 9]], None)
        """
        values = fill[mask]
        pixels, alpha, wide, notes = self.pixels.copy(), self.alpha, self.wide, list(self.notes)
        pixels[mask] = values
        if wide is not None:
            if self.grey and len(values):
                values = np.asarray(Image.fromarray(values[None]).convert("L"))[0, :, None]
            wide = wide.copy()
            wide[mask, :3] = values.astype(np.uint16) * _WIDE_PER_VALUE
            if mask.any():
                notes.append("what was filled has 8 bits a channel, scaled to the 16 of the photo")
        if alpha is not None and (alpha[mask] < 255).any():
            opacity, opaque = (alpha, 255) if wide is None else (wide[..., 3], 65_535)
            if (opacity[~mask] == opaque).all():
                alpha, wide = None, None if wide is None else np.ascontiguousarray(wide[..., :3])
            else:
                alpha = alpha.copy()
                alpha[mask] = 255
                notes.append("what was filled is opaque; the rest keeps its transparency")
        if alpha is not None and wide is not None:
            wide[mask, 3] = 65_535
        return replace(self, pixels=pixels, alpha=alpha, wide=wide, notes=notes)
