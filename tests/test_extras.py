"""The slim installation: what each part of the package imports is what its extra installs."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import inpaint
from inpaint import cli, extras
from inpaint.cli.work import evaluate, train
from inpaint.serving import doctor

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(inpaint.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

# What pip calls a package -> the module that it brings, where the two differ.
MODULES = {
    "opencv-python": "cv2",
    "pillow": "PIL",
    "scikit-image": "skimage",
    "python-multipart": "python_multipart",
    "prometheus-client": "prometheus_client",
}
PARTS = {
    "core": (
        *("ops", "layers", "networks", "images", "masks", "weights", "inference", "files", "devices"),
        *("terminal", "urls", "plugins", "losses", "backbones", "extras", "cli", "__init__", "__main__"),
    ),
    "app": ("serving", "page", "evaluation", "metrics", "datasets"),
    "train": ("training", "evaluation", "metrics", "datasets"),
}
# They are for networks of torchvision, so whoever uses them has it.
BESIDE = {"compat", "segmentation"}
# Read by `inpaint --help`, so they are part of every installation.
WITHOUT_EXTRA = {f"inpaint.serving.{name}" for name in ("command", "doctor", "limits", "memory")}


def packages(requirements: list[str]) -> dict[str, str]:
    """Module -> requirement."""
    names = {line: re.split(r"[<>=\[]", line)[0] for line in requirements}
    return {MODULES.get(name, name): line for line, name in names.items()}


CORE = packages(PROJECT["dependencies"])
EXTRA = {name: packages(PROJECT["optional-dependencies"][name]) for name in extras.EXTRAS}


def imports(path: Path, lazy: bool) -> Iterator[str]:
    """The modules that a module imports at its top level, or, with `lazy`, in its functions."""
    package = ".".join(path.relative_to(PACKAGE.parent).parent.parts)

    def walk(node: ast.AST, inside: bool) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            typing_alone = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            if typing_alone:
                continue
            if isinstance(child, ast.Import) and inside == lazy:
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and inside == lazy:
                above = package.split(".")[: len(package.split(".")) - child.level + 1]
                start = ".".join([*(above if child.level else ()), *([child.module] if child.module else ())])
                yield from (start, *(f"{start}.{alias.name}" for alias in child.names))
            yield from walk(child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    yield from walk(ast.parse(path.read_text("utf-8")), False)


def third_party(path: Path, lazy: bool = False) -> set[str]:
    tops = {name.partition(".")[0] for name in imports(path, lazy)}
    return tops - set(sys.stdlib_module_names) - {"inpaint"}


def files_of(*rooms: str) -> list[Path]:
    found = [
        path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).with_suffix("").parts[0] in rooms
    ]
    assert {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in found} == set(rooms)
    return found


def test_every_room_is_in_a_part() -> None:
    rooms = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in PACKAGE.rglob("*.py")}
    assert rooms == {room for part in PARTS.values() for room in part} | BESIDE


@pytest.mark.parametrize("part", PARTS)
def test_each_part_imports_what_its_install_brings(part: str) -> None:
    allowed = CORE.keys() | (EXTRA[part].keys() if part != "core" else set())
    wrong = {path.name: found for path in files_of(*PARTS[part]) if (found := third_party(path) - allowed)}
    assert wrong == {}


def test_what_the_core_imports_in_functions_is_known() -> None:
    """By features alone, which say what is missing or belong to training."""
    wrong = {
        path.name: found
        for path in files_of(*PARTS["core"])
        if (found := third_party(path, lazy=True) - CORE.keys())
    }
    assert wrong == {"backbones.py": {"torchvision"}}


def test_each_requirement_is_used() -> None:
    used = {
        top for path in PACKAGE.rglob("*.py") for lazy in (False, True) for top in third_party(path, lazy)
    }
    used |= {"tensorboard", "python_multipart"}  # by torch, and by starlette for forms
    assert {*CORE, *(name for extra in EXTRA.values() for name in extra)} - used == set()


def test_modules_that_every_command_imports_load_no_extra() -> None:
    """What `inpaint.cli` imports at the top, and what that imports, and so on."""
    seen, left = set(), ["inpaint.cli"]
    while left:
        name = left.pop()
        path = PACKAGE.parent / Path(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in seen or not path.is_file():
            continue
        seen.add(name)
        assert third_party(path) <= CORE.keys(), name
        parents = [name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)]
        left += [*parents, *(other for other in imports(path, lazy=False) if other.startswith("inpaint"))]
    assert {name for name in seen if name.startswith("inpaint.serving.")} >= WITHOUT_EXTRA
    assert not {name for name in seen if re.match(r"inpaint\.(training|evaluation|page|datasets)\b", name)}


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_the_modules_of_an_extra_are_those_of_its_packages(extra: str) -> None:
    assert set(extras.EXTRAS[extra]) == EXTRA[extra].keys()
    assert set(extras.PAGE_ALONE) <= EXTRA["app"].keys()
    assert set(extras.DISPENSABLE) <= EXTRA["train"].keys()


def test_requirements_list_everything() -> None:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    assert sorted(listed) == sorted(
        {*CORE.values(), *(line for extra in EXTRA.values() for line in extra.values())}
    )
    assert PROJECT["optional-dependencies"]["all"] == ["carafe-inpaint[app,train]"]


# --- commands without an extra ------------------------------------------------------------------------------


def hide(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    found = extras._is_installed
    monkeypatch.setattr(extras, "_is_installed", lambda name: name not in modules and found(name))


def test_a_command_without_its_extra_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hide(monkeypatch, "gradio", "fastapi", "fsspec", "lpips")
    assert cli.main(["serve"]) == 2
    told = "needs the app extra: pip install 'carafe-inpaint[app]' (missing: gradio, fastapi, fsspec)\n"
    assert capsys.readouterr().err == f"inpaint serve {told}"
    told = "needs the train extra: pip install 'carafe-inpaint[train]' (missing: fsspec)\n"
    for prog, call in (
        ("inpaint train", lambda: cli.main(["train", "--help"])),
        ("inpaint evaluate", lambda: cli.main(["evaluate"])),
        ("train.py", lambda: train(["--help"])),
        ("evaluate.py", lambda: evaluate(["--help"])),
    ):
        assert call() == 2
        assert capsys.readouterr().err == f"{prog} {told}"


def test_doctor_says_which_extras_are_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "gradio", "h11")
    found = {finding.name: finding for finding in doctor._packages()}
    app, training = found["extra app"], found["extra train"]
    assert (app.state, training.state) == ("note", "ok")
    assert app.text == "without gradio, h11; it is for the page and the REST API, inpaint serve"
    assert app.remedy == "pip install 'carafe-inpaint[app]'"
    assert set(doctor.PURPOSES) == set(extras.EXTRAS)


HIDING = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
from inpaint.cli import main
sys.exit(main({words}))
"""


def test_a_slim_installation_fills_a_photo(tmp_path: Path) -> None:
    """All that only the extras bring is hidden; what is left fills, lists, and says what it lacks."""
    hidden = {name for extra in EXTRA.values() for name in extra} - CORE.keys()
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(tmp_path / "photo.png")
    mask = np.zeros((40, 50), np.uint8)
    mask[10:20, 10:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    run = ["run", "--image", "photo.png", "--mask", "mask.png", "--output", "filled.png", "--device", "cpu"]
    code = HIDING.format(names=hidden, words=run)
    assert "cv2" not in hidden and {"torchvision", "gradio", "skimage", "fsspec"} <= hidden
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert np.asarray(Image.open(tmp_path / "filled.png")).shape == (40, 50, 3)


# --- inpaint train and inpaint evaluate ---------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_commands_have_the_flags_of_the_scripts(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    texts = {}
    script = {"train": train, "evaluate": evaluate}[command]
    for prog, call in (
        (f"{command}.py", lambda: script(["--help"])),
        (f"inpaint {command}", lambda: cli.main([command, "--help"])),
    ):
        with pytest.raises(SystemExit) as stop:
            call()
        assert stop.value.code == 0
        texts[prog] = capsys.readouterr().out
        assert texts[prog].startswith(f"usage: {prog} [-h]")
    ours, theirs = (set(re.findall(r"--[a-z-]+", text)) for text in texts.values())
    assert ours == theirs
    assert f"{command}.py" not in texts[f"inpaint {command}"]
    assert f"\n    inpaint {command} --" in texts[f"inpaint {command}"]
    assert f"\n    python {command}.py --" in texts[f"{command}.py"]


def test_messages_name_the_door(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--images", str(tmp_path), "--masks", "typo", "--methods", "telea", "--output", str(tmp_path)]
    assert cli.main(["evaluate", *words]) == 2
    assert capsys.readouterr().err.startswith("inpaint evaluate: --masks: 'typo' is neither")
    with pytest.raises(SystemExit):
        cli.main(["train", "--data", "x", "--output", "y", "--lr", "0"])
    assert "inpaint train: error: --lr must be positive" in capsys.readouterr().err


def test_help_lists_the_commands_and_loads_no_torch() -> None:
    code = "import sys; from inpaint.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'skimage', 'gradio'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\n    train +train a network", done.stdout)
    assert re.search(r"\n    evaluate +score methods", done.stdout)
