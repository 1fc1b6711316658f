"""Finding nvcc, and building the library with the CUDA kernels.

It is built where torch sees a GPU, for that GPU, or where `TORCH_CUDA_ARCH_LIST` names architectures. The
toolkit is the one of `CUDA_HOME` or `CUDA_PATH`, else that of the `nvcc` on PATH, which may be a link or a
script: nvcc itself is asked where it lives. Without any of this CUDA tensors run on the plain-PyTorch twin.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from . import library
from .library import BuildError, Recipe

TWIN_COST = "many times slower, and with more memory"


def wanted() -> bool:
    """Is there a GPU that torch can use, or did someone name architectures to build for?"""
    return bool(os.environ.get("TORCH_CUDA_ARCH_LIST")) or torch.cuda.is_available()


@functools.cache
def toolkit() -> Path | None:
    """The CUDA toolkit's root folder, in which `bin/nvcc` is; None where there is none."""
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        root = Path(os.environ.get(variable) or "/nonexistent")
        if (root / "bin" / "nvcc").is_file():
            return root
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return None
    dry_run = [nvcc, "--dryrun", "-c", "-x", "cu", os.devnull, "-o", os.devnull]
    said = subprocess.run(dry_run, capture_output=True, text=True, check=False).stderr
    top = re.search(r"^#\$ TOP=(.+)$", said, re.MULTILINE)
    root = Path(top[1].strip()) if top else Path(nvcc).resolve().parent.parent
    return root.resolve() if (root / "bin" / "nvcc").is_file() else None


@functools.cache
def nvcc_version(root: Path) -> str:
    """As nvcc states it, `13.0` say; empty if it does not."""
    command = [str(root / "bin" / "nvcc"), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    release = re.search(r"release (\d+\.\d+)", said)
    return release[1] if release else ""


def missing() -> str | None:
    """Why the CUDA library cannot be built here, and what to do; None if it can."""
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
    """The linker's flags for a toolkit's libraries; which folder has them differs between packagings."""
    return [f"-L{path}" for path in (root / "lib64", root / "lib") if path.is_dir()]


def recipe(flags: Sequence[str] = ()) -> Recipe:
    """The library with the CUDA kernels, for `TORCH_CUDA_ARCH_LIST` or the GPUs that torch sees.

    `flags` are for nvcc, beside the usual ones.
    """
    root = toolkit()
    assert root is not None
    folder = library.sources_folder()
    files = sorted([*folder.glob("*.h"), *folder.glob("cuda/*.*")])
    architectures = os.environ.get("TORCH_CUDA_ARCH_LIST") or _visible_architectures()
    usual = ("-O3", "-std=c++20", "--expt-relaxed-constexpr", "--threads=0", "-Xcompiler=-fvisibility=hidden")
    return Recipe(
        "inpaint_ops_cuda",
        sources=tuple(file for file in files if file.suffix == ".cu"),
        watched=tuple(files),
        flags=("-std=c++20", *library.ABI_FLAGS),
        cuda_flags=(*usual, *library.ABI_FLAGS, *flags),
        link_flags=(*link_folders(root), "-lcudart"),
        tools=(nvcc_version(root), architectures),
        cuda_home=root,
    )


def build(made: Recipe | None = None) -> Path:
    """Compiles the CUDA library if it is not in the cache, and returns its path.

    Raises:
        BuildError: `missing()`, or the compiler's error.
    """
    why = missing()
    if why is not None:
        raise BuildError(why)
    return library.build(made or recipe())


def name() -> str:
    """The name of a wheel's library, for the major version of CUDA that torch is built with."""
    return f"inpaint_ops_cuda-{(torch.version.cuda or 'none').split('.')[0]}.so"


def _cuda_library() -> Path:
    return library.installed_or_built(name(), build)


def load() -> bool:
    """Adds the CUDA kernels to `torch.ops.inpaint`; False where none are wanted or the twin has to serve."""
    if not wanted():
        return False
    try:
        torch.ops.load_library(str(_cuda_library()))
    except (BuildError, OSError) as error:
        warnings.warn(
            f"CARAFE on CUDA runs on plain PyTorch ({TWIN_COST}): {error}", RuntimeWarning, stacklevel=2
        )
        return False
    return True


def _visible_architectures() -> str:
    found = {torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())}
    return " ".join(f"{major}.{minor}" for major, minor in sorted(found))


def build_and_say() -> bool:
    """Builds ahead of time, says what will run, and returns whether it is the compiled library."""
    write = sys.stderr.write
    try:
        write(f"CARAFE operator: compiled for CUDA, {_cuda_library()}\n")
    except (BuildError, OSError) as error:
        write(f"CARAFE operator: plain PyTorch on CUDA, {TWIN_COST}. Reason: {error}\n")
        return False
    return True


if __name__ == "__main__":
    sys.exit(not build_and_say())
