#!/usr/bin/env python
"""Time content-aware downsampling, forward and backward, beside PyTorch's ways of downsampling.

    python benchmarks/downsample.py
    python benchmarks/downsample.py --threads 2 --output benchmarks/results/downsample.md

All methods take features of one shape to half the size. Times are of the processor, all threads together,
which other programs disturb less than the clock's. The definition in `unfold` and `einsum` and the twin are
compared with the operator first, results and gradients, so that nothing is timed that computes something
else.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measurement import interleaved_times, markdown_table, publish, report
from torch import Tensor, nn

from inpaint.layers import CarafeDownsample
from inpaint.masks import generator_for, parse_recipe
from inpaint.ops import carafe_downsample, implementation, reference

LAYOUTS = {"channels_last": torch.channels_last, "NCHW": torch.contiguous_format}
STRIDE = 2
MASKS = "free-form:0.2-0.3"  # of the masked rows
COLUMNS = ("layout", "method", "forward, ms", "÷ strided_conv", "both, ms", "÷ strided_conv", "GFLOP/s")
REASSEMBLIES = ("carafe_downsample", "carafe_downsample_masked", "twin", "unfold_einsum")
Method = tuple[Callable[..., Any], tuple[Tensor, ...]]


def unfold_einsum(features: Tensor, logits: Tensor, kernel_size: int) -> Tensor:
    """Downsample by the definition: all windows are laid out in memory, k² times the output."""
    n, c, _, _ = features.shape
    rows, columns = logits.shape[-2:]
    windows = F.unfold(features, kernel_size, padding=kernel_size // 2, stride=STRIDE)
    windows = windows.view(n, c, kernel_size**2, rows, columns)
    return torch.einsum("nckhw,nkhw->nchw", windows, logits.softmax(1))


def methods(shape: list[int], kernel_size: int, layout: torch.memory_format) -> dict[str, Method]:
    """Return what is timed: a call, and the tensors that it is called with and differentiated by."""
    n, c, h, w = shape
    k = kernel_size
    x = torch.randn(shape).contiguous(memory_format=layout).requires_grad_()
    logits = torch.randn(n, k * k, -(-h // STRIDE), -(-w // STRIDE)).contiguous(memory_format=layout)
    logits.requires_grad_()
    hole = parse_recipe(MASKS)(generator_for(0, "downsample"), h, w)
    valid = torch.from_numpy(~hole).float().expand(n, 1, h, w)
    layer = CarafeDownsample(c, STRIDE, down_kernel=k).to(memory_format=layout)
    conv = nn.Conv2d(c, c, 3, STRIDE, 1).to(memory_format=layout)
    return {
        "carafe_downsample": (lambda a, b: carafe_downsample(a, b, k, 1, STRIDE), (x, logits)),
        "carafe_downsample_masked": (
            lambda a, b: carafe_downsample(a, b, k, 1, STRIDE, valid=valid)[0],
            (x, logits),
        ),
        "layer": (lambda a, *weights: layer(a), (x, *layer.parameters())),
        "strided_conv": (lambda a, *weights: conv(a), (x, *conv.parameters())),
        "average_pool": (lambda a: F.avg_pool2d(a, k, STRIDE, k // 2), (x,)),
        "max_pool": (lambda a: F.max_pool2d(a, k, STRIDE, k // 2), (x,)),
        "twin": (lambda a, b: reference.carafe_downsample(a, b, k, 1, STRIDE), (x, logits)),
        "unfold_einsum": (lambda a, b: unfold_einsum(a, b, k), (x, logits)),
    }


def compare(works: dict[str, Method]) -> None:
    """Stop unless the twin and the definition agree with the operator, forward and backward."""
    outcomes = {}
    for name in ("carafe_downsample", "twin", "unfold_einsum"):
        call, operands = works[name]
        output = call(*operands)
        outcomes[name] = (output, *torch.autograd.grad(output.square().sum(), operands))
    for name in ("twin", "unfold_einsum"):
        torch.testing.assert_close(outcomes[name], outcomes["carafe_downsample"], rtol=1e-4, atol=1e-4)


def processor_times(works: dict[str, Method], rounds: int) -> dict[str, tuple[float, float]]:
    """Return the median milliseconds of the processor, forward and both, of every method, taken in turn."""
    spent: dict[str, list[float]] = defaultdict(list)
    calls: dict[str, Callable[[], object]] = {}
    for name, (call, operands) in works.items():
        with torch.no_grad():
            slope = torch.randn_like(call(*operands))

        def forward(key: str = f"{name} forward", method: Method = (call, operands)) -> None:
            begun = time.process_time()
            with torch.no_grad():
                method[0](*method[1])
            spent[key].append(time.process_time() - begun)

        def both(key: str = f"{name} both", method: Method = (call, operands), grad: Tensor = slope) -> None:
            begun = time.process_time()
            torch.autograd.grad(method[0](*method[1]), method[1], grad)
            spent[key].append(time.process_time() - begun)

        calls |= {f"{name} forward": forward, f"{name} both": both}
    interleaved_times(calls, rounds=rounds, seconds=0)

    def median(key: str) -> float:
        return 1000 * statistics.median(spent[key][1:])  # the first call warms up

    return {name: (median(f"{name} forward"), median(f"{name} both")) for name in works}


def main() -> None:
    """Read the command line, compare, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="1x256x64x64", help="of the features (default: %(default)s)")
    parser.add_argument("--kernel-size", type=int, default=5, help="k (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="two calls in each (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the result here too")
    arguments = parser.parse_args()
    if implementation("cpu") != "compiled":
        parser.error("the compiled operator is not the one that runs")
    torch.set_num_threads(arguments.threads)
    load = os.getloadavg()[0]
    shape, k = [int(size) for size in arguments.shape.split("x")], arguments.kernel_size
    n, c, h, w = shape
    operations = 2 * n * c * -(-h // STRIDE) * -(-w // STRIDE) * k * k

    rows = []
    for title, layout in LAYOUTS.items():
        torch.manual_seed(0)
        compare(methods([1, 8, 9, 11], k, layout))
        times = processor_times(methods(shape, k, layout), arguments.rounds)
        forward_of_conv, both_of_conv = times["strided_conv"]
        for name, (forward, both) in times.items():
            rate = f"{operations / forward / 1e6:.1f}" if name in REASSEMBLIES else ""
            ratios = f"{forward / forward_of_conv:.2f}", f"{both / both_of_conv:.2f}"
            rows.append([title, name, f"{forward:.2f}", ratios[0], f"{both:.2f}", ratios[1], rate])
    facts = {
        "operator": f"{implementation('cpu')}, k = {k}, stride {STRIDE}; float32, features {arguments.shape}",
        "times": "of the processor, all threads together",
        "load when begun": f"{load:.1f}",
    }
    table = markdown_table(COLUMNS, rows, left=2)
    publish(report("CARAFE++'s and other ways to downsample", facts, [table]), arguments.output)


if __name__ == "__main__":
    main()
