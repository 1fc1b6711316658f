#!/usr/bin/env python
"""Say where the time of a fill goes, and what the fused passes, the crop and bfloat16 are worth.

    python benchmarks/profile_inference.py
    python benchmarks/profile_inference.py --threads 2 --output benchmarks/results/profile_inference.md

The photo is scikit-image's astronaut, enlarged for the large sizes; its hole is drawn by the seed. Each photo
is filled in four ways, in turn, so that a machine whose speed drifts slows them alike:

- plain: the passes over memory in plain PyTorch, whole octaves, float32;
- fused: as compiled operators;
- near the hole: that, and octaves worked at where the hole needs it;
- as it is: that, in the precision that `Inpainter` chooses on this machine.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import skimage.data
import torch
from measurement import interleaved_times, markdown_table, publish, report
from torch.profiler import ProfilerActivity, profile

from inpaint import Inpainter
from inpaint.masks import generator_for, parse_recipe
from inpaint.ops import fused, implementation
from inpaint.weights import WeightsError

# What the profiler calls things, by kind; what is in none of them counts as elementwise.
KINDS = {
    "convolution": ("mkldnn_convolution", "_slow_conv2d_forward", "slow_conv_dilated2d", "addmm", "mm"),
    "CARAFE": ("inpaint::carafe",),
    "membrane": ("inpaint::membrane_raised",),
    "fused passes": ("inpaint::concatenate_known", "inpaint::renormalize", "inpaint::channel_norm"),
    "pooling": ("avg_pool2d", "upsample_bilinear2d"),
    "layer normalisation": ("native_layer_norm",),
    "copies and conversions": ("copy_", "cat", "_to_copy", "empty", "resize_", "fill_", "zero_"),
}
WAYS = ("plain", "fused", "near the hole", "as it is")


def main() -> None:
    """Read the command line, measure, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default="pconv-carafe", help="name, folder or hub id (default: %(default)s)"
    )
    parser.add_argument(
        "--photos",
        default="256x256:free-form:0.24-0.26,512x512:free-form:0.24-0.26,512x512:box:0.05-0.1,"
        "1152x896:free-form:0.24-0.26,2048x1536:free-form:0.24-0.26,2048x1536:thin:0.04-0.06",
        help="WIDTHxHEIGHT:RECIPE,... (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="fills in each way (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the result here too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        fill = Inpainter.from_pretrained(arguments.model, device="cpu")
    except WeightsError as error:
        parser.error(str(error))
    chosen = fill.precision

    times, shares = [], []
    for text in arguments.photos.split(","):
        size, _, recipe = text.partition(":")
        width, height = map(int, size.split("x"))
        photo = cv2.resize(skimage.data.astronaut(), (width, height), interpolation=cv2.INTER_AREA)
        if max(width, height) <= 512:
            top, left = (512 - height) // 2, (512 - width) // 2
            photo = np.ascontiguousarray(skimage.data.astronaut()[top : top + height, left : left + width])
        mask = parse_recipe(recipe)(generator_for(0, "astronaut"), height, width)

        def work(way: str, photo: np.ndarray = photo, mask: np.ndarray = mask) -> np.ndarray:
            with in_the_way(way, fill, chosen):
                return fill(photo, mask)

        wanted = work("plain")[mask].astype(int)
        off = np.abs(work("as it is")[mask] - wanted)
        works = {way: lambda way=way, work=work: work(way) for way in WAYS}
        taken = {
            way: statistics.median(values)
            for way, values in interleaved_times(works, rounds=arguments.rounds, seconds=0).items()
        }
        times.append(
            [
                f"{width}×{height}",
                recipe,
                *(f"{taken[way]:.3f}" for way in WAYS),
                f"{taken['as it is'] / taken['plain']:.2f}",
                f"{off.mean():.2f}, {off.max()}",
            ]
        )
        for way in ("plain", "as it is"):
            shares.append([f"{width}×{height}", recipe, way, *by_kind(works[way])])

    columns = ["photo", "hole", *(f"{way}, s" for way in WAYS), "ratio", "levels off, mean and most"]
    kinds = [*KINDS, "elementwise and the rest"]
    facts = {"operator": implementation("cpu"), "precision": chosen}
    tables = [
        "Median seconds of a fill; how far the fill is from the plain one, in grey levels of the hole:",
        markdown_table(columns, times, left=2),
        "Shares of the processor's time, by kind of work, in %:",
        markdown_table(["photo", "hole", "way", *kinds], shares, left=3),
    ]
    publish(report("Where the time of a fill goes", facts, tables), arguments.output)


@contextmanager
def in_the_way(way: str, fill: Inpainter, chosen: str) -> Iterator[None]:
    """In this context the model fills in that way."""
    fill.precision = chosen if way == "as it is" else "float32"
    with ExitStack() as stack:
        if way == "plain":
            stack.enter_context(mock.patch.object(fused, "is_compiled", lambda *tensors: False))
        if way in ("plain", "fused") and hasattr(fill.network, "whole_octaves"):
            stack.enter_context(mock.patch.object(fill.network, "whole_octaves", True))
        yield
    fill.precision = chosen


def by_kind(work: object) -> list[str]:
    """Percentages of the time that the profiler sees, for each kind of work and for the rest."""
    assert callable(work)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        work()
    spent = dict.fromkeys([*KINDS, ""], 0.0)
    for event in seen.key_averages():
        name = event.key.removeprefix("aten::")
        kind = next((kind for kind, names in KINDS.items() if name.startswith(names)), "")
        spent[kind] += event.self_cpu_time_total
    return [f"{100 * value / sum(spent.values()):.0f}" for value in spent.values()]


if __name__ == "__main__":
    main()
