#!/usr/bin/env python
"""Time CARAFE, forward and backward, beside PyTorch's own ways of upsampling.

    python benchmarks/carafe.py
    python benchmarks/carafe.py --threads 2 --output benchmarks/results/carafe.md
    python benchmarks/carafe.py --shapes 1x256x64x64 --types float32 --layouts channels_last --scale 4

One table; benchmarks/README.md says what its rows and columns are. Rows that claim to be CARAFE are compared
on a small input first, so that nothing is timed that computes something else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

# The profiler, which is asked about memory alone, would report on the GPUs it looks for.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import torch
import torch.nn.functional as F
from measurement import interleaved_medians, markdown_table, publish, report
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from inpaint.layers import CarafeUpsample
from inpaint.masks import generator_for, parse_recipe
from inpaint.ops import carafe, carafe_fused, implementation, library, reference

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LAYOUTS = {"channels_last": torch.channels_last, "NCHW": torch.contiguous_format}
SHAPES = ("1x256x64x64", "8x64x128x128", "1x512x32x32", "2x128x33x47")
YARDSTICK = "bilinear"
# So much slower than the others that they are measured on the first shape only, with few repeats.
SLOW = ("twin", "twin_masked", "unfold_einsum", "unfold_sum")
SLOW_ROUNDS = 2
MASKS = "free-form:0.2-0.3"  # of the masked rows

COLUMNS = (
    "features",
    "type",
    "layout",
    "method",
    "forward, ms",
    "÷ bilinear",
    "both, ms",
    "÷ bilinear",
    "both ÷ forward",
    "GFLOP/s",
    "forward, temporary MiB",
    "both, peak MiB",
)


@dataclass(frozen=True)
class Case:
    """The sizes, type and layout that a group of rows has in common; shape is that of the features."""

    shape: tuple[int, int, int, int]
    dtype: str
    layout: str
    kernel_size: int
    scale: int

    @property
    def reassembly_flops(self) -> int:
        """Operations of one forward reassembly: a product and a sum for each tap of each output number."""
        n, c, h, w = self.shape
        return 2 * self.kernel_size**2 * n * c * h * w * self.scale**2

    def random(self, channels: int, scale: int = 1) -> Tensor:
        """Normal numbers of the case's type and layout, `channels` at `scale` times the features' size."""
        n, _, h, w = self.shape
        numbers = torch.randn(n, channels, scale * h, scale * w, dtype=TYPES[self.dtype])
        return numbers.contiguous(memory_format=LAYOUTS[self.layout])


@dataclass(frozen=True)
class Method:
    """A way of upsampling: `forward` makes the features, and `inputs` are what gradients are taken for."""

    forward: Callable[[], Tensor]
    inputs: tuple[Tensor, ...]


def build_methods(case: Case) -> dict[str, Method]:
    """Every row's computation, on tensors that they share."""
    k, scale = case.kernel_size, case.scale
    n, channels, height, width = case.shape
    features = case.random(channels).requires_grad_()
    logits = case.random(k**2 * scale**2).requires_grad_()
    kernels = F.pixel_shuffle(logits.detach(), scale).softmax(1)
    kernels = kernels.contiguous(memory_format=LAYOUTS[case.layout]).requires_grad_()
    recipe = parse_recipe(MASKS)
    holes = [torch.from_numpy(recipe(generator_for(0, number), height, width)) for number in range(n)]
    valid = 1 - torch.stack(holes)[:, None].float()

    def layer(module: nn.Module, *arguments: Tensor | None) -> Method:
        module.to(TYPES[case.dtype]).to(memory_format=LAYOUTS[case.layout])

        def forward() -> Tensor:
            result = module(features, *arguments)
            return result[0] if isinstance(result, tuple) else result

        return Method(forward, (features, *module.parameters()))

    def plain(function: Callable[..., Any], second: Tensor = logits) -> Method:
        return Method(lambda: function(features, second, kernel_size=k, scale=scale), (features, second))

    def masked(function: Callable[..., Any]) -> Method:
        return Method(
            lambda: function(features, logits, kernel_size=k, scale=scale, valid=valid)[0],
            (features, logits),
        )

    # Exactly σ times the size, for even and odd σ.
    deconvolution = nn.ConvTranspose2d(
        channels, channels, 2 * scale, scale, padding=(scale + 1) // 2, output_padding=scale % 2
    )
    shuffle = nn.Sequential(nn.Conv2d(channels, channels * scale**2, 3, padding=1), nn.PixelShuffle(scale))
    return {
        "carafe_fused": plain(carafe_fused),
        "carafe_fused_masked": masked(carafe_fused),
        "carafe": plain(carafe, kernels),
        "layer": layer(CarafeUpsample(channels, scale, up_kernel=k)),
        "layer_masked": layer(CarafeUpsample(channels, scale, up_kernel=k), valid),
        "nearest": Method(lambda: F.interpolate(features, scale_factor=scale, mode="nearest"), (features,)),
        "bilinear": Method(
            lambda: F.interpolate(features, scale_factor=scale, mode="bilinear", align_corners=False),
            (features,),
        ),
        "deconv": layer(deconvolution),
        "pixel_shuffle": layer(shuffle),
        "twin": plain(reference.carafe_fused),
        "twin_masked": masked(reference.carafe_fused),
        "unfold_einsum": plain(unfold_einsum),
        "unfold_sum": plain(unfold_sum),
    }


def unfold_einsum(features: Tensor, logits: Tensor, kernel_size: int, scale: int) -> Tensor:
    """The definition read at the output's resolution, which is how PyTorch versions are mostly written.

    In features enlarged by repeating pixels, the taps of an output pixel lie σ apart around it. All windows
    are laid out in memory: k² times the output.
    """
    n, c, h, w = features.shape
    kernels = F.pixel_shuffle(logits, scale).softmax(1)  # [N, k², σH, σW]
    enlarged = F.interpolate(features, scale_factor=scale, mode="nearest")
    windows = F.unfold(enlarged, kernel_size, dilation=scale, padding=kernel_size // 2 * scale)
    windows = windows.view(n, c, kernel_size**2, scale * h, scale * w)
    return torch.einsum("nckhw,nkhw->nchw", windows, kernels)


def unfold_sum(features: Tensor, logits: Tensor, kernel_size: int, scale: int) -> Tensor:
    """The definition read at the source's resolution: σ² times smaller windows, one sub-pixel at a time."""
    n, c, h, w = features.shape
    windows = F.unfold(features, kernel_size, padding=kernel_size // 2)
    windows = windows.view(n, c, kernel_size**2, h, w)
    weights = logits.view(n, 1, kernel_size**2, scale**2, h, w).softmax(2)
    parts = [(windows * weights[:, :, :, s]).sum(2) for s in range(scale**2)]
    return F.pixel_shuffle(torch.stack(parts, 2).view(n, c * scale**2, h, w), scale)


def check_methods(kernel_size: int, scale: int) -> None:
    """Stop if rows that claim to be one computation differ, in the result or in a gradient."""
    torch.manual_seed(0)
    case = Case((2, 24, 7, 9), "float32", "NCHW", kernel_size, scale)
    methods = build_methods(case)
    gradient = case.random(case.shape[1], scale)

    def outcome(method: Method) -> list[Tensor]:
        result = method.forward()
        return [result, *torch.autograd.grad(result, method.inputs, gradient)]

    def same(name: str, ours: list[Tensor], theirs: list[Tensor]) -> None:
        try:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        except AssertionError as error:
            raise SystemExit(f"{name} computes something else than plain PyTorch: {error}") from None

    for first, *others in (
        ("twin", "carafe_fused", "unfold_einsum", "unfold_sum"),
        ("twin_masked", "carafe_fused_masked"),
    ):
        expected = outcome(methods[first])
        for name in others:
            same(name, outcome(methods[name]), expected)
    # With ready kernels the second gradient is another one.
    same("carafe", outcome(methods["carafe"])[:2], outcome(methods["twin"])[:2])


def measure(case: Case, names: list[str], rounds: int, seconds: float) -> list[list[str]]:
    """The rows of one case."""
    torch.manual_seed(0)
    methods = build_methods(case)
    gradient = case.random(case.shape[1], case.scale)

    def forward_of(method: Method) -> Callable[[], Tensor]:
        def forward() -> Tensor:
            with torch.no_grad():
                return method.forward()

        return forward

    def both_of(method: Method) -> Callable[[], object]:
        return lambda: torch.autograd.grad(method.forward(), method.inputs, gradient)

    forwards = {name: forward_of(methods[name]) for name in names}
    boths = {name: both_of(methods[name]) for name in names}

    def medians(works: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        fast = {name: work for name, work in works.items() if name not in SLOW}
        slow = {name: work for name, work in works.items() if name in SLOW}
        return {
            **interleaved_medians(fast, rounds=rounds, seconds=seconds),
            **interleaved_medians(slow, rounds=SLOW_ROUNDS, seconds=seconds / rounds),
        }

    forward, both = medians(forwards), medians(boths)
    rows = []
    for name in names:
        peak, kept = allocated(forwards[name])
        line = [
            "×".join(map(str, case.shape)),
            case.dtype,
            case.layout,
            name,
            f"{1e3 * forward[name]:.2f}",
            f"{forward[name] / forward[YARDSTICK]:.2f}",
            f"{1e3 * both[name]:.2f}",
            f"{both[name] / both[YARDSTICK]:.2f}",
            f"{both[name] / forward[name]:.2f}",
            f"{case.reassembly_flops / forward[name] / 1e9:.0f}" if is_reassembly(name) else "",
            f"{(peak - kept) / 2**20:.1f}",
            f"{allocated(boths[name])[0] / 2**20:.1f}",
        ]
        rows.append(line)
    return rows


def is_reassembly(name: str) -> bool:
    """Does the row do CARAFE's reassembly and hardly anything else?"""
    return name.startswith(("carafe", "twin", "unfold"))


def allocated(work: Callable[[], object]) -> tuple[int, int]:
    """Bytes that PyTorch's allocator gave to one call: the most at any moment, and those of its result."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = work()
    del result
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    events = sorted((event for event in events if event["name"] == "[memory]"), key=lambda event: event["ts"])
    held = peak = 0
    for event in events:
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak, held


def compiler() -> str:
    """The compiler's name and version, as the build would call it."""
    command = os.environ.get("CXX", "c++")
    try:
        answer = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return answer.stdout.partition("\n")[0]


def shape(text: str) -> tuple[int, int, int, int]:
    """Read `1x256x64x64`."""
    sizes = tuple(int(part) for part in text.split("x"))
    if len(sizes) != 4 or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not NxCxHxW, for example 1x256x64x64")
    return sizes


def main() -> None:
    """Read the command line, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shapes",
        nargs="+",
        type=shape,
        default=[shape(text) for text in SHAPES],
        help=f"of the features, NxCxHxW (default: {' '.join(SHAPES)})",
    )
    parser.add_argument("--kernel-size", type=int, default=5, help="k, odd (default: %(default)s)")
    parser.add_argument("--scale", type=int, default=2, help="σ (default: %(default)s)")
    parser.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES))
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="only these rows, and bilinear")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved repeats (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="least time for each number (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the result here too")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    known = list(build_methods(Case((1, 1, 8, 8), "float32", "NCHW", 1, 1)))
    wanted = [*(arguments.methods or known), YARDSTICK]
    if unknown := sorted(set(wanted) - set(known)):
        parser.error(f"--methods: no {', '.join(unknown)}; there are {', '.join(known)}")
    names = [name for name in known if name in wanted]

    check_methods(arguments.kernel_size, arguments.scale)
    cases = [
        Case(sizes, dtype, layout, arguments.kernel_size, arguments.scale)
        for sizes, dtype, layout in product(arguments.shapes, arguments.types, arguments.layouts)
    ]
    rows = []
    for case in tqdm(cases, unit="case", disable=None):
        first = case.shape == arguments.shapes[0]
        own_names = [name for name in names if first or name not in SLOW]
        rows += measure(case, own_names, arguments.rounds, arguments.seconds)
    facts = {
        "operator": f"{implementation('cpu')}, k = {arguments.kernel_size}, σ = {arguments.scale}",
        "compiler": f"{compiler()}, {' '.join(library.cpu_recipe().flags)}",
    }
    publish(
        report("CARAFE and other ways to upsample", facts, [markdown_table(COLUMNS, rows, left=4)]),
        arguments.output,
    )


if __name__ == "__main__":
    main()
