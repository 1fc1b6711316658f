"""How long jobs take: a running mean of seconds for each megapixel of hole."""

from __future__ import annotations

import threading

FIRST_RATE = 25.0
"""Seconds for a unit of work before anything was measured: a CPU of two cores, with the photo's texture."""

_REMEMBERED = 0.8
"""Share of what was measured before that stays when a job is added: some five jobs count."""

_PHOTO_SHARE = 0.02
"""Reading and writing a megapixel of photo, as megapixels of hole."""

_SMALLEST = 0.01
"""The work of a job with next to no hole, in megapixels of hole."""


def work(photo_pixels: int, hole_pixels: int) -> float:
    """Return the work of a job in megapixels of hole; the rest of the photo counts a little.

    >>> round(work(12_000_000, 500_000), 2)
    0.75
    """
    return _SMALLEST + (hole_pixels + _PHOTO_SHARE * photo_pixels) / 1e6


class Estimates:
    """Seconds that jobs of each kind take, from the jobs done so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[str, tuple[float, float]] = {}  # kind -> seconds, work
        self._rate = FIRST_RATE  # of the kind measured last, for kinds not yet measured

    def add(self, kind: str, work: float, seconds: float) -> None:
        """Take a finished job into account."""
        with self._lock:
            old_seconds, old_work = self._sums.get(kind, (0.0, 0.0))
            sums = _REMEMBERED * old_seconds + seconds, _REMEMBERED * old_work + work
            self._sums[kind] = sums
            self._rate = sums[0] / sums[1]

    def seconds(self, kind: str, work: float) -> float:
        """Return how long a job of this kind will run."""
        with self._lock:
            seconds, done = self._sums.get(kind, (self._rate, 1.0))
            return work * seconds / done


def seconds_left(expected: float, elapsed: float, progress: float) -> float:
    """Return how long a running job will still take.

    What was expected counts at the beginning, its own progress more and more.

    >>> seconds_left(expected=10, elapsed=6, progress=0.5)
    5.5
    """
    by_progress = elapsed * (1 - progress) / progress if progress > 0 else expected
    return progress * by_progress + (1 - progress) * max(expected - elapsed, expected * (1 - progress))
