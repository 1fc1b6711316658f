"""A stand-in for the filling process, whose fills are told apart from any photo."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inpaint.images import encode_photo
from inpaint.inference.inpainter import grown
from inpaint.serving.errors import ServiceError
from inpaint.serving.process import Report, Work
from inpaint.serving.tasks import RESULT, read_inputs

SLOW = 50
"""A mask grown by so much takes a minute to fill."""

REFUSED = 49
"""A mask grown by so much is refused."""


def filler(settings: Mapping[str, Any]) -> Work:
    """Paint holes green; other seeds are other greens, and without texture a little red is in it."""

    def fill(folder: Path, order: Mapping[str, Any], report: Report) -> dict[str, Any]:
        photo, checked = read_inputs(folder, order, settings["max_pixels"])
        mask = checked.mask
        report(0.0)
        if order["grow"] == REFUSED:
            raise ServiceError(422, "The mask is not to the stand-in's taste; take another.")
        for step in range(600 if order["grow"] == SLOW else 0):
            report(step / 600)
            time.sleep(0.1)
        hole = grown(mask, order["grow"]) if order["grow"] else mask
        pixels = photo.pixels.copy()
        pixels[hole] = (10 if order["detail"] == "none" else 0, 160 + 20 * order["seed"], 90)
        data = encode_photo(photo.filled(pixels, hole), order["format"] or photo.format)
        (folder / RESULT).write_bytes(data)
        return {"bytes": len(data)}

    return fill
