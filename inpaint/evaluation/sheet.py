"""The sheet of pictures: which images are on it, and how it is drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inpaint.evaluation.averages import hole_ratio_bin
from inpaint.evaluation.cases import Case

HOLE_COLOUR = (255, 0, 160)
MAX_CELL = 512
"""Largest side of a picture on the sheet, in pixels; larger ones are shrunk, smaller ones stay 1:1."""

_GAP = 6
_FONT_SIZE = 15
_LINE = 22
_INK, _PAPER = (20, 20, 20), (255, 255, 255)


@dataclass
class SheetRow:
    """One line of a picture sheet: a case, and each method's composite with its scores."""

    case: Case
    fills: dict[str, np.ndarray]
    scores: dict[str, dict[str, float | None]]


class SheetSample:
    """Keep a few rows of a long stream, spread over the bins of hole ratio.

    Each bin keeps the rows whose names hash lowest: a fixed sample in bounded memory that does not favour the
    names that come first.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._bins: dict[str | None, list[SheetRow]] = {}

    def offer(self, row: SheetRow) -> None:
        """Keep a row if it belongs to the sample so far."""
        kept = self._bins.setdefault(hole_ratio_bin(row.case.hole_ratio), [])
        kept.append(row)
        kept.sort(key=lambda row: hashlib.sha256(row.case.name.encode("utf-8", "surrogateescape")).digest())
        del kept[self._rows :]

    def chosen(self) -> list[SheetRow]:
        """Return the rows, taken from the bins in turn until there are enough, by rising hole ratio."""
        longest = max((len(kept) for kept in self._bins.values()), default=0)
        turns = [kept[turn] for turn in range(longest) for kept in self._bins.values() if turn < len(kept)]
        return sorted(turns[: self._rows], key=lambda row: row.case.hole_ratio)


def picture_sheet(rows: Sequence[SheetRow]) -> Image.Image:
    """Draw one line per row: the photo with its hole coloured, the mask, each method's picture, the truth.

    Under each method's picture stand its PSNR over the whole image and over the hole. Pictures up to 512
    pixels a side are drawn 1:1.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("a picture sheet needs at least one row")
    methods = list(rows[0].fills)
    columns = ["input", "mask", *methods, "truth"]
    height, width = rows[0].case.mask.shape
    scale = min(1.0, MAX_CELL / max(height, width))
    cell = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Labels need some room, however small the pictures.
    pitch = (max(cell[0], 110) + _GAP, cell[1] + _LINE + _GAP)
    sheet = Image.new("RGB", (len(columns) * pitch[0] + _GAP, len(rows) * pitch[1] + _LINE + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_SIZE)

    def write(text: str, column: int, top: int) -> None:
        text = text.encode("utf-8", "backslashreplace").decode()
        while draw.textlength(text, font) > pitch[0] - _GAP and len(text) > 1:
            text = text[:-2] + "…"
        draw.text((_GAP + column * pitch[0], top), text, _INK, font)

    for column, name in enumerate(columns):
        write(name, column, 2)
    for index, row in enumerate(rows):
        top = _LINE + _GAP + index * pitch[1]
        captions = [f"{row.case.hole_ratio:.0%} hole", row.case.name]
        captions += [_caption(row.scores[name]) for name in methods] + [""]
        for column, (image, caption) in enumerate(zip(_pictures(row, methods), captions, strict=True)):
            picture = Image.fromarray(image)
            if picture.size != cell:
                picture = picture.resize(cell, Image.Resampling.LANCZOS)
            sheet.paste(picture, (_GAP + column * pitch[0], top))
            write(caption, column, top + cell[1] + 2)
    return sheet


def _pictures(row: SheetRow, methods: Iterable[str]) -> list[np.ndarray]:
    coloured = row.case.image.copy()
    coloured[row.case.mask] = HOLE_COLOUR
    mask = np.repeat(row.case.mask[..., None].astype(np.uint8) * 255, 3, axis=2)
    return [coloured, mask, *(row.fills[name] for name in methods), row.case.image]


def _caption(scores: Mapping[str, float | None]) -> str:
    whole, hole = scores["psnr"], scores["psnr_hole"]
    return f"{whole:.1f} dB" + (f" (hole {hole:.1f})" if hole is not None else "")
