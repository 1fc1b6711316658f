#!/usr/bin/env python
"""Measure the memory that a training step takes, by batch.

    python benchmarks/training_memory.py
    python benchmarks/training_memory.py --sizes 256 512 --batches 1 2 --output runs/memory.md

What stays is counted tensor by tensor: weights, their moving average, gradients, AdamW's two moments. What
comes and goes in a step, mostly activations, is the most that PyTorch's allocator has given out at any moment
of a step, as the profiler records it. VGG16 has random weights here: its memory does not depend on them. What
the C++ libraries keep for themselves is not in the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import torch
from carafe import allocated
from measurement import markdown_table, publish, report
from torchvision.models import vgg16
from tqdm import tqdm
from training_step import random_batch

from inpaint.backbones import FeatureBackbone
from inpaint.losses import InpaintingLoss, LossWeights
from inpaint.networks import CONFIGS, Network, build_network
from inpaint.ops import implementation
from inpaint.training.optimization import MovingAverage

LOSSES = {"pixel terms": LossWeights(perceptual=0, style=0), "all terms, VGG16": LossWeights()}


def state_bytes(network: Network, optimizer: torch.optim.Optimizer, average: MovingAverage) -> dict[str, int]:
    """Bytes of all that stays from step to step."""

    def total(tensors: Sequence[torch.Tensor]) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    parameters = list(network.parameters())
    moments = [value for state in optimizer.state.values() for value in state.values()]
    return {
        "weights": total(parameters),
        "moving average": total(list(average.network.parameters())),
        "gradients": total([p.grad for p in parameters if p.grad is not None]),
        "AdamW": total(moments),
    }


def measure(network_name: str, size: int, batch: int, weights: LossWeights) -> tuple[dict[str, int], int]:
    """Bytes that stay, by what they are, and the most that a step takes besides."""
    network = build_network(CONFIGS[network_name]).to(memory_format=torch.channels_last)
    backbone = FeatureBackbone(vgg16(weights=None).features, (4, 9, 16)) if weights.needs_backbone else None
    autocast: Callable[[], torch.autocast] = lambda: torch.autocast("cpu", torch.bfloat16)  # noqa: E731
    loss_of = InpaintingLoss(weights, backbone, autocast)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    average = MovingAverage(network, 0.999)
    image, mask = random_batch(size, batch)

    def step() -> None:
        with autocast():
            prediction = network(image * (1 - mask), mask)
        loss, _ = loss_of(prediction, image, mask)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)  # gradients stay, and are counted as such
        average.update(0)

    step()  # what is made in the first step and stays: moments, gradients
    peak, _ = allocated(step, "cpu")
    return state_bytes(network, optimizer, average), peak


def main() -> None:
    """Read the command line, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--network", choices=CONFIGS, default="partial-conv-unet", help="(default: %(default)s)"
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[256], help="pixels (default: 256)")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4, 8], help="(default: 1 2 4 8)")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the result here too")
    arguments = parser.parse_args()
    rows = []
    for loss, size, batch in tqdm(
        list(product(LOSSES, arguments.sizes, arguments.batches)), unit="batch", disable=None
    ):
        stays, peak = measure(arguments.network, size, batch, LOSSES[loss])
        sums = [sum(stays.values()), peak, sum(stays.values()) + peak, peak // batch]
        rows.append([loss, f"{size} px × {batch}", *(f"{value / 2**20:.0f}" for value in sums)])
    kinds = ", ".join(f"{name} {value / 2**20:.1f} MiB" for name, value in stays.items())
    columns = ["loss", "batch", "stays, MiB", "in a step, MiB", "together, MiB", "in a step, MiB an image"]
    facts = {
        "network": f"{arguments.network}, bf16, channels_last",
        "operator": implementation("cpu"),
        "stays": kinds,
    }
    publish(report("Memory of a training step", facts, [markdown_table(columns, rows, 2)]), arguments.output)


if __name__ == "__main__":
    main()
