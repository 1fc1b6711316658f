"""The training that every upsampler gets alike: the same pictures in the same order, steps and rates."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from tqdm import tqdm


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Nothing in it depends on the upsampler.

    Attributes:
        steps: of the optimizer.
        batch: pictures in a step.
        rate: the learning rate after the warm-up.
        optimizer: `adamw`, or `sgd` with momentum 0.9.
        decay: of the weights.
        schedule: after the warm-up: `cosine` to 0; `poly`, (1 − t)^0.9; or `drops`, a tenth from 8/12 of the
            steps on and a hundredth from 11/12, as in the 1x schedule of COCO detectors.
        warmup: steps in which the rate rises linearly.
        clip: largest norm of all gradients together.
    """

    steps: int
    batch: int
    rate: float
    optimizer: Literal["adamw", "sgd"] = "adamw"
    decay: float = 1e-4
    schedule: Literal["cosine", "poly", "drops"] = "cosine"
    warmup: int = 30
    clip: float = 10.0

    def __str__(self) -> str:
        return (
            f"{self.steps} steps of {self.batch} pictures, {self.optimizer} with rate {self.rate:g} and "
            f"weight decay {self.decay:g}, {self.schedule} after a warm-up of {self.warmup} steps, "
            f"gradients clipped to {self.clip:g}"
        )

    def factor(self, step: int) -> float:
        """Return what the rate is multiplied by in a step, counted from 0.

        >>> recipe = Recipe(steps=12, batch=1, rate=1.0, schedule="drops", warmup=0)
        >>> [round(recipe.factor(step), 2) for step in (0, 7, 8, 10, 11)]
        [1.0, 1.0, 0.1, 0.1, 0.01]
        """
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / max(self.steps - self.warmup, 1)
        if self.schedule == "cosine":
            return (1 + math.cos(math.pi * progress)) / 2
        if self.schedule == "poly":
            return max(1 - progress, 0.0) ** 0.9
        return 0.1 ** ((step >= self.steps * 8 / 12) + (step >= self.steps * 11 / 12))


class Task(Protocol):
    """What is learnt: segmentation, or boxes with or without masks."""

    @property
    def train(self) -> Dataset[Any]:
        """The pictures that are learnt from."""

    @property
    def collate(self) -> Callable[[Any], Any]:
        """What makes a batch of them."""

    def network(self, upsampler: str) -> nn.Module:
        """Return a network with fresh weights of torch's random state, or with a pretrained backbone."""

    def loss(self, network: nn.Module, batch: Any, device: torch.device) -> Tensor:
        """Return what is to be made small."""

    def scores(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the scores of the pictures that are not learnt from."""


def train_and_score(
    task: Task,
    upsampler: str,
    recipe: Recipe,
    seed: int,
    device: torch.device | str = "cpu",
    workers: int = 0,
    name: str = "",
) -> dict[str, float]:
    """Train a network with an upsampler and return its scores, and `seconds` of a training step.

    The seed decides the fresh weights and the order of the pictures. So the pictures of a step are the same
    for all upsamplers, and on a CPU the same call gives the same scores.
    """
    device = torch.device(device)
    torch.manual_seed(seed)
    network = task.network(upsampler).to(device)
    seconds = train(network, task, recipe, seed, device, workers, name)
    return {**task.scores(network.eval(), device), "seconds": seconds}


def train(
    network: nn.Module,
    task: Task,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    workers: int = 0,
    name: str = "",
) -> float:
    """Train a network and return the seconds of a step, reading included.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "adamw":
        optimizer = torch.optim.AdamW(weights, lr=recipe.rate, weight_decay=recipe.decay)
    else:
        optimizer = torch.optim.SGD(weights, lr=recipe.rate, momentum=0.9, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, recipe.factor)
    network.train()
    begin = time.perf_counter()
    batches = _batches(task, recipe, seed, workers)
    with tqdm(batches, desc=name, total=recipe.steps, unit="step", disable=None) as progress:
        for batch in progress:
            loss = task.loss(network, batch, device)
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"{name}: the loss is {loss.item()} in step {schedule.last_epoch + 1}"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(weights, recipe.clip)
            optimizer.step()
            schedule.step()
            progress.set_postfix(loss=f"{loss.item():.3f}")
    return (time.perf_counter() - begin) / recipe.steps


def _batches(task: Task, recipe: Recipe, seed: int, workers: int) -> Iterator[Any]:
    """Return the batches of all steps: each picture once, in an order drawn from the seed, then again."""
    generator = torch.Generator().manual_seed(seed)
    sampler = RandomSampler(
        task.train,  # type: ignore[arg-type]  # a Dataset that has a length
        num_samples=recipe.steps * recipe.batch,
        generator=generator,
    )
    return iter(
        DataLoader(
            task.train,
            recipe.batch,
            sampler=sampler,
            collate_fn=task.collate,
            num_workers=workers,
            generator=generator,
            drop_last=True,
        )
    )
