"""Several processes that train one network, as torchrun starts them."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class World:
    """This process's place among those that train together, and the device it computes on."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process validates, logs and writes."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network as to be called in training: with gradients averaged over the processes, if several."""
        if self.size == 1:
            return network
        return DistributedDataParallel(
            network, device_ids=[self.device] if self.device.type == "cuda" else None
        )

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, the same in all of them."""
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


@contextmanager
def join_world(device: str = "auto") -> Iterator[World]:
    """Join the processes that torchrun started, or be alone; leaves them in order at the end.

    `device`: "cpu", "cuda" or "auto" (CUDA where there is one). Under torchrun each process takes the GPU of
    its local rank; gloo connects CPUs, NCCL connects GPUs. Raises ValueError when CUDA is asked for and
    absent.
    """
    if device not in ("auto", "cpu") and not device.startswith("cuda"):
        raise ValueError(f"--device must be auto, cpu or cuda, got {device!r}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            "--device cuda: torch sees no CUDA device here; use --device cpu, or a CUDA build of torch"
        )
    kind = "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if kind == "cuda" and size > 1:
        kind = f"cuda:{os.environ['LOCAL_RANK']}"
    chosen = torch.device(kind)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if size == 1:
        yield World(0, 1, chosen)
        return
    # The main process validates while the others wait for it: far longer than a step.
    patience = datetime.timedelta(hours=1)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=patience)
    try:
        yield World(dist.get_rank(), size, chosen)
    finally:
        dist.destroy_process_group()
