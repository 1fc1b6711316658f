"""Finding, building and loading the compiled operator.

The sources are compiled once for this kind of processor and this torch with `torch.utils.cpp_extension` and
ninja, and kept in a cache folder (`INPAINT_CACHE_DIR`, else `~/.cache/inpaint`). `python -m
inpaint.ops.library` does it ahead of time and says what was built; otherwise it happens at the first import.
Without a C++ compiler everything still runs on the plain-PyTorch twin, which is said once.

A wheel may hold the libraries ready-made (`make wheel`); then nothing is compiled.

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

# The oldest torch whose stable ABI the sources use: 2.11.
ABI_FLAGS = ("-DTORCH_TARGET_VERSION=0x020b000000000000",)

# On x86, by torch's names. Not -march=native: the result runs on every machine with these instructions.
INSTRUCTIONS = {
    "AVX512": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    "AVX2": ["-march=x86-64-v3"],
    "DEFAULT": ["-march=x86-64-v2"],
}

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


@dataclass(frozen=True)
class Recipe:
    """What a library is made from. All of it is in the key under which the cache keeps the result."""

    name: str
    sources: tuple[Path, ...]
    watched: tuple[Path, ...]  # sources and the headers they include
    flags: tuple[str, ...]
    cuda_flags: tuple[str, ...] = ()
    link_flags: tuple[str, ...] = ()
    include: tuple[Path, ...] = ()
    tools: tuple[str, ...] = ()  # other things that the result depends on
    cuda_home: Path | None = None  # the toolkit, where there are CUDA sources


def capability() -> str:
    """The instructions that torch uses here, a key of `INSTRUCTIONS`; `ATEN_CPU_CAPABILITY` lowers it."""
    found = torch.backends.cpu.get_cpu_capability()
    return found if found in INSTRUCTIONS else "DEFAULT"


def _compile_flags(instructions: str) -> list[str]:
    # Contracting a·b + c is the compilers' default and wanted; -ffast-math is not: NaN must stay NaN.
    flags = ["-O3", "-std=c++20", "-fno-math-errno", "-fvisibility=hidden", *ABI_FLAGS]
    if platform.machine().lower() in ("x86_64", "amd64"):
        flags += INSTRUCTIONS[instructions]
    return flags


def cpu_recipe(instructions: str | None = None) -> Recipe:
    """The library with the schemas and the CPU's kernels, by default for `capability()`."""
    folder = sources_folder()
    files = sorted([*folder.glob("*.*"), *folder.glob("cpu/*.*")])
    sources = tuple(file for file in files if file.suffix == ".cpp")
    headers = tuple(file for file in files if file.suffix == ".h")
    flags = _compile_flags(instructions or capability())
    return Recipe("inpaint_ops", sources, (*sources, *headers), tuple(flags))


def library_path(recipe: Recipe | None = None) -> Path:
    """Where the library of a recipe, the CPU's by default, is kept for this torch (it may not exist yet)."""
    recipe = recipe or cpu_recipe()
    digest = hashlib.sha256()
    for file in recipe.watched:
        digest.update(f"{file.parent.name}/{file.name}".encode() + b"\0" + file.read_bytes())
    texts = (*recipe.tools, *recipe.flags, *recipe.cuda_flags, *recipe.link_flags)
    for text in (torch.__version__, platform.platform(), *texts):
        digest.update(b"\0" + text.encode())
    root = (
        os.environ.get("INPAINT_CACHE_DIR")
        or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "inpaint"
    )
    return Path(root).expanduser() / "ops" / f"{recipe.name}-{digest.hexdigest()[:16]}.so"


@contextlib.contextmanager
def ninja_on_path() -> Iterator[None]:
    """Puts pip's ninja on PATH, for an interpreter that was started without its environment activated."""
    before = os.environ.get("PATH", "")
    with contextlib.suppress(ImportError):
        import ninja

        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), ninja.BIN_DIR, before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


@contextlib.contextmanager
def toolkit_at(root: Path | None) -> Iterator[None]:
    """Lets `torch.utils.cpp_extension` use this CUDA toolkit; it would guess from the nvcc on PATH."""
    from torch.utils import cpp_extension

    before = cpp_extension.CUDA_HOME
    cpp_extension.CUDA_HOME = str(root) if root else before
    try:
        yield
    finally:
        cpp_extension.CUDA_HOME = before


def build(recipe: Recipe | None = None, verbose: bool = False) -> Path:
    """Compiles a library, the CPU's by default, if it is not in the cache, and returns its path.

    The build runs in a folder of its own and the finished file is renamed into place, so that processes that
    start together or die half-way never see a part of it.

    Raises:
        BuildError: no compiler, or the compiler's error.
    """
    recipe = recipe or cpu_recipe()
    target = library_path(recipe)
    if target.is_file():
        return target
    if not has_compiler():
        raise BuildError(
            "no C++ compiler found; install one (Debian: apt install g++, macOS: xcode-select --install)"
        )
    from torch.utils import cpp_extension  # imports setuptools: only when it is needed

    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as folder,
        ninja_on_path(),
        toolkit_at(recipe.cuda_home),
    ):
        try:
            # `name` becomes a file name. The library is loaded here, from its own folder, and again never:
            # torch keeps the operators registered for the life of the process.
            cpp_extension.load(
                name=recipe.name,
                sources=[str(file) for file in recipe.sources],
                extra_cflags=list(recipe.flags),
                extra_cuda_cflags=list(recipe.cuda_flags),
                extra_ldflags=list(recipe.link_flags),
                extra_include_paths=[str(path) for path in recipe.include],
                build_directory=folder,
                is_python_module=False,
                verbose=verbose,
            )
        except Exception as error:  # whatever the tool chain raises, the twin can still run
            raise BuildError(f"the operator did not compile: {error}") from error
        shutil.move(next(Path(folder).glob(f"{recipe.name}*.so")), target.with_suffix(f".{os.getpid()}"))
        target.with_suffix(f".{os.getpid()}").replace(target)
    return target


def build_all() -> list[tuple[str, Path]]:
    """Compiles what a wheel for this platform holds: (name in the wheel, file) of each library.

    The CUDA library is among them if `TORCH_CUDA_ARCH_LIST` says for what.
    """
    from . import cuda

    x86 = platform.machine().lower() in ("x86_64", "amd64")
    levels = INSTRUCTIONS if x86 else ("DEFAULT",)
    libraries = [(cpu_name(level), build(cpu_recipe(level))) for level in levels]
    if os.environ.get("TORCH_CUDA_ARCH_LIST"):
        libraries.append((cuda.name(), cuda.build()))
    return libraries


def cpu_name(instructions: str) -> str:
    """The name of a wheel's library for the CPU."""
    return f"inpaint_ops-{instructions}.so"


def installed_or_built(name: str, build: Callable[[], Path]) -> Path:
    """A wheel's library of this name if there is one, else what `build` makes."""
    installed = Path(__file__).resolve().parent.parent / "_lib" / name
    return installed if installed.is_file() else build()


def _cpu_library() -> Path:
    return installed_or_built(cpu_name(capability()), build)


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
        path = _cpu_library()
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
    from . import cuda

    write = sys.stderr.write
    try:
        write(f"CARAFE operator: compiled for this CPU, {_cpu_library()}\n")
    except (BuildError, OSError) as error:
        write(f"CARAFE operator: plain PyTorch, {TWIN_COST}. Reason: {error}\n")
        return
    if cuda.wanted():
        cuda.build_and_say()


if __name__ == "__main__":
    main()
