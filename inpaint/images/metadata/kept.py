"""What a file carries beside its pixels, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

COMMENT = "Comment"
"""The keyword of the one text that JPEG and GIF have a place for."""


@dataclass(frozen=True)
class Text:
    """A text of a file.

    Attributes:
        keyword: what it is, as PNG's keywords are: "Title", "Author", `COMMENT`.
        text: the text. Bytes that are no UTF-8 stand in it as surrogates.
        language: the language that the file names for it; mostly empty.
        translated: the keyword in that language.
    """

    keyword: str
    text: str
    language: str = ""
    translated: str = ""


@dataclass(frozen=True)
class TiffTag:
    """A tag of a TIFF: its number, its type's number, and its values, as Pillow has them."""

    code: int
    kind: int
    values: Any


@dataclass(frozen=True)
class Metadata:
    """What a file carries beside its pixels, EXIF and colour profile.

    Attributes:
        dpi: pixels per inch across and down, or None where the file does not say.
        xmp: XMP packet with the orientation reset and without thumbnails; empty where the file has none.
        texts: texts and comments.
        png_colour: a PNG's chunks that say what its colours mean: (name, body).
        tiff_tags: tags of a TIFF that stay true while size and place of the photo do: the georeference.
    """

    dpi: tuple[float, float] | None = None
    xmp: bytes = b""
    texts: tuple[Text, ...] = ()
    png_colour: tuple[tuple[bytes, bytes], ...] = ()
    tiff_tags: tuple[TiffTag, ...] = ()
