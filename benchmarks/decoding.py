#!/usr/bin/env python
"""Measure how fast photos become training batches, from every layout, and hold it against the network.

    python benchmarks/decoding.py --data photos/
    python benchmarks/decoding.py --data "shards/train-*.tar" --threads 1 2 4 --output runs/decoding.md
    python benchmarks/decoding.py --data photos/ --images-per-second 128:1200 256:300

The photos are written anew as JPEG at each of --sides, as a folder, as one tar, as shards, and as shards that
are read by URL (through fsspec, from this disk: what the network adds is not in it). The system has them in
its memory, so a slow disk is not in it either. Run it with nothing else at work on the machine;
OMP_NUM_THREADS=1 shows what one core of a training machine gives while the network has the others.
"""

from __future__ import annotations

import argparse
import functools
import io
import itertools
import math
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import PIL
from measurement import markdown_table, publish, report
from PIL import Image
from tqdm import tqdm
from training_step import random_batch, stage, training_step

from inpaint.datasets import PhotoCache, PhotoSet, TrainingBatches, open_photos
from inpaint.images import ImageError
from inpaint.masks import MaskRecipe, generator_for, parse_recipe
from inpaint.networks import CONFIGS, build_network
from inpaint.urls import source_label

RECIPES = (
    "free-form:0.1-0.5",
    "box:0.1-0.5",
    "random-walk:0.1-0.5",
    "thin:0.05-0.2",
    "medium",
    "thick",
    "free-form:0.1-0.6*3+box:0.05-0.4*1+thin:0.05-0.2*1",
)
SIZES = (128, 256)
BATCH = 8
PHOTOS_PER_SHARD = 100


class Rate(NamedTuple):
    """Things a second of time, and a second of processor time, which other programs do not use up.

    What nobody measured is not a number.
    """

    wall: float
    cpu: float


def calls_per_second(work: Callable[[int], object], seconds: float) -> Rate:
    """Call `work(0)`, `work(1)`, … for about `seconds` and return the calls a second."""
    work(0)
    start, cpu_start = time.perf_counter(), time.process_time()
    for number in itertools.count(1):
        work(number)
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return Rate(number / elapsed, number / (time.process_time() - cpu_start))
    raise AssertionError("unreachable")


def following(stream: Iterator[object], _: int) -> object:
    """Return what the stream has next, whatever the number of the call."""
    return next(stream)


def once(step: Callable[[], object], _: int) -> object:
    """Take a step, whatever the number of the call."""
    return step()


def readable_photos(photos: PhotoSet, number: int) -> list[np.ndarray]:
    """Return up to `number` photos, spread over the set at random, always the same ones."""
    chosen = []
    for index in generator_for("decoding").permutation(len(photos)).tolist():
        try:
            chosen.append(photos.read(index))
        except ImageError:
            continue
        if len(chosen) == number:
            break
    if not chosen:
        raise SystemExit(f"none of the {len(photos)} photos can be read: {photos.broken}")
    return chosen


# ---------------------------------------------------------------------------------------------------------
# The layouts


def as_jpeg(pixels: np.ndarray, side: int) -> bytes:
    """Return a photo at a short side of `side` pixels, as a JPEG file of quality 90."""
    height, width = pixels.shape[:2]
    scale = side / min(height, width)
    stream = io.BytesIO()
    size = max(side, round(width * scale)), max(side, round(height * scale))
    Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def lay_out(files: Sequence[bytes], folder: Path) -> dict[str, PhotoSet]:
    """Return the same files in every layout, by its name."""
    names = [f"class-{number % 10}/{number:08d}.jpg" for number in range(len(files))]
    members = list(zip(names, files, strict=True))
    for name, data in members:
        (folder / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "folder" / name).write_bytes(data)
    write_tar(folder / "one.tar", members)
    (folder / "shards").mkdir()
    for start in range(0, len(members), PHOTOS_PER_SHARD):
        number = start // PHOTOS_PER_SHARD
        write_tar(folder / "shards" / f"{number:06d}.tar", members[start : start + PHOTOS_PER_SHARD])
    return {
        "folder": open_photos(folder / "folder"),
        "one tar": open_photos(folder / "one.tar"),
        "shards": open_photos(folder / "shards"),
        "shards by URL": open_photos(f"{(folder / 'shards').as_uri()}/*.tar"),
    }


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    """Write a plain tar."""
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


# ---------------------------------------------------------------------------------------------------------
# The tables


def photo_table(layouts: dict[int, dict[str, PhotoSet]], seconds: float) -> str:
    """Photos a second of processor time, the bytes and the pixels, of each size and layout."""
    rows = []
    for side, sets in layouts.items():
        for layout, photos in sets.items():
            size = statistics.mean(len(photos.read_bytes(index)) for index in range(len(photos)))
            rates = [photos_per_second(photos, read, seconds) for read in (photos.read_bytes, photos.read)]
            rows.append([f"{side} px", layout, f"{size / 1000:.0f}", *(f"{rate.cpu:.0f}" for rate in rates)])
    return markdown_table(["photos", "layout", "kB each", "read", "and decoded"], rows, 2)


def photos_per_second(photos: PhotoSet, read: Callable[[int], object], seconds: float) -> Rate:
    """How many of the photos, one after the other, `read` manages a second."""
    return calls_per_second(lambda number: read(number % len(photos)), seconds)


def mask_table(seconds: float) -> str:
    """Masks a second of processor time, for each recipe and size."""

    def rate(recipe: MaskRecipe, size: int) -> float:
        return calls_per_second(lambda number: recipe(generator_for(number), size, size), seconds).cpu

    rows = [[text, *(f"{rate(parse_recipe(text), size):.0f}" for size in SIZES)] for text in RECIPES]
    return markdown_table(["recipe", *(f"{size} px" for size in SIZES)], rows)


Case = tuple[int, str, int, int]  # the photos' short side, layout, size of the crops, threads


def pipeline_rates(
    layouts: dict[int, dict[str, PhotoSet]], recipe: str, threads: Sequence[int], rounds: int, seconds: float
) -> dict[Case, Rate]:
    """Images a second that a consumer which does nothing gets; medians over the rounds."""
    # Decoded photos in memory are the most that any layout could come to.
    kept = {side: PhotoCache(next(iter(sets.values())), 1 << 34) for side, sets in layouts.items()}
    cases = [
        (side, layout, size, number)
        for side, sets in layouts.items()
        for layout in (*sets, "decoded, in memory")
        for size in SIZES
        for number in threads
    ]
    for cache in kept.values():
        for index in range(len(cache.photos)):
            cache.read(index)
    measured: dict[Case, list[Rate]] = {case: [] for case in cases}
    for turn, case in tqdm([(turn, case) for turn in range(rounds) for case in cases], disable=None):
        side, layout, size, number = case
        photos = layouts[side].get(layout, kept[side].photos)
        cache = PhotoCache(photos, 0) if layout in layouts[side] else kept[side]
        batches = TrainingBatches(photos, recipe, size, BATCH, turn, cache=cache)
        stream = batches.stream(0, threads=number, ahead=2 * number + 2)
        for _ in range(2 * number):
            next(stream)  # what was made ahead while nobody asked
        rate = calls_per_second(functools.partial(following, stream), seconds)
        measured[case].append(Rate(BATCH * rate.wall, BATCH * rate.cpu))
        stream.close()
    return {case: median(rates) for case, rates in measured.items()}


def median(rates: Sequence[Rate]) -> Rate:
    """Return the median of both."""
    return Rate(*(statistics.median(values) for values in zip(*rates, strict=True)))


def pipeline_table(rates: dict[Case, Rate], needs: dict[int, Rate], threads: Sequence[int]) -> str:
    """Return what comes out of each layout, and below it what the network takes, where that is known."""
    columns = [(size, number) for size in SIZES for number in threads]
    rows = []
    for side, layout in dict.fromkeys(case[:2] for case in rates):
        by_time = [f"{rates[side, layout, *column].wall:.0f}" for column in columns]
        by_processor = [f"{rates[side, layout, size, threads[0]].cpu:.0f}" for size in SIZES]
        rows.append([f"{side} px", layout, *by_time, *by_processor])
    needed = {size: needs.get(size, Rate(math.nan, math.nan)) for size in SIZES}
    need = [*(needed[size].wall for size, _ in columns), *(needed[size].cpu for size in SIZES)]
    cells = ["" if math.isnan(rate) else f"**{rate:.1f}**" for rate in need]
    rows.append(["", "**the network takes**", *cells])
    head = [f"{size} px, {number} worker{'s'[: number > 1]}" for size, number in columns]
    head += [f"{size} px, a core" for size in SIZES]
    return markdown_table(["photos", "layout", *head], rows, 2)


def network_rates(stages: Sequence[tuple[int, int]], rounds: int, seconds: float) -> dict[int, Rate]:
    """Images a second of a training step at each size, without any input pipeline."""
    needs = {}
    for size, batch in stages:
        step = training_step(
            build_network(CONFIGS["partial-conv-unet"]), *random_batch(size, batch), autocast=True
        )
        rate = median([calls_per_second(functools.partial(once, step), seconds) for _ in range(rounds)])
        needs[size] = Rate(batch * rate.wall, batch * rate.cpu)
    return needs


def known_rate(text: str) -> tuple[int, Rate]:
    """Read `256:300`: the side in pixels, and the images a second that the network takes."""
    size, _, rate = text.partition(":")
    try:
        known = int(size), Rate(float(rate), math.nan)
    except ValueError:
        known = 0, Rate(math.nan, math.nan)
    if known[0] not in SIZES or not 0 < known[1].wall < math.inf:
        sizes = " or ".join(map(str, SIZES))
        raise argparse.ArgumentTypeError(f"expected SIZE:RATE with a size of {sizes}, got {text!r}")
    return known


def main() -> None:
    """Read the command line, measure, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", nargs="+", required=True, help="folders, tars or URLs of photos")
    add("--photos", type=int, default=400, help="how many of them to use (default: %(default)s)")
    add("--sides", type=int, nargs="+", default=[256, 512], help="short sides to write them at, pixels")
    add("--masks", default=RECIPES[-1], help="mask recipe of the batches (default: %(default)s)")
    add("--threads", type=int, nargs="+", default=[1, 2], help="workers: threads that make batches")
    add("--seconds", type=float, default=1.0, help="length of each measurement (default: %(default)s)")
    add("--rounds", type=int, default=3, help="interleaved repeats (default: %(default)s)")
    add(
        "--stages", nargs="+", type=stage, default=[(128, 16), (256, 8)],
        help="SIZExBATCH of the training steps to compare with (default: 128x16 256x8)",
    )  # fmt: skip
    add(
        "--images-per-second", nargs="+", type=known_rate, default=[], metavar="SIZE:RATE",
        help="what the network takes at 128 or 256 px, if it was measured elsewhere: on a GPU",
    )  # fmt: skip
    add("--note", default="", help="what else is to be known about this run")
    add("--output", type=Path, metavar="FILE.md", help="write the result here too")
    arguments = parser.parse_args()

    cv2.setNumThreads(1)
    try:
        photos = open_photos(arguments.data)
    except (OSError, ValueError) as error:
        parser.error(f"--data: {error}")
    originals = readable_photos(photos, arguments.photos)
    needs = dict(arguments.images_per_second)
    if not needs:
        needs = network_rates(arguments.stages, arguments.rounds, arguments.seconds)
    with tempfile.TemporaryDirectory() as folder:
        layouts = {}
        for side in arguments.sides:
            (Path(folder) / str(side)).mkdir()
            files = [as_jpeg(pixels, side) for pixels in originals]
            layouts[side] = lay_out(files, Path(folder).resolve() / str(side))
        rates = pipeline_rates(
            layouts, arguments.masks, arguments.threads, arguments.rounds, arguments.seconds
        )
        of_photos = photo_table(layouts, arguments.seconds)
    height, width = np.median([pixels.shape[:2] for pixels in originals], axis=0).astype(int)
    names = ", ".join(Path(source_label(one)).name for one in arguments.data)
    facts = {
        "photos": f"{len(originals)} of {names}, {height}×{width} in the median, written as JPEG, quality 90",
        "libraries": f"NumPy {np.__version__}, OpenCV {cv2.__version__}, Pillow {PIL.__version__}",
        **({"note": arguments.note} if arguments.note else {}),
    }
    needed = (
        "given with --images-per-second"
        if arguments.images_per_second
        else "a training step of partial-conv-unet, bf16, measured here without any input"
    )
    tables = [
        "Images a second from the input pipeline alone: read, decoded, cropped, with a hole of "
        f"`{arguments.masks}`. *A core*: a second of processor time, of one worker, whatever else runs on "
        f"the machine. Last line: {needed}.",
        pipeline_table(rates, needs, arguments.threads),
        "Photos, one thread, a second of processor time:",
        of_photos,
        "Masks, one thread, a second of processor time:",
        mask_table(arguments.seconds),
    ]
    publish(report("From photos to batches", facts, tables), arguments.output)


if __name__ == "__main__":
    main()
