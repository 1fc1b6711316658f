"""Whether a run may go on from a checkpoint: only where all that decides its course is the same."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from inpaint.plugins import PluginError, load_parts
from inpaint.training.saving.checkpoint import Checkpoint, CheckpointError
from inpaint.training.settings import TrainSettings, essential_differences, settings_from_json
from inpaint.urls import source_label


def check_resumable(
    checkpoint: Checkpoint, settings: TrainSettings, config: Mapping[str, Any], photos_digest: str
) -> None:
    """Check that a checkpoint is of a run with the same settings, network and photos.

    Raises:
        CheckpointError: it is not; the message lists the differences, or names a plug-in that is missing.
        ValueError: another version of this program wrote it.
    """
    state = checkpoint.state
    losses = state["settings"].get("loss", {}).get("custom", {})
    try:
        load_parts(state["config"], state.get("plugins", ""), losses)
    except PluginError as error:
        raise CheckpointError(f"cannot resume from {checkpoint.path}: {error}") from error
    differences = essential_differences(settings, settings_from_json(state["settings"]))
    config = json.loads(json.dumps(config))  # as the checkpoint has it: lists for tuples
    if state["config"] != config:
        differences.append(f"network: {state['config']} there, {config} now")
    if state["photos"] != photos_digest:
        differences.append("--data: other photos than those (their names or order differ)")
    if differences:
        raise CheckpointError(
            f"cannot resume from {checkpoint.path} with other settings; restore these, or start a new "
            "run in another --output (with --init to keep the weights):\n  " + "\n  ".join(differences)
        )


def comparable_best(checkpoint: Checkpoint, settings: TrainSettings) -> dict[str, float] | None:
    """Return the best validation before a checkpoint; None where it was on other photos or holes."""
    earlier = settings_from_json(checkpoint.state["settings"])
    best: dict[str, float] | None = checkpoint.state["best"]
    return best if without_secrets(settings).same_validation(earlier) else None


def without_secrets(settings: TrainSettings) -> TrainSettings:
    """Return the settings as checkpoints hold them: without what may be secret in URLs."""
    data, val_data = (tuple(map(source_label, sources)) for sources in (settings.data, settings.val_data))
    return dataclasses.replace(settings, data=data, val_data=val_data)
