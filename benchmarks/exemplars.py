#!/usr/bin/env python
"""Time the search for exemplars and the vote, compiled and in plain PyTorch.

    python benchmarks/exemplars.py
    python benchmarks/exemplars.py --threads 1,2 --output benchmarks/results/exemplars.md

The photo is scikit-image's astronaut, 512×512, with a free-form hole of a quarter of it that a membrane
fills. Two sweeps from random sources come first, so that the one that is timed meets a field as a fill's
later sweeps do. The twins are called once, and their results compared. Whole fills stand below for scale:
this project's synthesis, and PyPatchMatch's where it is installed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from measurement import interleaved_times, markdown_table, publish, report
from torch import Tensor

from inpaint.evaluation.methods import check_patchmatch, harmonic, patchmatch
from inpaint.inference import detail, synthesis
from inpaint.inference.filters import blurred, dilated
from inpaint.inference.levels import Level
from inpaint.inference.measures import GUIDE_BLUR
from inpaint.inference.scales import to_uint8
from inpaint.masks import generator_for, parse_recipe
from inpaint.ops import exemplars, exemplars_reference, implementation


def main() -> None:
    """Read the command line, compare, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--masks", default="free-form:0.24-0.26", help="recipe (default: %(default)s)")
    parser.add_argument("--threads", default="1,2", help="CPU threads, in turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="two calls in each (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the result here too")
    arguments = parser.parse_args()
    if implementation("cpu") != "compiled":
        parser.error("the compiled operator is not the one that runs")
    counts = [int(count) for count in arguments.threads.split(",")]
    load = os.getloadavg()[0]

    photo = skimage.data.astronaut()
    mask = parse_recipe(arguments.masks)(generator_for(0, "astronaut"), *photo.shape[:2])
    search, guided, vote = operands(photo, mask)
    sweeps = len(search["positions"]), len(vote["positions"])
    fills: dict[str, Callable[[], object]] = {
        "synthesis": lambda: detail.add_detail(photo, harmonic(photo, mask), mask)
    }
    try:
        check_patchmatch()
        fills["PyPatchMatch"] = lambda: patchmatch(photo, mask)
    except ValueError as error:
        print(f"{error}\n")

    calls: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {}
    for name, case in (("search", search), ("search, guided", guided)):
        calls[name] = (
            partial(exemplars.exemplar_search, **case),
            partial(exemplars_reference.exemplar_search, **case),
        )
    for name, best in (("vote, mean", False), ("vote, best", True)):
        calls[name] = (
            partial(exemplars.exemplar_vote, **vote, best=best),
            partial(exemplars_reference.exemplar_vote, **vote, best=best),
        )
    torch.set_num_threads(max(counts))
    twins = {name: twin_times(name, *pair) for name, pair in calls.items()}

    works: dict[str, Callable[[], object]] = {}
    rows: dict[str, tuple[str, str, int]] = {}
    spent: dict[str, list[float]] = defaultdict(list)
    measured = [(name, "compiled", compiled) for name, (compiled, _) in calls.items()]
    measured += [("whole fill", name, fill) for name, fill in fills.items()]
    for name, method, call in measured:
        # PyPatchMatch does not know of torch's threads.
        for count in counts if method != "PyPatchMatch" else counts[:1]:
            key = f"{name} {method} {count}"
            rows[key] = name, method, count

            def work(key: str = key, call: Callable[[], Any] = call, count: int = count) -> None:
                torch.set_num_threads(count)
                begun = time.process_time()
                call()
                spent[key].append(time.process_time() - begun)

            works[key] = work
    times = interleaved_times(works, rounds=arguments.rounds, seconds=0)

    table = []
    for key, (name, method, count) in rows.items():
        seconds = statistics.median(times[key]), min(times[key]), statistics.median(spent[key])
        shown = "its own" if method == "PyPatchMatch" else str(count)
        table.append([name, method, shown, *(f"{1000 * value:.1f}" for value in seconds)])
        if name in twins and count == max(counts):
            wall, processor = twins[name]
            ratio = processor / seconds[2]
            table[-1].append("1")
            table.append(
                [name, "twin", shown, f"{1000 * wall:.0f}", "", f"{1000 * processor:.0f}", f"{ratio:.0f}"]
            )
        else:
            table[-1].append("")
    columns = ["what", "by", "threads", "median, ms", "least, ms", "processor, ms", "÷ compiled, processor"]
    facts = {
        "threads": "by row",
        "load when begun": f"{load:.1f}",
        "positions": f"{sweeps[0]} searched, {sweeps[1]} voted for; hole {mask.mean():.1%}",
    }
    publish(
        report("Exemplars: search and vote", facts, [markdown_table(columns, table, left=2)]),
        arguments.output,
    )


def operands(photo: np.ndarray, mask: np.ndarray) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the arguments of a search, of one with guides, and of a vote, as a fill gives them."""
    filled = np.ascontiguousarray(harmonic(photo, mask))
    level = Level(filled, mask, mask)
    positions = torch.from_numpy(synthesis._indices(dilated(mask, synthesis.RADIUS)))
    texture = np.zeros(mask.shape, np.uint8)
    padded = torch.from_numpy(synthesis._padded(np.dstack([filled, texture])))
    field = torch.full(mask.shape, -1, dtype=torch.int32)
    known = np.flatnonzero(~mask)
    sources = np.random.default_rng(0).choice(known, len(positions)).astype(np.int32)
    field.view(-1)[positions.long()] = torch.from_numpy(sources)
    search: dict[str, Any] = {
        "target": padded,
        "source": padded,
        "penalty": torch.from_numpy(synthesis._penalty(level, 0)),
        "positions": positions,
        "field": field,
        "guides": None,
        "steps": torch.from_numpy(synthesis._STEPS),
        "offsets": torch.empty((0, 2), dtype=torch.int32),
        "radius": synthesis.RADIUS,
        "refinements": 1,
    }
    for _ in range(2):
        search["field"], cost = exemplars.exemplar_search(**search)
    smooth = to_uint8(blurred(filled.astype(np.float32), GUIDE_BLUR))
    guide = torch.from_numpy(synthesis._padded(smooth))
    guides = guide, guide, torch.full(mask.shape, 256, dtype=torch.int32)
    vote = {
        "colours": torch.from_numpy(filled),
        "known": torch.from_numpy(~mask),
        "field": search["field"],
        "weights": torch.exp(-cost.float() / 1e5),
        "positions": torch.from_numpy(synthesis._indices(mask)),
        "radius": synthesis.RADIUS,
    }
    return search, search | {"guides": guides}, vote


def twin_times(name: str, compiled: Callable[[], Any], twin: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of one call of a twin, and of the processor; stops unless the results are equal to the bit."""
    wanted = compiled()
    wall, processor = time.perf_counter(), time.process_time()
    result = twin()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    pairs = [(result, wanted)] if isinstance(result, Tensor) else zip(result, wanted, strict=True)
    if not all(torch.equal(one, other) for one, other in pairs):
        raise SystemExit(f"{name}: the twin's result is another")
    return wall, processor


if __name__ == "__main__":
    main()
