"""Statistics of a network's CARAFE kernels and merges, taken while it fills."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers import CarafeUpsample, PartialConv2d
from .hooks import predicting, whole_octaves
from .levels import carafe_levels, kernel_shape, merging_levels

PEAKED = 0.95
"""A kernel is called peaked where one tap has more than this of its weight."""

# Sums that may be 0 are divided by this at least.
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class KernelStatistics:
    """What the predicted kernels of a CARAFE level are like, over the output pixels that it knows.

    A kernel counts as its weights' shares, which sum to 1 with any normalizer.

    Attributes:
        scale: the level's output is 1/scale of the picture's size.
        entropy: mean of -Σ w·ln w in nats; 0 where one tap has everything.
        relative_entropy: that over ln k²; 1 is flat.
        peaked: share of the pixels where one tap has more than PEAKED.
        variance: over pixels and pictures, summed over taps, averaged over the places within a block; 0 is a
            constant kernel.
        mean: the mean kernel [groups, k², σ²], with the weights as they are: the best constant guess.
    """

    scale: int
    entropy: float
    relative_entropy: float
    peaked: float
    variance: float
    mean: Tensor


@dataclass(frozen=True)
class Decoder:
    """What `inspect_decoder` found.

    Attributes:
        kernels: of each CARAFE level.
        from_below: share of each merge that comes from below and not through a skip, 0 to 1. The convolution
            is linear in its parts before the bias: this is |what it makes of the first|² over the sum of that
            of all parts.
    """

    kernels: dict[str, KernelStatistics] = field(default_factory=dict)
    from_below: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def inspect_decoder(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Decoder:
    """Run the network and measure its kernels and merges.

    Args:
        network: in evaluation mode. One without CARAFE levels and merges is not run.
        batches: pairs of image [N, 3, H, W] and mask [N, 1, H, W], as the network takes them.

    Raises:
        ValueError: the network is in training mode, in which running it would change its running statistics;
            or there is no batch.
    """
    if network.training:
        raise ValueError("inspect_decoder: the network must be in evaluation mode")
    levels, merges = carafe_levels(network), merging_levels(network)
    kernels = {name: _KernelSums(module) for name, module in levels.items()}
    energies: dict[str, Tensor] = {}
    if not levels and not merges:
        return Decoder()
    with ExitStack() as stack:
        stack.enter_context(whole_octaves(network))
        for sums in kernels.values():
            stack.enter_context(sums.recorded())
        for name, level in merges.items():
            hook = _energy_recorder(energies, name)
            for part in level.modules():
                if isinstance(part, PartialConv2d):
                    stack.enter_context(part.register_forward_hook(hook, with_kwargs=True))
        height = 0
        for image, mask in batches:
            height = image.shape[2]
            network(image, mask)
    if not height:
        raise ValueError("inspect_decoder: there is no batch")
    return Decoder(
        {name: sums.statistics(height) for name, sums in kernels.items()},
        {name: float(parts[0] / parts.sum().clamp(min=_TINY)) for name, parts in energies.items()},
    )


def mean_kernels(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return the mean predicted kernel [groups, k², σ²] of each CARAFE level; see `inspect_decoder`."""
    return {level: seen.mean for level, seen in inspect_decoder(network, batches).kernels.items()}


def _normalized(logits: Tensor, module: CarafeUpsample) -> Tensor:
    """Return what the operator makes of logits: kernels [N, G, K, S², H, W] float32."""
    logits = logits.float().unflatten(1, kernel_shape(module))
    if module.normalizer == "sigmoid_normalized":
        logits = F.logsigmoid(logits)  # its softmax is σ(l) / Σ σ(l)
    return logits.sigmoid() if module.normalizer == "sigmoid" else logits.softmax(2)


class _KernelSums:
    """Sums over the output pixels that a CARAFE level knows, from which its statistics follow."""

    def __init__(self, module: CarafeUpsample) -> None:
        self._module = module
        self._sums: dict[str, Tensor] = {}  # [G, K or 1, S²] float64
        self._height = 0

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Add what the level does in this context."""
        predict = self._module._logits
        latest: list[Tensor] = []

        def logits(features: Tensor) -> Tensor:
            latest[:] = [predict(features)]
            return latest[0]

        def hook(_module: nn.Module, _inputs: Any, output: Tensor | tuple[Tensor, Tensor]) -> None:
            features, valid = (output, None) if isinstance(output, Tensor) else output
            self._height = features.shape[2]
            self._add(_normalized(latest.pop(), self._module), valid)

        with predicting(self._module, logits), self._module.register_forward_hook(hook):
            yield

    def _add(self, kernels: Tensor, valid: Tensor | None) -> None:
        """Kernels [N, G, K, S², H, W]; valid as it comes out of the level, [N, 1, σH, σW], or None."""
        shares = kernels / kernels.sum(2, keepdim=True).clamp(min=_TINY)
        known = torch.ones_like(kernels[:, :1, :1])
        if valid is not None:
            known = F.pixel_unshuffle((valid > 0).float(), self._module.scale)[:, None, None]
        highest = shares.amax(2, keepdim=True)
        numbers = {
            "count": torch.ones_like(highest),
            "kernel": kernels,
            "share": shares,
            "square": shares.square(),
            "entropy": torch.special.entr(shares).sum(2, keepdim=True),
            "peaked": (highest > PEAKED).float(),
        }
        for name, values in numbers.items():
            sums = (values * known).sum((0, 4, 5), dtype=torch.float64).cpu()
            self._sums[name] = self._sums.get(name, 0) + sums

    def statistics(self, height: int) -> KernelStatistics:
        """Of all that was added; `height` is that of the pictures. Zeros where the level knew nothing."""
        _, taps, _ = kernel_shape(self._module)
        count = self._sums["count"].clamp(min=1)
        mean = {name: sums / count for name, sums in self._sums.items()}
        pixels = self._sums["count"].sum().clamp(min=1)
        entropy = float(self._sums["entropy"].sum() / pixels)
        # What rounding leaves of the difference of squares may lie below 0.
        variance = (mean["square"] - mean["share"].square()).clamp(min=0).sum(1).mean()
        return KernelStatistics(
            scale=height // self._height,
            entropy=entropy,
            relative_entropy=entropy / math.log(taps) if taps > 1 else 0.0,
            peaked=float(self._sums["peaked"].sum() / pixels),
            variance=float(variance),
            mean=mean["kernel"].float(),
        )


def _energy_recorder(energies: dict[str, Tensor], level: str) -> Callable[..., None]:
    """Make a hook of a partial convolution that adds up the energy of what it makes of each of its parts."""

    def hook(module: PartialConv2d, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        arguments = dict(zip(("features", "valid", "hole"), inputs, strict=False)) | named
        parts = arguments.pop("features")
        if isinstance(parts, Tensor) or len(parts) < 2:
            return  # not a merge
        found = []
        for chosen in range(len(parts)):
            alone = [part if i == chosen else torch.zeros_like(part) for i, part in enumerate(parts)]
            # `forward` itself has no hooks, so this one is not called again.
            made, known = module.forward(alone, **arguments)
            if module.bias is not None:
                made = made - torch.where(known > 0, module.bias.to(made.dtype).reshape(1, -1, 1, 1), 0)
            found.append(made.float().square().sum(dtype=torch.float64))
        energies[level] = energies.get(level, 0) + torch.stack(found)

    return hook
