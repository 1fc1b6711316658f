"""Checks of BMP files: the table of colours, the number of rows, and the runs of pixels."""

from __future__ import annotations

import struct

from ..errors import ImageError

_OS2_HEADER = 12  # bytes of the oldest of BMP's headers
_BMP_RUNS, _BMP_RUNS_OF_4_BITS = 1, 2


def check_bmp(data: bytes) -> None:
    """Raise `ImageError` for a BMP that readers make different pictures of.

    That is one without room for its table of colours before its pixels, one whose rows are not all there, and
    one whose runs of pixels do not make up its rows. Runs of 4-bit pixels are not read at all: Pillow
    misreads those of odd length.
    """
    try:
        start, header = struct.unpack_from("<II", data, 10)
        if header == _OS2_HEADER:
            (bits,) = struct.unpack_from("<H", data, 24)
            compression, used, entry = 0, 0, 3
        else:
            bits, compression = struct.unpack_from("<HI", data, 28)
            (used,) = struct.unpack_from("<I", data, 46)
            entry = 4
        if bits <= 8 and 14 + header + (used or 1 << bits) * entry > start:
            raise ImageError("the file is damaged: its colours and its pixels overlap; get a whole copy")
        if compression == _BMP_RUNS_OF_4_BITS:
            raise ImageError("runs of 4-bit pixels are not read; save it as PNG")
        if compression == _BMP_RUNS:
            _check_bmp_runs(data, start, *struct.unpack_from("<ii", data, 18))
        else:
            width, height = struct.unpack_from("<HH" if header == _OS2_HEADER else "<ii", data, 18)
            # Pillow accepts a last row without its padding, and then reads pixels from a wrong place.
            if start + (width * bits + 31) // 32 * 4 * abs(height) > len(data):
                raise ImageError("the file is cut short; get a whole copy")
    except (struct.error, IndexError) as error:
        raise ImageError("the file is cut short; get a whole copy") from error


def _check_bmp_runs(data: bytes, position: int, width: int, height: int) -> None:
    """Follow the runs of a run-length coded BMP, row by row."""
    is_sound = position % 2 == 0  # runs are padded to an even number of bytes
    x = y = 0
    while is_sound and y < height:
        count, value = data[position], data[position + 1]
        position += 2
        if count:
            x += count
        elif value > 2:  # so many pixels one by one
            x += value
            position += value + value % 2
        elif value == 0:  # the end of a row; Pillow passes over one that has no pixels at all
            is_sound = x > 0
            x, y = 0, y + 1
        else:  # the end of the picture, or a gap in it
            is_sound = value == 1 and y == height - 1 and x == width
            break
        is_sound = is_sound and x <= width
    if not is_sound:
        raise ImageError("the file is damaged: its runs do not make up its rows; get a whole copy")
