#!/usr/bin/env python
"""Measure how fast photos are decoded, masks drawn and training batches made, to hold against the network.

    python benchmarks/decoding.py --data photos/
    python benchmarks/decoding.py --data shards/train-*.tar --threads 1 2 --seconds 5

Prints Markdown tables. Run it with nothing else at work on the machine; set OMP_NUM_THREADS=1 to see what one
core of a training machine gives while the network has the others.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import PIL
import torch

from inpaint.datasets import PhotoCache, PhotoSet, TrainingBatches, open_photos
from inpaint.images import ImageError
from inpaint.masks import MaskRecipe, generator_for, parse_recipe

RECIPES = (
    "free-form:0.1-0.5",
    "box:0.1-0.5",
    "random-walk:0.1-0.5",
    "thin:0.05-0.2",
    "medium",
    "thick",
    "free-form:0.1-0.5*3+thin:0.05-0.2*1",
)
SIZES = (128, 256)


def calls_per_second(work: Callable[[int], object], seconds: float) -> float:
    """Call ``work(0)``, ``work(1)``, … for about ``seconds`` and return the calls a second."""
    work(0)
    start = time.perf_counter()
    for number in itertools.count(1):
        work(number)
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return number / elapsed
    raise AssertionError("unreachable")


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table, all columns but the first to the right."""
    widths = [max(len(line[column]) for line in [columns, *rows]) for column in range(len(columns))]

    def line(cells: list[str]) -> str:
        aligned = [
            cells[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)),
        ]
        return "| " + " | ".join(aligned) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    print(f"\n{title}\n", line(columns), line(rule), *map(line, rows), sep="\n", flush=True)


def measure_photos(photos: PhotoSet, seconds: float) -> None:
    """Photos a second from one thread: the bytes, decoded, and from the cache."""
    order = generator_for("decoding").permutation(len(photos))[:500].tolist()
    cache = PhotoCache(photos, limit=1 << 34)
    sides = []
    readable = []
    for index in order:
        try:
            sides.append(cache.read(index).shape[:2])
        except ImageError:
            continue
        readable.append(index)
    if not readable:
        raise SystemExit(f"none of the {len(order)} photos tried can be read: {photos.broken}")

    def cycle(read: Callable[[int], object]) -> float:
        return calls_per_second(lambda number: read(readable[number % len(readable)]), seconds)

    height, width = np.median(sides, axis=0).astype(int)
    rows = [
        ["bytes read", f"{cycle(photos.read_bytes):.0f}"],
        ["decoded", f"{cycle(photos.read):.0f}"],
        ["from the cache", f"{cycle(cache.read):.0f}"],
    ]
    title = f"Photos, one thread ({len(readable)} photos of {height}×{width} in the median)"
    print_table(title, ["", "photos/s"], rows)


def measure_masks(seconds: float) -> None:
    """Masks a second from one thread, for each recipe and size."""

    def rate(recipe: MaskRecipe, size: int) -> float:
        return calls_per_second(lambda number: recipe(generator_for(number), size, size), seconds)

    rows = [[text, *(f"{rate(parse_recipe(text), size):.0f}" for size in SIZES)] for text in RECIPES]
    print_table("Masks, one thread", ["recipe", *(f"{size} px, masks/s" for size in SIZES)], rows)


def measure_batches(photos: PhotoSet, recipe: str, batch_size: int, thread_counts: list[int]) -> None:
    """Samples a second that a consumer which does nothing itself gets out of the stream.

    The same steps are taken twice: the first time every photo is decoded, then all come from the cache.
    """
    steps = max(1, min(1000, len(photos)) // batch_size)
    rows = []
    for threads, size in itertools.product(thread_counts, SIZES):
        batches = TrainingBatches(photos, recipe, size, batch_size, cache=PhotoCache(photos, limit=1 << 34))
        cells = [f"{size} px, threads {threads}"]
        for _ in ("decoding", "cached"):
            start = time.perf_counter()
            made = sum(1 for _ in batches.stream(0, steps, threads=threads, ahead=2 * threads + 2))
            cells.append(f"{made * batch_size / (time.perf_counter() - start):.0f}")
        rows.append(cells)
    columns = ["", "decoding, samples/s", "cached, samples/s"]
    print_table(f"{steps} batches of {batch_size}, {recipe}", columns, rows)


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", required=True, help="folders or tars of photos")
    parser.add_argument(
        "--masks", default=RECIPES[-1], help="mask recipe of the batches (default: %(default)s)"
    )
    parser.add_argument("--batch", type=int, default=16, help="samples in a batch (default: %(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads that make batches")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a photo or mask measurement")
    arguments = parser.parse_args()

    photos = open_photos(arguments.data)
    print(
        f"{len(photos)} photos in {', '.join(Path(source).name for source in arguments.data)}; "
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, OpenCV {cv2.__version__}, Pillow {PIL.__version__}, "
        f"torch {torch.__version__}"
    )
    cv2.setNumThreads(1)
    measure_photos(photos, arguments.seconds)
    measure_masks(arguments.seconds)
    measure_batches(photos, arguments.masks, arguments.batch, arguments.threads)
    if photos.broken:
        print(f"\nUnreadable: {', '.join(photos.broken)}")


if __name__ == "__main__":
    main()
