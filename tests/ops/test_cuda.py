"""The CUDA library: finding nvcc, compiling for real GPUs, and whether the emulator notices mistakes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cuda_emulation
import pytest
import torch
from carafe_examples import EMULATED, TWIN, Sizes, example, needs_compiled, needs_compiler

from inpaint.ops import build, cuda, library
from inpaint.ops.build import BuildError

needs_nvcc = pytest.mark.skipif(cuda.missing() is not None, reason=f"no CUDA library here: {cuda.missing()}")


# ------------------------------------------------------------------------------------------------------------
# nvcc
# ------------------------------------------------------------------------------------------------------------


@needs_nvcc
def test_the_cuda_sources_compile_link_and_register(monkeypatch: pytest.MonkeyPatch) -> None:
    """For one architecture and PTX, with every warning an error."""
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.0+PTX")
    path = build.build(cuda.recipe(flags=["-Werror=all-warnings", "-Xcompiler=-Wall,-Werror"]))
    script = f"""
import torch
from inpaint.ops import library
assert library.load()
has = torch._C._dispatch_has_kernel_for_dispatch_key
forms = ("", ".masked", "_backward")
fused = [name + form for name in ("carafe_fused", "carafe_down") for form in forms]
names = ("carafe", "carafe_backward", *fused)
assert not any(has(f"inpaint::{{name}}", "CUDA") for name in names)
torch.ops.load_library({str(path)!r})
assert all(has(f"inpaint::{{name}}", "CUDA") for name in names)
"""
    environment = {**os.environ, "INPAINT_OPS": "compiled"}
    environment.pop("TORCH_CUDA_ARCH_LIST")
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", script]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr


@pytest.fixture
def forgetful() -> Iterator[None]:
    cuda.toolkit.cache_clear()
    cuda.nvcc_version.cache_clear()
    yield
    cuda.toolkit.cache_clear()
    cuda.nvcc_version.cache_clear()


def make_toolkit(root: Path, release: str = "13.0") -> Path:
    """A folder with an nvcc that answers as NVIDIA's does."""
    nvcc = root / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = --version ] && echo "Cuda compilation tools, release {release}, V{release}.88"\n'
        f'[ "$1" = --dryrun ] && echo "#$ TOP={root}/bin/.." >&2\n'
        "exit 0\n"
    )
    nvcc.chmod(0o755)
    return nvcc


@pytest.mark.skipif(os.name != "posix", reason="writes shell scripts")
def test_nvcc_is_asked_where_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: None
) -> None:
    nvcc = make_toolkit(tmp_path / "cuda-13.0")
    wrapper = tmp_path / "path" / "nvcc"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {nvcc} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:/bin:/usr/bin")
    assert cuda.toolkit() == (tmp_path / "cuda-13.0").resolve()
    assert cuda.nvcc_version(tmp_path / "cuda-13.0") == "13.0"


@pytest.mark.skipif(os.name != "posix", reason="writes shell scripts")
def test_what_is_missing_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: None
) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "this torch was built without CUDA" in str(cuda.missing())
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install the CUDA toolkit 13.0 or set CUDA_HOME" in str(cuda.missing())
    with pytest.raises(BuildError, match="no nvcc found"):
        cuda.build()
    cuda.toolkit.cache_clear()
    make_toolkit(tmp_path / "old", release="11.8")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "old"))
    assert "nvcc is of CUDA 11.8, torch of 13.0" in str(cuda.missing())
    monkeypatch.setattr(torch.version, "cuda", "11.8")
    assert cuda.missing() is None


@needs_compiled
def test_without_nvcc_a_gpu_is_served_by_the_twin_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, forgetful: None
) -> None:
    monkeypatch.setenv("INPAINT_OPS", "auto")
    monkeypatch.delenv("TORCH_CUDA_ARCH_LIST", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not cuda.wanted() and library.load() == {"cpu", "meta"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "missing", lambda: "no nvcc found; install it")
    monkeypatch.setattr(cuda, "name", lambda: "no such library")
    with pytest.warns(RuntimeWarning, match=r"CARAFE on CUDA runs on plain PyTorch .*: no nvcc found"):
        assert library.load() == {"cpu", "meta"}


# ------------------------------------------------------------------------------------------------------------
# Limits
# ------------------------------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("scale", [1, 2])
def test_large_kernels_take_smaller_tiles_and_fewer_sub_pixels_at_once(scale: int) -> None:
    made = example(Sizes(1, 5, 6, 7, kernel_size=21, scale=scale), "softmax", "mixed")
    for result, wanted in zip(made.run(EMULATED), made.run(TWIN), strict=True):
        torch.testing.assert_close(result, wanted, rtol=1e-5, atol=1e-5)


@needs_compiler
def test_a_kernel_too_large_for_shared_memory_is_named_with_the_remedy() -> None:
    made = example(Sizes(1, 1, 2, 2, kernel_size=71, scale=1), "softmax")
    message = (
        "kernel_size 71 needs more shared memory than this GPU has; INPAINT_OPS=reference has no such limit"
    )
    with pytest.raises(RuntimeError, match=message):
        EMULATED.carafe_fused(made.features, made.numbers, *made.sizes.integers)


# ------------------------------------------------------------------------------------------------------------
# The emulator
# ------------------------------------------------------------------------------------------------------------

EMULATOR_PROGRAM = """
#include <cuda_runtime.h>
#include <cstdio>

extern __shared__ __align__(32) unsigned char inpaint_shared[];

struct Work { int mistake; float* result; };

__global__ void shift(const Work work) {  // each thread's number goes to the next thread
  float* numbers = reinterpret_cast<float*>(inpaint_shared);
  const int t = threadIdx.x, n = blockDim.x;
  for (int round = 0; round < 3; ++round) {
    numbers[t] = 10 * round + t;
    if (work.mistake != 1) __syncthreads();
    work.result[round * n + t] = numbers[(t + 1) % n];
    if (work.mistake != 2) __syncthreads();
  }
  if (work.mistake == 3 && t == 0) __syncthreads();
  if (work.mistake == 4) numbers[n + t] = 1;
  if (work.mistake == 5) work.result[t] = numbers[n - 1 + t] * 0;
}

int main(int count, char** arguments) {
  float result[12] = {};
  Work work{arguments[1][0] - '0', result};
  void* pointers[] = {&work};
  const size_t bytes = (work.mistake == 5 ? 8 : 4) * sizeof(float);
  const cudaError_t error = cudaLaunchKernel(shift, dim3(1), dim3(4), pointers, bytes, nullptr);
  bool right = true;
  for (int i = 0; i < 12; ++i) right = right && result[i] == 10 * (i / 4) + (i + 1) % 4;
  std::printf("%s", error != cudaSuccess ? cudaGetErrorString(error) : right ? "right" : "wrong");
}
"""


@pytest.fixture(scope="module")
def emulator_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "program.cpp").write_text(EMULATOR_PROGRAM)
    command = [compiler, "-std=c++20", f"-I{cuda_emulation.FOLDER}", "program.cpp", "-o", "program"]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    return folder / "program"


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (0, "right"),
        (1, "wrong"),  # a number is read before the barrier that should come first
        (2, "wrong"),  # a number is written again before all have read it
        (3, "a barrier was reached by some threads of the block and not by others"),
        (4, "a kernel wrote past its shared memory"),
        (5, "wrong"),  # shared memory that nobody has written is NaN
    ],
)
def test_the_emulator_notices_mistakes(emulator_program: Path, mistake: int, said: str) -> None:
    run = subprocess.run([emulator_program, str(mistake)], capture_output=True, text=True, timeout=60)
    assert run.stdout == said


@needs_compiler
def test_the_emulated_library_is_made_from_the_sources_that_nvcc_compiles() -> None:
    watched = set(cuda_emulation.recipe().watched)
    csrc = build.sources_folder()
    kernels = {path for path in csrc.glob("cuda/*.*") if path.name != "register.cu"}
    assert kernels <= watched
    source = (cuda_emulation.FOLDER / "library.cpp").read_text()
    for path in kernels:
        if path.suffix == ".cu":
            assert f'#include "../../../csrc/cuda/{path.name}"' in source
