#!/usr/bin/env python
"""Time CARAFE, forward and backward, beside PyTorch's own ways of upsampling.

    python benchmarks/carafe.py
    python benchmarks/carafe.py --threads 2 --output benchmarks/results/carafe.md
    python benchmarks/carafe.py --shapes 1x256x64x64 --types float32 --kernel-size 3 5 7 --scale 2 4
    python benchmarks/carafe.py --shapes 1x256x64x64 --normalizer softmax sigmoid sigmoid_normalized
    python benchmarks/carafe.py --device cuda --mmcv mmcv-2.2.0     # see benchmarks/mmcv_peer.py

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

import mmcv_peer
import torch
import torch.nn.functional as F
from measurement import interleaved_medians, interleaved_times, markdown_table, publish, report
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from inpaint.layers import CarafeUpsample
from inpaint.masks import generator_for, parse_recipe
from inpaint.ops import NORMALIZERS, carafe, carafe_fused, cpu, implementation, reference

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LAYOUTS = {"channels_last": torch.channels_last, "NCHW": torch.contiguous_format}
SHAPES = {
    "cpu": ("1x256x64x64", "8x64x128x128", "1x512x32x32", "2x128x33x47"),
    "cuda": ("8x256x64x64", "8x64x256x256", "1x256x64x64"),
}
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
    "of the limit",
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
    groups: int = 1
    device: str = "cpu"
    normalizer: str = "softmax"

    @property
    def bytes_moved(self) -> int:
        """What one fused forward has to read and write at least: features, logits and the result, once."""
        n, c, h, w = self.shape
        numbers = n * h * w * (c + self.groups * (self.kernel_size * self.scale) ** 2 + c * self.scale**2)
        return numbers * TYPES[self.dtype].itemsize

    @property
    def reassembly_flops(self) -> int:
        """Operations of one forward reassembly: a product and a sum for each tap of each output number."""
        n, c, h, w = self.shape
        return 2 * self.kernel_size**2 * n * c * h * w * self.scale**2

    def random(self, channels: int, scale: int = 1) -> Tensor:
        """Return normal numbers of the case's type and layout, `scale` times the features' size."""
        n, _, h, w = self.shape
        size = (n, channels, scale * h, scale * w)
        numbers = torch.randn(size, dtype=TYPES[self.dtype], device=self.device)
        return numbers.contiguous(memory_format=LAYOUTS[self.layout])


@dataclass(frozen=True)
class Method:
    """A way of upsampling: `forward` makes the features, and `inputs` are what gradients are taken for."""

    forward: Callable[[], Tensor]
    inputs: tuple[Tensor, ...]


def build_methods(case: Case, mmcv: Callable[..., Tensor] | None = None) -> dict[str, Method]:
    """Every row's computation, on tensors that they share. `mmcv` is its operator, which adds a row."""
    k, scale, groups, normalizer = case.kernel_size, case.scale, case.groups, case.normalizer
    n, channels, height, width = case.shape
    features = case.random(channels).requires_grad_()
    logits = case.random(groups * k**2 * scale**2).requires_grad_()
    kernels = normalized(logits.detach(), groups, scale, normalizer)
    kernels = kernels.contiguous(memory_format=LAYOUTS[case.layout]).requires_grad_()
    recipe = parse_recipe(MASKS)
    holes = [torch.from_numpy(recipe(generator_for(0, number), height, width)) for number in range(n)]
    valid = 1 - torch.stack(holes)[:, None].float().to(case.device)

    def layer(module: nn.Module, *arguments: Tensor | None) -> Method:
        module.to(case.device, TYPES[case.dtype]).to(memory_format=LAYOUTS[case.layout])

        def forward() -> Tensor:
            result = module(features, *arguments)
            return result[0] if isinstance(result, tuple) else result

        return Method(forward, (features, *module.parameters()))

    operator = {"kernel_size": k, "groups": groups, "scale": scale}
    fused = {**operator, "normalizer": normalizer}

    def plain(function: Callable[..., Any]) -> Method:
        return Method(lambda: function(features, logits, **fused), (features, logits))

    def masked(function: Callable[..., Any]) -> Method:
        return Method(lambda: function(features, logits, **fused, valid=valid)[0], (features, logits))

    def upsample() -> CarafeUpsample:
        return CarafeUpsample(channels, scale, up_kernel=k, groups=groups, normalizer=normalizer)

    # Exactly σ times the size, for even and odd σ.
    deconvolution = nn.ConvTranspose2d(
        channels, channels, 2 * scale, scale, padding=(scale + 1) // 2, output_padding=scale % 2
    )
    shuffle = nn.Sequential(nn.Conv2d(channels, channels * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def around_mmcv(
        x: Tensor, numbers: Tensor, kernel_size: int, groups: int, scale: int, normalizer: str
    ) -> Tensor:
        """Shuffle and normalise the kernels, and bring everything to NCHW, as mmcv's operator needs it."""
        assert mmcv is not None
        ready = normalized(numbers, groups, scale, normalizer).contiguous()
        result = mmcv(x.contiguous(), ready, kernel_size, groups, scale)
        return result.contiguous(memory_format=LAYOUTS[case.layout])

    peers = {} if mmcv is None or case.dtype == "bfloat16" else {"mmcv": plain(around_mmcv)}
    return {
        "carafe_fused": plain(carafe_fused),
        "carafe_fused_masked": masked(carafe_fused),
        "carafe": Method(lambda: carafe(features, kernels, **operator), (features, kernels)),
        **peers,
        "layer": layer(upsample()),
        "layer_masked": layer(upsample(), valid),
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


def normalized(logits: Tensor, groups: int, scale: int, normalizer: str) -> Tensor:
    """Ready kernels [N, G·k², σH, σW] from logits."""
    shuffled = F.pixel_shuffle(logits, scale)
    return normalized_over(shuffled.unflatten(1, (groups, -1)), 2, normalizer).flatten(1, 2)


def normalized_over(numbers: Tensor, axis: int, normalizer: str) -> Tensor:
    """Return the definitions of the normalisers, over the axis that holds the taps."""
    if normalizer == "softmax":
        return numbers.softmax(axis)
    weights = numbers.sigmoid()
    return weights if normalizer == "sigmoid" else weights / weights.sum(axis, keepdim=True)


def unfold_einsum(
    features: Tensor, logits: Tensor, kernel_size: int, groups: int, scale: int, normalizer: str
) -> Tensor:
    """Reassemble by the definition at the output's resolution, as PyTorch versions mostly do.

    In features enlarged by repeating pixels, the taps of an output pixel lie σ apart around it. All windows
    are laid out in memory: k² times the output.
    """
    n, c, h, w = features.shape
    kernels = normalized(logits, groups, scale, normalizer)
    kernels = kernels.view(n, groups, kernel_size**2, scale * h, scale * w)
    enlarged = F.interpolate(features, scale_factor=scale, mode="nearest")
    windows = F.unfold(enlarged, kernel_size, dilation=scale, padding=kernel_size // 2 * scale)
    windows = windows.view(n, groups, c // groups, kernel_size**2, scale * h, scale * w)
    return torch.einsum("ngckhw,ngkhw->ngchw", windows, kernels).flatten(1, 2)


def unfold_sum(
    features: Tensor, logits: Tensor, kernel_size: int, groups: int, scale: int, normalizer: str
) -> Tensor:
    """Reassemble at the source's resolution: σ² times smaller windows, one sub-pixel at a time."""
    n, c, h, w = features.shape
    windows = F.unfold(features, kernel_size, padding=kernel_size // 2)
    windows = windows.view(n, groups, c // groups, kernel_size**2, h, w)
    weights = logits.reshape(n, groups, 1, kernel_size**2, scale**2, h, w)
    weights = normalized_over(weights, 3, normalizer)
    parts = [(windows * weights[:, :, :, :, s]).sum(3) for s in range(scale**2)]
    return F.pixel_shuffle(torch.stack(parts, 3).view(n, c * scale**2, h, w), scale)


def check_methods(
    kernel_size: int,
    groups: int,
    scale: int,
    device: str,
    normalizer: str,
    mmcv: Callable[..., Tensor] | None,
) -> None:
    """Stop if rows that claim to be one computation differ, in the result or in a gradient."""
    torch.manual_seed(0)
    case = Case((2, 24 * groups, 7, 9), "float32", "NCHW", kernel_size, scale, groups, device, normalizer)
    methods = build_methods(case, mmcv)
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
        ("twin", "carafe_fused", "unfold_einsum", "unfold_sum", *(["mmcv"] if mmcv else [])),
        ("twin_masked", "carafe_fused_masked"),
    ):
        expected = outcome(methods[first])
        for name in others:
            same(name, outcome(methods[name]), expected)
    # With ready kernels the second gradient is another one.
    same("carafe", outcome(methods["carafe"])[:2], outcome(methods["twin"])[:2])


def measure(
    case: Case,
    names: list[str],
    rounds: int,
    seconds: float,
    limit: float,
    mmcv: Callable[..., Tensor] | None,
) -> list[list[str]]:
    """Return the rows of one case; `limit` is that of `measure_limit`."""
    torch.manual_seed(0)
    methods = build_methods(case, mmcv)
    names = [name for name in names if name in methods]
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
        peak, kept = allocated(forwards[name], case.device)
        work = case.bytes_moved if case.device == "cuda" else case.reassembly_flops
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
            f"{100 * work / forward[name] / limit:.0f} %" if is_reassembly(name) else "",
            f"{(peak - kept) / 2**20:.1f}",
            f"{allocated(boths[name], case.device)[0] / 2**20:.1f}",
        ]
        rows.append(line)
    return rows


def is_reassembly(name: str) -> bool:
    """Tell whether the row does CARAFE's reassembly and hardly anything else."""
    return name.startswith(("carafe", "twin", "unfold", "mmcv"))


def measure_limit(device: str) -> float:
    """Return what this machine can do at best.

    On a GPU it is bytes moved in a second, as a copy of a large tensor moves them; on a CPU it is operations
    in a second, as a float32 3×3 convolution of 256 channels does them.
    """
    if device == "cuda":
        source = torch.empty(2**28, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        amount = 2 * source.numel()

        def work() -> Tensor:
            return target.copy_(source)
    else:
        x = Case((1, 256, 64, 64), "float32", "channels_last", 1, 1).random(256)
        weight = torch.randn(256, 256, 3, 3).contiguous(memory_format=torch.channels_last)
        amount = 2 * 9 * 256 * x.numel()

        def work() -> Tensor:
            return F.conv2d(x, weight, padding=1)

    with torch.no_grad():
        return amount / min(interleaved_times({"limit": work}, rounds=5, seconds=1.0)["limit"])


def allocated(work: Callable[[], object], device: str) -> tuple[int, int]:
    """Bytes that PyTorch's allocator gave to one call: the most at any moment, and those of its result."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        result = work()
        return torch.cuda.max_memory_allocated() - before, torch.cuda.memory_allocated() - before
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
    """Return the compiler's name and version, as the build would call it."""
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
        help=f"of the features, NxCxHxW (default: {' '.join(SHAPES['cpu'])}, on a GPU others)",
    )
    parser.add_argument("--kernel-size", nargs="+", type=int, default=[5], help="k, odd (default: 5)")
    parser.add_argument("--scale", nargs="+", type=int, default=[2], help="σ (default: 2)")
    parser.add_argument("--groups", nargs="+", type=int, default=[1], help="G (default: 1)")
    parser.add_argument(
        "--normalizer", nargs="+", choices=NORMALIZERS, default=["softmax"], help="(default: softmax)"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--mmcv", type=Path, metavar="FOLDER", help="of mmcv's sources: adds its operator")
    parser.add_argument("--types", nargs="+", choices=TYPES, help="(default: float32 bfloat16; on a GPU all)")
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
    device = arguments.device
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU")
    if arguments.mmcv and device != "cuda":
        parser.error("--mmcv: its operator has no CPU kernels; add --device cuda")
    mmcv = mmcv_peer.build(arguments.mmcv) if arguments.mmcv else None
    shapes = arguments.shapes or [shape(text) for text in SHAPES[device]]
    types = arguments.types or (list(TYPES) if device == "cuda" else ["float32", "bfloat16"])
    known = list(build_methods(Case((1, 1, 8, 8), "float32", "NCHW", 1, 1), mmcv))
    wanted = [*(arguments.methods or known), YARDSTICK]
    if unknown := sorted(set(wanted) - set(known)):
        parser.error(f"--methods: no {', '.join(unknown)}; there are {', '.join(known)}")
    names = [name for name in known if name in wanted]

    operators = list(product(arguments.kernel_size, arguments.scale, arguments.groups, arguments.normalizer))
    for k, scale, groups, normalizer in operators:
        check_methods(k, groups, scale, device, normalizer, mmcv)
    limit = measure_limit(device)
    sections = []
    cases = list(product(shapes, types, arguments.layouts))
    bar = tqdm(total=len(operators) * len(cases), unit="case", disable=None)
    for k, scale, groups, normalizer in operators:
        rows = []
        for sizes, dtype, layout in cases:
            case = Case(sizes, dtype, layout, k, scale, groups, device, normalizer)
            own_names = [name for name in names if case.shape == shapes[0] or name not in SLOW]
            rows += measure(case, own_names, arguments.rounds, arguments.seconds, limit, mmcv)
            bar.update()
        sections += [
            f"## k = {k}, σ = {scale}, G = {groups}, {normalizer}",
            markdown_table(COLUMNS, rows, left=4),
        ]
    bar.close()
    facts = {
        "operator": implementation(device),
        "compiler": f"{compiler()}, {' '.join(cpu.recipe().flags)}",
        "limit": f"{limit / 1e9:.0f} "
        + ("GB/s in a copy" if device == "cuda" else "GFLOP/s in a float32 3×3 convolution"),
    }
    if device == "cuda":
        facts["GPU"] = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    publish(report("CARAFE and other ways to upsample", facts, sections), arguments.output)


if __name__ == "__main__":
    main()
