"""What an evaluation leaves behind: results.json, the same numbers as Markdown, and a sheet of pictures."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inpaint.evaluation.baselines import METHODS
from inpaint.evaluation.protocol import METRICS, Case, SheetRow
from inpaint.files import remove_partials
from inpaint.images import write_atomically
from inpaint.terminal import printable

HEADINGS = {
    "psnr": "PSNR ↑ dB",
    "ssim": "SSIM ↑",
    "l1": "L1 ↓ %",
    "psnr_hole": "PSNR hole ↑ dB",
    "l1_hole": "L1 hole ↓ %",
    "lpips": "LPIPS ↓",
    "seconds": "s / image",
    "count": "images",
}
"""Column headings of the Markdown tables, by the keys of results.json."""

DECIMALS = {"psnr": 2, "ssim": 4, "l1": 3, "psnr_hole": 2, "l1_hole": 3, "lpips": 4, "seconds": 3, "count": 0}

HOLE_COLOUR = (255, 0, 160)
MAX_CELL = 512
"""Largest side of a picture on the sheet, in pixels; larger ones are shrunk, smaller ones stay 1:1."""

_GAP = 6
_FONT_SIZE = 15
_LINE = 22
_INK, _PAPER = (20, 20, 20), (255, 255, 255)


def write_report(folder: Path, results: Mapping[str, Any], rows: Sequence[SheetRow] = ()) -> None:
    """Write results.json, table.md and, given rows, sheet.png into a folder, each of them all or nothing.

    `results` is {"protocol": {...}, "methods": {name: {metric: number | None, ..., "by_hole_ratio": {...}}}}.
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


def export_cases(cases: Iterable[Case], folder: Path) -> None:
    """Write what methods see as PNG files: FOLDER/images/STEM.png, the hole grey, and FOLDER/masks/STEM.png.

    A folder of fills of these pictures can be scored as ready results. Raises ValueError where two photos
    have the same file stem.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    seen: dict[str, str] = {}
    for case in cases:
        stem = PurePosixPath(case.name).stem
        if stem in seen:
            raise ValueError(
                f"{seen[stem]} and {case.name} would be exported to one file; rename one of them"
            )
        seen[stem] = case.name
        for kind, pixels in (("images", case.destroyed()), ("masks", case.mask)):
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, format="PNG")
            write_atomically(folder / kind / f"{stem}.png", stream.getvalue())
    for kind in ("images", "masks"):
        remove_partials(folder / kind, {f"{stem}.png" for stem in seen})


def markdown(results: Mapping[str, Any]) -> str:
    """Write results as Markdown: what was measured, a table of all images, `gains`, a table per bin."""
    protocol, methods = results["protocol"], results["methods"]
    images, masks = printable(protocol["images"]), printable(protocol["masks"])
    parts = [
        f"{protocol['image_count']} images of {images}, {protocol['size']}×{protocol['size']} "
        f"centre crops, masks `{masks}`, seed {protocol['seed']}; sha256 of names and masks "
        f"`{protocol['sha256'][:16]}`; {protocol['date'][:10]}, {protocol['device']}, "
        f"CPU threads: {protocol['threads']}.",
        _table(methods),
    ]
    if verdict := gains({name: entry["psnr"] for name, entry in methods.items()}):
        parts.append(verdict)
    bins = list(dict.fromkeys(name for entry in methods.values() for name in entry["by_hole_ratio"]))
    for name in sorted(bins):
        members = {method: entry["by_hole_ratio"][name] for method, entry in methods.items()}
        parts += [f"Hole ratio {name}:", _table(members)]
    if protocol["lpips_unavailable"]:
        parts.append(f"LPIPS was not computed: {protocol['lpips_unavailable']}.")
    if protocol["skipped"]:
        parts.append(f"Left out because they could not be read: {_listed(protocol['skipped'])}.")
    if broken_masks := protocol.get("broken_masks"):
        parts.append(f"Masks passed over because they could not be read: {_listed(broken_masks)}.")
    return "\n\n".join(parts) + "\n"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(printable, names))


def gains(psnr: Mapping[str, float]) -> str:
    """Say in one line what each other method gains over the best baseline, given dB by method.

    Empty where no baseline or nothing but baselines was scored.
    """
    baselines = [name for name in psnr if name in METHODS]
    others = [name for name in psnr if name not in METHODS]
    if not baselines or not others:
        return ""
    best = max(baselines, key=lambda name: psnr[name])
    rank = "the best of the baselines" if len(baselines) > 1 else "the only baseline that was scored"
    gained = ", ".join(f"{name}: {psnr[name] - psnr[best]:+.2f} dB" for name in others)
    return f"{gained} over {best}, {rank}."


def _table(entries: Mapping[str, Mapping[str, Any]]) -> str:
    # A metric that nobody has (LPIPS without its backbone) takes no column.
    shown = [key for key in (*METRICS, "count") if any(entry[key] is not None for entry in entries.values())]
    lines = [["method", *(HEADINGS[key] for key in shown)], ["---", *("---:" for _ in shown)]]
    lines += [[name, *(_number(key, entry[key]) for key in shown)] for name, entry in entries.items()]
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
