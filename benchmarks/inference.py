#!/usr/bin/env python
"""Time the filling of one photo, by the network alone and with the photo's detail, the model already loaded.

    python benchmarks/inference.py
    python benchmarks/inference.py --model pconv-carafe --threads 2 --output benchmarks/results/inference.md
    python benchmarks/inference.py --network pyramid-unet

The photo is scikit-image's astronaut, 512×512, with a free-form hole of a quarter of it. --network takes
fresh weights in place of an installed model.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from pathlib import Path

import numpy as np
import skimage.data
import torch
from measurement import interleaved_times, markdown_table, publish, report

from inpaint import Inpainter
from inpaint.masks import generator_for, parse_recipe
from inpaint.networks import CONFIGS, build_network
from inpaint.ops import implementation
from inpaint.weights import WeightsError, find_model, load_weights


def main() -> None:
    """Read the command line, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default="pconv-carafe", help="name, folder or hub id (default: %(default)s)"
    )
    parser.add_argument("--network", choices=CONFIGS, help="fresh weights of this network instead")
    parser.add_argument("--masks", default="free-form:0.24-0.26", help="recipe (default: %(default)s)")
    parser.add_argument("--size", type=int, default=512, help="of the centre crop (default: the whole photo)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=11, help="timed fills (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the result here too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    if arguments.network:
        torch.manual_seed(0)
        network = build_network(CONFIGS[arguments.network])
    else:
        try:
            network, _ = load_weights(find_model(arguments.model))
        except WeightsError as error:
            parser.error(f"{error}; --network NAME measures fresh weights")
    fills = {detail: Inpainter(network, "cpu", detail) for detail in ("none", "photo")}
    photo = skimage.data.astronaut()
    if not 1 <= arguments.size <= min(photo.shape[:2]):
        parser.error(f"--size must lie between 1 and {min(photo.shape[:2])}, got {arguments.size}")
    first = (photo.shape[0] - arguments.size) // 2
    photo = np.ascontiguousarray(photo[first : first + arguments.size, first : first + arguments.size])
    mask = parse_recipe(arguments.masks)(generator_for(0, "astronaut"), arguments.size, arguments.size)

    times = interleaved_times(
        {detail: functools.partial(fill, photo, mask) for detail, fill in fills.items()},
        rounds=arguments.repeats,
        seconds=0,
    )
    name = f"{arguments.network}, fresh weights" if arguments.network else arguments.model
    lines = [
        [
            name,
            detail,
            f"{arguments.size}×{arguments.size}",
            f"{mask.mean():.1%}",
            f"{statistics.median(seconds):.3f}",
            f"{min(seconds):.3f}",
            f"{max(seconds):.3f}",
            str(len(seconds)),
        ]
        for detail, seconds in times.items()
    ]
    columns = ["model", "detail", "photo", "hole", "median, s", "least, s", "most, s", "fills"]
    facts = {"operator": implementation("cpu")}
    publish(report("Filling one photo", facts, [markdown_table(columns, lines, left=2)]), arguments.output)


if __name__ == "__main__":
    main()
