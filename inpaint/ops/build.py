"""Compiling a library of kernels from `csrc`, whatever its device, and the cache that keeps it.

A library is compiled once for each machine and torch with `torch.utils.cpp_extension` and ninja, and kept in
the folder `ops` of `inpaint.files.cache_folder()`. A wheel may hold it ready-made (`make wheel`); then
nothing is compiled. What is compiled for a device, its `Recipe`, is stated in `cpu.py` and `cuda.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from inpaint.files import cache_folder

# The oldest torch whose stable ABI the sources use: 2.11.
ABI_FLAGS = ("-DTORCH_TARGET_VERSION=0x020b000000000000",)

logger = logging.getLogger("inpaint.ops")


class BuildError(RuntimeError):
    """A compiled library is not available; the message says why and what to do."""


@dataclass(frozen=True)
class Recipe:
    """What a library is compiled from.

    All that the result depends on is in the key under which the cache keeps it.

    Attributes:
        name: of the library's file in the cache, without the key.
        title: what is compiled, as the user is told.
        duration: how long that takes, as the user is told.
        sources: the files to compile.
        watched: the sources and the headers that they include.
        flags: for the C++ compiler.
        cuda_flags: for nvcc.
        link_flags: for the linker.
        include: folders of headers.
        tools: other things that the result depends on, such as the compiler's version.
        cuda_home: the CUDA toolkit, where there are CUDA sources.
    """

    name: str
    title: str
    duration: str
    sources: tuple[Path, ...]
    watched: tuple[Path, ...]
    flags: tuple[str, ...]
    cuda_flags: tuple[str, ...] = ()
    link_flags: tuple[str, ...] = ()
    include: tuple[Path, ...] = ()
    tools: tuple[str, ...] = ()
    cuda_home: Path | None = None


def sources_folder() -> Path:
    """Return the `csrc` folder: beside the package in a checkout, inside it in an installed wheel.

    Raises:
        BuildError: it is in neither place.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent / "csrc", package / "_csrc"):
        if (folder / "library.cpp").is_file():
            return folder
    raise BuildError(
        f"the operator's sources are missing: looked for csrc beside {package} and _csrc inside it"
    )


def has_compiler() -> bool:
    """Return whether there is a C++ compiler that `torch.utils.cpp_extension` would call."""
    return shutil.which(os.environ.get("CXX", "cl" if os.name == "nt" else "c++")) is not None


def library_path(recipe: Recipe) -> Path:
    """Return where the library of a recipe is kept for this torch and system; it may not exist yet."""
    digest = hashlib.sha256()
    for file in recipe.watched:
        digest.update(f"{file.parent.name}/{file.name}".encode() + b"\0" + file.read_bytes())
    texts = (*recipe.tools, *recipe.flags, *recipe.cuda_flags, *recipe.link_flags)
    for text in (torch.__version__, platform.platform(), *texts):
        digest.update(b"\0" + text.encode())
    return cache_folder() / "ops" / f"{recipe.name}-{digest.hexdigest()[:16]}.so"


def _installed_path(name: str) -> Path:
    return Path(__file__).resolve().parent.parent / "_lib" / name


def installed_or_built(name: str, build: Callable[[], Path]) -> Path:
    """Return a wheel's ready-made library of this name if there is one, else what `build` makes."""
    path = _installed_path(name)
    return path if path.is_file() else build()


def is_ready(name: str, recipe: Callable[[], Recipe]) -> bool:
    """Return whether a library can be loaded without compiling: from the wheel, or from the cache."""
    return _installed_path(name).is_file() or library_path(recipe()).is_file()


@contextlib.contextmanager
def ninja_on_path() -> Iterator[None]:
    """Put pip's ninja on PATH, for an interpreter that was started without activating its environment."""
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
    """Make `torch.utils.cpp_extension` use this CUDA toolkit; it would guess from the nvcc on PATH."""
    from torch.utils import cpp_extension

    before = cpp_extension.CUDA_HOME
    cpp_extension.CUDA_HOME = str(root) if root else before
    try:
        yield
    finally:
        cpp_extension.CUDA_HOME = before


def build(recipe: Recipe, verbose: bool = False) -> Path:
    """Compile a library if it is not in the cache, and return its path.

    The build runs in a folder of its own and the finished file is renamed into place, so processes that
    build at the same time, or are killed on the way, never leave a half-written library behind.

    Args:
        recipe: what to compile.
        verbose: show the compiler's output.

    Raises:
        BuildError: there is no compiler, or the sources do not compile; the message has the compiler's error.
    """
    target = library_path(recipe)
    if target.is_file():
        return target
    if not has_compiler():
        raise BuildError(
            "no C++ compiler found; install one (Debian: apt install g++, macOS: xcode-select --install)"
        )
    from torch.utils import cpp_extension  # imports setuptools: only when it is needed

    target.parent.mkdir(parents=True, exist_ok=True)
    # A warning, so that it is shown where logging is not set up: a silent wait looks like a hang.
    logger.warning("Compiling %s, once for this machine (%s) ...", recipe.title, recipe.duration)
    with (
        tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as folder,
        ninja_on_path(),
        toolkit_at(recipe.cuda_home),
    ):
        try:
            # `name` becomes a file name. This also loads the library, from the folder that is removed
            # afterwards. That does no harm, as torch keeps its operators as long as the process lives; but
            # the same library must not be loaded a second time.
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
        except Exception as error:  # whatever the tool chain raises, plain PyTorch can still run
            raise BuildError(f"the operator did not compile: {error}") from error
        shutil.move(next(Path(folder).glob(f"{recipe.name}*.so")), target.with_suffix(f".{os.getpid()}"))
        target.with_suffix(f".{os.getpid()}").replace(target)
    return target
