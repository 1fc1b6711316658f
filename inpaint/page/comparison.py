"""What the Evaluate tab needs done with photos. It runs in a process of its own.

The steps of one comparison are pieces of work on one folder: `prepare`, then `add` for each method, then
`finish`. Models do not fill here: the queue lets them, on what `prepare` made ready.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inpaint.masks import blanked
from inpaint.page.desk import MASK, PHOTO
from inpaint.page.pictures import mask_of, photo_of, png
from inpaint.serving.errors import ServiceError
from inpaint.serving.process import Report, Work

TRUTH, HOLE, BLANKED, SHOWN, TABLE, SHEET = "truth", "hole", "blanked", "shown", "table", "sheet"
"""Names of files in the folder, besides the photo, its mask, and the methods' fills."""

COMPARED_SIDE = 2048
"""Longest side of a photo that methods are compared on, in pixels."""

CLOSER = 0.5
"""What is shown around the hole, as a share of the hole's longer side."""


def work(settings: Mapping[str, Any]) -> Work:
    """Return the work; an order's `do` says which. `settings`: `max_pixels`."""
    max_pixels = settings["max_pixels"]

    def do(folder: Path, order: Mapping[str, Any], report: Report) -> dict[str, Any]:
        return _TASKS[order["do"]](folder, order, max_pixels)

    return do


def prepare(folder: Path, order: Mapping[str, Any], max_pixels: int) -> dict[str, Any]:
    """Make a photo and its mask ready: `TRUTH`, the mask `HOLE`, and the photo `BLANKED` and coloured there.

    A photo of many megapixels is reduced to `COMPARED_SIDE`: to fill it by every method would take minutes.

    Returns:
        `width` and `height` of what is compared, the hole's `share`, and the `box` around the hole that is
        worth looking at: left, top, right, bottom.
    """
    from inpaint.evaluation.sheet import HOLE_COLOUR

    photo = photo_of(folder / PHOTO, "photo", max_pixels).pixels
    mask = mask_of(folder / MASK, max_pixels)
    if mask.shape != photo.shape[:2]:
        raise ServiceError(422, "The mask has another size than the photo; open the photo again.")
    photo, mask = reduced(photo), reduced_mask(mask)
    if not mask.any():
        raise ServiceError(422, "Nothing is painted; paint over what the methods should fill.")
    if mask.all():
        raise ServiceError(422, "Everything is painted over: leave some of the photo to fill from.")
    shown = np.where(mask[..., None], np.array(HOLE_COLOUR, np.uint8), photo)
    for name, pixels in ((TRUTH, photo), (HOLE, mask), (BLANKED, blanked(photo, mask)), (SHOWN, shown)):
        (folder / name).write_bytes(png(pixels))
    return {
        "width": photo.shape[1],
        "height": photo.shape[0],
        "share": float(mask.mean()),
        "box": box_around(mask),
    }


def add(folder: Path, order: Mapping[str, Any], max_pixels: int) -> dict[str, Any]:
    """Score one method against what `prepare` made ready, and write its picture to the file `order["file"]`.

    A baseline fills here: `order["method"]` is its name. Where that is empty, the file holds a fill already,
    which took `order["seconds"]`.

    Returns:
        The scores, by the names of `inpaint.evaluation.averages.METRICS`.
    """
    from inpaint.evaluation import METHODS, Case
    from inpaint.evaluation.scoring import MethodError, score_method

    case = Case("photo", *_prepared(folder, max_pixels))
    path, name = folder / order["file"], order["method"]
    if name:
        method = METHODS[name]
    else:
        fill = photo_of(path, "picture", max_pixels).pixels
        method = lambda image, mask: fill  # noqa: E731
    try:
        picture, scores = score_method(name, method, case)
    except MethodError as error:
        raise ServiceError(500, f"The method failed: {error}.") from error
    path.write_bytes(png(picture))
    return {**scores, "seconds": scores["seconds"] if name else order["seconds"]}


def finish(folder: Path, order: Mapping[str, Any], max_pixels: int) -> dict[str, Any]:
    """Write the table of all scores as CSV, and the sheet of all pictures.

    `order["rows"]` holds a row for each method that was scored: its `method`, `title`, `file` and `scores`.
    """
    from inpaint.evaluation import Case, picture_sheet
    from inpaint.evaluation.averages import METRICS
    from inpaint.evaluation.sheet import SheetRow

    truth, mask = _prepared(folder, max_pixels)
    rows = order["rows"]
    metrics = [name for name in METRICS if any(row["scores"][name] is not None for row in rows)]
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["method", "title", *metrics, "width", "height", "hole_share"])
    facts = (mask.shape[1], mask.shape[0], f"{mask.mean():.6f}")
    for row in rows:
        numbers = [row["scores"][name] for name in metrics]
        table.writerow([row["method"], row["title"], *_written(numbers), *facts])
    (folder / TABLE).write_text(text.getvalue(), "utf-8", newline="")
    fills = {row["method"]: photo_of(folder / row["file"], "picture", max_pixels).pixels for row in rows}
    scores = {row["method"]: row["scores"] for row in rows}
    stream = io.BytesIO()
    picture_sheet([SheetRow(Case("photo", truth, mask), fills, scores)]).save(stream, "PNG")
    (folder / SHEET).write_bytes(stream.getvalue())
    return {}


def box_around(mask: np.ndarray) -> list[int]:
    """Return the box of a mask with some surroundings: left, top, right, bottom.

    >>> mask = np.zeros((100, 200), bool)
    >>> mask[40:50, 180:200] = True
    >>> box_around(mask)
    [170, 30, 200, 60]
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = (int(value) for value in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
    margin = round(CLOSER * max(bottom - top, right - left))
    height, width = mask.shape
    return [
        max(0, left - margin),
        max(0, top - margin),
        min(width, right + margin),
        min(height, bottom + margin),
    ]


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


_TASKS = {"prepare": prepare, "add": add, "finish": finish}


def _prepared(folder: Path, max_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    return photo_of(folder / TRUTH, "photo", max_pixels).pixels, mask_of(folder / HOLE, max_pixels)


def _written(numbers: list[float | None]) -> list[str]:
    return ["" if number is None else f"{number:.6g}" for number in numbers]
