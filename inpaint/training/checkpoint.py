"""Checkpoints: everything a run needs to go on, in one safetensors file that appears whole or not at all.

A checkpoint of step s is `step-0000000s.safetensors` and holds, by name, the network's state
(`network.NAME`), the averaged state (`average.NAME`) and AdamW's moments (`optimizer.KEY.NAME`), all in the
precision they are trained in; the file's metadata holds a JSON object with the step, the settings and the
rest. No part of it is pickled: reading one runs no code. It is written under another name in the same folder,
flushed to the disk and then renamed, so that a crash, a full disk or a kill leaves the earlier ones intact.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from inpaint.images import write_atomically

FORMAT = "inpaint-checkpoint-1"

_NAME = re.compile(r"step-(\d{8,})\.safetensors")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used; the message names the file, the reason and the remedy."""


@dataclass(frozen=True)
class Checkpoint:
    """What was read from `path`: tensors by prefixed name, and the state given to `save_checkpoint`."""

    path: Path
    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def network_state(self, prefix: str) -> dict[str, Tensor]:
        """The state dict stored under `prefix`: "network" or "average"."""
        return dict(self._below(prefix))

    def restore(self, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put weights, averages and moments back in place; raises CheckpointError if they do not fit."""
        try:
            network.load_state_dict(self.network_state("network"))
            average.load_state_dict(self.network_state("average"))
        except RuntimeError as error:
            raise CheckpointError(f"{self.path} does not fit the network: {error}") from None
        names = _parameter_names(network)
        moments: dict[str, dict[str, Tensor]] = {name: {} for name in names.values()}
        for key, value in self._below("optimizer"):
            moment, _, name = key.partition(".")
            moments[name][moment] = value
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        own = optimizer.state_dict()
        own["state"] = {
            index: {key: _laid_out_as(parameter, value) for key, value in moments[names[parameter]].items()}
            for index, parameter in enumerate(parameters)
        }
        optimizer.load_state_dict(own)

    def _below(self, prefix: str) -> Iterator[tuple[str, Tensor]]:
        for name, value in self.tensors.items():
            if name.startswith(f"{prefix}."):
                yield name[len(prefix) + 1 :], value


def save_checkpoint(
    folder: Path,
    step: int,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    keep: int = 2,
) -> Path:
    """Write the checkpoint of `step` into `folder` (made if missing) and drop all but the newest `keep`.

    `state` is anything JSON-able. Older files are removed only after the new one is safely on the disk;
    OSError from the file system is passed on and leaves them as they were.
    """
    names = _parameter_names(network)
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for parameter, moments in optimizer.state.items():
        tensors |= {f"optimizer.{key}.{names[parameter]}": value for key, value in moments.items()}
    # Copies: safetensors refuses memory that two names share, and knows no channels_last layout.
    tensors = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    metadata = {"format": FORMAT, "state": json.dumps({**state, "step": step})}
    path = folder / f"step-{step:08d}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(tensors, metadata))
    for _, old in list_checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; raises CheckpointError if the file is damaged or no checkpoint of this program."""
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path} is not a checkpoint of this program (no format {FORMAT!r} in it)"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError, struct.error) as error:
        raise CheckpointError(
            f"cannot read the checkpoint {path} ({error}): delete it to go on from an earlier one"
        ) from error
    return Checkpoint(path, tensors, json.loads(metadata["state"]))


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, path) of the checkpoints in `folder`, oldest first; unfinished files have other names."""
    if not folder.is_dir():
        return []
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match)


def _parameter_names(network: nn.Module) -> dict[Tensor, str]:
    return {parameter: name for name, parameter in network.named_parameters()}


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    # The fused update walks weights, gradients and moments in memory order: moments in another memory format
    # than their weights would be paired with the wrong ones.
    return torch.empty_like(parameter).copy_(value) if value.ndim else value
