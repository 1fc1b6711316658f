"""What the page accepts and keeps."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the page accepts and keeps.

    Attributes:
        file_bytes: largest uploaded file.
        pixels: largest width × height of a photo.
        queue: runs that may wait; one runs at a time.
        sessions: browser tabs whose photo is remembered; the one unused for longest is forgotten first.
        idle_seconds: how long the photo of an unused tab is remembered.
        fills: fills of one photo and mask that a tab keeps to go back to; the oldest is forgotten first. Each
            takes 3 bytes for a pixel of its hole.
    """

    file_bytes: int = 30 * 2**20
    pixels: int = 40_000_000
    queue: int = 16
    sessions: int = 8
    idle_seconds: int = 2 * 3600
    fills: int = 6
