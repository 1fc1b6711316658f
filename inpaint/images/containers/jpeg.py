"""Checks of JPEG files: how many scans there are, and whether all are there."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from ..errors import ImageError

MAX_SCANS = 64
"""Most scans of a JPEG. Encoders write about ten; each takes as long as the whole picture, in no bytes."""

# Markers that end coded data; FF 00 (a stuffed byte) and the restarts FF D0 to FF D7 do not.
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_JPEG_WITHOUT_LENGTH = (0x01, 0xD8)
_JPEG_PROGRESSIVE, _JPEG_SCAN, _JPEG_END = 0xC2, 0xDA, 0xD9
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_jpeg(data: bytes) -> None:
    """Raise `ImageError` for a JPEG that asks for too much work, or lacks a part of its scans.

    More than `MAX_SCANS` scans take too long. A progressive one that was cut between two scans and
    given an end is a blurred picture without an error; the scans tell whether all coefficients are there.
    """
    scans = 0
    unfinished: dict[int, set[int]] = {}  # of a progressive one: component -> coefficients not yet exact
    for kind, position in _jpeg_markers(data):
        body = position + 4  # behind the marker and the length
        if kind == _JPEG_PROGRESSIVE:
            number = data[body + 5]
            unfinished = {one: set(range(64)) for one in data[body + 6 : body + 6 + 3 * number : 3]}
        if kind != _JPEG_SCAN:
            continue
        scans += 1
        if scans > MAX_SCANS:
            raise ImageError(
                f"more than {MAX_SCANS} scans, which take too long; save it anew as a plain JPEG"
            )
        number = data[body]
        components = data[body + 1 : body + 1 + 2 * number : 2]
        first, last, precision = data[body + 1 + 2 * number : body + 4 + 2 * number]
        if precision % 16 == 0:  # bits that are still to come
            for component in components:
                unfinished.get(component, set()).difference_update(range(first, last + 1))
    if any(unfinished.values()):
        raise ImageError("the file is cut short: some of its scans are missing; get a whole copy")


def with_more_data(jpeg: bytes) -> bytes | None:
    """Return a JPEG with a few coded bytes more before its end; None where it has no end.

    A whole picture does not change by them. Of one that was cut and given an end, they become pixels.
    """
    for kind, position in _jpeg_markers(jpeg):
        if kind == _JPEG_END:
            return jpeg[:position] + bytes(range(1, 255)) * 16 + jpeg[position:]
    return None


def _jpeg_markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the kind and place of each marker but restarts, up to the end of the first picture."""
    position = 2
    while marker := _JPEG_MARKER.search(data, position):
        kind, position = marker[1][0], marker.end()
        yield kind, marker.start()
        if kind == _JPEG_END:
            return
        if kind not in _JPEG_WITHOUT_LENGTH:
            position += int.from_bytes(data[position : position + 2], "big")


def check_jpeg_piece(data: bytes, width: int, height: int) -> None:
    """Raise `ImageError` for a JPEG in a TIFF that is smaller than its strip or tile.

    What Pillow decodes with leaves the rest as it finds it in memory.
    """
    for kind, position in _jpeg_markers(data):
        if kind in _JPEG_FRAMES:
            rows, columns = struct.unpack_from(">HH", data, position + 5)
            if rows < height or columns < width:
                raise ImageError("the file is damaged: some of its rows are missing; get a whole copy")
            return
