"""What the selecting process does: it finds the object that a rough mask lies on."""

from __future__ import annotations

import functools
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inpaint.masks.selection import Selector, find_method

from .errors import ServiceError
from .process import Report, Work
from .tasks import RESULT, read_inputs

logger = logging.getLogger("inpaint.serving")


def selector(settings: Mapping[str, Any]) -> Work:
    """Return the work that finds objects; a method is loaded when it is first asked for.

    `settings`: `max_pixels`. An order has `method` and `runs`, see `tasks.read_inputs`.
    """
    load = functools.cache(find_method)

    def select(folder: Path, order: Mapping[str, Any], report: Report) -> dict[str, Any]:
        photo, checked = read_inputs(folder, order, settings["max_pixels"])
        method = _load(load, order["method"])
        found = method(photo.pixels, checked.mask)
        if found is not None and (
            not isinstance(found, np.ndarray) or found.dtype != bool or found.shape != checked.mask.shape
        ):
            logger.error("the method %s gave no mask of the photo's size", order["method"])
            raise ServiceError(500, f"The method {order['method']} failed; take another.")
        if found is None or not found.any():
            raise ServiceError(422, "Nothing stands out there by its colours; paint the object by hand.")
        stream = io.BytesIO()
        Image.fromarray(found).save(stream, "PNG", compress_level=1)
        (folder / RESULT).write_bytes(stream.getvalue())
        return {"pixels": int(found.sum())}

    return select


def _load(load: Any, name: str) -> Selector:
    try:
        return load(name)
    except Exception as error:  # whatever the import of somebody's package raises
        logger.exception("the method %s cannot be loaded", name)
        raise ServiceError(
            500, f"The method {name} cannot be loaded ({type(error).__name__}); take another."
        ) from error
