"""When the compiled kernels are built and loaded, and what happens where they cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch
from carafe_examples import needs_compiled, needs_compiler

from inpaint.ops import build, carafe_fused, cpu, cuda, library
from inpaint.ops.build import BuildError

ROOT = Path(library.__file__).parents[2]


@pytest.fixture(params=["none on PATH", "CXX leads nowhere"])
def no_compiler(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INPAINT_CACHE_DIR", str(tmp_path / "empty"))
    if request.param == "none on PATH":
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CXX", raising=False)
    else:
        monkeypatch.setenv("CXX", str(tmp_path / "c++"))


@pytest.fixture
def not_yet_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before the first call of an operator."""
    monkeypatch.setattr(library, "_devices", None)


def run(script: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    defaults = {"INPAINT_OPS": "auto", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default::RuntimeWarning"}
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **defaults, **environment},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=500,
    )
    assert result.returncode == 0, result.stderr
    return result


# ------------------------------------------------------------------------------------------------------------
# The first call
# ------------------------------------------------------------------------------------------------------------


def test_an_import_compiles_nothing(tmp_path: Path) -> None:
    script = """
import torch
from inpaint.layers import CarafeUpsample
from inpaint.ops import library
import inpaint
assert library._devices is None and not hasattr(torch.ops.inpaint, "carafe")
"""
    result = run(script, tmp_path, INPAINT_CACHE_DIR=str(tmp_path / "cache"))
    assert "Compiling" not in result.stderr and not (tmp_path / "cache").exists()


@needs_compiled
def test_an_import_loads_what_is_ready(tmp_path: Path) -> None:
    script = """
import torch
import inpaint.ops
x, logits = torch.randn(1, 4, 3, 5), torch.randn(1, 100, 3, 5)
assert torch.ops.inpaint.carafe_fused(x, logits).shape == (1, 4, 6, 10)
"""
    assert "Compiling" not in run(script, tmp_path).stderr


@needs_compiled
def test_an_import_leaves_a_cuda_library_that_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, not_yet_loaded: None
) -> None:
    monkeypatch.setenv("INPAINT_OPS", "auto")
    monkeypatch.setattr(cuda, "wanted", lambda: True)
    monkeypatch.setattr(cuda, "missing", lambda: "no nvcc found; install it")
    monkeypatch.setattr(cuda, "name", lambda: "no such library")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        library.load_what_is_ready()
    assert library._devices is None
    with pytest.warns(RuntimeWarning, match=r"CARAFE on CUDA runs on plain PyTorch .*: no nvcc found"):
        assert library.devices() == {"cpu", "meta"}


def test_the_first_calls_of_several_threads_load_once(
    monkeypatch: pytest.MonkeyPatch, not_yet_loaded: None
) -> None:
    calls, ready = [], threading.Barrier(4)

    def load() -> frozenset[str]:
        calls.append(threading.get_ident())
        return frozenset({"cpu"})

    def first_call() -> None:
        ready.wait()
        assert library.has_kernels("cpu") and not library.has_kernels("cuda")

    monkeypatch.setattr(library, "load", load)
    threads = [threading.Thread(target=first_call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_process_forked_while_another_thread_loads_does_not_wait_for_it(tmp_path: Path) -> None:
    script = """
import os, threading
from inpaint.ops import library
library._devices = None
library.load = lambda: frozenset()
locked, done = threading.Event(), threading.Event()
def hold():
    with library._lock:
        locked.set()
        done.wait()
thread = threading.Thread(target=hold)
thread.start()
locked.wait()
child = os.fork()
if child == 0:
    os._exit(0 if library.devices() == frozenset() else 1)
_, status = os.waitpid(child, 0)
done.set()
thread.join()
assert status == 0, status
"""
    run(script, tmp_path)


@needs_compiled
@pytest.mark.parametrize("way", ["compile", "export", "strict export"])
def test_the_first_call_may_be_a_traced_one(way: str, not_yet_loaded: None) -> None:
    class Upsample(torch.nn.Module):
        def forward(self, x: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            return carafe_fused(x, logits)  # type: ignore[return-value]

    module, operands = Upsample(), (torch.randn(1, 4, 3, 5), torch.randn(1, 100, 3, 5))
    if way == "compile":
        traced = torch.compile(module, fullgraph=True, backend="eager")
    else:
        program = torch.export.export(module, operands, strict=way == "strict export")
        targets = [node.target for node in program.graph.nodes]
        assert torch.ops.inpaint.carafe_fused.default in targets
        traced = program.module()
    result = traced(*operands)
    assert library._devices is not None
    assert torch.equal(result, module(*operands))


# ------------------------------------------------------------------------------------------------------------
# Choosing
# ------------------------------------------------------------------------------------------------------------


def test_the_wish_for_the_twin_is_met_in_silence(monkeypatch: pytest.MonkeyPatch, no_compiler: None) -> None:
    monkeypatch.setenv("INPAINT_OPS", "reference")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert library.load() == frozenset()


@pytest.mark.parametrize("wish", ["twin", "COMPILED", ""])
def test_any_other_wish_is_an_error(monkeypatch: pytest.MonkeyPatch, wish: str) -> None:
    monkeypatch.setenv("INPAINT_OPS", wish)
    with pytest.raises(ValueError, match=f"INPAINT_OPS must be auto, compiled or reference, got '{wish}'"):
        library.load()


@needs_compiled
def test_the_wish_for_the_compiled_operator_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INPAINT_OPS", "compiled")
    assert library.load() >= {"cpu", "meta"}


def test_without_a_compiler_the_twin_serves_and_says_so(
    monkeypatch: pytest.MonkeyPatch, no_compiler: None
) -> None:
    assert not build.has_compiler()
    monkeypatch.setenv("INPAINT_OPS", "auto")
    with pytest.warns(RuntimeWarning) as caught:
        assert library.load() == frozenset()
    assert len(caught) == 1
    assert cpu.PLAIN_COST in str(caught[0].message) and "no C++ compiler found" in str(caught[0].message)
    monkeypatch.setenv("INPAINT_OPS", "compiled")
    with pytest.raises(BuildError, match="no C\\+\\+ compiler found; install one"):
        library.load()


@needs_compiler
def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INPAINT_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("INPAINT_OPS", "auto")
    with pytest.warns(RuntimeWarning, match=r"plain PyTorch.*cache"):
        assert library.load() == frozenset()
    assert library.main([]) == 0
    assert "plain PyTorch" in capsys.readouterr().err
    monkeypatch.setenv("INPAINT_OPS", "compiled")
    with pytest.raises(BuildError, match="cache"):
        library.load()


def test_a_process_without_a_compiler_works_and_warns_once(tmp_path: Path) -> None:
    """The whole package on plain PyTorch: the operator, a layer, and what `implementation` says."""
    script = """
import torch
from inpaint.layers import CarafeUpsample
from inpaint.ops import carafe_fused, implementation
from inpaint.ops import reference
assert implementation("cpu") == implementation("cuda") == "reference"
assert not hasattr(torch.ops.inpaint, "carafe")
x, logits, valid = torch.randn(1, 4, 3, 5), torch.randn(1, 100, 3, 5), torch.ones(1, 1, 3, 5)
first, second = carafe_fused(x, logits, valid=valid), reference.carafe_fused(x, logits, valid=valid)
assert all(map(torch.equal, first, second))
y, v = CarafeUpsample(4)(x.requires_grad_(), valid)
y.sum().backward()
assert x.grad.isfinite().all() and v.shape == (1, 1, 6, 10)
"""
    result = run(script, tmp_path, CXX="/nonexistent", INPAINT_CACHE_DIR=str(tmp_path / "cache"))
    assert result.stderr.count("CARAFE runs on plain PyTorch") == 1
    assert not (tmp_path / "cache").exists()


@needs_compiler
def test_sources_that_do_not_compile_are_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "library.cpp").write_text("#error these sources are broken on purpose\n")
    monkeypatch.setattr(build, "sources_folder", lambda: tmp_path)
    monkeypatch.setenv("INPAINT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("INPAINT_OPS", "auto")
    with pytest.warns(RuntimeWarning, match=r"(?s)plain PyTorch.*broken on purpose"):
        assert library.load() == frozenset()


# ------------------------------------------------------------------------------------------------------------
# Ahead of time
# ------------------------------------------------------------------------------------------------------------


@needs_compiled
def test_the_command_says_what_was_built(capsys: pytest.CaptureFixture[str]) -> None:
    assert library.main([]) == 0
    assert f"compiled for this CPU, {build.library_path(cpu.recipe())}" in capsys.readouterr().err


def test_the_command_says_what_is_missing(no_compiler: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert library.main([]) == 0
    said = capsys.readouterr().err
    assert "plain PyTorch" in said and "no C++ compiler found" in said


def test_the_command_for_cuda_fails_where_it_cannot_be_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cuda, "missing", lambda: "no nvcc found; install it")
    assert library.main(["cuda"]) == 1
    assert "plain PyTorch on CUDA" in capsys.readouterr().err
    assert library.main(["gpu"]) == 2
    assert "usage: python -m inpaint.ops.library [cuda]" in capsys.readouterr().err
