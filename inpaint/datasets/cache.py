"""Decoded photos kept in memory."""

from __future__ import annotations

import threading

import numpy as np

from .photos import PhotoSet

DEFAULT_CACHE_BYTES = 4 * 1024**3
"""Decoded photos kept in memory unless the caller says otherwise: some 12,000 photos of 384×288 pixels."""


class PhotoCache:
    """Decoded photos of a `PhotoSet`, kept in memory up to a limit; safe to share between threads.

    Photos are kept until the limit is reached and none is ever dropped. Every photo is wanted once an epoch
    in a new order, so dropping the least recently used one would throw away photos just as likely to come
    next as the one that replaces them.

    Args:
        photos: where the photos come from.
        limit: most bytes of pixels to keep; 0 keeps nothing.
    """

    def __init__(self, photos: PhotoSet, limit: int = DEFAULT_CACHE_BYTES) -> None:
        if limit < 0:
            raise ValueError(f"cache limit {limit}: give a number of bytes, or 0 for no cache")
        self.photos = photos
        self.limit = limit
        self.bytes_used = 0
        self._kept: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, index: int) -> np.ndarray:
        """Return photo `index` as read-only uint8 `H×W×3`; raises what `PhotoSet.read` does."""
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        photo = self.photos.read(index)
        photo.setflags(write=False)
        with self._lock:
            if index not in self._kept and self.bytes_used + photo.nbytes <= self.limit:
                self._kept[index] = photo
                self.bytes_used += photo.nbytes
        return photo
