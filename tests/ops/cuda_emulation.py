"""The CUDA kernels on the CPU: their own sources, compiled against tests/ops/cuda_emulator/cuda_runtime.h."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inpaint.ops import build, registration
from inpaint.ops.build import Recipe

FOLDER = Path(__file__).parent / "cuda_emulator"
# `make asan` sets -fsanitize=address. Not -O3: building would take longer than running.
FLAGS = os.environ.get("INPAINT_EMULATOR_FLAGS", "-O1").split()


def recipe() -> Recipe:
    csrc = build.sources_folder()
    headers = [*csrc.glob("*.h"), *csrc.glob("cuda/*.*"), FOLDER / "cuda_runtime.h"]
    source = FOLDER / "library.cpp"
    return Recipe(
        "inpaint_emulated",
        title="the CUDA kernels for their emulator",
        duration="about a minute",
        sources=(source,),
        watched=(source, *sorted(headers)),
        flags=("-std=c++20", "-fvisibility=hidden", "-Wno-unknown-pragmas", *build.ABI_FLAGS, *FLAGS),
        link_flags=tuple(flag for flag in FLAGS if flag.startswith("-fsanitize")),
        include=(FOLDER,),
    )


@functools.cache
def operators() -> Any:
    """`torch.ops.inpaint_emulated`, with gradients."""
    torch.ops.load_library(str(build.build(recipe())))
    operators.registry = registration.register("inpaint_emulated")  # type: ignore[attr-defined]
    return torch.ops.inpaint_emulated


def carafe(features: Tensor, kernels: Tensor, *integers: int) -> Tensor:
    return operators().carafe(features, kernels, *integers)


def carafe_downsample(
    features: Tensor,
    logits: Tensor,
    kernel_size: int = 5,
    groups: int = 1,
    stride: int = 2,
    normalizer: str = "softmax",
    valid: Tensor | None = None,
) -> Any:
    settings = (kernel_size, groups, stride, normalizer)
    if valid is None:
        return operators().carafe_down(features, logits, *settings)
    return operators().carafe_down(features, logits, *settings, valid)


def carafe_fused(
    features: Tensor,
    logits: Tensor,
    kernel_size: int = 5,
    groups: int = 1,
    scale: int = 2,
    normalizer: str = "softmax",
    valid: Tensor | None = None,
) -> Any:
    settings = (kernel_size, groups, scale, normalizer)
    if valid is None:
        return operators().carafe_fused(features, logits, *settings)
    return operators().carafe_fused(features, logits, *settings, valid)
