"""Checkpoints: everything a run needs to go on, in safetensors files that appear whole or not at all.

A checkpoint of step s is the file `step-0000000s.safetensors`, or the folder `step-0000000s` to which each
process wrote a share. It holds, by name, the state of each module (`network.NAME`, `average.NAME`) and of
each optimiser (`optimizer.KEY.NAME`, the moment KEY of the parameter NAME), all in the precision they are
trained in; beside them, in the file's metadata or the folder's `checkpoint.json`, a JSON object with the
step, the settings and the rest. No part of it is pickled: reading one runs no code. It is written under
another name in the same folder, flushed to the disk and then renamed, so that a crash, a full disk or a kill
leaves the earlier ones intact. A digest of all of it is kept inside and checked on reading, because what a
disk holds may change.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from inpaint.files import sync_folder, write_atomically
from inpaint.training.processes.world import World
from inpaint.training.saving.shards import ShardError, names_in_shards, read_shards, write_shards
from inpaint.weights import tensors_digest

FORMAT = "inpaint-checkpoint-1"

Modules = Mapping[str, nn.Module]
"""Modules by the name that their tensors are stored under, such as "network"."""

Optimizers = Mapping[str, tuple[torch.optim.Optimizer, nn.Module]]
"""Optimisers by name, each with the module whose parameters it updates: it names them."""

logger = logging.getLogger("inpaint.training")

_NAME = re.compile(r"step-(\d{8,})(?:\.safetensors)?")
_DESCRIPTION = "checkpoint.json"  # in a folder of shards


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used or written; the message names the file, the reason and the remedy."""


class DamagedCheckpointError(CheckpointError):
    """What is in the file is not what was written, or no checkpoint at all."""


@dataclass(frozen=True)
class Checkpoint:
    """What was read from `path`: tensors by prefixed name, and the state given to `save_checkpoint`."""

    path: Path
    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def below(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of the module or optimiser stored as `name`, by their names inside it."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): t for key, t in self.tensors.items() if key.startswith(prefix)}

    def restore(self, modules: Modules, optimizers: Optimizers) -> None:
        """Put modules and optimisers back as they were.

        Raises:
            CheckpointError: they do not fit.
        """
        for name, module in modules.items():
            try:
                _restore_module(module, self.below(name))
            except RuntimeError as error:
                raise CheckpointError(f"{self.path} does not fit the {name}: {error}") from None
        for name, (optimizer, module) in optimizers.items():
            try:
                _restore_optimizer(optimizer, module, self.below(name))
            except (KeyError, RuntimeError) as error:
                raise CheckpointError(f"{self.path} does not fit the {name}: {error}") from None


def save_checkpoint(
    folder: Path,
    step: int,
    modules: Modules,
    optimizers: Optimizers,
    state: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write the checkpoint of `step` into `folder` (made if missing) and drop all but the newest `keep`.

    Args:
        folder: where checkpoints lie.
        step: steps done.
        modules: what to store of networks, for example `{"network": network, "average": average}`: parameters
            and all buffers, also those that `state_dict` leaves out.
        optimizers: what to store of optimisers, for example `{"optimizer": (optimizer, network)}`.
        state: anything JSON-able; comes back as `Checkpoint.state` with the step in it.
        keep: how many to keep, this one included. Older ones go only once this one is safely on the disk.

    Returns:
        The checkpoint's path.

    Raises:
        OSError: the file system refused; the earlier checkpoints are as they were.
    """
    tensors = collect_tensors(modules, optimizers)
    path = folder / f"step-{step:08d}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(tensors, _description(tensors, step, state)))
    _drop_all_but(keep, folder)
    return path


def save_sharded_checkpoint(
    world: World,
    folder: Path,
    step: int,
    modules: Modules,
    optimizers: Optimizers,
    state: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Do what `save_checkpoint` does, every process writing a share; to be called in all of `world`.

    `folder` lies where all processes see it. The checkpoint is a folder, which the main process renames when
    all shares are on the disk.

    Raises:
        CheckpointError: a share cannot be written; in all processes.
        OSError: the folder cannot be finished; in all processes.
    """
    # Of batch normalisation each process has statistics of its own until the next forward pass.
    world.share_buffers(modules.values())
    tensors = collect_tensors(modules, optimizers)
    path = folder / f"step-{step:08d}"
    partial = folder / f".{path.name}.partial"
    try:
        write_shards(partial, tensors, world)
    except ShardError as error:
        raise CheckpointError(
            f"cannot write the checkpoint {path} ({error}): the earlier ones are whole; make room, or permit "
            "writing, and go on with --resume"
        ) from error

    def finish() -> None:
        if names_in_shards(partial) != tensors.keys():
            raise CheckpointError(
                f"the shares of {path} are not all there: a sharded checkpoint needs an --output that all "
                "hosts share; use --checkpoint-format single without one"
            )
        description = json.dumps(_description(tensors, step, state))
        write_atomically(partial / _DESCRIPTION, description.encode())
        partial.replace(path)
        sync_folder(folder)
        _drop_all_but(keep, folder)

    world.from_main(finish)
    return path


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, a file or a folder of shards, whatever number of processes wrote it.

    Raises:
        DamagedCheckpointError: its content is not whole, or no checkpoint of this program.
        CheckpointError: it is not there or may not be read.
    """
    try:
        tensors, description = _read_folder(path) if path.is_dir() else _read_file(path)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path} ({error})") from error
    except (SafetensorError, ShardError, struct.error, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if description.get("format") != FORMAT:
        raise DamagedCheckpointError(
            f"{path} is not a checkpoint of this program (no format {FORMAT!r} in it)"
        )
    # Checkpoints of the first version have no digest.
    if description.get("sha256", "") not in ("", tensors_digest(tensors, description["state"])):
        raise _damaged(path, "its content does not have the digest it was written with")
    return Checkpoint(path, tensors, json.loads(description["state"]))


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, path) of the checkpoints in `folder`, oldest first; unfinished files have other names."""
    if not folder.is_dir():
        return []
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match)


def read_newest_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest whole checkpoint in `folder`; None if there has never been one.

    Damaged ones are renamed to `*.damaged` with a warning, and the one before them is read.

    Raises:
        CheckpointError: all are damaged; to begin from nothing must be asked for.
    """
    existing = list_checkpoints(folder)
    for _, path in reversed(existing):
        try:
            return read_checkpoint(path)
        except DamagedCheckpointError as error:
            aside = _free_name(path.with_name(f"{path.name}.damaged"))
            path.replace(aside)
            logger.warning("%s; kept as %s; going back to the checkpoint before it", error, aside.name)
    if existing:
        raise CheckpointError(
            f"no checkpoint in {folder} can be read, all {len(existing)} are damaged and kept as *.damaged: "
            "bring back a copy of one, or start a new run in another --output"
        )
    return None


def collect_tensors(modules: Modules, optimizers: Optimizers) -> dict[str, Tensor]:
    """Return copies on the CPU, contiguous, of all there is to store, by the names it is stored under."""
    names = [*modules, *optimizers]
    if len({*names}) < len(names) or any("." in name for name in names):
        raise ValueError(f"modules and optimisers need different names without dots, got {names}")
    tensors = {
        f"{name}.{key}": value for name, module in modules.items() for key, value in _tensors(module).items()
    }
    for name, (optimizer, module) in optimizers.items():
        parameters = _parameter_names(module)
        for parameter, values in optimizer.state.items():
            known = {key: torch.as_tensor(value) for key, value in values.items() if value is not None}
            tensors |= {f"{name}.{key}.{parameters[parameter]}": value for key, value in known.items()}
    # Copies: safetensors refuses memory that two names share, and knows no channels_last layout.
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}


def _read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(os.fspath(path), framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def _read_folder(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not (path / _DESCRIPTION).is_file():
        raise ShardError(f"{_DESCRIPTION} is missing")
    return read_shards(path), dict(json.loads((path / _DESCRIPTION).read_text("utf-8")))


def _description(tensors: Mapping[str, Tensor], step: int, state: Mapping[str, Any]) -> dict[str, str]:
    text = json.dumps({**state, "step": step})
    return {"format": FORMAT, "state": text, "sha256": tensors_digest(tensors, text)}


def _drop_all_but(keep: int, folder: Path) -> None:
    for _, old in list_checkpoints(folder)[:-keep]:
        if old.is_dir():
            # Renamed first: a kill in the middle leaves what is cleaned up later, not half a checkpoint.
            shutil.rmtree(old.replace(folder / f".{old.name}.old.partial"))
        else:
            old.unlink(missing_ok=True)


def _free_name(path: Path) -> Path:
    while path.exists():
        path = path.with_name(f"{path.name}~")
    return path


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_buffers(remove_duplicate=False)), **module.state_dict()}


@torch.no_grad()
def _restore_module(module: nn.Module, stored: dict[str, Tensor]) -> None:
    """Load what was stored of a module; raises RuntimeError where it does not fit."""
    # The first version did not store the buffers that state_dict leaves out: they stay as they were built.
    others = {name: own for name, own in _tensors(module).items() if name not in module.state_dict()}
    module.load_state_dict({name: value for name, value in stored.items() if name not in others})
    for name in others.keys() & stored.keys():
        others[name].copy_(stored[name])


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, module: nn.Module, stored: dict[str, Tensor]
) -> None:
    """Load what was stored of an optimiser; raises KeyError for a parameter that the module does not have."""
    names = _parameter_names(module)
    states: dict[str, dict[str, Tensor]] = {name: {} for name in names.values()}
    for key, value in stored.items():
        moment, _, name = key.partition(".")
        states[name][moment] = value
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    own = optimizer.state_dict()
    own["state"] = {
        index: {key: _laid_out_as(parameter, value) for key, value in states[names[parameter]].items()}
        for index, parameter in enumerate(parameters)
    }
    optimizer.load_state_dict(own)


def _parameter_names(module: nn.Module) -> dict[Tensor, str]:
    return {parameter: name for name, parameter in module.named_parameters()}


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    # The fused update walks weights, gradients and moments in memory order: moments in another memory format
    # than their weights would be paired with the wrong ones.
    return torch.empty_like(parameter).copy_(value) if value.ndim else value


def _damaged(path: Path, reason: str) -> DamagedCheckpointError:
    return DamagedCheckpointError(f"the checkpoint {path} is damaged ({reason})")
