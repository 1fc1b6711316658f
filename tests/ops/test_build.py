"""Compiling a library, and the cache that keeps it."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from carafe_examples import needs_compiled, needs_compiler

from inpaint.ops import build, cpu
from inpaint.ops.build import BuildError

ROOT = Path(build.__file__).parents[2]
# Compiles in a moment, where the operator takes a quarter of a minute.
TINY_SOURCE = 'extern "C" int inpaint_answer() { return 42; }\n'


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources of a library without operators, and an empty cache."""
    folder = tmp_path / "csrc"
    (folder / "cpu").mkdir(parents=True)
    (folder / "library.cpp").write_text(TINY_SOURCE)
    (folder / "cpu" / "sizes.h").write_text("#pragma once\n")
    monkeypatch.setattr(build, "sources_folder", lambda: folder)
    monkeypatch.setenv("INPAINT_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "ops").iterdir())


def library_path() -> Path:
    return build.library_path(cpu.recipe())


# ------------------------------------------------------------------------------------------------------------
# The cache
# ------------------------------------------------------------------------------------------------------------


def test_the_cache_key_follows_all_that_the_library_is_made_from(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [library_path()]
    (sources / "README.md").write_text("not compiled")
    (sources / "library.cpp").touch()
    assert library_path() == keys[0]

    (sources / "cpu" / "sizes.h").write_text("#pragma once\nconstexpr int lanes = 8;\n")
    keys.append(library_path())
    (sources / "library.cpp").write_text(TINY_SOURCE + "\n")
    keys.append(library_path())
    (sources / "cpu" / "sizes.h").rename(sources / "cpu" / "vector.h")
    keys.append(library_path())
    (sources / "cpu" / "carafe.cpp").write_text("")
    keys.append(library_path())
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "2.11.0")
        keys.append(library_path())
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
        keys.append(library_path())
    with monkeypatch.context() as patch:
        patch.setattr(cpu, "_compile_flags", lambda _: ["-O0"])
        keys.append(library_path())
    assert len(set(keys)) == len(keys)
    assert library_path() == keys[4]


def test_the_cache_is_where_the_environment_says(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert library_path().parent == tmp_path / "cache" / "ops"
    monkeypatch.delenv("INPAINT_CACHE_DIR")
    assert library_path().parent == tmp_path / "xdg" / "inpaint" / "ops"
    monkeypatch.delenv("XDG_CACHE_HOME")
    if os.name == "posix":
        assert library_path().parent == tmp_path / "home" / ".cache" / "inpaint" / "ops"


def test_the_sources_are_those_of_the_checkout() -> None:
    assert build.sources_folder() == ROOT / "csrc"


def test_missing_sources_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "__file__", str(tmp_path / "inpaint" / "ops" / "build.py"))
    with pytest.raises(BuildError, match=r"sources are missing: looked for csrc beside .* _csrc"):
        build.sources_folder()


# ------------------------------------------------------------------------------------------------------------
# Building
# ------------------------------------------------------------------------------------------------------------


@needs_compiler
def test_a_build_is_announced_leaves_one_library_and_is_not_repeated(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def announced() -> list[str]:
        return [record.message for record in caplog.records if record.name == "inpaint.ops"]

    path = cpu.build()
    assert announced() == ["Compiling the CARAFE operator, once for this machine (about 15 s) ..."]
    assert path == library_path() and cached(tmp_path) == [path.name]
    torch.ops.load_library(str(path))
    monkeypatch.setattr(build, "has_compiler", lambda: False)
    assert cpu.build() == path
    assert len(announced()) == 1


@needs_compiler
def test_a_failed_build_says_what_the_compiler_said_and_leaves_nothing(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sources / "library.cpp").write_text("#error these sources are broken on purpose\n")
    with pytest.raises(BuildError, match="did not compile") as caught:
        cpu.build()
    assert "broken on purpose" in str(caught.value)
    assert cached(tmp_path) == []


@needs_compiler
def test_processes_that_build_at_the_same_time_do_not_meet(sources: Path, tmp_path: Path) -> None:
    script = f"""
import os, pathlib, time, torch
from inpaint.ops import build, cpu
build.sources_folder = lambda: pathlib.Path({str(sources)!r})
ready = pathlib.Path({str(tmp_path)!r})
(ready / f"ready-{{os.getpid()}}").touch()
while len(list(ready.glob("ready-*"))) < 2:
    time.sleep(0.01)
torch.ops.load_library(str(cpu.build()))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        for _ in range(2)
    ]
    told = []
    for process in processes:
        _, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors
        told.append(errors.count("Compiling the CARAFE operator, once for this machine (about 15 s) ...\n"))
    assert cached(tmp_path) == [library_path().name]
    # Programs that set up no logging say it, too. The second may find what the first has built.
    assert max(told) == 1


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
from inpaint.ops import cpu, implementation
assert implementation() == "compiled"
assert {flag!r} in cpu.recipe().flags
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", {str(ROOT / "tests" / "ops" / "test_carafe.py")!r},
                      "-k", "compiled and loops"]))
"""
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, cwd=ROOT, timeout=500
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(re.search(r"(\d+) passed", result.stdout)[1]) > 200  # type: ignore[index]
