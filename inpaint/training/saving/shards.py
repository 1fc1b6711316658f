"""Tensors as a folder of safetensors files, a share from each process, by torch.distributed.checkpoint.

Its own formats keep their table of contents in a pickle, which this program never reads. Its reader and
writer of Hugging Face's layout work without: each file is a safetensors file that says what it holds. The
tensors given to it are the same in all processes (data-parallel training; `World.share_buffers` for what
is not), and its planner deals them out by size.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from inpaint.training.processes.world import World


class ShardError(RuntimeError):
    """Shards cannot be written or read; the message says whose, and why."""


def check_sharding() -> None:
    """Raise ValueError where this torch cannot write shards without a pickle."""
    dcp = _library()
    writer = getattr(dcp, "HuggingFaceStorageWriter", None)
    if writer is None or "save_distributed" not in inspect.signature(writer).parameters:
        raise ValueError(
            f"--checkpoint-format sharded: torch {torch.__version__} writes shards as pickles alone; use "
            "a newer torch, or --checkpoint-format single"
        )


def write_shards(folder: Path, tensors: dict[str, Tensor], world: World) -> None:
    """Write a share of `tensors` from each process of `world` into `folder`, made if missing, and flush them.

    All processes call it with the same CPU tensors.

    Raises:
        ShardError: one of them cannot write; raised in all.
    """
    dcp = _library()
    writer = dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        with _alone_without_a_warning():
            dcp.save(dict(tensors), storage_writer=writer, process_group=world.group, no_dist=world.size == 1)
    except dcp.CheckpointException as error:
        raise _shard_error(error) from error


def names_in_shards(folder: Path) -> set[str]:
    """Return the names of the tensors in `folder`."""
    return set(_library().HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata)


def read_shards(folder: Path) -> dict[str, Tensor]:
    """Read, in this process alone, all tensors in `folder`.

    Raises:
        ShardError: a file is damaged.
        OSError: a file may not be read.
    """
    dcp = _library()
    reader = dcp.HuggingFaceStorageReader(str(folder))
    try:
        stored = reader.read_metadata().state_dict_metadata
        tensors = {
            name: torch.empty(entry.size, dtype=entry.properties.dtype) for name, entry in stored.items()
        }
        with _alone_without_a_warning():
            dcp.load(tensors, storage_reader=reader, no_dist=True)
    except dcp.CheckpointException as error:
        for reason, _ in error.failures.values():
            if isinstance(reason, OSError):
                raise reason from error
        raise _shard_error(error) from error
    except (SafetensorError, KeyError) as error:
        raise ShardError(str(error)) from error
    return tensors


def _library() -> Any:
    # Here, because it takes a second to import, and a run with single checkpoints does not need it.
    import torch.distributed.checkpoint

    return torch.distributed.checkpoint


def _shard_error(error: Any) -> ShardError:
    reasons = (f"process {rank}: {reason}" for rank, (reason, _) in error.failures.items())
    return ShardError("; ".join(reasons))


@contextmanager
def _alone_without_a_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield
