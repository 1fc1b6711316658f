"""What the page needs done with photos besides fills. It runs in a process of its own.

The process is one of `inpaint.serving.worker`: files of unknown origin are decoded there, and one that makes
it crash ends that piece of work and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from inpaint.images import LOSSY_FORMATS, SUFFIXES, ImageError, encode_photo
from inpaint.page.pictures import photo_of, png
from inpaint.serving.errors import ServiceError
from inpaint.serving.process import Report, Work

PHOTO, MASK, FILL, RESULT = "photo", "mask", "fill", "result"
"""Names of files in the folder of a piece of work."""


def work(settings: Mapping[str, Any]) -> Work:
    """Return the work; an order's `do` says which. `settings`: `max_pixels`."""
    max_pixels = settings["max_pixels"]

    def do(folder: Path, order: Mapping[str, Any], report: Report) -> dict[str, Any]:
        return _TASKS[order["do"]](folder, order, max_pixels)

    return do


def show(folder: Path, order: Mapping[str, Any], max_pixels: int) -> dict[str, Any]:
    """Turn a photo that browsers cannot open, such as a TIFF, into a PNG: upright, 8 bits a channel."""
    photo = photo_of(folder / PHOTO, "photo", max_pixels)
    (folder / RESULT).write_bytes(png(photo.pixels))
    return {"media": "image/png", "suffix": ".png"}


def save(folder: Path, order: Mapping[str, Any], max_pixels: int) -> dict[str, Any]:
    """Write the finished picture in the format of the photo that it was made from, with all that photo has.

    `FILL` is the lossless picture that the last fill gave. Every pixel where it does not differ from the
    photo is the photo's own, with as many bits as it has.
    """
    photo = photo_of(folder / PHOTO, "photo", max_pixels)
    fill = photo_of(folder / FILL, "picture", max_pixels)
    if fill.pixels.shape != photo.pixels.shape:
        raise ServiceError(422, "The picture has another size than the photo; open the photo again.")
    result = photo.filled(fill.pixels, (fill.pixels != photo.pixels).any(axis=2))
    try:
        data = encode_photo(result, photo.format)
    except ImageError as error:
        raise ServiceError(422, f"The picture cannot be written as the photo was: {error.reason}.") from error
    (folder / RESULT).write_bytes(data)
    suffix = next(suffix for suffix, format in SUFFIXES.items() if format == photo.format)
    return {
        "media": Image.MIME.get(photo.format, "application/octet-stream"),
        "suffix": suffix,
        "lossy": photo.format in LOSSY_FORMATS,
    }


_TASKS = {"show": show, "save": save}
