"""The files of a report: results.json, the same numbers as Markdown, and a sheet of pictures."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inpaint.evaluation.averages import METRICS
from inpaint.evaluation.differences import COMPARED
from inpaint.evaluation.methods import METHODS
from inpaint.evaluation.schema import Results
from inpaint.evaluation.sheet import SheetRow, picture_sheet
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


def write_report(folder: Path, results: Results, rows: Sequence[SheetRow] = ()) -> None:
    """Write results.json, table.md and, given rows, sheet.png into a folder, each of them all or nothing.

    Args:
        folder: is made where it does not exist.
        results: what `inpaint.evaluation.results.results_document` returns.
        rows: of the picture sheet; without them an older sheet.png is removed.

    Raises:
        OSError: a file cannot be written.
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


def markdown(results: Results) -> str:
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
