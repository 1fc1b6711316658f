"""A photo in memory, and the formats and sizes of the files that it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

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
"""Largest width × height that is decoded unless the caller says otherwise. Pillow's own limit of
178 956 970 pixels stays above any value given here."""

MAX_FILE_BYTES = 512_000_000
"""Largest file that is read unless the caller says otherwise: more than `MAX_PIXELS` take uncompressed."""

MAX_SQUARE = math.isqrt(MAX_PIXELS)
"""Side of the largest square that photos are cut to: it has the pixels of the largest photo."""

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
        notes: what was changed in reading, as sentences for people.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    exif: bytes = b""
    icc: bytes = b""
    format: str = "PNG"
    notes: list[str] = field(default_factory=list)
