"""The library with the CUDA kernels: finding nvcc, its recipe, building and loading it.

It is built where torch sees a GPU, for that GPU, or where `TORCH_CUDA_ARCH_LIST` names architectures. The
toolkit is the one of `CUDA_HOME` or `CUDA_PATH`, else that of the `nvcc` on PATH, which may be a link or a
script: nvcc itself is asked where it is installed. Without any of this CUDA tensors run on plain PyTorch.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import torch

from . import build as building
from .build import BuildError, Recipe

PLAIN_COST = "many times slower, and with more memory"


def wanted() -> bool:
    """Return whether torch can use a GPU, or someone named architectures to build for."""
    return bool(os.environ.get("TORCH_CUDA_ARCH_LIST")) or torch.cuda.is_available()


@functools.cache
def toolkit() -> Path | None:
    """Return the CUDA toolkit's root folder, in which `bin/nvcc` is; None where there is none."""
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        root = Path(os.environ.get(variable) or "/nonexistent")
        if (root / "bin" / "nvcc").is_file():
            return root
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return None
    dry_run = [nvcc, "--dryrun", "-c", "-x", "cu", os.devnull, "-o", os.devnull]
    output = subprocess.run(dry_run, capture_output=True, text=True, check=False).stderr
    top = re.search(r"^#\$ TOP=(.+)$", output, re.MULTILINE)
    root = Path(top[1].strip()) if top else Path(nvcc).resolve().parent.parent
    return root.resolve() if (root / "bin" / "nvcc").is_file() else None


@functools.cache
def nvcc_version(root: Path) -> str:
    """Return the version that nvcc states, such as `13.0`; empty if it states none."""
    command = [str(root / "bin" / "nvcc"), "--version"]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    release = re.search(r"release (\d+\.\d+)", output)
    return release[1] if release else ""


def missing() -> str | None:
    """Return why the CUDA library cannot be built here, and what to do; None if it can."""
    if torch.version.cuda is None:
        return "this torch was built without CUDA; install one with it"
    root = toolkit()
    if root is None:
        return f"no nvcc found; install the CUDA toolkit {torch.version.cuda} or set CUDA_HOME"
    version = nvcc_version(root)
    if version.split(".")[0] != torch.version.cuda.split(".")[0]:
        return (
            f"nvcc is of CUDA {version}, torch of {torch.version.cuda}; set CUDA_HOME to a matching toolkit"
        )
    return None


def link_folders(root: Path) -> list[str]:
    """Return the linker's flags for a toolkit's libraries; which folder has them differs by packaging."""
    return [f"-L{path}" for path in (root / "lib64", root / "lib") if path.is_dir()]


def _visible_architectures() -> str:
    found = {torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())}
    return " ".join(f"{major}.{minor}" for major, minor in sorted(found))


def name() -> str:
    """Return the name of a wheel's library, for the major version of CUDA that torch is built with."""
    return f"inpaint_ops_cuda-{(torch.version.cuda or 'none').split('.')[0]}.so"


def recipe(flags: Sequence[str] = ()) -> Recipe:
    """Return what the library is compiled from, for `TORCH_CUDA_ARCH_LIST` or the GPUs that torch sees.

    Args:
        flags: for nvcc, beside the usual ones.

    Raises:
        BuildError: it cannot be compiled here; the message is that of `missing`.
    """
    why, root = missing(), toolkit()
    if why is not None or root is None:
        raise BuildError(why or "no nvcc found")
    folder = building.sources_folder()
    files = sorted([*folder.glob("*.h"), *folder.glob("cuda/*.*")])
    architectures = os.environ.get("TORCH_CUDA_ARCH_LIST") or _visible_architectures()
    usual = ("-O3", "-std=c++20", "--expt-relaxed-constexpr", "--threads=0", "-Xcompiler=-fvisibility=hidden")
    return Recipe(
        "inpaint_ops_cuda",
        title="the CARAFE operator for CUDA",
        duration="some minutes",
        sources=tuple(file for file in files if file.suffix == ".cu"),
        watched=tuple(files),
        flags=("-std=c++20", *building.ABI_FLAGS),
        cuda_flags=(*usual, *building.ABI_FLAGS, *flags),
        link_flags=(*link_folders(root), "-lcudart"),
        tools=(nvcc_version(root), architectures),
        cuda_home=root,
    )


def build() -> Path:
    """Compile the library if it is not in the cache, and return its path.

    Raises:
        BuildError: see `recipe` and `inpaint.ops.build.build`.
    """
    return building.build(recipe())


def load() -> None:
    """Add the CUDA kernels to the operators of `torch.ops.inpaint`, which `cpu.load` has defined.

    Raises:
        BuildError: see `build`.
        OSError: the library's file cannot be read or written.
    """
    torch.ops.load_library(str(building.installed_or_built(name(), build)))
