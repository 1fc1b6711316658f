"""Checks of GIF files: whether blocks alone stand before the first picture."""

from __future__ import annotations

import struct

from ..errors import ImageError

_GIF_EXTENSION, _GIF_PICTURE = 0x21, 0x2C


def check_gif(data: bytes) -> tuple[int, int]:
    """Return the width and height that a GIF has with its first picture, which may stand out.

    Raises:
        ImageError: anything but blocks stands before that picture. Pillow passes over such bytes until one
            looks like a picture's first.
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
        width, height = struct.unpack_from("<HH", data, 6)
        left, top, across, down = struct.unpack_from("<4H", data, position + 1)
        return max(width, left + across), max(height, top + down)
    except (IndexError, struct.error):
        raise ImageError("the file is cut short; get a whole copy") from None


def _gif_table(flags: int) -> int:
    """Bytes of the table of colours that these flags announce."""
    return 3 << (flags % 8 + 1) if flags & 0x80 else 0
