"""Ablation of a trained network: contexts in which it runs without one of its parts.

Levels are called by the module's name in the network, such as `decoder.0` and `head`, or `up_to_half`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers import CarafeUpsample, Upsampler
from ..pyramid_unet import PyramidUNet
from .hooks import predicting, whole_octaves, zeroed
from .levels import carafe_levels, kernel_shape, merging_levels

# Instead of minus infinity for a weight of 0: float32's exponential of it is 0, and bfloat16 and float16 hold
# it.
_NO_WEIGHT = -1e4

# Sums that may be 0 are divided by this at least.
_TINY = torch.finfo(torch.float32).tiny

Probe = AbstractContextManager[None]


def without_residual(network: nn.Module) -> Probe | None:
    """Return a context in which the network's own prediction is 0: what is left is what it is given.

    That is the smooth fill of the hole, and what a network adds to it by choosing among straight
    continuations. None for a network without a head start, which is given nothing.
    """
    if isinstance(network, PyramidUNet):
        return zeroed(network.to_image)
    if not getattr(getattr(network, "settings", None), "head_start", False):
        return None
    last = network.to_image if network.to_image is not None else network.head
    assert isinstance(last, nn.Module)
    return zeroed(last)


def without_below(network: nn.Module, scale: int) -> Probe | None:
    """Return a context in which what comes up to 1/`scale` of the size from coarser levels is 0; valid stays.

    In a `PyramidUNet` that is so at every octave, and octaves below 1/`scale` correct and hand on nothing.
    None where the network has no such level, or no skips: then nothing would be left but biases.
    """
    if isinstance(network, PyramidUNet):
        return _pyramid_above(network, scale)
    for number, level in enumerate(merging_levels(network).values(), 1):
        if network.stride == scale * 2**number:
            return zeroed(next(part for part in level.modules() if isinstance(part, Upsampler)))
    return None


def constant_kernels(network: nn.Module, kernels: Mapping[str, Tensor]) -> Probe | None:
    """Return a context in which each CARAFE level uses the same kernels everywhere.

    There is one kernel for each place within an output block.

    Args:
        network: any network; None is returned where none of its upsamplers is CARAFE.
        kernels: by level, [groups, k², σ²], from 0, normalised as the level's normalizer leaves them; such as
            `mean_kernels`, `nearest_kernels` and `random_kernels` give. Levels without one keep their own.

    Raises:
        ValueError: there is no such CARAFE level, or its kernels have another shape.
    """
    levels = carafe_levels(network)
    for name, kernel in kernels.items():
        if name not in levels:
            raise ValueError(f"constant_kernels: no CARAFE level {name!r}; there are {', '.join(levels)}")
        if tuple(kernel.shape) != (shape := kernel_shape(levels[name])):
            raise ValueError(
                f"constant_kernels: kernels of {name} must have shape {list(shape)}, got {list(kernel.shape)}"
            )
    return _constant({levels[name]: kernel for name, kernel in kernels.items()}) if levels else None


def nearest_kernels(network: nn.Module) -> dict[str, Tensor]:
    """Return kernels [groups, k², σ²] of each CARAFE level with all weight on the tap in the middle."""
    kernels = {}
    for name, module in carafe_levels(network).items():
        kernels[name] = torch.zeros(kernel_shape(module))
        kernels[name][:, module.up_kernel**2 // 2] = 1
    return kernels


def random_kernels(network: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Return kernels [groups, k², σ²] of each CARAFE level with all weight on one tap, drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    kernels = {}
    for name, module in carafe_levels(network).items():
        groups, taps, places = kernel_shape(module)
        chosen = torch.randint(taps, (groups, places), generator=generator)
        kernels[name] = F.one_hot(chosen, taps).transpose(1, 2).float()
    return kernels


@contextmanager
def _pyramid_above(network: PyramidUNet, scale: int) -> Iterator[None]:
    height = 0

    def start(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal height
        height = inputs[0].shape[2]

    def octaves_down(features: Tensor) -> int:
        return round(math.log2(height / features.shape[2]))  # padding makes it a little less

    def from_below(_module: nn.Module, _inputs: Any, output: tuple[Tensor, Tensor]) -> Any:
        return (torch.zeros_like(output[0]), output[1]) if 2 ** octaves_down(output[0]) >= scale else output

    def of_octave(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        features = output if isinstance(output, Tensor) else output[0]
        if 2 ** octaves_down(features) <= scale:
            return output
        zeros = torch.zeros_like(features)
        return zeros if isinstance(output, Tensor) else (zeros, *output[1:])

    with ExitStack() as stack:
        stack.enter_context(whole_octaves(network))
        stack.enter_context(network.register_forward_pre_hook(start))
        for part in network.modules():
            if isinstance(part, Upsampler):
                stack.enter_context(part.register_forward_hook(from_below))
        for module in (network.head, network.to_image):
            stack.enter_context(module.register_forward_hook(of_octave))
        yield


@contextmanager
def _constant(kernels: Mapping[CarafeUpsample, Tensor]) -> Iterator[None]:
    def predictor(module: CarafeUpsample, kernel: Tensor) -> Callable[[Tensor], Tensor]:
        channels = _unnormalized(kernel.float(), module.normalizer).reshape(1, -1, 1, 1)

        def logits(features: Tensor) -> Tensor:
            n, _, h, w = features.shape
            spread = channels.to(features.device).expand(n, -1, h, w)
            return spread.contiguous(memory_format=torch.channels_last)

        return logits

    with ExitStack() as stack:
        for module, kernel in kernels.items():
            stack.enter_context(predicting(module, predictor(module, kernel)))
        yield


def _unnormalized(kernels: Tensor, normalizer: str) -> Tensor:
    """Return logits that the normalizer turns into these kernels [G, K, S²], in the order of the channels."""
    if normalizer == "softmax":
        logits = kernels.log()
    elif normalizer == "sigmoid":
        logits = kernels.logit()
    else:  # σ(l) / Σ σ(l) leaves a factor free: one that keeps σ(l) away from 1
        logits = (kernels / (2 * kernels.amax(1, keepdim=True).clamp(min=_TINY))).logit()
    return logits.clamp(_NO_WEIGHT, -_NO_WEIGHT)
