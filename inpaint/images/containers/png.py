"""Checks of PNG files: checksums, the end, and the number of rows."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from ..errors import ImageError

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# Adam7: where each pass begins, and how far apart its pixels are.
_PNG_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_INFLATED = 1 << 20  # bytes at a time


def check_png(data: bytes) -> None:
    """Raise `ImageError` for a PNG that is not whole: its checksums, its end, its number of rows."""
    width = height = bits = colour = interlaced = 0
    needed = found = 0
    inflate = zlib.decompressobj()
    try:
        for name, body in png_chunks(data):
            if name == b"IHDR":
                width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
                needed = _png_bytes(width, height, bits * _PNG_CHANNELS[colour], interlaced)
            elif name == b"IDAT":
                rest: bytes | memoryview = body
                while found < needed:
                    rows = inflate.decompress(rest, _INFLATED)
                    rest = inflate.unconsumed_tail
                    found += len(rows)
                    if not rows and not rest:
                        break
    except (struct.error, KeyError, zlib.error) as error:
        raise ImageError(f"the file is damaged; get a whole copy ({error})") from error
    if not needed or found < needed:
        raise ImageError("the file is damaged: some of its rows are missing; get a whole copy")


def png_chunks(data: bytes, *, checked: bool = False) -> Iterator[tuple[bytes, memoryview]]:
    """Yield each chunk's name and body, the last one included; `checked` saves checking them again."""
    view, position, name = memoryview(data), len(_PNG_SIGNATURE), b""
    while name != b"IEND":
        if position + 12 > len(data):
            raise ImageError("the file is cut short; get a whole copy")
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise ImageError("the file is cut short; get a whole copy")
        if not checked and zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise ImageError("the file is damaged: a checksum is wrong; get a whole copy")
        yield name, view[position + 8 : end]
        position = end + 4


def _png_bytes(width: int, height: int, bits: int, interlaced: int) -> int:
    """Bytes of all rows, the filter's byte of each included."""
    passes = _PNG_PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total
