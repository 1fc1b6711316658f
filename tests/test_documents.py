"""The documents: links lead somewhere, commands and flags exist, Python code runs, and scores agree."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import io
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from inpaint.training.presets import PRESETS
from inpaint.weights import installed_models

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("csrc", "docs", "inpaint", "models", "tests")
# data/ and benchmarks/ may hold what is not the project's: downloads, and results of this machine.
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md")),
        *ROOT.glob("data/**/README.md"),
        *ROOT.glob("benchmarks/**/*.md"),
    ]
)
README = ROOT / "README.md"
CARDS = sorted(ROOT.glob("models/*/README.md"))
# Pages of results keep the commands of their day.
INSTRUCTIONS = [path for path in DOCUMENTS if not path.is_relative_to(ROOT / "benchmarks" / "results")]
# Cards keep the commands that were run; platforms.md is for those who have no .venv of ours.
WITH_OUR_PYTHON = [path for path in INSTRUCTIONS if path not in (*CARDS, ROOT / "docs" / "platforms.md")]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=name_of)


def blocks(path: Path, language: str) -> list[str]:
    text = path.read_text("utf-8")
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def prose(path: Path) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def shell_scripts(path: Path) -> Iterator[str]:
    """The document's shell commands, continued lines joined, without the Python that is fed to them."""
    for block in blocks(path, "sh"):
        yield re.sub(r"^(.*<<'EOF')\n.*?^EOF$", r"\1", block, flags=re.MULTILINE | re.DOTALL).replace(
            "\\\n", " "
        )


def commands(path: Path) -> list[list[str]]:
    """The command lines that run a program of the project, as words; comments and variables dropped."""
    ours = re.compile(r"\S+\.py\b|^\s*\S*(python|inpaint|torchrun)\b|^make ")
    lines = [line for line in "\n".join(shell_scripts(path)).splitlines() if ours.search(line)]
    words = [shlex.split(line, comments=True) for line in lines]
    return [[word for word in line if not re.match(r"[A-Z_]+=", word)] for line in words]


def python_code(path: Path) -> list[str]:
    """Every piece of Python in the document: its own blocks, and what shell commands feed to Python."""
    shell = "\n".join(blocks(path, "sh"))
    fed = re.findall(r"<<'EOF'\n(.*?)^EOF$", shell, re.MULTILINE | re.DOTALL)
    fed += [words[words.index("-c") + 1] for words in commands(path) if "-c" in words]
    return [*blocks(path, "python"), *fed]


@functools.cache
def help_text(*command: str) -> str:
    """What a script, or with -m a module, prints for --help; in this process, which has torch already."""
    told = io.StringIO()
    path = [str((ROOT / command[0]).parent), *sys.path]
    words = command[1:] if command[0] == "-m" else command
    with (
        mock.patch.object(sys, "argv", [*words, "--help"]),
        mock.patch.object(sys, "path", path),
        contextlib.redirect_stdout(told),
        contextlib.suppress(SystemExit),
    ):
        if command[0] == "-m":
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")
    assert told.getvalue().startswith("usage:")
    return told.getvalue()


# --- links


def anchors(path: Path) -> set[str]:
    """What GitHub calls the headings of a document."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each(DOCUMENTS)
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(\s*([^)\s]+)[^)]*\)", prose(path)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_the_readme_leads_to_every_page() -> None:
    links = re.findall(r"\]\(([^)#\s]+)", prose(README))
    assert {f"docs/{path.name}" for path in ROOT.glob("docs/*.md")} <= set(links)


def test_readme_paths_exist() -> None:
    table = README.read_text("utf-8").partition("## What is where")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    paths = [path for row in rows for path in re.findall(r"`(.*?)`", row)]
    assert "inpaint/" in paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_architecture_names_what_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    whole, package = re.findall(r"^\| path \| what \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    paths = [path for row in whole.splitlines() for path in re.findall(r"`(.*?)`", cells(row)[0])]
    rooms = [path for row in package.splitlines() for path in re.findall(r"`(.*?)`", cells(row)[0])]
    found = re.findall(r"`(inpaint/[\w/.]+)`", text)
    assert [path for path in [*paths, *found] if not (ROOT / path).exists()] == []
    # Each room and file of the package, and no other.
    files = {path.name for path in (ROOT / "inpaint").glob("*.py") if not path.name.startswith("__")}
    folders = {f"{path.parent.name}/" for path in (ROOT / "inpaint").glob("*/__init__.py")}
    assert set(rooms) == files | folders
    # What a row calls a module, without an ending, is one in that folder.
    for row in package.splitlines():
        room, what = cells(row)
        names = re.findall(r"`([a-z_]+)`", what) if room.endswith("/`") else []
        here = ROOT / "inpaint" / room.strip("`")
        missing = [name for name in names if not (here / f"{name}.py").exists()]
        assert missing == [], room


# --- commands


@each(INSTRUCTIONS)
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    mentioned = {words[1] for words in commands(path) if words[0] == "make"}
    mentioned |= set(re.findall(r"`make ([a-z-]+)", prose(path)))
    assert mentioned <= targets
    if path == README:
        assert {"app", "test", "lint", "bench"} <= mentioned


def check_flags(words: list[str], command: tuple[str, ...]) -> None:
    known = set(re.findall(r"--[a-z][a-z0-9-]*", help_text(*command)))
    assert {word for word in words if word.startswith("--")} <= known, " ".join(words)


def check_command(words: list[str]) -> bool:
    """Check that the program and its flags exist; returns whether it is a program of ours."""
    program = Path(words[0]).name
    script = next((number for number, word in enumerate(words) if word.endswith(".py")), None)
    if program == "inpaint":
        check_flags(words, ("-m", "inpaint", words[1]))
    elif program == "torchrun":
        assert script is not None
        check_flags(words[:script], ("-m", "torch.distributed.run"))
        check_flags(words[script:], (words[script],))
    elif script == 1 and program.startswith("python"):
        assert (ROOT / words[1]).is_file(), words[1]
        subcommand = words[2:3] if words[1].endswith("places.py") else []
        check_flags(words, (words[1], *subcommand))
    else:
        return False
    return True


@each(INSTRUCTIONS)
def test_scripts_and_flags_exist(path: Path) -> None:
    ours = sum(check_command(words) for words in commands(path))
    assert ours >= 5 or path != README


def check_preset(words: list[str]) -> None:
    # Without one the perceptual terms are on, and they need weights that nobody new here has.
    assert "--preset" in words, " ".join(words)
    assert words[words.index("--preset") + 1] in PRESETS, " ".join(words)


@each([path for path in INSTRUCTIONS if path not in CARDS])
def test_every_training_command_names_a_preset(path: Path) -> None:
    for words in commands(path):
        if "train.py" in words or (Path(words[0]).name == "inpaint" and words[1] == "train"):
            check_preset(words)


def test_every_training_command_of_the_script_names_a_preset() -> None:
    text = (ROOT / "inpaint/training/command.py").read_text("utf-8").split('"""')[1].replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line.startswith("    ")]
    examples = [words for words in lines if "train.py" in words]
    assert len(examples) >= 5
    for words in examples:
        check_preset(words)


@each(WITH_OUR_PYTHON)
def test_commands_name_the_environments_programs(path: Path) -> None:
    for words in commands(path):
        assert words[0].startswith(".venv/bin/") or words[0] == "make", " ".join(words)


# --- Python


@each(DOCUMENTS)
def test_what_the_code_imports_exists(path: Path) -> None:
    for code in python_code(path):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def run(code: str, path: Path, **names: object) -> dict[str, object]:
    exec(compile(code, name_of(path), "exec"), names)
    return names


def need_model(code: str) -> None:
    (name,) = re.findall(r'from_pretrained\("(.+?)"\)', code)
    if name not in {model.name for model in installed_models()}:
        pytest.skip(f"the model {name} is not in this checkout")


def test_the_readmes_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks(README, "python")
    need_model(code)
    photo = skimage.data.astronaut()[100:197, 150:281]
    mask = np.zeros(photo.shape[:2], bool)
    mask[30:60, 40:90] = True
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("photo.jpg", quality=95)
    Image.fromarray(mask).convert("L").save("mask.png")
    run(code, README)
    before, after = (np.asarray(Image.open(file).convert("RGB")) for file in ("photo.jpg", "filled.png"))
    assert np.array_equal(before[~mask], after[~mask])
    assert not np.array_equal(before[mask], after[mask])


@each(CARDS)
def test_the_cards_examples_run(path: Path) -> None:
    (code,) = blocks(path, "python")
    need_model(code)
    image = skimage.data.astronaut()[100:164, 150:214]
    mask = np.zeros(image.shape[:2], bool)
    mask[20:30, 20:40] = True
    result = run(code, path, image=image, mask=mask)["result"]
    assert isinstance(result, np.ndarray)
    assert (result[~mask] == image[~mask]).all()


def test_the_operators_examples_run() -> None:
    path = ROOT / "docs" / "operator.md"
    function, down, layer, sized, down_layer = blocks(path, "python")[:5]
    names = run(function, path)
    assert tuple(names["upsampled"].shape) == (1, 256, 128, 128)  # type: ignore[attr-defined]
    # Away from the border, where everything is known, the shares are whole.
    assert torch.allclose(names["valid"][..., 4:-4, 4:-4], torch.ones(()))  # type: ignore[index]
    assert tuple(run(down, path)["smaller"].shape) == (1, 256, 32, 32)  # type: ignore[attr-defined]
    names = run(layer, path)
    assert tuple(names["upsampled"].shape) == (1, 16, 16, 16)  # type: ignore[attr-defined]
    assert tuple(run(sized, path, **names)["merged"].shape) == (1, 16, 15, 16)  # type: ignore[attr-defined]
    assert tuple(run(down_layer, path)["smaller"].shape) == (1, 16, 8, 8)  # type: ignore[attr-defined]


# --- scores: the card's are those of the evaluation, and the other pages repeat some of them


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def scores(path: Path) -> dict[tuple[str, str, str], str]:
    """(holes, method, column) -> figure, of the tables of methods below a line `HOLES of A–B %:`."""
    found: dict[tuple[str, str, str], str] = {}
    for holes, table in re.findall(
        r"^([A-Z][\w -]+ of [\d–]+ %):\n\n((?:\|.*\n)+)", path.read_text("utf-8"), re.MULTILINE
    ):
        head, _, *rows = map(cells, table.splitlines())
        for method, *figures in rows:
            for column, figure in zip(head[1:], figures, strict=True):
                found[holes, method, column] = figure
    return found


def test_the_results_repeat_the_cards_scores() -> None:
    card, results = scores(ROOT / "models/pconv-carafe/README.md"), scores(ROOT / "docs/results.md")
    assert len(results) > 100
    assert {key: figure for key, figure in results.items() if card.get(key) != figure} == {}


def test_the_readme_repeats_the_cards_scores() -> None:
    card = scores(ROOT / "models/pconv-carafe/README.md")
    methods = r"^\| ((?:pconv|patchmatch|harmonic|telea).*) \|$"
    rows = re.findall(methods, README.read_text("utf-8"), re.MULTILINE)
    assert len(rows) == 5
    for method, *figures in map(cells, rows):
        stated = [
            card[holes, method, column]
            for holes in ("Objects of 5–25 %", "Free-form holes of 10–50 %")
            for column in ("PSNR dB", "features ↓", "detail → 1", "s / image")
        ]
        assert figures == stated, method
