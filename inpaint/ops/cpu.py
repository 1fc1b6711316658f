"""The library with the operators' schemas and the CPU's kernels: its recipe, building and loading it."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from . import build as building
from .build import Recipe

# On x86, by torch's names. Not -march=native: the result runs on every machine with these instructions.
INSTRUCTIONS = {
    "AVX512": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    "AVX2": ["-march=x86-64-v3"],
    "DEFAULT": ["-march=x86-64-v2"],
}

PLAIN_COST = "about 50 to 150 times slower on a CPU in the operator, 2 to 10 times in a whole network"


def capability() -> str:
    """Return the instructions that torch uses here, a key of `INSTRUCTIONS`; `ATEN_CPU_CAPABILITY` lowers it.

    >>> capability() in INSTRUCTIONS
    True
    """
    found = torch.backends.cpu.get_cpu_capability()
    return found if found in INSTRUCTIONS else "DEFAULT"


def levels() -> list[str]:
    """Return the keys of `INSTRUCTIONS` that a wheel for this platform needs a library for."""
    return list(INSTRUCTIONS) if _is_x86() else ["DEFAULT"]


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def _compile_flags(instructions: str) -> list[str]:
    # Contracting a·b + c is the compilers' default and wanted; -ffast-math is not: NaN must stay NaN.
    flags = ["-O3", "-std=c++20", "-fno-math-errno", "-fvisibility=hidden", *building.ABI_FLAGS]
    return flags + (INSTRUCTIONS[instructions] if _is_x86() else [])


def name(instructions: str | None = None) -> str:
    """Return the name of a wheel's library, by default for `capability()`."""
    return f"inpaint_ops-{instructions or capability()}.so"


def recipe(instructions: str | None = None) -> Recipe:
    """Return what the library is compiled from, by default for `capability()`."""
    folder = building.sources_folder()
    files = sorted([*folder.glob("*.*"), *folder.glob("cpu/*.*")])
    sources = tuple(file for file in files if file.suffix == ".cpp")
    headers = tuple(file for file in files if file.suffix == ".h")
    return Recipe(
        "inpaint_ops",
        title="the CARAFE operator",
        duration="about 15 s",
        sources=sources,
        watched=(*sources, *headers),
        flags=tuple(_compile_flags(instructions or capability())),
    )


def build(instructions: str | None = None) -> Path:
    """Compile the library if it is not in the cache, and return its path.

    Raises:
        BuildError: see `inpaint.ops.build.build`.
    """
    return building.build(recipe(instructions))


def load() -> None:
    """Define the operators of `torch.ops.inpaint` and their kernels for the CPU.

    Raises:
        BuildError: see `build`.
        OSError: the library's file cannot be read or written.
    """
    library = building.installed_or_built(name(), build)
    if not hasattr(torch.ops.inpaint, "carafe"):  # what this very process has built is loaded already
        torch.ops.load_library(str(library))
