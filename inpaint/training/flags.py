"""The command line of a training run, made from its settings."""

from __future__ import annotations

import argparse
import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inpaint.losses import CUSTOM_TERMS
from inpaint.masks import parse_recipe
from inpaint.training.schedule import Schedule
from inpaint.training.settings import TrainSettings, flag_name


def add_flags(parser: argparse.ArgumentParser, preset: Mapping[str, Any] | None = None) -> None:
    """Give `parser` one flag per field of TrainSettings; the field b of a field a of several is `--a-b`.

    The terms of plug-ins that were loaded before have their flags, too.

    Args:
        parser: gets the flags.
        preset: one of `inpaint.training.presets`; its values take the place of the fields' own defaults.
    """
    hints = typing.get_type_hints(TrainSettings)
    given = preset or {}
    for spec in dataclasses.fields(TrainSettings):
        hint = hints[spec.name]
        if _is_group(hint):
            group = parser.add_argument_group(spec.metadata["help"])
            inner = typing.get_type_hints(hint)
            for part in dataclasses.fields(hint):
                if _is_by_name(inner[part.name]):
                    continue
                default = given.get(spec.name, {}).get(part.name, part.default)
                name = f"{spec.name}_{part.name}"
                _add_flag(group, name, inner[part.name], default, part.metadata["help"])
            if spec.name == "loss":
                custom = given.get("loss", {}).get("custom", {})
                for name, term in CUSTOM_TERMS.items():
                    _add_flag(group, f"loss_{name}", float, custom.get(name, term.weight), term.help)
            continue
        own = spec.default if spec.default_factory is dataclasses.MISSING else spec.default_factory()
        default = given.get(spec.name, own)
        if hint is Schedule and isinstance(default, str):
            default = Schedule.parse(default)
        _add_flag(parser, spec.name, hint, default, spec.metadata["help"], spec.metadata.get("each"))


def settings_from_flags(namespace: argparse.Namespace) -> TrainSettings:
    """Return the settings that the flags of `add_flags` parsed into.

    Raises:
        ValueError: a value out of range, or a recipe of masks that cannot be read or has a folder that is not
            there.
    """
    values = vars(namespace)
    settings: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(TrainSettings).items():
        if _is_group(hint):
            named = [part for part, kind in typing.get_type_hints(hint).items() if not _is_by_name(kind)]
            parts = {part: values[f"{name}_{part}"] for part in named}
            if name == "loss":
                weights = {term: values[f"loss_{term}"] for term in CUSTOM_TERMS}
                # Without those of 0: a plug-in that is loaded and not used does not change the run.
                parts["custom"] = {term: weight for term, weight in weights.items() if weight}
            settings[name] = hint(**parts)
        else:
            settings[name] = tuple(values[name]) if isinstance(values[name], list) else values[name]
    made = TrainSettings(**settings)
    _check_recipe("masks", made.masks)
    if not Path(made.val_masks).is_dir():  # a folder pairs with the photos by file stem
        _check_recipe("val_masks", made.val_masks)
    return made


def _check_recipe(name: str, text: str) -> None:
    """Raise ValueError for a recipe that cannot be drawn from.

    Settings from a checkpoint are not checked: their folders of masks may have moved since.
    """
    try:
        parse_recipe(text)
    except (ValueError, OSError) as error:
        raise ValueError(f"{flag_name(name)}: {error}") from error


def _is_group(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint) and hint is not Schedule


def _is_by_name(hint: Any) -> bool:
    """Return whether a field of a group holds values by names that are not known beforehand."""
    return typing.get_origin(hint) is dict


def _add_flag(
    parser: argparse._ActionsContainer,
    name: str,
    hint: Any,
    default: Any,
    text: str,
    each: str | None = None,
) -> None:
    """Add a flag; with `each`, the word for one value, it is given again for each."""
    required = default is dataclasses.MISSING
    if not required and default not in ((), None, {}):
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        text = f"{text} (default: {shown})"
    options: dict[str, Any] = {"dest": name, "help": text.replace("%", "%%")}
    options |= {"required": True} if required else {"default": default}
    if isinstance(hint, types.UnionType):  # X | None
        hint = next(arm for arm in typing.get_args(hint) if arm is not types.NoneType)
    if each is not None:
        options |= {"action": "append", "default": list(default), "metavar": each}
    elif typing.get_origin(hint) is tuple:
        arms = typing.get_args(hint)
        options |= {"type": arms[0], "nargs": "+" if arms[-1] is Ellipsis else len(arms)}
    elif typing.get_origin(hint) is dict:
        options |= {"type": _json_object, "metavar": "JSON"}
    elif hint is bool:
        options["action"] = argparse.BooleanOptionalAction
    elif hint is Schedule:
        options |= {"type": _schedule, "metavar": "STAGES"}
    else:
        options["type"] = hint
    parser.add_argument(flag_name(name), **options)


def _schedule(text: str) -> Schedule:
    try:
        return Schedule.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON ({error}): {text!r}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object such as '{{\"width\": 32}}', got {text!r}")
    return value
