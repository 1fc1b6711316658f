"""What the page needs done with photos besides fills. It runs in a process of its own.

The process is one of `inpaint.serving.worker`: files of unknown origin are decoded there, and one that makes
it crash ends that piece of work and nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inpaint.images import (
    LOSSY_FORMATS,
    SUFFIXES,
    ImageError,
    Photo,
    encode_photo,
    read_mask,
    read_photo,
)
from inpaint.masks import blanked
from inpaint.serving.errors import ServiceError, unreadable
from inpaint.serving.process import Report, Work

PHOTO, MASK, FILL, RESULT = "photo", "mask", "fill", "result"
TRUTH, SMALL_MASK, BLANKED = "truth", "small-mask", "blanked"
"""Names of files in the folder of a piece of work."""

COMPARED_SIDE = 2048
"""Longest side of a photo that methods are compared on, in pixels."""

MASK_COLOUR = (232, 62, 84)

BASELINES = ("telea", "harmonic")
"""Methods that a model is compared with, by their names in `inpaint.evaluation.METHODS`."""


def work(settings: Mapping[str, Any]) -> Work:
    """Return the work; an order's `do` says which. `settings`: `max_pixels`."""
    max_pixels = settings["max_pixels"]

    def do(folder: Path, order: Mapping[str, Any], report: Report) -> dict[str, Any]:
        return _TASKS[order["do"]](folder, order, max_pixels)

    return do


def show(folder: Path, order: Mapping[str, Any], max_pixels: int) -> dict[str, Any]:
    """Turn a photo that browsers cannot open, such as a TIFF, into a PNG: upright, 8 bits a channel."""
    photo = _read(folder / PHOTO, "photo", max_pixels)
    (folder / RESULT).write_bytes(png(photo.pixels))
    return {"media": "image/png", "suffix": ".png"}


def save(folder: Path, order: Mapping[str, Any], max_pixels: int) -> dict[str, Any]:
    """Write the finished picture in the format of the photo that it was made from, with all that photo has.

    `FILL` is the lossless picture that the last fill gave. Every pixel where it does not differ from the
    photo is the photo's own, with as many bits as it has.
    """
    photo = _read(folder / PHOTO, "photo", max_pixels)
    fill = _read(folder / FILL, "picture", max_pixels)
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


def prepare(folder: Path, order: Mapping[str, Any], max_pixels: int) -> dict[str, Any]:
    """Make a photo and its mask ready to be compared: `TRUTH`, `SMALL_MASK`, and the photo `BLANKED` there.

    A photo of many megapixels is reduced to `COMPARED_SIDE`: to fill it by Telea and to score it would take
    minutes.
    """
    photo = _read(folder / PHOTO, "photo", max_pixels).pixels
    mask = _read_mask(folder / MASK, max_pixels)
    if mask.shape != photo.shape[:2]:
        raise ServiceError(422, "The mask has another size than the photo; open the photo again.")
    photo, mask = reduced(photo), reduced_mask(mask)
    for name, pixels in ((TRUTH, photo), (SMALL_MASK, mask), (BLANKED, blanked(photo, mask))):
        (folder / name).write_bytes(png(pixels))
    return {}


def compare(folder: Path, order: Mapping[str, Any], max_pixels: int) -> dict[str, Any]:
    """Score a model's `FILL`, and those of the baselines, against what `prepare` made ready.

    Returns:
        `scores` by method and the `pictures` that were written, by title; the hole's `share`, and the size.
    """
    from inpaint import evaluation

    photo = _read(folder / TRUTH, "photo", max_pixels).pixels
    mask = _read_mask(folder / SMALL_MASK, max_pixels)
    fill = _read(folder / FILL, "picture", max_pixels).pixels
    methods: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {order["title"]: lambda *_: fill}
    methods |= {name.capitalize(): evaluation.METHODS[name] for name in BASELINES}
    results = evaluation.compare(evaluation.Case("photo", photo, mask), methods)
    hole = photo.copy()
    hole[mask] = MASK_COLOUR
    pictures = {"Hole": hole, "Truth": photo} | {title: pixels for title, (pixels, _) in results.items()}
    files = {title: f"{number}.png" for number, title in enumerate(pictures)}
    for title, pixels in pictures.items():
        (folder / files[title]).write_bytes(png(pixels))
    return {
        "scores": {title: dict(scores) for title, (_, scores) in results.items()},
        "pictures": files,
        "share": float(mask.mean()),
        "size": [photo.shape[1], photo.shape[0]],
    }


def reduced_size(height: int, width: int) -> tuple[int, int]:
    """Return a photo's size (height, width), or that of a copy whose longer side is `COMPARED_SIDE`.

    >>> reduced_size(3000, 4000)
    (1536, 2048)
    """
    scale = min(1.0, COMPARED_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def reduced(pixels: np.ndarray) -> np.ndarray:
    """Return a photo, uint8 H×W×3, in its reduced size."""
    height, width = reduced_size(*pixels.shape[:2])
    if (height, width) == pixels.shape[:2]:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def reduced_mask(mask: np.ndarray) -> np.ndarray:
    """Return a mask in its reduced size; a pixel is hole if any pixel under it is."""
    height, width = reduced_size(*mask.shape)
    if (height, width) == mask.shape:
        return mask
    rows, columns = np.nonzero(mask)
    small = np.zeros((height, width), dtype=bool)
    rows = (2 * rows + 1) * height // (2 * mask.shape[0])
    columns = (2 * columns + 1) * width // (2 * mask.shape[1])
    small[rows, columns] = True
    return small


def png(pixels: np.ndarray) -> bytes:
    """Encode an array that Pillow knows as a PNG, quickly rather than small."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


_TASKS = {"show": show, "save": save, "prepare": prepare, "compare": compare}


def _read(path: Path, what: str, max_pixels: int) -> Photo:
    return _checked(lambda: read_photo(path.read_bytes(), max_pixels=max_pixels), what)


def _read_mask(path: Path, max_pixels: int) -> np.ndarray:
    return _checked(lambda: read_mask(path.read_bytes(), max_pixels=max_pixels), "mask")


def _checked(read: Callable[[], Any], what: str) -> Any:
    try:
        return read()
    except ImageError as error:
        raise unreadable(error, what) from error
