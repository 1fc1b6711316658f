"""The project as people receive it: the wheel, this installation, no traces of the machine it grew on."""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch

import inpaint
from inpaint import ops
from inpaint.ops import cpu
from inpaint.weights import find_model, installed_models, save_weights

ROOT = Path(__file__).resolve().parent.parent
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".tar"}
# What git may not have: environments, caches, build products, results.
SKIPPED_FOLDERS = {"build", "dist", "runs", "__pycache__"}


def project_files() -> Iterator[Path]:
    """Every file of the checkout that belongs to the project, git or no git."""
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [
            name
            for name in subfolders
            if name not in SKIPPED_FOLDERS
            and not name.endswith(".egg-info")
            and (not name.startswith(".") or name == ".ci")
        ]
        yield from (Path(folder, name) for name in names)


def run_python(code: str, *, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# --- the wheel ----------------------------------------------------------------------------------------------


def build_wheel(source: Path, target: Path, **environment: str) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    result = subprocess.run(
        [*command, "--wheel-dir", target, source],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (file,) = target.glob("*.whl")
    return file


def copy_checkout(source: Path) -> None:
    """What a wheel is made from, so that building leaves nothing behind."""
    for path in project_files():
        relative = path.relative_to(ROOT)
        if relative.parts[0] in ("inpaint", "csrc", "models") or len(relative.parts) == 1:
            (source / relative).parent.mkdir(parents=True, exist_ok=True)
            (source / relative).write_bytes(path.read_bytes())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of a copy of the checkout; no network is needed."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    copy_checkout(source)
    # A model of the test's own, so that this part of the mapping is checked even where none is released.
    model = source / "models" / "wheel-test"
    model.mkdir(parents=True)
    save_weights(TinyNetwork(), model / "model.safetensors")
    (model / "README.md").write_text("A card.\n")
    (model / "sheet.jpg").write_bytes(b"not to be shipped")
    index_file = source / "models" / "index.json"
    index = json.loads(index_file.read_text("utf-8")) if index_file.is_file() else {"models": []}
    index["models"].append({"name": "wheel-test", "description": "of a test", "parameters": 4, "scores": {}})
    index_file.write_text(json.dumps(index), "utf-8")
    file = build_wheel(source, target)
    assert file.name.endswith("-py3-none-any.whl")
    return zipfile.ZipFile(file)


@pytest.mark.skipif(ops.implementation() != "compiled", reason="no compiled operator")
def test_a_wheel_with_libraries_needs_no_compiler(tmp_path: Path) -> None:
    source, target, installed = (tmp_path / name for name in ("source", "wheel", "installed"))
    copy_checkout(source)
    file = build_wheel(source, target, INPAINT_WHEEL_LIBRARIES="1", TORCH_CUDA_ARCH_LIST="")
    assert re.search(r"-py3-none-(?!any)\w+\.whl$", file.name)
    zipfile.ZipFile(file).extractall(installed)
    names = {path.name for path in (installed / "inpaint" / "_lib").iterdir()}
    assert names == {cpu.name(level) for level in cpu.levels()}
    code = """
import torch
from inpaint.ops import build, carafe_fused, implementation, reference
assert implementation() == "compiled" and not build.has_compiler()
x, logits = torch.randn(1, 20, 6, 7), torch.randn(1, 100, 6, 7)
torch.testing.assert_close(carafe_fused(x, logits), reference.carafe_fused(x, logits))
print(build.__file__)
"""
    for capability in ("default", "avx2", "avx512"):
        result = run_python(
            code,
            cwd=tmp_path,
            PYTHONPATH=str(installed),
            ATEN_CPU_CAPABILITY=capability,
            CXX="/nonexistent",
            INPAINT_OPS="compiled",
            INPAINT_CACHE_DIR=str(tmp_path / "cache"),
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(str(installed))
    assert not (tmp_path / "cache").exists()


class TinyNetwork(torch.nn.Module):
    """Something with a config and weights; the wheel's tests do not rebuild it."""

    def __init__(self) -> None:
        super().__init__()
        self.config = {"network": "TinyNetwork"}
        self.weight = torch.nn.Parameter(torch.ones(4))


def test_wheel_holds_the_whole_package(wheel: zipfile.ZipFile) -> None:
    # Against the checkout, so that a new subpackage cannot be left out of pyproject's list.
    wanted = {
        path.relative_to(ROOT).as_posix() for path in project_files() if path.is_relative_to(ROOT / "inpaint")
    }
    assert "inpaint/py.typed" in wanted
    assert "inpaint/weights.py" in wanted
    assert {"inpaint/page/static/page.css", "inpaint/page/static/flow/index.js"} <= wanted
    assert {"inpaint/segmentation/upernet.py", "inpaint/training/command.py", "inpaint/plugins.py"} <= wanted
    assert wanted <= set(wheel.namelist())


def test_wheel_holds_the_operators_sources(wheel: zipfile.ZipFile) -> None:
    sources = [path for path in (ROOT / "csrc").rglob("*") if path.suffix in {".cpp", ".h", ".cu", ".cuh"}]
    assert {ROOT / "csrc" / "library.cpp", ROOT / "csrc/cuda/strided_features_gradient.cu"} <= set(sources)
    for path in sources:
        name = "inpaint/_csrc/" + path.relative_to(ROOT / "csrc").as_posix()
        assert wheel.read(name) == path.read_bytes()


def test_wheel_holds_the_released_models(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for folder in ["wheel-test", *(model.folder.name for model in installed_models())]:
        assert f"inpaint/_models/{folder}/model.safetensors" in names
        assert f"inpaint/_models/{folder}/README.md" in names
    assert "inpaint/_models/index.json" in names


def test_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"inpaint", f"carafe_inpaint-{inpaint.__version__}.dist-info"}
    assert [name for name in wheel.namelist() if Path(name).suffix.lower() in PHOTO_SUFFIXES] == []
    assert [name for name in wheel.namelist() if "__pycache__" in name] == []


def test_wheel_carries_the_licence_and_the_requirements(wheel: zipfile.ZipFile) -> None:
    folder = f"carafe_inpaint-{inpaint.__version__}.dist-info"
    assert wheel.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    metadata = wheel.read(f"{folder}/METADATA").decode()
    stated = set(re.findall(r"^Requires-Dist: (.+)$", metadata, re.MULTILINE))
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    for line in lines:
        if line and not line.startswith("#"):
            assert line in {requirement.partition(";")[0].strip() for requirement in stated}
    assert {"torch>=2.11", "safetensors>=0.5"} <= stated  # of every install
    assert 'gradio>=6.19; extra == "app"' in stated
    assert 'tensorboard>=2.18; extra == "train"' in stated
    assert 'carafe-inpaint[app,train]; extra == "all"' in stated
    extras = set(re.findall(r"^Provides-Extra: (.+)$", metadata, re.MULTILINE))
    assert extras == {"app", "train", "all", "patchmatch", "dev"}
    assert "inpaint = inpaint.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()


def test_installed_package_finds_models_and_sources(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    wheel.extractall(site)
    elsewhere.mkdir()
    code = """
import sys
# The checkout's editable install must not answer for what is missing here.
sys.meta_path = [finder for finder in sys.meta_path if "Editable" not in getattr(finder, "__name__", "")]
import inpaint, inpaint.ops.build, inpaint.weights
print(inpaint.__file__)
print(inpaint.ops.build.sources_folder())
print([model.name for model in inpaint.weights.installed_models()])
print(inpaint.weights.find_model("wheel-test"))
"""
    result = run_python(code, cwd=elsewhere, PYTHONPATH=str(site), INPAINT_OPS="reference")
    assert result.returncode == 0, result.stderr
    module, sources, models, weights = result.stdout.splitlines()
    assert module == str(site / "inpaint" / "__init__.py")
    assert sources == str(site / "inpaint" / "_csrc")
    assert models == str([*(model.name for model in installed_models()), "wheel-test"])
    assert weights == str(site / "inpaint" / "_models" / "wheel-test" / "model.safetensors")


# --- this installation --------------------------------------------------------------------------------------


def test_the_tests_run_on_the_checkouts_package(tmp_path: Path) -> None:
    result = run_python("import inpaint; print(inpaint.__file__)", cwd=tmp_path)
    assert result.stdout.strip() == str(ROOT / "inpaint" / "__init__.py"), result.stderr


def test_version_is_the_same_everywhere() -> None:
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert declared is not None
    assert declared[1] == inpaint.__version__


def test_every_released_model_is_listed_and_has_a_card() -> None:
    folders = {path.parent for path in (ROOT / "models").rglob("*.safetensors")}
    assert folders == {model.folder for model in installed_models()}
    for folder in folders:
        assert (folder / "README.md").is_file()
        assert (folder / "model.safetensors").stat().st_size <= 16 * 2**20


# --- the sources --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in project_files()
        if path.suffix == ".py" and "tests" not in path.relative_to(ROOT).parts
    ],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_module_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), f"{path.name} does not say what it is"


# Folders of one machine or one person, and words that mean something only where the project was written.
PRIVATE = re.compile(
    r"(?<![\w.])/(?:root|work|workspace|home/\w+|Users/\w+|tmp/\w+)\b"
    r"|\b[A-Z]:\\Users\\"
    r"|\.\./shared\b"
    r"|\b(?:issue|session|ticket) #?\d+\b"
)
TEXT_SUFFIXES = {
    "",
    ".py",
    ".pyi",
    ".md",
    ".txt",
    ".toml",
    ".json",
    ".cpp",
    ".h",
    ".cu",
    ".cuh",
    ".css",
    ".js",
}


def private_words(text: str) -> list[str]:
    """What in `text` belongs to one machine: paths, and this machine's own name, checkout and home folder."""
    here = {str(ROOT), str(Path.home()), socket.gethostname()}
    # A home of "/" or a host called "pc" would be found everywhere.
    found = [word for word in here if len(word) > 5 and word != "localhost" and word in text]
    return found + [match[0] for match in PRIVATE.finditer(text)]


def test_private_words_are_recognised() -> None:
    for text in (
        f"see {ROOT}/x",
        "--data /" + "work/photos",
        "/" + "home/ann/a.jpg",
        "as in issue" + " 12",
        "C:\\" + "Users\\ann",
    ):
        assert private_words(text), text
    for text in (
        "~/.cache/inpaint",
        "https://x.org/home/a",
        "data/photos",
        "the issue is that 2 tensors",
        "a/work/b",
    ):
        assert not private_words(text), text


def test_no_file_speaks_of_the_machine_it_was_written_on() -> None:
    faults: Mapping[str, list[str]] = {
        path.relative_to(ROOT).as_posix(): words
        for path in project_files()
        if path.suffix in TEXT_SUFFIXES and (words := private_words(path.read_text("utf-8")))
    }
    assert faults == {}


def test_no_weights_file_speaks_of_the_machine_it_was_trained_on() -> None:
    for model in installed_models():
        with find_model(model.name).open("rb") as file:
            header = file.read(int.from_bytes(file.read(8), "little")).decode()
        metadata = json.loads(header)["__metadata__"]
        assert "config" in metadata
        assert private_words(json.dumps(metadata)) == []
