"""Finding, building and loading the compiled operator, and what happens where it cannot be had."""

import os
import platform
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from carafe_examples import needs_compiled

from inpaint.ops import library
from inpaint.ops.library import BuildError

ROOT = Path(library.__file__).parents[2]
# Compiles in a moment, where the operator takes a quarter of a minute.
TINY_SOURCE = 'extern "C" int inpaint_answer() { return 42; }\n'
needs_compiler = pytest.mark.skipif(not library.has_compiler(), reason="no C++ compiler")


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources of a library that is none, and an empty cache."""
    folder = tmp_path / "csrc"
    (folder / "cpu").mkdir(parents=True)
    (folder / "library.cpp").write_text(TINY_SOURCE)
    (folder / "cpu" / "sizes.h").write_text("#pragma once\n")
    monkeypatch.setattr(library, "sources_folder", lambda: folder)
    monkeypatch.setenv("INPAINT_CACHE_DIR", str(tmp_path / "cache"))
    return folder


@pytest.fixture(params=["none on PATH", "CXX leads nowhere"])
def no_compiler(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INPAINT_CACHE_DIR", str(tmp_path / "empty"))
    if request.param == "none on PATH":
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CXX", raising=False)
    else:
        monkeypatch.setenv("CXX", str(tmp_path / "c++"))


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "ops").iterdir())


# ------------------------------------------------------------------------------------------------------------
# The cache
# ------------------------------------------------------------------------------------------------------------


def test_the_cache_key_follows_all_that_the_library_is_made_from(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [library.library_path()]
    (sources / "README.md").write_text("not compiled")
    (sources / "library.cpp").touch()
    assert library.library_path() == keys[0]

    (sources / "cpu" / "sizes.h").write_text("#pragma once\nconstexpr int lanes = 8;\n")
    keys.append(library.library_path())
    (sources / "library.cpp").write_text(TINY_SOURCE + "\n")
    keys.append(library.library_path())
    (sources / "cpu" / "sizes.h").rename(sources / "cpu" / "vector.h")
    keys.append(library.library_path())
    (sources / "cpu" / "carafe.cpp").write_text("")
    keys.append(library.library_path())
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "2.11.0")
        keys.append(library.library_path())
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
        keys.append(library.library_path())
    with monkeypatch.context() as patch:
        patch.setattr(library, "_compile_flags", lambda _: ["-O0"])
        keys.append(library.library_path())
    assert len(set(keys)) == len(keys)
    assert library.library_path() == keys[4]


def test_the_cache_is_where_the_environment_says(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert library.library_path().parent == tmp_path / "cache" / "ops"
    monkeypatch.delenv("INPAINT_CACHE_DIR")
    assert library.library_path().parent == tmp_path / "xdg" / "inpaint" / "ops"
    monkeypatch.delenv("XDG_CACHE_HOME")
    if os.name == "posix":
        assert library.library_path().parent == tmp_path / "home" / ".cache" / "inpaint" / "ops"


def test_the_sources_are_those_of_the_checkout() -> None:
    assert library.sources_folder() == ROOT / "csrc"


def test_missing_sources_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "__file__", str(tmp_path / "inpaint" / "ops" / "library.py"))
    with pytest.raises(BuildError, match=r"sources are missing: looked for csrc beside .* _csrc"):
        library.sources_folder()


# ------------------------------------------------------------------------------------------------------------
# Building
# ------------------------------------------------------------------------------------------------------------


@needs_compiler
def test_a_build_leaves_one_library_and_is_not_repeated(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = library.build()
    assert path == library.library_path() and cached(tmp_path) == [path.name]
    torch.ops.load_library(str(path))
    monkeypatch.setattr(library, "has_compiler", lambda: False)
    assert library.build() == path


@needs_compiler
def test_a_failed_build_says_what_the_compiler_said_and_leaves_nothing(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sources / "library.cpp").write_text("#error these sources are broken on purpose\n")
    with pytest.raises(BuildError, match="did not compile") as caught:
        library.build()
    assert "broken on purpose" in str(caught.value)
    assert cached(tmp_path) == []
    monkeypatch.delenv("INPAINT_OPS", raising=False)
    with pytest.warns(RuntimeWarning, match="plain PyTorch"):
        assert not library.load()


@needs_compiler
def test_processes_that_build_at_the_same_time_do_not_meet(sources: Path, tmp_path: Path) -> None:
    script = f"""
import pathlib, time
from inpaint.ops import library
library.sources_folder = lambda: pathlib.Path({str(sources)!r})
ready = pathlib.Path({str(tmp_path)!r})
(ready / f"ready-{{library.os.getpid()}}").touch()
while len(list(ready.glob("ready-*"))) < 2:
    time.sleep(0.01)
library.torch.ops.load_library(str(library.build()))
"""
    # The twin, so that importing the package builds nothing.
    environment = {**os.environ, "INPAINT_OPS": "reference", "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        for _ in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors
    assert cached(tmp_path) == [library.library_path().name]


@needs_compiled
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="x86 has several")
@pytest.mark.parametrize(
    ("capability", "flag"), [("avx2", "-march=x86-64-v3"), ("default", "-march=x86-64-v2")]
)
def test_lesser_processors_get_their_own_library_and_right_results(capability: str, flag: str) -> None:
    """The table once more, in a process in which torch itself keeps to these instructions."""
    script = f"""
import sys
import pytest
from inpaint.ops import implementation, library
assert implementation() == "compiled"
assert {flag!r} in library.cpu_recipe().flags
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", {str(ROOT / "tests" / "ops" / "test_carafe.py")!r},
                      "-k", "compiled and loops"]))
"""
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, cwd=ROOT, timeout=500
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(re.search(r"(\d+) passed", result.stdout)[1]) > 200  # type: ignore[index]


# ------------------------------------------------------------------------------------------------------------
# Choosing
# ------------------------------------------------------------------------------------------------------------


def test_the_wish_for_the_twin_is_met_in_silence(monkeypatch: pytest.MonkeyPatch, no_compiler: None) -> None:
    monkeypatch.setenv("INPAINT_OPS", "reference")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert library.load() is False


@pytest.mark.parametrize("wish", ["twin", "COMPILED", ""])
def test_any_other_wish_is_an_error(monkeypatch: pytest.MonkeyPatch, wish: str) -> None:
    monkeypatch.setenv("INPAINT_OPS", wish)
    with pytest.raises(ValueError, match=f"INPAINT_OPS must be auto, compiled or reference, got '{wish}'"):
        library.load()


@needs_compiled
def test_the_wish_for_the_compiled_operator_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INPAINT_OPS", "compiled")
    assert library.load() is True


def test_without_a_compiler_the_twin_serves_and_says_so(
    monkeypatch: pytest.MonkeyPatch, no_compiler: None
) -> None:
    assert not library.has_compiler()
    monkeypatch.setenv("INPAINT_OPS", "auto")
    with pytest.warns(RuntimeWarning) as caught:
        assert library.load() is False
    assert len(caught) == 1
    assert library.TWIN_COST in str(caught[0].message) and "no C++ compiler found" in str(caught[0].message)
    monkeypatch.setenv("INPAINT_OPS", "compiled")
    with pytest.raises(BuildError, match="no C\\+\\+ compiler found; install one"):
        library.load()


@needs_compiler
def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("INPAINT_OPS", "auto")
    with pytest.warns(RuntimeWarning, match=r"plain PyTorch.*cache"):
        assert library.load() is False
    library.main()
    assert "plain PyTorch" in capsys.readouterr().err
    monkeypatch.setenv("INPAINT_OPS", "compiled")
    with pytest.raises(BuildError, match="cache"):
        library.load()


def test_a_process_without_a_compiler_works_and_warns_once(tmp_path: Path) -> None:
    """The whole package on the twin: the operator, a layer, and what `implementation` says."""
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
    environment = {**os.environ, "CXX": "/nonexistent", "INPAINT_CACHE_DIR": str(tmp_path / "cache")}
    environment |= {
        "INPAINT_OPS": "auto",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "default::RuntimeWarning",
    }
    command = [sys.executable, "-c", script]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=500
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("CARAFE runs on plain PyTorch") == 1
    assert not (tmp_path / "cache").exists()


# ------------------------------------------------------------------------------------------------------------
# Ahead of time
# ------------------------------------------------------------------------------------------------------------


@needs_compiled
def test_the_command_says_what_was_built(capsys: pytest.CaptureFixture[str]) -> None:
    library.main()
    assert f"compiled for this CPU, {library.library_path()}" in capsys.readouterr().err


def test_the_command_says_what_is_missing(no_compiler: None, capsys: pytest.CaptureFixture[str]) -> None:
    library.main()
    said = capsys.readouterr().err
    assert "plain PyTorch" in said and "no C++ compiler found" in said
