"""What the scripts that compare fills of whole photos share: the hole, the peers, the cells of a sheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inpaint.files import why_not_regular
from inpaint.images import SUFFIXES
from inpaint.inference.plan import Box, bounding_box
from inpaint.inference.scales import shrink, to_uint8
from inpaint.masks import generator_for, objects

HOLE = (0.049, 0.051)
"""Share of the photo that a hole covers where it is drawn."""

HOLE_SIDE = 512
"""Longest side, in pixels, of the copy of a photo that its hole is drawn on."""

HOLE_BLUR = 2.0
"""Standard deviation, in pixels of that size, of the blur that takes the stairs from a hole's outline."""

PEER_SIDE = 1024
"""Longest side, in pixels, of the copy that Telea and PatchMatch fill, and that fills are scored at."""

PAINT = (232, 62, 98)
"""A colour for holes, which few photos have."""

GAP = 8  # px of white between cells
TITLE = 26  # px for the line of words above them


def photo_files(folder: Path) -> list[Path]:
    """Return the photos of a folder, by name. Raises ValueError where there are none."""
    files = sorted(
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not why_not_regular(path)
    )
    if not files:
        raise ValueError(f"{folder}: no photo there (looked for {', '.join(SUFFIXES)})")
    return files


def object_hole(seed: int, name: str, height: int, width: int) -> np.ndarray:
    """Draw the hole of a photo: one blob of about 5 % of it, bool height×width, True = fill.

    The seed and the photo's name decide. One shape of `inpaint.masks.objects` is drawn at `HOLE_SIDE`,
    blurred by `HOLE_BLUR`, enlarged (bicubic) and cut at one half, which leaves no stairs. The largest
    connected piece of that is the hole.
    """
    rows, columns = (max(1, round(side * _scale(height, width, HOLE_SIDE))) for side in (height, width))
    drawn = objects(generator_for(seed, name), rows, columns, ratio=HOLE, shapes=(1, 1))
    soft = cv2.GaussianBlur(drawn.astype(np.float32), (0, 0), HOLE_BLUR)
    large = cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC) > 0.5
    count, pieces, figures, _ = cv2.connectedComponentsWithStats(large.view(np.uint8))
    if count <= 2:
        return large
    return pieces == 1 + int(figures[1:, cv2.CC_STAT_AREA].argmax())


def filled_small(
    method: Callable[[np.ndarray, np.ndarray], np.ndarray], photo: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """Fill a copy that is shrunk to `PEER_SIDE`, and bring its fill up (bicubic) into the photo's hole.

    The copy's pixels are means of known pixels alone, so the method sees nothing of what the hole hides.
    """
    height, width = mask.shape
    small, hole = shrink(photo, mask, _scale(height, width, PEER_SIDE))
    raised = cv2.resize(method(to_uint8(small), hole), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.where(mask[..., None], raised, photo)


def shrunk_photo(photo: np.ndarray, side: int = PEER_SIDE) -> np.ndarray:
    """Return a photo at no more than `side` pixels: means of what lies under each pixel."""
    height, width = photo.shape[:2]
    scale = _scale(height, width, side)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)


def shrunk_mask(mask: np.ndarray, side: int = PEER_SIDE) -> np.ndarray:
    """Return a mask at no more than `side` pixels: hole where more than half is."""
    return shrunk_photo(mask.astype(np.float32), side) > 0.5


def square_around(mask: np.ndarray) -> Box:
    """Return a square around a hole, half as long again as the hole's box; less where the photo is narrow."""
    box = bounding_box(mask)
    side = round(1.5 * max(box.bottom - box.top, box.right - box.left))
    return square_at((box.top + box.bottom) // 2, (box.left + box.right) // 2, side, mask)


def square_at(row: int, column: int, side: int, mask: np.ndarray) -> Box:
    """Return the square of that side, centred there as nearly as the photo allows."""
    side = min(side, *mask.shape)
    top, left = (
        min(max(centre - side // 2, 0), length - side)
        for centre, length in zip((row, column), mask.shape, strict=True)
    )
    return Box(top, left, top + side, left + side)


def painted(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the photo with its hole in one colour."""
    return np.where(mask[..., None], np.array(PAINT, np.uint8), photo)


def cell(picture: np.ndarray, box: Box, side: int) -> np.ndarray:
    """Return what lies in a square, as a cell of `side` pixels."""
    piece = picture[box.slices]
    way = cv2.INTER_AREA if piece.shape[0] > side else cv2.INTER_CUBIC
    return cv2.resize(piece, (side, side), interpolation=way)


def sheet(titles: Sequence[str], rows: Sequence[Sequence[np.ndarray]]) -> Image.Image:
    """Put rows of square cells of one size below their titles."""
    side = rows[0][0].shape[0]
    canvas = Image.new(
        "RGB", (len(titles) * (side + GAP) - GAP, TITLE + len(rows) * (side + GAP) - GAP), "white"
    )
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        draw.text((column * (side + GAP), 2), title, fill="black", font=ImageFont.load_default(18))
        for row, cells in enumerate(rows):
            canvas.paste(Image.fromarray(cells[column]), (column * (side + GAP), TITLE + row * (side + GAP)))
    return canvas


def _scale(height: int, width: int, side: int) -> float:
    return min(1.0, side / max(height, width))
