"""`inpaint doctor`: what was found on this machine, and what to do about what was not."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from inpaint import __version__
from inpaint.extras import how_to_install, missing_modules
from inpaint.files import cache_folder, prepare_folder
from inpaint.terminal import printable

from .memory import memory_is_watched

OPTIONAL = {
    "pypatchmatch": "the baseline patchmatch of evaluate.py",
    "onnx": "exporting models to ONNX",
    "onnxruntime": "running exported models",
}
"""Packages that are not required -> what they are for."""

PURPOSES = {
    "app": "the page and the REST API, inpaint serve",
    "train": "inpaint train and inpaint evaluate",
}
"""Extras of the installation -> what they are for."""

LEAST_MEMORY = 2e9
"""Bytes of memory that a fill and its libraries take at least."""

LEAST_DISK = 1e9
"""Bytes of disk for the compiled operator, uploads and results."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        state: `missing` is essential, `note` is not.
        text: what was found.
        remedy: what to do about it; empty where nothing is to be done.
    """

    name: str
    state: Literal["ok", "note", "missing"]
    text: str
    remedy: str = ""


def add_doctor_command(commands: Any) -> argparse.ArgumentParser:
    """Add `doctor` to a parser's commands (what `add_subparsers` returned), and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor",
        help="say what was found on this machine, and what to do about what was not",
        description="Say what was found on this machine, and what to do about what was not. The exit code is "
        "1 where something essential is missing.",
    )
    return parser


def run(arguments: argparse.Namespace | None = None) -> int:
    """Print all findings; return 1 where something essential is missing, else 0."""
    findings = list(examine())
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        sys.stdout.write(f"{finding.state:8}{finding.name:{width}}  {printable(finding.text)}\n")
        if finding.remedy:
            sys.stdout.write(f"{'':8}{'':{width}}  -> {printable(finding.remedy)}\n")
    return int(any(finding.state == "missing" for finding in findings))


def examine() -> Iterator[Finding]:
    """Yield every finding; one that itself fails is a finding, too."""
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("versions", _versions),
        ("operator", _operator),
        ("devices", _devices),
        ("models", _models),
        ("packages", _packages),
        ("memory", _memory),
        ("folders", _folders),
    )
    for name, check in checks:
        try:
            yield from check()
        except Exception as error:
            yield Finding(
                name,
                "missing",
                f"cannot be found out ({type(error).__name__}: {error})",
                "install the package again",
            )


def _versions() -> Iterator[Finding]:
    import torch

    yield Finding("inpaint", "ok", __version__)
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")
    yield Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")


def _operator() -> Iterator[Finding]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from inpaint import ops
        from inpaint.ops import cpu

        is_compiled = ops.implementation() == "compiled"  # compiles the operator where it is not ready

    if is_compiled:
        yield Finding("operator", "ok", f"compiled for {cpu.capability()}")
    elif os.environ.get("INPAINT_OPS") == "reference":
        yield Finding(
            "operator",
            "note",
            "plain PyTorch, as INPAINT_OPS=reference says",
            "unset INPAINT_OPS to have it compiled",
        )
    else:
        reason = str(caught[0].message) if caught else cpu.PLAIN_COST
        yield Finding(
            "operator", "note", f"plain PyTorch, many times slower: {reason}", "install a C++ compiler"
        )
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler:
        yield Finding("compiler", "ok", compiler)
    else:
        yield Finding(
            "compiler",
            "note",
            f"{os.environ.get('CXX', 'c++')}: none found",
            "Debian: apt install g++; macOS: xcode-select --install",
        )


def _devices() -> Iterator[Finding]:
    import torch

    from inpaint.ops import cuda

    if not torch.cuda.is_available():
        built = torch.version.cuda is not None
        text = "no NVIDIA GPU that torch can use" if built else "this torch was built without CUDA"
        yield Finding("gpu", "note", f"{text}; networks run on the CPU")
        return
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        text = f"{torch.cuda.get_device_name(index)}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
        yield Finding(f"cuda:{index}", "ok", text)
    reason = cuda.missing()
    if reason:
        yield Finding("nvcc", "note", "the operator runs on plain PyTorch on the GPU", reason)


def _models() -> Iterator[Finding]:
    from inpaint.weights import find_model, installed_models, models_folder, read_metadata

    models = installed_models()
    if not models:
        yield Finding("models", "missing", f"none in {models_folder()}", "install the package again")
    for model in models:
        try:
            read_metadata(find_model(model.name))
            yield Finding(f"model {model.name}", "ok", model.description)
        except ValueError as error:
            yield Finding(f"model {model.name}", "missing", str(error), "install the package again")


def _packages() -> Iterator[Finding]:
    for name, purpose in OPTIONAL.items():
        try:
            yield Finding(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "note", f"not installed; it is for {purpose}", f"pip install {name}")
    for extra, purpose in PURPOSES.items():
        if missing := missing_modules(extra):
            text = f"without {', '.join(missing)}; it is for {purpose}"
            yield Finding(f"extra {extra}", "note", text, how_to_install(extra))
        else:
            yield Finding(f"extra {extra}", "ok", f"complete, for {purpose}")


def _memory() -> Iterator[Finding]:
    free = _free_memory()
    if free is None:
        yield Finding("memory", "note", "this system does not tell how much is free")
    elif free < LEAST_MEMORY:
        yield Finding(
            "memory",
            "note",
            f"{free / 1e9:.1f} GB free",
            f"close programs: a fill takes {LEAST_MEMORY / 1e9:g} GB",
        )
    else:
        yield Finding("memory", "ok", f"{free / 1e9:.1f} GB free")
    if not memory_is_watched():
        yield Finding(
            "memory limit",
            "note",
            "this system does not tell how much memory a process has: the service's limit is not watched",
            "lower --max-megapixels of inpaint serve where memory is short",
        )


def _free_memory() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None


def _folders() -> Iterator[Finding]:
    places = (
        ("cache", cache_folder(), "name another folder with INPAINT_CACHE_DIR"),
        (
            "temporary",
            Path(tempfile.gettempdir()),
            "name another folder with TMPDIR, or inpaint serve --folder",
        ),
    )
    for name, folder, remedy in places:
        try:
            prepare_folder(folder)
            free = shutil.disk_usage(folder).free
        except OSError as error:
            yield Finding(name, "missing", f"{folder}: cannot be written ({error.strerror})", remedy)
            continue
        state: Literal["ok", "note"] = "ok" if free >= LEAST_DISK else "note"
        yield Finding(name, state, f"{folder}, {free / 1e9:.1f} GB free", remedy if state == "note" else "")
