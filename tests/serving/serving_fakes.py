"""Stand-ins for the work of the filling process; what one does is in the order's seed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inpaint.serving.errors import ServiceError
from inpaint.serving.process import Report, Work

# Seeds below this are milliseconds of work that reports its progress, and so ends when it is asked to.
DEAF = 1_000_000  # never reports, never ends
ABORT = 1_000_001
RAISE = 1_000_002
OUT_OF_MEMORY = 1_000_003
GROW = 1_000_004  # keeps 60 MB
HOG = 1_000_005  # takes more and more memory
REFUSE = 1_000_006

_kept: list[bytearray] = []


def filler(settings: Mapping[str, Any]) -> Work:
    def fill(folder: Path, order: Mapping[str, Any], report: Report) -> dict[str, Any]:
        seed = order["seed"]
        report(0.0)
        if seed == DEAF:
            while True:
                sum(range(1000))
        elif seed == ABORT:
            os.abort()
        elif seed == RAISE:
            raise RuntimeError("the secret of the house")
        elif seed == OUT_OF_MEMORY:
            raise MemoryError
        elif seed == REFUSE:
            raise ServiceError(422, "The mask is not to the stand-in's taste; take another.")
        elif seed == GROW:
            _kept.append(bytearray(os.urandom(1)) * 60_000_000)
        elif seed == HOG:
            while True:
                _kept.append(bytearray(os.urandom(1)) * 20_000_000)
                time.sleep(0.01)
        else:
            seed = seed if seed < DEAF else 1
            end = time.monotonic() + seed / 1000
            while (left := end - time.monotonic()) > 0:
                report(1 - left * 1000 / seed)
                time.sleep(min(left, 0.01))
        data = (folder / "photo").read_bytes()
        (folder / "result").write_bytes(data)
        return {"bytes": len(data)}

    return fill


def reader(settings: Mapping[str, Any]) -> Work:
    """Find a photo and mask fine without reading them: 1000×1000, half a megapixel of hole."""

    def read(folder: Path, order: Mapping[str, Any], report: Report) -> dict[str, Any]:
        return {"width": 1000, "height": 1000, "hole": 500_000, "format": "PNG", "notes": []}

    return read


def broken(settings: Mapping[str, Any]) -> Work:
    raise RuntimeError("no model here")


def quits(settings: Mapping[str, Any]) -> Work:
    """Be prepared, and end a moment later without being asked."""
    threading.Timer(0.2, os._exit, [3]).start()
    return filler(settings)
