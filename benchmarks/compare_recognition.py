#!/usr/bin/env python
r"""Train recognition networks with and without CARAFE, alike, and print their scores side by side.

    python benchmarks/compare_recognition.py --runs runs/recognition
    python benchmarks/compare_recognition.py --task masks --seeds 0,1,2,3,4 --steps 1000
    python benchmarks/compare_recognition.py --task segmentation --upsamplers baseline,carafe,deconv,nearest
    python benchmarks/compare_recognition.py --task masks --data coco:coco --runs runs/coco --seeds 0
    python benchmarks/compare_recognition.py --task segmentation --data ade20k:ADEChallengeData2016 --seeds 0

Without --data, pictures are drawn from the seeds and each run takes minutes on one core. README.md in
benchmarks/recognition/ says what is learnt, how it is scored, and what COCO and ADE20k take.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from measurement import markdown_table, publish, report
from recognition.instances import UPSAMPLERS as OF_DETECTORS
from recognition.tasks import TASKS, make_task, parse_data, recipe_for
from recognition.training import Recipe, train_and_score

from inpaint.devices import choose_device
from inpaint.files import write_atomically
from inpaint.layers import UPSAMPLERS

BASELINES = {
    "segmentation": "UperNet's bilinear interpolation in all three places",
    "masks": "torchvision's: nearest interpolation in the pyramid, a deconvolution in the mask head",
    "detection": "torchvision's: nearest interpolation in the pyramid",
}
HEADS = {
    "miou": "mIoU",
    "accuracy": "accuracy",
    "thin_iou": "IoU, thin",
    "boundary_f": "boundary F, thin",
    "box_ap": "box AP",
    "box_ap50": "box AP50",
    "mask_ap": "mask AP",
    "mask_ap50": "mask AP50",
    "mask_iou": "mask IoU",
    "found": "found",
}


def finished_run(
    arguments: argparse.Namespace, task: str, upsampler: str, seed: int, recipe: Recipe
) -> dict[str, Any]:
    """Return the record of a run: the one that is kept in the folder of runs, or that of a new training.

    Raises:
        ValueError: the folder has one that was trained in another way.
    """
    settings = {
        "data": arguments.data.kind,
        "task": task,
        "upsampler": upsampler,
        "seed": seed,
        "recipe": dataclasses.asdict(recipe),
        "size": arguments.size,
    }
    kept = arguments.runs and arguments.runs / f"{arguments.data.kind}-{task}-{upsampler}-{seed}.json"
    if kept and kept.is_file():
        record = json.loads(kept.read_text(encoding="utf-8"))
        if {name: record.get(name) for name in settings} != settings:
            raise ValueError(f"{kept} is of a run with other settings; name another folder with --runs")
        return record
    scores = train_and_score(
        make_task(task, arguments.data, seed, arguments.weights, arguments.size),
        upsampler,
        recipe,
        seed,
        arguments.device,
        arguments.workers,
        name=f"{task}, {upsampler}, seed {seed}",
    )
    record = {**settings, "scores": scores}
    if kept:
        write_atomically(kept, (json.dumps(record, indent=1) + "\n").encode())
    return record


def table(records: Sequence[dict[str, Any]]) -> str:
    """Return a row of each upsampler: mean ± standard deviation of the seeds, and the means' difference.

    The difference is to the baseline of the same seeds, and follows the means in a row of its own.
    """
    by_upsampler: dict[str, dict[int, dict[str, float]]] = {}
    for record in records:
        by_upsampler.setdefault(record["upsampler"], {})[record["seed"]] = record["scores"]
    names = [name for name in HEADS if name in records[0]["scores"]]
    rows = []
    baseline = by_upsampler.get("baseline", {})
    for upsampler, by_seed in by_upsampler.items():
        seeds = list(by_seed.values())
        cells = [spread([scores[name] for scores in seeds]) for name in names]
        seconds = statistics.median(scores["seconds"] for scores in seeds)
        rows.append([upsampler, str(len(seeds)), *cells, f"{seconds:.2f}"])
        shared = [seed for seed in by_seed if seed in baseline]
        if upsampler != "baseline" and shared:
            gains = [[by_seed[seed][name] - baseline[seed][name] for seed in shared] for name in names]
            cells = [spread(gain, sign="+") for gain in gains]
            rows.append([f"{upsampler} − baseline", str(len(shared)), *cells, ""])
    return markdown_table(["upsampler", "seeds", *(HEADS[name] for name in names), "s a step"], rows)


def spread(values: Sequence[float], sign: str = "") -> str:
    """Return mean ± standard deviation (n − 1), in points of 100.

    >>> spread([0.5, 0.52, 0.54])
    '52.0 ± 2.0'
    """
    if any(math.isnan(value) for value in values):
        return "none"
    mean = f"{100 * statistics.mean(values):{sign}.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean


def seeds_of(text: str) -> list[int]:
    """Read `0,1,2`."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Read the command line, train what is not there yet, print the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=TASKS, action="append", help="repeatable (default: all)")
    parser.add_argument(
        "--upsamplers",
        default="baseline,carafe",
        metavar="A,B,…",
        help="baseline, carafe, and for segmentation any of inpaint.layers (default: %(default)s); "
        "detectors leave out what they have not",
    )
    parser.add_argument("--seeds", type=seeds_of, default=[0, 1, 2], metavar="A,B,…", help="default: 0,1,2")
    parser.add_argument("--data", default="made", help="made, coco:DIR or ade20k:DIR (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="of training; what is given overrides the task's recipe")
    parser.add_argument("--batch", type=int, help="pictures in a step; SGD's rate follows it")
    parser.add_argument("--rate", type=float, help="learning rate")
    parser.add_argument("--size", type=int, help="short side for COCO (800), side of crops for ADE20k (512)")
    parser.add_argument(
        "--fresh", dest="weights", action="store_const", const=None, default="DEFAULT",
        help="COCO and ADE20k: no pretrained backbone, which torchvision downloads",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="processes that read (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the processor (default: %(default)s)")
    parser.add_argument(
        "--runs",
        type=Path,
        metavar="DIR",
        help="keep each run's scores here; runs that are here are not done",
    )
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the result here too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        arguments.data = parse_data(arguments.data)
        arguments.device = choose_device(arguments.device)
        if arguments.runs:
            arguments.runs.mkdir(parents=True, exist_ok=True)
        publish(page(arguments), arguments.output)
    except (ValueError, OSError) as error:
        raise SystemExit(f"compare_recognition.py: {error}") from error


def page(arguments: argparse.Namespace) -> str:
    """Train what is not there yet, and return the page.

    Raises:
        ValueError: a wish that cannot be met.
    """
    upsamplers = arguments.upsamplers.split(",")
    unknown = {*upsamplers} - {"baseline", *UPSAMPLERS}
    if unknown:
        raise ValueError(f"no upsampler is called {', '.join(sorted(unknown))}")
    facts = {
        "libraries": f"torchvision {torchvision.__version__}, NumPy {np.__version__}",
        "data": arguments.data.kind,
        "seeds": ", ".join(map(str, arguments.seeds)),
    }
    tables = []
    for task in arguments.task or TASKS:
        recipe = recipe_for(task, arguments.data, arguments.steps, arguments.batch, arguments.rate)
        facts[task] = f"{recipe}. Baseline: {BASELINES[task]}"
        records = [
            finished_run(arguments, task, upsampler, seed, recipe)
            for seed in arguments.seeds
            for upsampler in upsamplers
            if task == "segmentation" or upsampler in OF_DETECTORS
        ]
        tables += [f"## {task.capitalize()}", table(records)]
    note = "Mean ± standard deviation of the seeds, times 100. A difference is taken seed by seed."
    return report("Recognition with and without CARAFE", facts, [note, *tables])


if __name__ == "__main__":
    main()
