#!/usr/bin/env python
r"""Fill an object-sized hole of each photo of a folder, at full size, beside Telea and PatchMatch.

    python benchmarks/large_photos.py --photos photos --output runs/large_photos
    python benchmarks/large_photos.py --photos photos --output runs/large_photos \
        --features squeezenet:weights/squeezenet1_1_features.safetensors

For photos as cameras write them. The hole is one blob of 5 % of the photo, decided by the seed and the file's
name (`comparison.object_hole`). The model fills the photo as it is, with its first stage alone and with both;
Telea and PatchMatch, which would take minutes there, fill a copy of 1024 pixels, and that fill is brought up.

Into the folder of --output go large_photos.md, the page; fills.jpg, what lies around each hole; and rims.jpg,
a piece at each hole's rim, pixel for pixel. What is in the seconds and the memory stands on the page.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import torch
from comparison import (
    HOLE_BLUR,
    HOLE_SIDE,
    PEER_SIDE,
    cell,
    filled_small,
    object_hole,
    painted,
    photo_files,
    sheet,
    shrunk_mask,
    shrunk_photo,
    square_around,
    square_at,
)
from measurement import markdown_table, publish, report

from inpaint import Inpainter
from inpaint.evaluation.methods import check_patchmatch, patchmatch, telea
from inpaint.images import read_photo
from inpaint.inference.plan import Box
from inpaint.masks import generator_for
from inpaint.metrics import FeatureDistance, psnr_hole
from inpaint.ops import implementation
from inpaint.weights import WeightsError

METHODS = ("stage 1", "Telea", "PatchMatch", "both stages")
CELL = 480  # px
RIM = 400  # px
HOW = f"""\
Seconds are medians over {{rounds}} fills by each method, in turn, a process for each photo, with
the model loaded and everything warmed up on a copy of {PEER_SIDE} px. Stage 1 is done when `progress` says
one half. Telea (OpenCV, radius 3) and PatchMatch (PyPatchMatch, 7×7 patches) fill a copy whose longest side
is {PEER_SIDE} px; shrinking it and bringing its fill up are in their seconds. CPU seconds are the
processor's for both stages, over all threads: they suffer less where other programs run.

Memory is what the first fill with both stages took at its highest above what the process held just before,
with the model, the photo and the mask: `VmHWM` of `/proc/self/status`, reset through `/proc/self/clear_refs`,
less `VmRSS`. The load is the system's average over the last minute, when a photo was done."""
HOLES = f"""\
The hole is one shape of `inpaint.masks.objects`, 5 % of the picture, which seed {{seed}} and the file's name
draw on {HOLE_SIDE} px; it is blurred by {HOLE_BLUR:.0f} px, enlarged and cut at one half, and its largest
connected piece counts."""
SCORES = f"""\
Scores in the hole, with the photo and each full-size fill shrunk to {PEER_SIDE} px:
{{kinds}}.
None sees the detail that is finer than that."""


@dataclass
class Measured:
    """What one photo gave.

    Attributes:
        name: of the file.
        megapixels: of the photo.
        hole: share of the photo.
        load: of the system, average over a minute.
        seconds: medians, of each method, of stage 1 and of the processor.
        peak: MiB that a fill with both stages takes above what was there; None where that cannot be read.
        scores: of each method, feature distance (None without a network) and PSNR.
        cells: uint8 480×480×3, of the first sheet.
        rims: uint8 400×400×3, of the second.
    """

    name: str
    megapixels: float
    hole: float
    load: float
    seconds: dict[str, float]
    peak: float | None
    scores: dict[str, tuple[float | None, float | None]]
    cells: list[np.ndarray]
    rims: list[np.ndarray]


def main() -> None:
    """Read the command line, fill, write the page and the sheets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="folder of photos")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where results go")
    parser.add_argument(
        "--model", default="pconv-carafe", help="name, folder or hub id (default: %(default)s)"
    )
    parser.add_argument("--features", metavar="NETWORK:FILE", help="such as squeezenet:FILE, for a distance")
    parser.add_argument("--seed", type=int, default=0, help="of the holes (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="timed fills (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds must be 1 or more, got {arguments.rounds}")
    try:
        files = photo_files(arguments.photos)
        check_patchmatch()
        precision = Inpainter.from_pretrained(arguments.model, device="cpu").precision
        distance = FeatureDistance.load(arguments.features) if arguments.features else None
    except (WeightsError, ValueError, OSError) as error:
        parser.error(str(error))
    torch.set_num_threads(arguments.threads)

    measured = []
    # A process for each photo: what one leaves behind would count as the next one's baseline.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        for file in files:
            measured.append(pool.submit(measure, file, arguments).result())
            seconds = ", ".join(f"{name} {value:.1f} s" for name, value in measured[-1].seconds.items())
            print(f"{file.name}: {seconds}", flush=True)

    kinds = "PSNR in dB"
    if distance:
        kinds = f"feature distance ({distance.name}, file {distance.sha256[:8]}, lower is nearer) and {kinds}"
    environment = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("OMP_")]
    facts = {
        "environment": ", ".join(sorted(environment)) or "no OMP_ variables",
        "operator": implementation("cpu"),
        "precision": precision,
        "libraries": f"OpenCV {cv2.__version__}, PyPatchMatch {version('pypatchmatch')}",
        "load": f"{min(one.load for one in measured):.1f} to {max(one.load for one in measured):.1f}",
    }
    texts = [
        HOW.format(rounds=arguments.rounds),
        timing_table(measured),
        HOLES.format(seed=arguments.seed),
        SCORES.format(kinds=kinds),
        score_table(measured),
    ]
    arguments.output.mkdir(parents=True, exist_ok=True)
    publish(report("Large photos", facts, texts), arguments.output / "large_photos.md")
    titles = ["photo, hole marked", *METHODS]
    sheet(titles, [one.cells for one in measured]).save(arguments.output / "fills.jpg", quality=90)
    titles = ["hole marked, 1:1", "PatchMatch, brought up", "both stages"]
    sheet(titles, [one.rims for one in measured]).save(arguments.output / "rims.jpg", quality=92)


def measure(file: Path, arguments: argparse.Namespace) -> Measured:
    """Fill one photo by every method, time and score it."""
    torch.set_num_threads(arguments.threads)
    photo = read_photo(file).pixels
    mask = object_hole(arguments.seed, file.name, *photo.shape[:2])
    both = Inpainter.from_pretrained(arguments.model, device="cpu", detail="photo")
    stage_1_done = 0.0

    def watch(fraction: float) -> None:
        nonlocal stage_1_done
        if fraction <= 0.5:  # the half that is stage 1's
            stage_1_done = time.perf_counter()

    works: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "both stages": lambda photo, mask: both(photo, mask, progress=watch),
        "Telea": lambda photo, mask: filled_small(telea, photo, mask),
        "PatchMatch": lambda photo, mask: filled_small(patchmatch, photo, mask),
    }
    for work in works.values():
        work(shrunk_photo(photo), shrunk_mask(mask))

    peak, fills = None, {}
    times: dict[str, list[float]] = {name: [] for name in (*works, "stage 1", "CPU")}
    for count in range(arguments.rounds):
        for name, work in works.items():
            watched = count == 0 and name == "both stages"
            before = memory("VmRSS") if watched and reset_peak() else None
            start, start_cpu = time.perf_counter(), time.process_time()
            fills[name] = work(photo, mask)
            times[name].append(time.perf_counter() - start)
            if before is not None:
                peak = memory("VmHWM") - before
            if name == "both stages":
                times["CPU"].append(time.process_time() - start_cpu)
                times["stage 1"].append(stage_1_done - start)
    fills["stage 1"] = Inpainter(both.network, device="cpu", detail="none")(photo, mask)

    distance = FeatureDistance.load(arguments.features) if arguments.features else None
    truth, hole = shrunk_photo(photo), shrunk_mask(mask)
    scores = {}
    for name in METHODS:
        small = shrunk_photo(fills[name])
        scores[name] = (distance(truth, small, hole) if distance else None, psnr_hole(truth, small, hole))
    around = square_around(mask)
    rim = rim_square(mask, arguments.seed, file.name)
    marked = painted(photo, mask)
    return Measured(
        name=file.stem,
        megapixels=mask.size / 1e6,
        hole=float(mask.mean()),
        load=os.getloadavg()[0],
        seconds={name: statistics.median(values) for name, values in times.items()},
        peak=peak,
        scores=scores,
        cells=[cell(picture, around, CELL) for picture in (marked, *(fills[name] for name in METHODS))],
        rims=[picture[rim.slices] for picture in (marked, fills["PatchMatch"], fills["both stages"])],
    )


def rim_square(mask: np.ndarray, seed: int, name: str) -> Box:
    """Return a square of `RIM` pixels around a pixel of the rim, which the seed and the name choose."""
    rim = (cv2.erode(mask.view(np.uint8), np.ones((3, 3), np.uint8)) == 0) & mask
    rows, columns = np.nonzero(rim)
    chosen = int(generator_for(seed, name, "rim").integers(len(rows)))
    return square_at(int(rows[chosen]), int(columns[chosen]), RIM, mask)


def reset_peak() -> bool:
    """Make the process's highest memory its present one; False where the system has no such thing."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def memory(line: str) -> float:
    """Return a line of /proc/self/status in MiB: VmRSS is the present memory, VmHWM the highest."""
    (kibibytes,) = re.findall(rf"^{line}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(kibibytes) / 1024


def timing_table(measured: list[Measured]) -> str:
    """Seconds and memory, a line for each photo, and the mean."""
    columns = ["photo", "megapixels", "hole, %"]
    columns += ["stage 1, s", "stage 2, s", "both, s", "both, CPU s", "Telea, s", "PatchMatch, s"]
    columns += ["memory, MiB", "load"]
    rows = [
        [
            one.megapixels,
            100 * one.hole,
            one.seconds["stage 1"],
            one.seconds["both stages"] - one.seconds["stage 1"],
            one.seconds["both stages"],
            one.seconds["CPU"],
            one.seconds["Telea"],
            one.seconds["PatchMatch"],
            one.peak,
            one.load,
        ]
        for one in measured
    ]
    return table(columns, measured, rows, [1, 1, 2, 2, 2, 2, 2, 2, 0, 1])


def score_table(measured: list[Measured]) -> str:
    """Scores of every method, a line for each photo, and the mean."""
    rows = [[one.scores[name][kind] for kind in (0, 1) for name in METHODS] for one in measured]
    columns = [f"{kind}, {name}" for kind in ("distance", "dB") for name in METHODS]
    kept = [index for index in range(len(columns)) if any(row[index] is not None for row in rows)]
    digits = [3, 3, 3, 3, 2, 2, 2, 2]
    return table(
        ["photo", *(columns[index] for index in kept)],
        measured,
        [[row[index] for index in kept] for row in rows],
        [digits[index] for index in kept],
    )


def table(
    columns: list[str], measured: list[Measured], rows: list[list[float | None]], digits: list[int]
) -> str:
    """Return a Markdown table of numbers with so many digits, and means where no photo lacks one."""
    means = [None if None in column else statistics.fmean(column) for column in zip(*rows, strict=True)]
    names = [*(one.name for one in measured), "mean"]
    lines = [
        [
            name,
            *("–" if value is None else f"{value:.{n}f}" for value, n in zip(row, digits, strict=True)),
        ]
        for name, row in zip(names, [*rows, means], strict=True)
    ]
    return markdown_table(columns, lines)


if __name__ == "__main__":
    main()
