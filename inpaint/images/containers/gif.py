"""Checks of GIF files: whether blocks alone stand before the first picture."""

from __future__ import annotations

from ..errors import ImageError

_GIF_EXTENSION, _GIF_PICTURE = 0x21, 0x2C


def check_gif(data: bytes) -> None:
    """Raise `ImageError` for a GIF in which anything but blocks stands before its first picture.

    Pillow passes over such bytes until one looks like a picture's first.
    """
    try:
        position = 13 + _gif_table(data[10])
        while data[position] != _GIF_PICTURE:
            if data[position] != _GIF_EXTENSION:
                raise ImageError(
                    "the file is damaged: its blocks do not follow one another; get a whole copy"
                )
            position += 2
            while data[position]:
                position += 1 + data[position]
            position += 1
    except IndexError:
        raise ImageError("the file is cut short; get a whole copy") from None


def _gif_table(flags: int) -> int:
    """Bytes of the table of colours that these flags announce."""
    return 3 << (flags % 8 + 1) if flags & 0x80 else 0
