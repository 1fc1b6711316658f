"""Finding, building and loading the compiled operator.

The sources are compiled once for this machine (its processor's own instructions, this torch) with
`torch.utils.cpp_extension` and ninja, and kept in a cache folder (`INPAINT_CACHE_DIR`, else
`~/.cache/inpaint`). `python -m inpaint.ops.library` does it ahead of time and says what was built; otherwise
it happens at the first import. Without a C++ compiler everything still runs on the plain-PyTorch twin, which
is said once.

`INPAINT_OPS` chooses: `auto` (the default), `compiled` (an error if it cannot be had) or `reference` (the
twin).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

# The oldest torch whose stable ABI the sources use: 2.11.
_TORCH_TARGET_VERSION = "0x020b000000000000"

TWIN_COST = "about 50 to 150 times slower on a CPU in the operator, 2 to 10 times in a whole network"


class BuildError(RuntimeError):
    """The compiled operator cannot be had; the message says why and what to do."""


def sources_folder() -> Path:
    """The `csrc` folder: beside the package in a checkout, inside it in an installed wheel."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent / "csrc", package / "_csrc"):
        if (folder / "library.cpp").is_file():
            return folder
    raise BuildError(
        f"the operator's sources are missing: looked for csrc beside {package} and _csrc inside it"
    )


def has_compiler() -> bool:
    """Is there a C++ compiler that `torch.utils.cpp_extension` would call?"""
    return shutil.which(os.environ.get("CXX", "cl" if os.name == "nt" else "c++")) is not None


def _compile_flags() -> list[str]:
    # Contracting a·b + c is the compilers' default and wanted; -ffast-math is not: NaN must stay NaN.
    flags = ["-O3", "-std=c++20", "-fno-math-errno", f"-DTORCH_TARGET_VERSION={_TORCH_TARGET_VERSION}"]
    if platform.machine().lower() in ("x86_64", "amd64"):
        flags += ["-march=native", "-mprefer-vector-width=512"]
    return flags


def _processor() -> str:
    """What -march=native depends on: a cache folder can be shared by unlike machines."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.processor()


def library_path() -> Path:
    """Where the library for these sources, this torch and this processor is kept (it may not exist yet)."""
    folder = sources_folder()
    digest = hashlib.sha256()
    for file in sorted([*folder.rglob("*.cpp"), *folder.rglob("*.h")]):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    for text in (torch.__version__, platform.platform(), _processor(), *_compile_flags()):
        digest.update(b"\0" + text.encode())
    root = (
        os.environ.get("INPAINT_CACHE_DIR")
        or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "inpaint"
    )
    return Path(root).expanduser() / "ops" / f"inpaint_ops-{digest.hexdigest()[:16]}.so"


@contextlib.contextmanager
def _ninja_on_path() -> Iterator[None]:
    """Puts pip's ninja on PATH, for an interpreter that was started without its environment activated."""
    before = os.environ.get("PATH", "")
    with contextlib.suppress(ImportError):
        import ninja

        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), ninja.BIN_DIR, before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def build(verbose: bool = False) -> Path:
    """Compiles the operator if it is not in the cache, and returns the library's path.

    The build runs in a folder of its own and the finished file is renamed into place, so that processes that
    start together or die half-way never see a part of it.

    Raises:
        BuildError: no compiler, or the compiler's error.
    """
    target = library_path()
    if target.is_file():
        return target
    if not has_compiler():
        raise BuildError(
            "no C++ compiler found; install one (Debian: apt install g++, macOS: xcode-select --install)"
        )
    from torch.utils import cpp_extension  # imports setuptools: only when it is needed

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as folder, _ninja_on_path():
        try:
            # `name` becomes a file name. The library is loaded here, from its own folder, and again never:
            # torch keeps the operators registered for the life of the process.
            cpp_extension.load(
                name="inpaint_ops",
                sources=[str(file) for file in sorted(sources_folder().rglob("*.cpp"))],
                extra_cflags=_compile_flags(),
                build_directory=folder,
                is_python_module=False,
                verbose=verbose,
            )
        except Exception as error:  # whatever the tool chain raises, the twin can still run
            raise BuildError(f"the operator did not compile: {error}") from error
        shutil.move(next(Path(folder).glob("inpaint_ops*.so")), target.with_suffix(f".{os.getpid()}"))
        target.with_suffix(f".{os.getpid()}").replace(target)
    return target


def load() -> bool:
    """Makes `torch.ops.inpaint` available; returns False where the plain-PyTorch twin has to serve.

    Raises:
        BuildError: `INPAINT_OPS=compiled` and it cannot be had.
        ValueError: `INPAINT_OPS` is none of its three words.
    """
    wish = os.environ.get("INPAINT_OPS", "auto")
    if wish not in ("auto", "compiled", "reference"):
        raise ValueError(f"INPAINT_OPS must be auto, compiled or reference, got {wish!r}")
    if wish == "reference":
        return False
    try:
        path = build()
        if not hasattr(torch.ops.inpaint, "carafe"):  # a build of this very process is loaded already
            torch.ops.load_library(str(path))
    except (BuildError, OSError) as error:
        if wish == "compiled":
            raise BuildError(str(error)) from error
        warnings.warn(f"CARAFE runs on plain PyTorch ({TWIN_COST}): {error}", RuntimeWarning, stacklevel=2)
        return False
    return True


def main() -> None:
    """Builds ahead of time and says what will run."""
    write = sys.stderr.write
    try:
        write(f"CARAFE operator: compiled for this CPU, {build()}\n")
        write("CARAFE operator: on CUDA and other devices it runs on PyTorch's own operations.\n")
    except (BuildError, OSError) as error:
        write(f"CARAFE operator: plain PyTorch, {TWIN_COST}. Reason: {error}\n")


if __name__ == "__main__":
    main()
