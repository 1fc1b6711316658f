import argparse
import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

import pytest

from inpaint.masks import parse_recipe
from inpaint.networks import CONFIGS, build_network
from inpaint.training.adversary import Phase
from inpaint.training.flags import add_flags, settings_from_flags
from inpaint.training.presets import PRESETS
from inpaint.training.schedule import Schedule, Stage
from inpaint.training.settings import TrainSettings, essential_differences, settings_from_json

REQUIRED = ["--data", "a.tar", "b.tar", "--output", "out"]


def parse(*arguments: str) -> TrainSettings:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return settings_from_flags(parser.parse_args([*REQUIRED, *arguments]))


def test_a_schedule_is_its_text() -> None:
    schedule = Schedule.parse("128x16:6000,256x8:3000")
    assert schedule.stages == (Stage(128, 16, 6000), Stage(256, 8, 3000))
    assert str(schedule) == "128x16:6000,256x8:3000"
    assert schedule.steps == 9000
    assert schedule.pixels() == 6000 * 16 * 128**2 + 3000 * 8 * 256**2
    assert schedule.pixels(0) == 0
    assert schedule.pixels(6001) == 6000 * 16 * 128**2 + 8 * 256**2


@pytest.mark.parametrize(
    "text", ["", "128", "128x16", "128:6000", "axb:c", "128x16:6000,", "0x1:1", "8x8:-1", "8x8x8:1"]
)
def test_a_wrong_schedule_says_what_a_right_one_looks_like(text: str) -> None:
    with pytest.raises(ValueError, match="128x16:6000,256x8:3000"):
        Schedule.parse(text)


def test_flags_give_the_defaults() -> None:
    assert parse() == TrainSettings(data=("a.tar", "b.tar"), output="out")


def test_every_field_has_a_flag_that_sets_it() -> None:
    # Another value for each field, by its type: a field that no flag reaches would keep its default.
    others: dict[Any, tuple[list[str], Any]] = {
        int: (["7"], 7),
        float: (["0.25"], 0.25),
        str: (["fp32"], "fp32"),
        int | None: (["7"], 7),
        str | None: (["x"], "x"),  # of any weights
        tuple[str, ...]: (["p", "q"], ("p", "q")),
        tuple[float, float]: (["0.5", "0.75"], (0.5, 0.75)),
        dict[str, Any]: (['{"width": 32}'], {"width": 32}),
        Schedule: (["8x1:2"], Schedule.parse("8x1:2")),
    }
    parts = {"discriminator": (["patch"], "patch"), "objective": (["bce"], "bce")}
    parts["alone"] = (["0"], 0)  # more need a start
    choices = {
        "optimizer": (["muon"], "muon"),
        "batch_norm": (["sync"], "sync"),
        "checkpoint_format": (["sharded"], "sharded"),
        "network": (["global-local"], "global-local"),
        "upsampler": (["nearest"], "nearest"),
        "backbone": (["squeezenet"], "squeezenet"),
        "device": (["cuda:1"], "cuda:1"),
        "masks": (["box"], "box"),
        "val_masks": (["thin"], "thin"),
        "plugin": (["a:b", "--plugin", "c:d"], ("a:b", "c:d")),  # named only: who trains loads them
    }
    hints = typing.get_type_hints(TrainSettings)
    for spec in dataclasses.fields(TrainSettings):
        flag = "--" + spec.name.replace("_", "-")
        if hints[spec.name] is bool:
            value = not spec.default
            settings = parse(flag if value else flag.replace("--", "--no-"))
        elif dataclasses.is_dataclass(hints[spec.name]) and hints[spec.name] is not Schedule:
            for part in dataclasses.fields(hints[spec.name]):
                if part.name == "custom":  # a flag for each term of a plug-in: tests/test_plugins.py
                    continue
                words, value = parts.get(part.name) or (["7"], 7)
                settings = parse(f"{flag}-{part.name.replace('_', '-')}", *words)
                assert getattr(settings, spec.name) == hints[spec.name](**{part.name: value})
            continue
        else:
            words, value = choices.get(spec.name) or others[hints[spec.name]]
            settings = parse(flag, *words)
        assert getattr(settings, spec.name) == value, spec.name


def test_help_names_each_default_once(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(default: 128x16:6000,256x8:3000)" in text
    assert "Gram matrix distance" in text
    assert "(default: 120.0)" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "99999999999999999999999"], "--seed must fit 64 bits"),
        (
            ["--schedule", "64x2:9", "--adversary-discriminator", "patch", "--adversary-start", "9"],
            "--adversary-start 9: the schedule ends after 9 steps",
        ),
    ],
)
def test_settings_that_come_to_nothing_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(*words)


def test_settings_survive_json() -> None:
    settings = parse(
        "--network-config", '{"width": 32}', "--schedule", "8x1:2", "--loss-style", "0",
        "--betas", "0.5", "0.6",
    )  # fmt: skip
    assert settings_from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_json_of_another_version() -> None:
    values = parse().to_json()
    del values["workers"]  # settings that came later take their defaults
    assert settings_from_json(values) == parse()
    with pytest.raises(ValueError, match="warp_drive"):
        settings_from_json({**values, "warp_drive": True})


@pytest.mark.parametrize("name", ["pconv-unet", "pconv-unet-paper"])
def test_a_network_of_an_old_checkpoint_has_its_new_name(name: str) -> None:
    settings = settings_from_json({**parse().to_json(), "network": name})
    assert settings.network == name.replace("pconv", "partial-conv") and settings.network in CONFIGS


def test_masks_of_a_checkpoint_may_have_moved() -> None:
    """They are compared as texts, so that it is said which differ; those of the validation may differ."""
    values = {**parse().to_json(), "masks": "folder:/gone", "val_masks": "folder:/gone"}
    settings = settings_from_json(values)
    assert settings.masks == settings.val_masks == "folder:/gone"


def test_masks_of_the_validation_may_be_a_folder(tmp_path: Path) -> None:
    assert parse("--val-masks", str(tmp_path)).val_masks == str(tmp_path)


def test_only_what_changes_the_weights_is_essential() -> None:
    ours = parse()
    free = parse(
        "--workers",
        "5",
        "--max-minutes",
        "3",
        "--val-every",
        "5",
        "--resume",
        "--device",
        "cpu",
        "--keep",
        "9",
    )
    assert essential_differences(ours, dataclasses.replace(free, data=("elsewhere",), output="other")) == []
    other = parse("--lr", "0.001", "--schedule", "8x1:2", "--loss-hole", "3")
    lines = essential_differences(ours, other)
    assert [line.split(":")[0] for line in lines] == ["--schedule", "--lr", "--loss"]
    assert "0.001 there, 0.0002 now" in lines[1]


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--lr", ["0"]),
        ("--lr", ["nan"]),
        ("--lr-floor", ["1.5"]),
        ("--ema-decay", ["-0.1"]),
        ("--betas", ["0.9", "1"]),
        ("--precision", ["fp16"]),
        ("--warmup", ["-1"]),
        ("--keep", ["0"]),
        ("--workers", ["0"]),
        ("--max-minutes", ["inf"]),
        ("--accumulate", ["0"]),
        ("--batch-norm", ["group"]),
        ("--checkpoint-format", ["pickle"]),
        ("--finetune-lr", ["0"]),
        ("--finetune-steps", ["9001"]),
        ("--threads", ["100000"]),
        ("--workers", ["100000"]),
        ("--val-size", ["999999999"]),
    ],
)
def test_values_out_of_range_name_their_flag(flag: str, words: list[str]) -> None:
    with pytest.raises(ValueError, match=flag):
        parse(flag, *words)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--schedule", "big"],
        ["--schedule", "64x999999999:1"],
        ["--schedule", "999999999x1:1"],
        ["--schedule", "64x1:9999999999999999999999"],
        ["--network-config", "[1]"],
        ["--network-config", "{"],
    ],
)
def test_what_cannot_be_parsed_is_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(*arguments)
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------
# Presets
# ------------------------------------------------------------------------------------------------------------


def parse_preset(name: str, *arguments: str) -> TrainSettings:
    parser = argparse.ArgumentParser()
    add_flags(parser, PRESETS[name])
    return settings_from_flags(parser.parse_args([*REQUIRED, *arguments]))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_what_it_says_and_nothing_else(name: str) -> None:
    settings, plain = parse_preset(name), parse()
    for spec in dataclasses.fields(TrainSettings):
        value, given = getattr(settings, spec.name), PRESETS[name].get(spec.name)
        if given is None:
            assert value == getattr(plain, spec.name)
        elif isinstance(given, dict):
            assert value == dataclasses.replace(getattr(plain, spec.name), **given)
        else:
            assert value == given or str(value) == given
    assert set(PRESETS[name]) <= {spec.name for spec in dataclasses.fields(TrainSettings)}
    assert settings_from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_network_and_holes_exist(name: str) -> None:
    settings = parse_preset(name)
    network = build_network(CONFIGS[settings.network])
    assert all(stage.size % network.stride == 0 for stage in settings.schedule.stages)
    assert str(parse_recipe(settings.masks))


def test_a_flag_overrides_the_preset() -> None:
    settings = parse_preset(
        "gl-paper", "--adversary-weight", "0.5", "--schedule", "64x2:100001", "--loss-hole", "1"
    )
    assert settings.adversary == dataclasses.replace(parse_preset("gl-paper").adversary, weight=0.5)
    assert str(settings.schedule) == "64x2:100001" and settings.loss.hole == 1 and settings.loss.valid == 0


def test_the_papers_three_phases_add_up() -> None:
    """Iizuka et al., section 3.4: 90,000 iterations, 10,000 of the discriminators alone, 500,000 in all."""
    settings = parse_preset("gl-paper")
    phases = [settings.adversary.phase(step) for step in (0, 89_999, 90_000, 99_999, 100_000, 499_999)]
    assert phases == [*[Phase.NETWORK] * 2, *[Phase.DISCRIMINATOR] * 2, *[Phase.BOTH] * 2]
    assert settings.schedule.steps == 500_000
