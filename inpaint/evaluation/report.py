"""What an evaluation leaves behind: results.json, the same numbers as Markdown, and a sheet of pictures."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inpaint.evaluation.differences import COMPARED
from inpaint.evaluation.methods import METHODS
from inpaint.evaluation.protocol import SheetRow
from inpaint.evaluation.results import METRICS
from inpaint.files import remove_partials, write_atomically
from inpaint.terminal import printable

HEADINGS = {
    "psnr": "PSNR ↑ dB",
    "ssim": "SSIM ↑",
    "l1": "L1 ↓ %",
    "psnr_hole": "PSNR hole ↑ dB",
    "l1_hole": "L1 hole ↓ %",
    "detail": "detail → 1",
    "patch_distance": "patches ↓",
    "feature_distance": "features ↓",
    "lpips": "LPIPS ↓",
    "seconds": "s / image",
    "count": "images",
}
"""Column headings of the Markdown tables, by the keys of results.json."""

DECIMALS = {
    "psnr": 2,
    "ssim": 4,
    "l1": 3,
    "psnr_hole": 2,
    "l1_hole": 3,
    "detail": 2,
    "patch_distance": 2,
    "feature_distance": 3,
    "lpips": 4,
    "seconds": 3,
    "count": 0,
}

RISING = ("psnr", "ssim", "psnr_hole")
"""The metrics of which more is better."""

DIFFERENCE_TITLES = {
    "psnr": "PSNR gained, dB, with the 95 % interval (paired bootstrap over the images):",
    "feature_distance": "Feature distance added (lower is better), with the 95 % interval:",
}

HOLE_COLOUR = (255, 0, 160)
MAX_CELL = 512
"""Largest side of a picture on the sheet, in pixels; larger ones are shrunk, smaller ones stay 1:1."""

_GAP = 6
_FONT_SIZE = 15
_LINE = 22
_INK, _PAPER = (20, 20, 20), (255, 255, 255)


def write_report(folder: Path, results: Mapping[str, Any], rows: Sequence[SheetRow] = ()) -> None:
    """Write results.json, table.md and, given rows, sheet.png into a folder, each of them all or nothing.

    `results` is {"protocol": {...}, "methods": {name: {metric: number | None, ..., "by_hole_ratio": {...}}},
    "differences": [{"metric", "method", "over", "mean", "interval", "count"}, ...]}.
    Without rows an older sheet.png is removed. Raises OSError where the disk says no.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_partials(folder, ("results.json", "table.md", "sheet.png"))
    text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A photo's name need not be UTF-8. What then stands for its bytes is an escape that JSON knows too.
    write_atomically(folder / "results.json", text.encode("utf-8", "backslashreplace"))
    write_atomically(folder / "table.md", markdown(results).encode("utf-8", "backslashreplace"))
    if not rows:
        (folder / "sheet.png").unlink(missing_ok=True)
    else:
        stream = io.BytesIO()
        picture_sheet(rows).save(stream, format="PNG")
        write_atomically(folder / "sheet.png", stream.getvalue())


def markdown(results: Mapping[str, Any]) -> str:
    """Write results as Markdown: what was measured, tables of all images, of differences and of each bin."""
    protocol, methods = results["protocol"], results["methods"]
    images, masks = printable(protocol["images"]), printable(protocol["masks"])
    parts = [
        f"{protocol['image_count']} images of {images}, {protocol['size']}×{protocol['size']} "
        f"centre crops, masks `{masks}`, seed {protocol['seed']}; sha256 of names and masks "
        f"`{protocol['sha256'][:16]}`; {protocol['date'][:10]}, {protocol['device']}, "
        f"CPU threads: {protocol['threads']}.",
        _table(methods),
    ]
    if (own := protocol.get("truth_patch_distance")) is not None:
        parts.append(f"Patches: the photos themselves are at {_number('patch_distance', own)}.")
    if features := protocol.get("features"):
        parts.append(f"Features: {features['backbone']}, weights `{features['sha256'][:16]}`; not LPIPS.")
    for metric in COMPARED:
        if table := difference_table(results["differences"], methods, metric):
            parts += [DIFFERENCE_TITLES[metric], table]
    bins = list(dict.fromkeys(name for entry in methods.values() for name in entry["by_hole_ratio"]))
    for name in sorted(bins):
        members = {method: entry["by_hole_ratio"][name] for method, entry in methods.items()}
        parts += [f"Hole ratio {name}:", _table(members)]
    if reason := protocol.get("features_unavailable"):
        parts.append(f"The feature distance was not computed: {reason}.")
    if protocol["lpips_unavailable"]:
        parts.append(f"LPIPS was not computed: {protocol['lpips_unavailable']}.")
    if protocol["skipped"]:
        parts.append(f"Left out because they could not be read: {_listed(protocol['skipped'])}.")
    if broken_masks := protocol.get("broken_masks"):
        parts.append(f"Masks passed over because they could not be read: {_listed(broken_masks)}.")
    return "\n\n".join(parts) + "\n"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(printable, names))


def difference_table(
    differences: Sequence[Mapping[str, Any]], methods: Mapping[str, Mapping[str, Any]], metric: str
) -> str:
    """Write a metric's differences as a Markdown table, each with its 95 % interval in brackets.

    A row for each method that is no baseline, or for each baseline where there is nothing else; a column for
    the best baseline by that metric, and one for each method of an earlier row. Empty where nothing is
    compared.
    """
    scored = {name: entry[metric] for name, entry in methods.items() if entry[metric] is not None}
    best = max if metric in RISING else min
    baselines = {name: value for name, value in scored.items() if name in METHODS}
    columns = [best(baselines, key=lambda name: baselines[name])] if baselines else []
    rows = [name for name in scored if name not in METHODS]
    if rows:
        columns += rows[:-1]
    else:
        rows = [name for name in baselines if name not in columns]
    cells = {}
    for entry in differences:
        if entry["metric"] == metric:
            low, high = entry["interval"] or (None, None)
            cells[entry["method"], entry["over"]] = _difference(metric, entry["mean"], low, high)
            turned = (None, None) if low is None or high is None else (-high, -low)
            cells[entry["over"], entry["method"]] = _difference(metric, -entry["mean"], *turned)
    lines = [["", *(f"over {name}" for name in columns)], ["---", *("---:" for _ in columns)]]
    for name in rows:
        earlier = [other for other in columns if other not in rows or rows.index(other) < rows.index(name)]
        found = [cells.get((name, other), "") if other in earlier else "" for other in columns]
        if any(found):
            lines.append([name, *found])
    return _lines(lines) if len(lines) > 2 else ""


def _difference(metric: str, mean: float, low: float | None, high: float | None) -> str:
    numbers = [f"{number:+z.{DECIMALS[metric]}f}" for number in (mean, low, high) if number is not None]
    return numbers[0] + (f" [{numbers[1]}, {numbers[2]}]" if len(numbers) == 3 else "")


def _table(entries: Mapping[str, Mapping[str, Any]]) -> str:
    # A metric that nobody has (LPIPS without its backbone) takes no column.
    shown = [key for key in (*METRICS, "count") if any(entry[key] is not None for entry in entries.values())]
    lines = [["method", *(HEADINGS[key] for key in shown)], ["---", *("---:" for _ in shown)]]
    lines += [[name, *(_number(key, entry[key]) for key in shown)] for name, entry in entries.items()]
    return _lines(lines)


def _lines(lines: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _number(key: str, value: float | None) -> str:
    return "–" if value is None else f"{value:.{DECIMALS[key]}f}"


def picture_sheet(rows: Sequence[SheetRow]) -> Image.Image:
    """Draw one line per row: the photo with its hole coloured, the mask, each method's picture, the truth.

    Under each method's picture stand its PSNR over the whole image and over the hole. Pictures up to 512
    pixels a side are drawn 1:1. Raises ValueError where there is no row.
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
