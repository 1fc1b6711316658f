#!/usr/bin/env python
r"""Score trained networks with parts of them taken away, and say what their kernels and merges are like.

    python benchmarks/probes.py --images photos/val.tar
    python benchmarks/probes.py --images photos/val --models pconv-carafe runs/first/best.safetensors \
        --masks free-form:0.1-0.5 box:0.1-0.4 --count 60 --output runs/probes.md

A part that is worth something costs dB when it is gone. Constant kernels are the best guess there is: in each
CARAFE level, the mean of the kernels that the network predicts on the *other* half of the photos, so that no
photo is scored with kernels that were taken from it. Photos and holes are those of evaluate.py; networks run
in float32.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from measurement import markdown_table, publish, report
from torch import Tensor
from tqdm import tqdm

from inpaint.datasets import PhotoSet, open_photos
from inpaint.devices import choose_device
from inpaint.evaluation import EvaluationSet
from inpaint.layers import push_pull
from inpaint.networks import Network
from inpaint.networks.probes import (
    PEAKED,
    Probe,
    constant_kernels,
    inspect_decoder,
    mean_kernels,
    nearest_kernels,
    random_kernels,
    without_below,
    without_residual,
)
from inpaint.ops import implementation
from inpaint.training.validation import Validator
from inpaint.urls import source_label
from inpaint.weights import WeightsError, find_model, load_weights

SCALES = (4, 8, 16)


class Membrane(Network):
    """The smooth fill that head starts begin from: nothing is learnt."""

    def __init__(self) -> None:
        super().__init__({}, stride=1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """As networks do."""
        return push_pull(image, 1 - mask)


def variants(network: Network, kernels: Mapping[str, Tensor]) -> dict[str, Probe | None]:
    """Return the network with and without its parts, by the row's name; None where it has no such part."""
    return {
        "given only: the residual zero": without_residual(network),
        "the whole": nullcontext(),
        **{f"all that comes up to 1/{scale} zero": without_below(network, scale) for scale in SCALES},
        "constant kernels": constant_kernels(network, kernels),
        "nearest kernels": constant_kernels(network, nearest_kernels(network)),
        "random single taps": constant_kernels(network, random_kernels(network)),
    }


def scores(network: Network, halves: Sequence[Validator], progress: tqdm) -> dict[str, float | None]:
    """Mean PSNR over the cases of both halves, by the row's name."""
    sums: dict[str, float | None] = {}
    for half, other in (halves, halves[::-1]):
        for name, probe in variants(network, mean_kernels(network, other.batches(network))).items():
            if probe is None:
                sums[name] = None
                continue
            with probe:
                psnr = half.score(network)["psnr"]
            sums[name] = (sums.get(name) or 0) + psnr * len(half.cases)
            progress.update()
    count = sum(len(half.cases) for half in halves)
    return {name: None if total is None else total / count for name, total in sums.items()}


def score_table(
    network: Network, halves: Mapping[str, Sequence[Validator]], membrane: Mapping[str, float], name: str
) -> str:
    """PSNR of the membrane and of the network's variants, a column for each recipe."""
    with tqdm(desc=name, unit="fill", disable=None) as progress:
        by_recipe = {recipe: scores(network, both, progress) for recipe, both in halves.items()}
    first = next(iter(by_recipe.values()))
    rows = [["membrane alone", *(f"{psnr:.3f}" for psnr in membrane.values())]]
    for row, known in first.items():
        if known is not None:
            rows.append([row, *(f"{column[row]:.3f}" for column in by_recipe.values())])
    return markdown_table(["PSNR, dB", *(f"`{recipe}`" for recipe in halves)], rows)


def level_table(network: Network, batches: Iterator[tuple[Tensor, Tensor]]) -> str | None:
    """Return the kernels and merges of each level of the decoder; None for a network that has neither."""
    seen = inspect_decoder(network, batches)
    rows = []
    for level in [*seen.kernels, *(name for name in seen.from_below if name not in seen.kernels)]:
        cells = [level, *[""] * 6]
        if level in seen.kernels:
            one = seen.kernels[level]
            cells[1:6] = [
                f"1/{one.scale}",
                f"{one.entropy:.3f}",
                f"{one.relative_entropy:.3f}",
                f"{100 * one.peaked:.1f}",
                f"{one.variance:.4f}",
            ]
        if level in seen.from_below:
            cells[6] = f"{100 * seen.from_below[level]:.1f}"
        rows.append(cells)
    columns = ["level", "up to", "entropy, nats", "of ln k²", f"> {PEAKED} on one tap, %", "variance"]
    return markdown_table([*columns, "merge from below, %"], rows) if rows else None


def halves_of(photos: PhotoSet, recipe: str, arguments: argparse.Namespace) -> list[Validator]:
    """Return the cases of a recipe, every other one in either half; ValueError where one would be empty."""
    limit = arguments.count or None
    chosen = EvaluationSet(photos, recipe, arguments.seed, arguments.size, limit)
    cases = list(chosen)
    if len(cases) < 2:
        raise ValueError(f"at least two readable photos are needed, got {len(cases)}: {chosen.skipped}")
    return [
        Validator(half, arguments.device, nullcontext, batch=arguments.batch)
        for half in (cases[::2], cases[1::2])
    ]


def main() -> None:
    """Read the command line, probe, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--models", nargs="+", default=["pconv-carafe"],
        help="names, folders, hub ids or .safetensors files (default: pconv-carafe)")  # fmt: skip
    add("--images", required=True, help="photos: a folder or a tar")
    add("--masks", nargs="+", default=["free-form:0.1-0.5"], help="recipes (default: free-form:0.1-0.5)")
    add("--size", type=int, default=256, help="side of the centre crop (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the holes (default: %(default)s)")
    add("--count", type=int, default=60, help="photos, spread over the set; 0 = all (default: %(default)s)")
    add("--batch", type=int, default=8, help="photos at a time (default: %(default)s)")
    add("--device", default="cpu", help="cpu, cuda or auto (default: %(default)s)")
    add("--output", type=Path, metavar="FILE.md", help="write the result here too")
    arguments = parser.parse_args()
    if arguments.count < 0 or arguments.batch < 1:
        parser.error("--count must be at least 0 and --batch at least 1")
    try:
        arguments.device = choose_device(arguments.device)
        networks = {name: load_weights(find_model(name), arguments.device)[0] for name in arguments.models}
        photos = open_photos(arguments.images)
        halves = {recipe: halves_of(photos, recipe, arguments) for recipe in arguments.masks}
    except (OSError, WeightsError, ValueError) as error:
        parser.error(str(error))
    for name, network in networks.items():
        if arguments.size % network.stride:
            parser.error(f"--size must be a multiple of {network.stride}, the stride of {name}")

    membrane = {recipe: mean_psnr(Membrane(), both) for recipe, both in halves.items()}
    sections = []
    for name, network in networks.items():
        sections += [f"## {name}", score_table(network, halves, membrane, name)]
        recipe, both = next(iter(halves.items()))
        table = level_table(network, (batch for half in both for batch in half.batches(network)))
        if table is not None:
            sections += [f"Kernels over the pixels that a level knows, and merges, with holes of `{recipe}`:"]
            sections += [table]
    count = sum(len(half.cases) for half in next(iter(halves.values())))
    source = Path(source_label(arguments.images)).name
    facts = {
        "photos": f"{count} of {source}, {arguments.size} px, seed {arguments.seed}",
        "constant kernels": "the means of the other half of the photos",
        "operator": implementation(arguments.device),
        **({"GPU": torch.cuda.get_device_name()} if arguments.device.type == "cuda" else {}),
    }
    publish(report("What parts of the networks are worth", facts, sections), arguments.output)


def mean_psnr(network: Network, halves: Sequence[Validator]) -> float:
    """Over the cases of both halves."""
    total = sum(half.score(network)["psnr"] * len(half.cases) for half in halves)
    return total / sum(len(half.cases) for half in halves)


if __name__ == "__main__":
    main()
