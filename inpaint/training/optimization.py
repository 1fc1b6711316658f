"""The optimiser, the learning rate's curve and the weights' moving average."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from inpaint.networks import Network
from inpaint.training.muon import Muon
from inpaint.training.settings import TrainSettings


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Return the learning rate of `step` (from 0): linear warm-up, plateau, half a cosine to the floor.

    A pure function of the step, so that a resumed run needs no scheduler state. The decay runs from
    `decay_from` × steps to the last step; the warm-up multiplies whatever the curve says. Steps of
    fine-tuning come after the curve's last step and have their own constant rate.
    """
    steps = settings.schedule.steps - settings.finetune_steps
    if step >= steps:
        return settings.finetune_lr
    last = max(steps - 1, 1)
    start = settings.decay_from * last
    progress = min(max((step - start) / max(last - start, 1), 0.0), 1.0)
    curve = settings.lr_floor + (1 - settings.lr_floor) * 0.5 * (1 + math.cos(math.pi * progress))
    warmup = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    return settings.lr * curve * warmup


# A matrix with fewer rows, such as the layer that gives a picture's three channels, has no rare directions
# that orthogonalisation could find; Muon's authors leave last layers to Adam.
_FEWEST_ROWS = 4


def build_optimizer(network: Network, settings: TrainSettings) -> torch.optim.AdamW:
    """Build AdamW, or Muon; weight decay is for matrices and kernels alone, not for biases and norms."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    matrices = [p for p in trained if p.ndim >= 2]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.optimizer == "muon":
        groups[0]["params"] = [p for p in matrices if p.shape[0] < _FEWEST_ROWS]
        hidden = [p for p in matrices if p.shape[0] >= _FEWEST_ROWS]
        groups.append({"params": hidden, "weight_decay": settings.weight_decay, "orthogonal": True})
        groups = [group for group in groups if group["params"]]
        return Muon(groups, lr=settings.lr, betas=settings.betas)
    # Fused: one pass over the weights and moments instead of a dozen, on CPU as on CUDA.
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=settings.lr, betas=settings.betas, fused=True
    )


class MovingAverage:
    """An exponential moving average of a network's parameters, kept in a copy of the network.

    `network` is that copy, in evaluation mode. The decay of update t (from 0) is min(decay, (1+t)/(10+t)).
    Buffers, such as running statistics, are averages already and are copied. Decay 0 copies the weights.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._averages = _tensors(self.network.parameters())
        self._sources = _tensors(network.parameters())
        self._average_buffers = _tensors(self.network.buffers())
        self._source_buffers = _tensors(network.buffers())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Draw the average towards the network's present weights; `step` counts from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averages, self._sources, 1 - decay)
        for average, source in zip(self._average_buffers, self._source_buffers, strict=True):
            average.copy_(source)


def _tensors(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor.detach() for tensor in tensors]
