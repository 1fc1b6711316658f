#!/usr/bin/env python
"""Time a training step of a network, for each upsampler.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --upsamplers carafe nearest --output benchmarks/results/training.md
    python benchmarks/training_step.py --network partial-conv-unet --stages 128x8 --threads 1
    python benchmarks/training_step.py --stages 64x4 --precision fp32
    python benchmarks/training_step.py --device cuda --upsamplers carafe --stages 256x8 256x32

A step is forward, pixel loss, backward and the optimiser, on a batch that is at hand: no decoding, no
backbone. The loss of a network that fills by octaves counts each; Muon updates it, as its preset says.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from measurement import interleaved_medians, markdown_table, publish, report
from torch import Tensor
from tqdm import tqdm

from inpaint.layers import UPSAMPLERS
from inpaint.losses import InpaintingLoss, LossWeights
from inpaint.masks import generator_for, parse_recipe
from inpaint.networks import CONFIGS, Network, build_network
from inpaint.ops import implementation
from inpaint.training.optimization import build_optimizer
from inpaint.training.settings import TrainSettings

MASKS = "free-form:0.1-0.5"


def random_batch(size: int, batch: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Noise [N, 3, size, size] in [0, 1] and masks [N, 1, size, size], 1 = hole."""
    recipe = parse_recipe(MASKS)
    holes = [torch.from_numpy(recipe(generator_for(0, number), size, size)) for number in range(batch)]
    mask = torch.stack(holes)[:, None].float()
    image = torch.rand(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    return image.to(device), mask.to(device)


def training_step(network: Network, image: Tensor, mask: Tensor, autocast: bool) -> Callable[[], None]:
    """One update of the network on this batch, as a function to call again and again."""
    octaves = network.gives_octaves
    loss_of = InpaintingLoss(LossWeights(perceptual=0, style=0, log_mse=0.4, coarser=0.5 if octaves else 0))
    kind = "muon" if octaves else "adamw"
    optimizer = build_optimizer(network, TrainSettings(data=("none",), output="none", optimizer=kind))

    def step() -> None:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=autocast):
            known = network.blank(image, mask)
            prediction, *coarser = network(known, mask, True) if octaves else [network(known, mask)]
        loss, _ = loss_of(prediction, image, mask, coarser)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def stage(text: str) -> tuple[int, int]:
    """Read `128x16`: the side in pixels, and the pictures in a batch."""
    size, batch = (int(part) for part in text.split("x"))
    if min(size, batch) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not SIZExBATCH, for example 128x16")
    return size, batch


def main() -> None:
    """Read the command line, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", choices=CONFIGS, default="pyramid-unet", help="(default: %(default)s)")
    parser.add_argument("--upsamplers", nargs="+", choices=UPSAMPLERS, default=list(UPSAMPLERS))
    parser.add_argument(
        "--stages",
        nargs="+",
        type=stage,
        default=[(64, 32), (128, 8)],
        help="SIZExBATCH (default: 64x32 128x8)",
    )
    parser.add_argument(
        "--precision", choices=("bf16", "fp32"), default="bf16", help="(default: %(default)s)"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved repeats (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="least time for each number (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the result here too")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)

    torch.manual_seed(0)
    preset = CONFIGS[arguments.network]
    networks = {
        name: build_network({**preset, "upsampler": name}).to(arguments.device)
        for name in arguments.upsamplers
    }
    stride = networks[arguments.upsamplers[0]].stride
    if unfit := [size for size, _ in arguments.stages if size % stride]:
        parser.error(f"--stages: sizes must be multiples of the network's stride {stride}, got {unfit}")
    lines = {
        name: [name, f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}"]
        for name, network in networks.items()
    }
    for size, batch in tqdm(arguments.stages, unit="stage", disable=None):
        image, mask = random_batch(size, batch, arguments.device)
        steps = {
            name: training_step(network, image, mask, arguments.precision == "bf16")
            for name, network in networks.items()
        }
        medians = interleaved_medians(steps, rounds=arguments.rounds, seconds=arguments.seconds)
        for name, seconds in medians.items():
            lines[name] += [f"{1e3 * seconds:.0f}", f"{batch / seconds:.1f}"]
    columns = ["upsampler", "parameters, millions"]
    for size, batch in arguments.stages:
        columns += [f"{size} px × {batch}, ms a step", "images/s"]
    facts = {
        "network": f"{arguments.network}, {arguments.precision}, channels_last",
        "operator": implementation(arguments.device),
        **({"GPU": torch.cuda.get_device_name()} if arguments.device == "cuda" else {}),
    }
    page = report("A training step", facts, [markdown_table(columns, list(lines.values()))])
    publish(page, arguments.output)


if __name__ == "__main__":
    main()
