"""Losses of a generator and a discriminator against each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

OBJECTIVES = ("hinge", "bce")
"""How a discriminator's logits become losses: hinge (Lim and Ye, 2017), or the logistic one (GAN, 2014)."""


def generator_loss(filled: Tensor, objective: str) -> Tensor:
    """Return a network's loss for filled pictures with these logits, of any shape; higher is more real."""
    return -filled.mean() if objective == "hinge" else F.softplus(-filled).mean()


def discriminator_loss(real: Tensor, filled: Tensor, objective: str) -> Tensor:
    """Return a discriminator's loss for its logits of untouched and of filled pictures."""
    if objective == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + filled).mean()
    return F.softplus(-real).mean() + F.softplus(filled).mean()


def gradient_penalty(logits: Tensor, image: Tensor) -> Tensor:
    """Return R1, the mean squared norm of the logits' gradient at untouched pictures.

    It is from Mescheder et al., Which training methods for GANs do actually converge?, ICML 2018.

    `logits` [N, ...] come from `image` [N, 3, H, W], which requires a gradient; of several logits of one
    picture the mean is taken. The result can be differentiated again.
    """
    total = logits.flatten(1).mean(1).sum()
    (slope,) = torch.autograd.grad(total, image, create_graph=True)
    return slope.square().sum((1, 2, 3)).mean()
