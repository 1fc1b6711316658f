"""Adversarial training: a discriminator with its own optimiser, and when each side learns.

L1-like terms alone leave wide holes soft: of all textures that could be there, the mean has the least error.
A discriminator that learns to tell filled pictures from untouched ones adds a term that is high for these.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from inpaint.losses import OBJECTIVES, discriminator_loss, generator_loss, gradient_penalty
from inpaint.training.processes.world import World

DISCRIMINATORS = ("none", "patch", "global-local")

# No momentum: the network changes too, and the discriminator's past gradients are of its earlier fills.
_BETAS = (0.0, 0.99)


def _about(text: str) -> dict[str, str]:
    return {"help": text}


class Phase(enum.Enum):
    """Who learns. Iizuka et al. train in all three, one after the other; later methods in the last alone."""

    NETWORK = enum.auto()
    DISCRIMINATOR = enum.auto()
    BOTH = enum.auto()


@dataclass(frozen=True)
class AdversarySettings:
    """What the network is trained against, if anything.

    Raises:
        ValueError: a value out of range; the message names its flag.
    """

    discriminator: str = field(
        default="none",
        metadata=_about("patch (a logit for each patch), global-local (whole picture and window), or none"),
    )
    # 5 is the papers'. See inpaint.networks.discriminators for what odd kernels do to the picture.
    kernel_size: int = field(
        default=4, metadata=_about("side of the discriminator's kernels; even, or 5 as in the papers")
    )
    # The term's gradient is then about a tenth of that of the perceptual terms.
    weight: float = field(default=0.01, metadata=_about("weight of the adversarial term in the loss"))
    objective: str = field(default="hinge", metadata=_about("hinge or bce"))
    # Without momentum, Adam's steps at 2e-4 turn spectrally normalised weights faster than they learn: both
    # discriminators give every picture the same logit for some 450 steps. At 5e-5 it was some 120 to 250
    # (benchmarks/results/global_local_adversarial_cpu2_2026-11-24.md).
    lr: float = field(default=5e-5, metadata=_about("the discriminator's peak learning rate"))
    r1: float = field(
        default=1.0, metadata=_about("weight of the gradient penalty R1 on untouched pictures; 0 = none")
    )
    # It costs as much as the rest of the discriminator's step, and its effect lasts for some steps.
    r1_every: int = field(default=16, metadata=_about("steps from one gradient penalty to the next"))
    start: int = field(
        default=0,
        metadata=_about(
            "step from which the loss has the adversarial term; before it, the network trains by itself"
        ),
    )
    alone: int = field(
        default=0, metadata=_about("steps before that in which the discriminator alone is trained")
    )

    def __post_init__(self) -> None:
        if self.discriminator not in DISCRIMINATORS:
            known = ", ".join(DISCRIMINATORS)
            raise ValueError(f"--adversary-discriminator must be one of {known}, got {self.discriminator!r}")
        if self.objective not in OBJECTIVES:
            raise ValueError(
                f"--adversary-objective must be one of {', '.join(OBJECTIVES)}, got {self.objective!r}"
            )
        if self.kernel_size < 3:
            raise ValueError(f"--adversary-kernel-size must be at least 3, got {self.kernel_size}")
        for name in ("weight", "r1", "start", "alone"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"--adversary-{name} must be finite and not negative, got {value}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"--adversary-lr must be positive, got {self.lr}")
        if self.r1_every < 1:
            raise ValueError(f"--adversary-r1-every must be at least 1, got {self.r1_every}")
        if self.alone > self.start:
            raise ValueError(
                f"--adversary-alone: {self.alone} steps do not fit before --adversary-start {self.start}"
            )

    def phase(self, step: int) -> Phase:
        """Who learns in `step` (from 0)."""
        if self.discriminator == "none" or step < self.start - self.alone:
            return Phase.NETWORK
        return Phase.DISCRIMINATOR if step < self.start else Phase.BOTH


class Adversary:
    """A discriminator in training.

    A step of it, in this order: `generator_term` for the network's loss; once the network has been updated,
    `discriminator_loss` and a backward pass for each slice of the batch, and `update`.

    Attributes:
        network: the discriminator, `forward(image, mask) -> logits`.
        optimizer: its own.
        smallest: the least height and width of its pictures.
    """

    def __init__(
        self, settings: AdversarySettings, world: World, autocast: Callable[[], torch.autocast]
    ) -> None:
        self.settings = settings
        self.network = _build(settings).to(world.device)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.lr, betas=_BETAS, weight_decay=0.0, fused=True
        )
        self.smallest = int(self.network.smallest)  # type: ignore[arg-type]
        self._world = world
        self._autocast = autocast
        self._penalty: Tensor | None = None  # the last one

    def generator_term(self, filled: Tensor, mask: Tensor) -> Tensor:
        """Return the adversarial term of the network's loss for its composites [N, 3, H, W].

        The discriminator gets no gradients from it.
        """
        self.network.requires_grad_(False)
        try:
            return generator_loss(self._logits(filled, mask), self.settings.objective)
        finally:
            self.network.requires_grad_(True)

    def discriminator_loss(
        self, image: Tensor, filled: Tensor, mask: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the discriminator's loss for untouched and filled pictures [N, 3, H, W], and its terms.

        The network gets no gradients from it.
        """
        # One batch of both: fewer, larger convolutions. No normalisation over the batch mixes the two.
        logits = self._logits(torch.cat([image, filled.detach()]), torch.cat([mask, mask]))
        of_image, of_filled = logits.chunk(2)
        loss = discriminator_loss(of_image, of_filled, self.settings.objective)
        terms = {"discriminator": loss.detach()}
        if self.settings.r1 and step % self.settings.r1_every == 0:
            image = image.detach().requires_grad_()
            with torch.autocast(image.device.type, enabled=False):  # squares of gradients, which are small
                penalty = gradient_penalty(self.network(image, mask), image)
            # Half of γ, and for the steps without it, too.
            loss = loss + 0.5 * self.settings.r1 * self.settings.r1_every * penalty
            self._penalty = penalty.detach()
        if self._penalty is not None:  # in every step, or curves of every 20th would hardly show it
            terms["r1"] = self._penalty
        return loss, terms

    def update(self, rate: float) -> Tensor:
        """One step of the optimiser at `rate` times its peak rate; the norm of the gradients it used up."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.settings.lr
        # Not by DistributedDataParallel, which cannot take gradients of gradients.
        self._world.average_gradients(self.network.parameters())
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), math.inf)  # changes nothing
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._renew_spectral_norms()
        return norm

    def _renew_spectral_norms(self) -> None:
        """One step of their power iterations, in each step of the training.

        In training mode each forward pass would make one: then the parts of a batch would meet different
        weights, and their sum would not be the gradient of the whole.
        """
        self.network.train()
        with torch.no_grad():
            for module in self.network.modules():
                if is_parametrized(module, "weight"):
                    _ = module.weight
        self.network.eval()

    def _logits(self, image: Tensor, mask: Tensor) -> Tensor:
        with self._autocast():
            logits: Tensor = self.network(image, mask)
        return logits.float()


def _build(settings: AdversarySettings) -> nn.Module:
    from inpaint.networks import GlobalLocalDiscriminator, PatchDiscriminator

    kinds: dict[str, Any] = {"patch": PatchDiscriminator, "global-local": GlobalLocalDiscriminator}
    network: nn.Module = kinds[settings.discriminator](kernel_size=settings.kernel_size)
    return network.eval()  # see Adversary._renew_spectral_norms
