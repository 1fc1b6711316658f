"""What the service's processes do: one reads what clients send, one fills holes.

Reading has a process of its own, without the models: files of unknown origin are decoded there for the first
time, and a photo that is refused is refused at once, whatever is being filled.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inpaint.images import ImageError, Photo, check_can_hold, encode_photo, losses, read_photo
from inpaint.masks.checks import CheckedMask, check_mask
from inpaint.plugins import load_plugins

from .errors import ServiceError, unreadable
from .process import Report, Work
from .runs import decode_runs

PHOTO, MASK, RUNS, RESULT = "photo", "mask", "runs", "result"
"""Names of the files in a job's folder: what was sent, and the finished picture."""

_MOST_MODELS = 4  # loaded at once; two models with and without the photo's texture


def reader(settings: Mapping[str, Any]) -> Work:
    """Return the work that checks a photo and its mask. `settings`: `max_pixels`."""

    def read(folder: Path, order: Mapping[str, Any], report: Report) -> dict[str, Any]:
        photo, checked = read_inputs(folder, order, settings["max_pixels"])
        height, width = checked.mask.shape
        return {
            "width": width,
            "height": height,
            "hole": int(checked.mask.sum()),
            "format": order["format"] or photo.format,
            "notes": [*photo.notes, *checked.notes],
        }

    return read


def filler(settings: Mapping[str, Any]) -> Work:
    """Return the work that fills a hole; one model is loaded now, others when they are asked for.

    `settings`: `max_pixels`, `device`, `models` (name -> what `Inpainter.from_pretrained` takes),
    `model`, the name of the one to load now, and `plugins` that the models need, if any.
    """
    # Here, because the reading process has no need of torch.
    from inpaint import Inpainter
    from inpaint.inference.inpainter import grown

    load_plugins(settings.get("plugins", ()))
    loaded: dict[tuple[str, str], Inpainter] = {}

    def load(name: str, detail: str) -> Inpainter:
        if (name, detail) not in loaded:
            while len(loaded) >= _MOST_MODELS:
                del loaded[next(iter(loaded))]
            loaded[name, detail] = Inpainter.from_pretrained(
                settings["models"][name],
                device=settings["device"],
                detail=detail,  # type: ignore[arg-type]
            )
        return loaded[name, detail]

    def fill(folder: Path, order: Mapping[str, Any], report: Report) -> dict[str, Any]:
        if order["model"] not in settings["models"]:
            raise ServiceError(422, "There is no such model.")
        photo, checked = read_inputs(folder, order, settings["max_pixels"])
        hole = grown(checked.mask, order["grow"])
        if hole.all():
            raise ServiceError(
                422,
                "The mask grown so far covers the whole photo, so nothing is left to fill from; use less.",
            )
        inpainter = load(order["model"], order["detail"])
        report(0.0)
        pixels = inpainter(photo.pixels, hole, seed=order["seed"], progress=report)
        result, format = photo.filled(pixels, hole), order["format"] or photo.format
        try:
            data = encode_photo(result, format)
        except ImageError as error:
            raise ServiceError(422, f"The result cannot be written: {error}.") from error
        (folder / RESULT).write_bytes(data)
        notes = [*result.notes, *checked.notes, *losses(result, format)]
        return {"bytes": len(data), "notes": notes}

    load(settings["model"], "photo")
    return fill


def read_inputs(folder: Path, order: Mapping[str, Any], max_pixels: int) -> tuple[Photo, CheckedMask]:
    """Read the photo and the mask of a job's folder.

    Args:
        folder: of the job.
        order: `runs` says whether the mask is text; `format`, where there is one, that of a result.
        max_pixels: of the largest picture.

    Raises:
        ServiceError: 413 (too large), 415 (unreadable) or 422 (a mask that does not fit, is empty or full).
    """
    try:
        photo = read_photo((folder / PHOTO).read_bytes(), max_pixels=max_pixels)
    except ImageError as error:
        raise unreadable(error, "photo") from error
    height, width = photo.pixels.shape[:2]
    if order["runs"]:
        white = decode_runs((folder / RUNS).read_text("ascii", errors="replace"), height, width)
        picture = Photo(np.repeat(white[..., None] * np.uint8(255), 3, axis=2))
    else:
        try:
            picture = read_photo((folder / MASK).read_bytes(), max_pixels=max_pixels, pixels_only=True)
        except ImageError as error:
            raise unreadable(error, "mask") from error
    rows, columns = picture.pixels.shape[:2]
    if (rows, columns) != (height, width):
        raise ServiceError(
            422,
            f"The mask is {columns}×{rows}, but the upright photo is {width}×{height}; draw the mask at the "
            "photo's size.",
        )
    try:
        checked = check_mask(picture, photo=photo.pixels)
    except ImageError as error:
        raise ServiceError(422, f"The mask cannot be used: {error.reason}.") from error
    if "format" in order:
        try:
            check_can_hold(order["format"] or photo.format, width, height)
        except ImageError as error:
            raise ServiceError(422, f"The result cannot be written: {error}.") from error
    return photo, checked
