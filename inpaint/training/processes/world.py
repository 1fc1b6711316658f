"""Several processes that train one network, as torchrun starts them.

What happens when one of them ends, killed or by an error of its own: the operating system closes its
connections, and with gloo the others fail at once in the sum they wait in. With NCCL they may wait on. But
torchrun's agent sees the end within a tenth of a second, sends SIGTERM to the other processes of its host and
SIGKILL 30 seconds later, and then starts all of them again (`--max-restarts`) or exits with 1; agents of
other hosts learn of it through the rendezvous. A process that is alive but does not answer, such as one on a
host that lost its network, is given up after `PATIENCE`.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from inpaint.devices import choose_device
from inpaint.training.processes.rendezvous import store_of_this_start

# How long to wait for the others in a step: one that compiles, or reads from a slow disk, takes minutes.
PATIENCE = datetime.timedelta(minutes=10)

# How long to wait while the main process reads, validates or writes: far longer than a step.
MAIN_PATIENCE = datetime.timedelta(hours=1)

_GLOO_SOURCE = re.compile(r"\bgloo/\S+\.(?:cc|h):\d+")

Result = TypeVar("Result")


class LostProcessError(RuntimeError):
    """Another process of the run ended or does not answer; the message says how to go on."""


@dataclass(frozen=True)
class World:
    """This process's place among those that train together, and the device it computes on."""

    rank: int
    size: int
    device: torch.device
    # Joins the processes over the CPU, with more patience than there is for a step.
    group: dist.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process validates, logs and writes."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network as it is called in training: with gradients averaged over the processes."""
        if self.size == 1:
            return network
        return DistributedDataParallel(
            network, device_ids=[self.device] if self.device.type == "cuda" else None
        )

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the processes, the same in all of them."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each parameter's gradient by its mean over the processes, in one exchange."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.size == 1 or not gradients:
            return
        joined = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, mean in zip(gradients, joined.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def agree(self, fine: bool) -> bool:
        """Return whether all processes say so; the same answer in all of them."""
        return self.mean(torch.tensor(float(fine), device=self.device)).item() == 1

    def share_buffers(self, modules: Iterable[nn.Module]) -> None:
        """Make the modules' buffers, such as running statistics, those of the main process in all of them."""
        if self.size == 1:
            return
        for module in modules:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)

    def in_turn(self, act: Callable[[], Result]) -> Result:
        """Return what `act` returns; on each machine one process calls it first, then the others.

        So the others find in a cache what the first one has put there. Where the first one fails the others
        go on all the same, and fail with the same message.
        """
        if self.size == 1:
            return act()
        # Where nobody says which process of this machine it is, each could be the first.
        is_first = int(os.environ.get("LOCAL_RANK", "0")) == 0
        try:
            result = act() if is_first else None
        finally:
            dist.barrier(self.group)
        return act() if result is None else result

    def from_main(self, act: Callable[[], Result]) -> Result:
        """Return what `act` returns, called in the main process alone while the others wait for it.

        What it raises is raised in all of them, so that all end with the same sentence. Results travel
        pickled between the processes of the run, which are one program; no other pickle is ever read.
        """
        if self.size == 1:
            return act()
        outcome: list[Any] = [None, None]
        if self.is_main:
            try:
                outcome[0] = act()
            except Exception as error:
                outcome[1] = error
        dist.broadcast_object_list(outcome, src=0, group=self.group)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]


def without_sum(model: nn.Module) -> AbstractContextManager[Any]:
    """Return a context in which gradients stay in this process: for all but a step's last backward pass."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


@contextmanager
def join_world(device: str = "auto", patience: datetime.timedelta = PATIENCE) -> Iterator[World]:
    """Join the processes that torchrun started, or be alone; leaves them in order at the end.

    Under torchrun each process takes the GPU of its local rank; gloo connects CPUs, NCCL connects GPUs.

    Args:
        device: "cpu", "cuda", "cuda:1" (for one process alone) or "auto" (CUDA where there is one).
        patience: how long the others may take for a step.

    Raises:
        ValueError: the device is not here.
        LostProcessError: another process is gone; also from within the context.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = _device_of_this_process(device, size)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)  # which takes no device without an index
    if size == 1:
        yield World(0, 1, chosen)
        return
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    in_order = False
    try:
        _join(backend, size, patience)
        group = dist.new_group(backend="gloo", timeout=max(patience, MAIN_PATIENCE))
        assert isinstance(group, dist.ProcessGroup)  # this process is in it
        yield World(dist.get_rank(), size, chosen, group)
        in_order = True
    except (RuntimeError, TimeoutError) as error:
        if not _tells_of_a_lost_process(error):
            raise
        reason = str(error).partition("\n")[0].partition(". This is typically")[0]
        raise LostProcessError(
            f"another process of this run ended or does not answer ({reason}): what it wrote last says why; "
            "start all again with --resume, and they go on from the last checkpoint"
        ) from error
    finally:
        # To leave NCCL waits for the others, who may wait in a sum for this process. Where it fails alone, it
        # ends without leaving, and the others learn of it by its end.
        if dist.is_initialized() and (in_order or backend == "gloo"):
            dist.destroy_process_group()


def _device_of_this_process(device: str, size: int) -> torch.device:
    """Return the device of this process, one of `size`; raises ValueError for one that is not here."""
    chosen = choose_device(device)
    if chosen.type == "cpu" or size == 1:
        return chosen
    if ":" in device:
        raise ValueError(
            f"device {device}: of several processes each takes the GPU of its number; give --device cuda"
        )
    rank, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if rank >= count:
        raise ValueError(
            f"process {rank} of this host has no GPU, torch sees {count}: start no more processes than that"
        )
    return torch.device("cuda", rank)


def _join(backend: str, size: int, patience: datetime.timedelta) -> None:
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        dist.init_process_group(backend, timeout=patience)
        return
    rank = int(os.environ["RANK"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    shared = dist.TCPStore(address, port, is_master=False, timeout=patience)
    store = store_of_this_start(shared, rank, size, patience.total_seconds())
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=patience)


def _tells_of_a_lost_process(error: Exception) -> bool:
    # NCCL's errors have a class of their own; gloo's are known by the source file that they name.
    return isinstance(error, dist.DistError | TimeoutError) or bool(_GLOO_SOURCE.search(str(error)))
