"""Plug-ins: the examples of docs/plugins.md through training, evaluation and files, and what is refused."""

import dataclasses
import importlib
import json
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from inpaint import plugins
from inpaint.cli import main as inpaint_command
from inpaint.cli.work import evaluate, train
from inpaint.layers import UPSAMPLERS, Hole, build_upsampler
from inpaint.losses import CUSTOM_TERMS, InpaintingLoss, LossWeights
from inpaint.networks import CONFIGS, NETWORKS, build_network
from inpaint.plugins import PluginError, Registry, load_installed, load_plugins
from inpaint.training.saving.checkpoint import list_checkpoints
from inpaint.training.settings import TrainSettings, settings_from_json
from inpaint.weights import WeightsError, load_weights, save_weights

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "plugins.md"
EXAMPLES = {
    match[1]: match[0]
    for match in re.finditer(
        r"(?<=```python\n)# (\w+)\.py\n.*?(?=```)", DOCUMENT.read_text("utf-8"), re.DOTALL
    )
}
ALL = [f"--plugin={name}:register" for name in EXAMPLES]
TABLES = (UPSAMPLERS, NETWORKS, CONFIGS, CUSTOM_TERMS, plugins._ADDED, plugins._LOADED)


@pytest.fixture(autouse=True)
def forget() -> Iterator[Callable[[], None]]:
    """Unload all plug-ins, when it is called and after the test."""
    tables = [dict(table) for table in TABLES]  # type: ignore[call-overload]
    modules, path = set(sys.modules), list(sys.path)

    def unload() -> None:
        for table, before in zip(TABLES, tables, strict=True):
            table.clear()
            table.update(before)  # type: ignore[attr-defined]
        plugins._FUNCTIONS.clear()
        for name in set(sys.modules) - modules:
            if name in EXAMPLES or name.startswith("mine"):
                del sys.modules[name]

    yield unload
    unload()
    sys.path[:] = path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the document's modules, and two small photos in photos/."""
    for name, code in EXAMPLES.items():
        (tmp_path / f"{name}.py").write_text(code, "utf-8")
    (tmp_path / "photos").mkdir()
    for name in ("astronaut", "coffee"):
        picture = getattr(skimage.data, name)()[100:171, 150:243]
        Image.fromarray(picture).save(tmp_path / "photos" / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def package(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package `mine-for-inpaint` 1.2 with the document's parts, in a folder of Python's path."""
    site = here / "site"
    site.mkdir()
    for name in EXAMPLES:
        (here / f"{name}.py").rename(site / f"mine_{name}.py")
    (site / "mine_parts.py").write_text(
        "import mine_my_loss, mine_my_network, mine_my_upsampler\n"
        "def register(registry):\n"
        "    for module in (mine_my_loss, mine_my_network, mine_my_upsampler):\n"
        "        module.register(registry)\n"
    )
    info = site / "mine_for_inpaint-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine-for-inpaint\nVersion: 1.2\n")
    points = [f"{name} = mine_parts:register" for name in ("smooth", "sketch", "edges")]
    (info / "entry_points.txt").write_text("\n".join([f"[{plugins.GROUP}]", *points]) + "\n")
    monkeypatch.syspath_prepend(str(site))
    return site


TRAINING = ["--data", "photos", "--device", "cpu", "--schedule", "16x2:2", "--precision", "fp32"]
TRAINING += ["--loss-perceptual", "0", "--loss-style", "0", "--threads", "1", "--output", "run"]
PARTS = ["--network", "sketch", "--upsampler", "smooth", "--loss-edges", "0.5"]
WEIGHTS = "run/last.safetensors"
EVALUATION = ["--images", "photos", "--masks", "box:0.1-0.3", "--size", "40", "--output", "scores"]
EVALUATION += ["--device", "cpu", "--no-lpips", "--methods", WEIGHTS]


def metadata(path: str) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata())


# --- the examples -------------------------------------------------------------------------------------------


def test_the_document_has_an_example_of_each_kind() -> None:
    assert list(EXAMPLES) == ["my_upsampler", "my_network", "my_loss"]
    for code in EXAMPLES.values():
        assert 10 <= len([line for line in code.splitlines() if line.strip()]) <= 30


def test_plugins_train_resume_evaluate_and_say_what_is_missing(
    here: Path,
    forget: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    command = [*ALL, *TRAINING, *PARTS]
    assert train([*command, "--max-minutes", "1e-9"]) == 0
    assert [step for step, _ in list_checkpoints(here / "run" / "checkpoints")] == [1]
    forget()
    assert train([*command, "--resume"]) == 0
    config = {"network": "sketch", "upsampler": "smooth", "compressed_channels": 64, "width": 16}
    facts = metadata(WEIGHTS)
    assert facts["step"] == "2"
    assert json.loads(facts["config"]) == config
    assert json.loads(facts["plugins"]) == [
        {"adds": "network sketch", "name": "my_network:register", "package": "", "version": ""},
        {"adds": "upsampler smooth", "name": "my_upsampler:register", "package": "", "version": ""},
    ]
    forget()
    assert evaluate([*EVALUATION, *ALL[:2]]) == 0
    assert json.loads((here / "scores/results.json").read_text())["methods"][WEIGHTS]["count"] == 2

    forget()
    capsys.readouterr()
    assert evaluate(EVALUATION) == 2
    told = capsys.readouterr().err
    assert (
        "the network sketch is missing: it was made with the plug-in my_network:register, which is neither"
        in told
    )
    assert "name it with --plugin my_network:register, or install a package that offers sketch" in told
    with pytest.raises(
        WeightsError, match="the upsampler smooth is missing: it was made with the plug-in my_up"
    ):
        load_plugins(["my_network:register"])
        load_weights(WEIGHTS)

    forget()
    others = [word for word in command if word not in ("--loss-edges", "0.5") and "my_loss" not in word]
    assert train([*others, "--resume"]) == 1
    assert "the loss edges is missing: it was made with the plug-in my_loss:register" in caplog.text


def test_run_and_serve_take_plugins(here: Path, forget: Callable[[], None]) -> None:
    load_plugins(["my_network:register"])
    save_weights(build_network({"network": "sketch", "width": 4}), "sketch.safetensors")
    forget()
    mask = np.zeros((71, 93), np.uint8)
    mask[30:40, 30:50] = 255
    Image.fromarray(mask).save("mask.png")
    line = "run --image photos/coffee.png --mask mask.png --output filled.png --detail none --device cpu"
    words = [*line.split(), "--model", "sketch.safetensors"]
    with pytest.raises(SystemExit) as stop:
        inpaint_command(words)
    assert stop.value.code == 2
    assert inpaint_command([*words, "--plugin", "my_network:register"]) == 0
    assert Image.open("filled.png").size == (93, 71)
    forget()

    from inpaint.serving import tasks

    settings = {
        "max_pixels": 10**6,
        "device": "cpu",
        "models": {"mine": "sketch.safetensors"},
        "model": "mine",
    }
    with pytest.raises(WeightsError, match="my_network:register"):
        tasks.filler(settings)
    assert tasks.filler({**settings, "plugins": ["my_network:register"]})


def test_the_ablation_takes_a_plugins_upsampler(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    ablation = importlib.import_module("ablation")
    changes = {"width": 4, "compressed_channels": 4, "dilations": [1, 2]}
    budget = ablation.Budget(
        schedule="32x2:2",
        networks={"Global&Local": ("global-local-paper", changes)},
        settings=(*ablation.BUDGETS["cpu"].settings, "--device", "cpu"),
        size=32,
        seeds=(0,),
    )
    monkeypatch.setitem(ablation.BUDGETS, "cpu", budget)
    line = "run --scores scores --work work --threads 1 --cache-gib 0.1 --only *.smooth.*"
    line += f" --data {here / 'photos'} --val-data {here / 'photos'} --plugin my_upsampler:register"
    arguments = ablation.parse([*line.split()])
    arguments.scores, arguments.work = here / "scores", here / "work"
    load_plugins(arguments.plugin)
    assert ablation.run_all(arguments) == 0, (here / "work/global-local.smooth.0/log.txt").read_text()
    record = json.loads((here / "scores/global-local.smooth.0.json").read_text())
    assert record["config"]["upsampler"] == "smooth"
    assert "my_upsampler:register" in record["plugins"]


def test_scores_of_a_plugin_that_is_missing_name_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    ablation = importlib.import_module("ablation")
    said = [{"adds": "upsampler smooth", "name": "my_upsampler:register", "package": "", "version": ""}]
    record = {"network": "Global&Local", "upsampler": "smooth", "plugins": json.dumps(said)}
    (here / "a.json").write_text(json.dumps(record))
    with pytest.raises(PluginError, match="name it with --plugin my_upsampler:register"):
        ablation.finished_runs(ablation.BUDGETS["cpu"], here)


def test_serve_names_a_plugin_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert inpaint_command(["serve", "--no-page", "--plugin", "nowhere:register"]) == 2
    assert "there is no module nowhere in this folder or on PYTHONPATH" in capsys.readouterr().err


def test_the_example_upsampler_keeps_the_contract(here: Path) -> None:
    load_plugins(["my_upsampler:register"])
    layer = build_upsampler("smooth", channels=3)
    torch.nn.init.normal_(layer.logits)
    features = torch.randn(2, 3, 5, 7)
    valid = (torch.rand(2, 1, 5, 7) > 0.3).float()
    assert layer(features, size=(9, 13)).shape == (2, 3, 9, 13)
    output, left = layer(features.masked_fill(valid == 0, torch.nan), valid, Hole.ARBITRARY)
    # Slowly: the kernel's weighted mean over the known of the nine neighbours, which the border repeats.
    kernel = layer.logits.softmax(0)
    near = F.pad(F.interpolate(features, scale_factor=2.0), (1,) * 4, mode="replicate")
    seen = F.pad(F.interpolate(valid, scale_factor=2.0), (1,) * 4, mode="replicate")
    for row, column in ((0, 0), (3, 4), (9, 13), (5, 0)):
        window = (..., slice(row, row + 3), slice(column, column + 3))
        weights = kernel.view(3, 3) * seen[window]
        total = weights.sum((-1, -2))
        expected = torch.where(total > 0, (weights * near[window]).sum((-1, -2)) / total, 0)
        torch.testing.assert_close(output[..., row, column], expected)
        torch.testing.assert_close(left[..., row, column], total)


def test_the_example_loss_is_part_of_the_sum(here: Path) -> None:
    load_plugins(["my_loss:register"])
    prediction, image = torch.rand(2, 3, 5, 7), torch.rand(2, 3, 5, 7)
    mask = (torch.rand(2, 1, 5, 7) > 0.5).float()
    plain = LossWeights(perceptual=0, style=0)
    without, _ = InpaintingLoss(plain)(prediction, image, mask)
    weights = LossWeights(perceptual=0, style=0, custom={"edges": 0.5})
    total, terms = InpaintingLoss(weights)(prediction, image, mask)
    error = ((prediction - image) * mask).numpy()
    slopes = np.abs(np.diff(error, axis=-1)).mean() + np.abs(np.diff(error, axis=-2)).mean()
    assert terms["edges"].item() == pytest.approx(slopes, rel=1e-5)
    assert (total - without).item() == pytest.approx(0.5 * slopes, rel=1e-4)


# --- installed packages -------------------------------------------------------------------------------------


def test_an_installed_package_is_used_by_name_and_recorded(
    here: Path, package: Path, forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_weights(
        build_network({"network": "GlobalLocal", "width": 2, "compressed_channels": 1}), "own.safetensors"
    )
    load_weights("own.safetensors")
    assert "mine_parts" not in sys.modules  # not before a name of it is asked for
    assert train([*TRAINING, *PARTS]) == 0
    found = {"package": "mine-for-inpaint", "version": "1.2"}
    records = json.loads(metadata(WEIGHTS)["plugins"])
    assert {record["adds"] for record in records} == {"network sketch", "upsampler smooth"}
    assert all(record.items() >= found.items() for record in records)
    forget()
    assert load_weights(WEIGHTS)[0].config["network"] == "sketch"
    forget()
    assert train([*TRAINING, *PARTS, "--resume"]) == 0

    forget()
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(package)])
    with pytest.raises(WeightsError) as raised:
        load_weights(WEIGHTS)
    assert "of the package mine-for-inpaint 1.2" in str(raised.value)
    assert "or install the package mine-for-inpaint" in str(raised.value)


def test_an_entry_point_can_be_named_as_a_plugin(package: Path) -> None:
    load_plugins(["edges", "smooth", "edges"])  # they lead to one function, which is called once
    assert "sketch" in NETWORKS and "edges" in CUSTOM_TERMS
    with pytest.raises(PluginError, match=r"none of this name is installed \(edges, sketch, smooth\)"):
        load_plugins(["blur"])


def test_two_packages_with_one_name_are_named(package: Path) -> None:
    other = package / "other_parts-0.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other-parts\nVersion: 0.1\n")
    (other / "entry_points.txt").write_text(f"[{plugins.GROUP}]\nsmooth = other:register\n")
    with pytest.raises(PluginError, match=r"several packages offer it \(mine-for-inpaint, other-parts\)"):
        load_installed("upsampler", "smooth")


# --- files --------------------------------------------------------------------------------------------------


def test_a_file_never_makes_the_program_import_what_it_says(here: Path, forget: Callable[[], None]) -> None:
    (here / "mine_trap.py").write_text("raise SystemExit('imported')\n")
    load_plugins(["my_network:register"])
    save_weights(build_network({"network": "sketch", "width": 4}), "a.safetensors")
    forget()
    record = {"adds": "network sketch", "name": "mine_trap:register", "package": "mine_trap", "version": ""}
    save_file(
        load_file("a.safetensors"),
        "b.safetensors",
        {**metadata("a.safetensors"), "plugins": json.dumps([record])},
    )
    with pytest.raises(WeightsError, match="made with the plug-in mine_trap:register"):
        load_weights("b.safetensors")
    assert "mine_trap" not in sys.modules
    settings = {"data": ["photos"], "output": "run", "plugin": ["mine_trap:register"]}
    assert settings_from_json(settings).plugin == ("mine_trap:register",)
    assert "mine_trap" not in sys.modules


@pytest.mark.parametrize(
    "said",
    ["", "{", "[1, null]", '{"a": 1}', '[{"adds": 5}]', "[" * 9999, json.dumps([{"adds": "network x" * 99}])],
    ids=lambda said: said[:12],
)
def test_a_record_that_makes_no_sense_is_passed_over(said: str) -> None:
    plugins.load_parts({"network": "x", "upsampler": 7, "other_upsampler": "y"}, said)
    plugins.load_parts(["network"], said)


def test_a_buffer_that_files_do_not_hold_is_named(here: Path) -> None:
    code = EXAMPLES["my_network"].replace(
        "self.head =", 'self.register_buffer("m", torch.ones(1), persistent=False)\n        self.head ='
    )
    (here / "my_network.py").write_text(code)
    load_plugins(["my_network:register"])
    save_weights(build_network({"network": "sketch"}), "a.safetensors")
    with pytest.raises(WeightsError, match="buffer m is not among its weights; make it persistent"):
        load_weights("a.safetensors")


def test_settings_carry_the_plugins_to_another_process(here: Path, forget: Callable[[], None]) -> None:
    from inpaint.training.trainer import train as run

    load_plugins(["my_network:register"])
    settings = TrainSettings(
        ("none",), "run", plugin=("my_network:register",), network="sketch", device="cpu",
        loss=LossWeights(perceptual=0, style=0),
    )  # fmt: skip
    sent = pickle.dumps(settings)
    forget()
    with pytest.raises(FileNotFoundError, match="none"):  # far enough: the plug-ins come first
        run(pickle.loads(sent))
    assert "sketch" in NETWORKS


# --- what is refused ----------------------------------------------------------------------------------------


def plugin(code: str) -> str:
    """Write a plug-in whose function has this code, and return its word."""
    name = f"mine_{abs(hash(code))}"
    Path(f"{name}.py").write_text(f"import torch, inpaint.layers\ndef register(registry):\n    {code}\n")
    return f"{name}:register"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "registry.upsampler('carafe', inpaint.layers.CarafeUpsample)",
            "upsampler carafe: there is one of this",
        ),
        ("registry.upsampler('Mine', inpaint.layers.CarafeUpsample)", "a name has small letters"),
        (
            "registry.upsampler('mine', torch.nn.Upsample)",
            "Upsample is no subclass of inpaint.layers.Upsampler",
        ),
        ("registry.upsampler('mine', lambda: None)", "cannot be called with channels and scale"),
        ("registry.network('pyramid-unet', None, dict)", "its config must be a dataclass"),
        ("registry.loss('hole', None, '')", "loss hole: there is one of this name already"),
        ("registry.loss('total', None, '')", "loss total: there is one of this name already"),
        ("registry.loss('a-b', None, '')", "a name has small letters"),
        ("registry.loss('mine', None, '', weight=-1)", "its weight must be finite and not negative, got -1"),
        ("raise KeyError('x')", "cannot be loaded (KeyError: 'x')"),
    ],
)
def test_what_cannot_be_added_is_refused_with_all_else(here: Path, code: str, message: str) -> None:
    before = [dict(table) for table in TABLES]  # type: ignore[call-overload]
    word = plugin(f"registry.loss('fine', None, ''); {code}")
    with pytest.raises(PluginError, match=f"plug-in {word}: .*{re.escape(message)}"):
        load_plugins([word])
    assert [dict(table) for table in TABLES] == before  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("nowhere:register", "there is no module nowhere in this folder or on PYTHONPATH"),
        ("my_loss:nothing", "cannot be loaded (AttributeError: module 'my_loss' has no attribute 'nothing')"),
        ("my_loss:__name__", "is no function that takes a registry, but 'my_loss'"),
        ("my_loss.py:register", "cannot be loaded (ModuleNotFoundError"),
        (":register", "expected MODULE:OBJECT, such as my_module:register"),
        ("my_loss", "none of this name is installed (there are none); give MODULE:OBJECT"),
    ],
)
def test_a_plugin_that_is_not_there_is_named(
    here: Path, word: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PluginError, match=re.escape(message)):
        load_plugins([word])
    with pytest.raises(SystemExit) as stop:
        train(["--plugin", word, *TRAINING])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert evaluate(["--plugin", word, *EVALUATION]) == 2
    assert f"--plugin: plug-in {word}: " in capsys.readouterr().err


def test_parts_that_break_their_contract_are_named(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_plugins([plugin("registry.upsampler('odd', lambda channels, scale: torch.nn.Identity())")])
    with pytest.raises(ValueError, match=r"the upsampler odd is a Identity, no inpaint\.layers\.Upsampler"):
        build_upsampler("odd", 4)
    word = plugin("registry.loss('image', lambda p, i, m: (p - i).abs(), 'not a scalar', weight=1)")
    assert (
        train([*TRAINING, "--plugin", word, "--network-config", '{"widths": [8, 12], "head_width": 4}']) == 1
    )
    assert "the loss term image must return a scalar tensor, got [2, 3, 16, 16]" in caplog.text

    class Config:
        pass

    registry = Registry()
    registry.network(
        "other", lambda config: build_network(CONFIGS["global-local"]), dataclasses.dataclass(Config)
    )
    registry._commit(plugins.Plugin("test"))
    with pytest.raises(
        ValueError, match=r"the network other must be .* whose config says \{'network': 'other'"
    ):
        build_network({"network": "other"})


def test_a_term_of_an_unknown_name_is_refused() -> None:
    with pytest.raises(
        ValueError, match="unknown loss term 'edges': name the plug-in that has it with --plugin"
    ):
        LossWeights(custom={"edges": 1.0})


def test_the_version_of_a_module_is_recorded(here: Path) -> None:
    with Path("my_network.py").open("a") as file:
        file.write('\n__version__ = "3.1"\n')
    load_plugins(["my_network:register"])
    (record,) = json.loads(plugins.describe_plugins({"network": "sketch"}))
    assert record["version"] == "3.1"
