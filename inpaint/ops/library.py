"""Which devices have compiled kernels, and when their libraries are built and loaded.

Nothing is compiled by an import. `import inpaint.ops` loads the libraries that are ready (in the wheel, or in
the cache since an earlier build), so `torch.ops.inpaint` is there for code that calls it directly and for
exported programs that refer to it. What is not ready is compiled by the first call of an operator, or of
`inpaint.ops.implementation`; only from then on is `torch.ops.inpaint` defined. Loading always at the first
call would be simpler, but a program saved by `torch.export` would then find no operators.

Every operator asks `has_kernels`: its first call loads, under a lock, and the others read one variable.
`torch.compile` and `torch.export` take its answer for a constant, and do not trace the loading.

`python -m inpaint.ops.library [cuda]` builds ahead of time and says what will run. Without a C++
compiler everything runs on plain PyTorch, which a warning says once.

The environment variable `INPAINT_OPS` chooses: `auto` (the default), `compiled` (an error if it cannot be
had) or `reference` (plain PyTorch).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from . import build, cpu, cuda, registration
from .build import BuildError

_devices: frozenset[str] | None = None  # None until the kernels have been looked for
_registry: torch.library.Library | None = None  # torch forgets the rules when this is collected
_lock = threading.RLock()


def devices() -> frozenset[str]:
    """Return the types of device that have compiled kernels, such as `cpu`, `meta` and `cuda`.

    The first call loads the kernels, and compiles those that are not ready. See `load` for the errors.
    """
    return _load_once() if _devices is None else _devices


def has_kernels(device_type: str) -> bool:
    """Return whether a type of device has compiled kernels; the first call loads them, as `devices` does."""
    return device_type in devices()


# What `torch.compiler.assume_constant_result` does, without the second that importing its package takes.
has_kernels._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _load_once() -> frozenset[str]:
    global _devices
    with _lock:
        if _devices is None:
            _devices = load()
        return _devices


def load() -> frozenset[str]:
    """Load the compiled kernels, after building what is missing, and return the devices that have them.

    Where kernels cannot be had plain PyTorch is used instead, which a warning says.

    Raises:
        BuildError: `INPAINT_OPS=compiled` and there are none for the CPU.
        ValueError: `INPAINT_OPS` is none of its three words.
    """
    wish = _wish()
    if wish == "reference":
        return frozenset()
    try:
        _load_cpu()
    except (BuildError, OSError) as error:
        if wish == "compiled":
            raise BuildError(str(error)) from error
        _warn(f"CARAFE runs on plain PyTorch ({cpu.PLAIN_COST}): {error}")
        return frozenset()
    found = {"cpu", "meta"}
    if cuda.wanted():
        try:
            cuda.load()
            found.add("cuda")
        except (BuildError, OSError) as error:
            _warn(f"CARAFE on CUDA runs on plain PyTorch ({cuda.PLAIN_COST}): {error}")
    return frozenset(found)


def load_what_is_ready() -> None:
    """Load, at import, what needs no compiling; anything else is left to the first call of `devices`.

    Raises:
        ValueError: see `load`.
    """
    if _wish() == "reference":
        return
    with contextlib.suppress(BuildError, OSError):  # the first call says so
        if build.is_ready(cpu.name(), cpu.recipe):
            if not cuda.wanted() or build.is_ready(cuda.name(), cuda.recipe):
                devices()
            else:
                _load_cpu()


def _load_cpu() -> None:
    global _registry
    cpu.load()
    if _registry is None:
        _registry = registration.register_all()


def _wish() -> str:
    wish = os.environ.get("INPAINT_OPS", "auto")
    if wish not in ("auto", "compiled", "reference"):
        raise ValueError(f"INPAINT_OPS must be auto, compiled or reference, got {wish!r}")
    return wish


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)


def _reset_lock() -> None:
    # A process may be forked while another thread compiles: the child's copy would stay locked for ever.
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_lock)


# ------------------------------------------------------------------------------------------------------------
# Ahead of time
# ------------------------------------------------------------------------------------------------------------


def build_all() -> list[tuple[str, Path]]:
    """Compile what a wheel for this platform holds: (name in the wheel, file) of each library.

    The CUDA library is among them if `TORCH_CUDA_ARCH_LIST` names architectures.
    """
    libraries = [(cpu.name(level), cpu.build(level)) for level in cpu.levels()]
    if os.environ.get("TORCH_CUDA_ARCH_LIST"):
        libraries.append((cuda.name(), cuda.build()))
    return libraries


def _report(compiled: str, plain: str, name: str, make: Callable[[], Path]) -> bool:
    """Build one library, say on stderr what will run, and return whether it is compiled."""
    try:
        sys.stderr.write(f"CARAFE operator: {compiled}, {build.installed_or_built(name, make)}\n")
    except (BuildError, OSError) as error:
        sys.stderr.write(f"CARAFE operator: {plain}. Reason: {error}\n")
        return False
    return True


def _report_cpu() -> bool:
    return _report("compiled for this CPU", f"plain PyTorch, {cpu.PLAIN_COST}", cpu.name(), cpu.build)


def _report_cuda() -> bool:
    plain = f"plain PyTorch on CUDA, {cuda.PLAIN_COST}"
    return _report("compiled for CUDA", plain, cuda.name(), cuda.build)


def main(arguments: list[str] | None = None) -> int:
    """Build ahead of time and say what will run; return the exit code.

    Args:
        arguments: none for what this machine can use, always with code 0; or `cuda` for the CUDA kernels
            alone, with code 1 where they cannot be built.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["cuda"]:
        return 0 if _report_cuda() else 1
    if arguments:
        sys.stderr.write("usage: python -m inpaint.ops.library [cuda]\n")
        return 2
    if _report_cpu() and cuda.wanted():
        _report_cuda()
    return 0


if __name__ == "__main__":
    sys.exit(main())
