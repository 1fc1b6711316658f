"""Probes of a trained network: what its parts are worth, and whether its kernels look at the features.

A network that begins from a smooth fill can score well with a decoder that does nothing. So parts are taken
away, one at a time, and the fills scored again: `without_residual`, `without_below` and `constant_kernels`
are contexts in which the network runs without them, or None where it has no such part. `inspect_decoder`
looks on while the network fills: how sharp and how constant the predicted kernels are, and how much of each
merge comes from below.

Nothing here changes a network for good, whatever is raised meanwhile. Levels are called by the module's name
in the network, such as `decoder.0` and `head`, or `up_to_half`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers import CarafeUpsample, PartialConv2d, Upsampler
from ..partial_conv_unet import PartialConvUNet
from ..pyramid_unet import PyramidUNet

PEAKED = 0.95
"""A kernel is called peaked where one tap has more than this of its weight."""

# Instead of minus infinity for a weight of 0: float32's exponential of it is 0, and bfloat16 and float16 hold
# it.
_NO_WEIGHT = -1e4

# Sums that may be 0 are divided by this at least.
_TINY = torch.finfo(torch.float32).tiny

Probe = AbstractContextManager[None]


# ----------------------------------------------------------------------------------------------------------
# Parts taken away


def without_residual(network: nn.Module) -> Probe | None:
    """In this context the network's own prediction is 0: what is left is what it is given.

    That is the smooth fill of the hole, and what a network adds to it by choosing among straight
    continuations. None for a network without a head start, which is given nothing.
    """
    if isinstance(network, PyramidUNet):
        return _zeroed(network.to_image)
    if not getattr(getattr(network, "settings", None), "head_start", False):
        return None
    last = network.to_image if network.to_image is not None else network.head
    assert isinstance(last, nn.Module)
    return _zeroed(last)


def without_below(network: nn.Module, scale: int) -> Probe | None:
    """In this context what comes up to 1/`scale` of the size from coarser levels is 0; valid stays.

    In a `PyramidUNet` that is so at every octave, and octaves below 1/`scale` correct and hand on nothing.
    None where the network has no such level, or no skips: then nothing would be left but biases.
    """
    if isinstance(network, PyramidUNet):
        return _pyramid_above(network, scale)
    for number, level in enumerate(_levels(network).values(), 1):
        if network.stride == scale * 2**number:
            return _zeroed(next(part for part in level.modules() if isinstance(part, Upsampler)))
    return None


def constant_kernels(network: nn.Module, kernels: Mapping[str, Tensor]) -> Probe | None:
    """In this context each CARAFE level uses one kernel for each place within an output block, everywhere.

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
        if tuple(kernel.shape) != (shape := _kernel_shape(levels[name])):
            raise ValueError(
                f"constant_kernels: kernels of {name} must have shape {list(shape)}, got {list(kernel.shape)}"
            )
    return _constant({levels[name]: kernel for name, kernel in kernels.items()}) if levels else None


def nearest_kernels(network: nn.Module) -> dict[str, Tensor]:
    """Kernels [groups, k², σ²] of each CARAFE level with all weight on the tap in the middle."""
    kernels = {}
    for name, module in carafe_levels(network).items():
        kernels[name] = torch.zeros(_kernel_shape(module))
        kernels[name][:, module.up_kernel**2 // 2] = 1
    return kernels


def random_kernels(network: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Kernels [groups, k², σ²] of each CARAFE level with all weight on one tap, drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    kernels = {}
    for name, module in carafe_levels(network).items():
        groups, taps, places = _kernel_shape(module)
        chosen = torch.randint(taps, (groups, places), generator=generator)
        kernels[name] = F.one_hot(chosen, taps).transpose(1, 2).float()
    return kernels


# ----------------------------------------------------------------------------------------------------------
# Looking on


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
    """What `inspect_decoder` saw.

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
    """Runs the network and looks at its kernels and merges.

    Args:
        network: in evaluation mode. One without CARAFE levels and merges is not run.
        batches: pairs of image [N, 3, H, W] and mask [N, 1, H, W], as the network takes them.

    Raises:
        ValueError: the network is in training mode, in which to look would move its running statistics; or
            there is no batch.
    """
    if network.training:
        raise ValueError("inspect_decoder: the network must be in evaluation mode")
    levels, merges = carafe_levels(network), _levels(network)
    kernels = {name: _KernelSums(module) for name, module in levels.items()}
    energies: dict[str, Tensor] = {}
    if not levels and not merges:
        return Decoder()
    with ExitStack() as stack:
        stack.enter_context(_whole_octaves(network))
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
        raise ValueError("inspect_decoder: there is no batch to look at")
    return Decoder(
        {name: sums.statistics(height) for name, sums in kernels.items()},
        {name: float(parts[0] / parts.sum().clamp(min=_TINY)) for name, parts in energies.items()},
    )


def mean_kernels(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """The mean predicted kernel [groups, k², σ²] of each CARAFE level; see `inspect_decoder`."""
    return {level: seen.mean for level, seen in inspect_decoder(network, batches).kernels.items()}


# ----------------------------------------------------------------------------------------------------------
# The parts of a network


def carafe_levels(network: nn.Module) -> dict[str, CarafeUpsample]:
    """The CARAFE upsamplers of any network, by level."""
    return {
        name.removesuffix(".upsample"): module
        for name, module in network.named_modules()
        if isinstance(module, CarafeUpsample)
    }


def kernel_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The weights that predict CARAFE's kernels: those of all content encoders."""
    return [
        weight for part in carafe_levels(network).values() for weight in part.content_encoder.parameters()
    ]


def _levels(network: nn.Module) -> dict[str, nn.Module]:
    """The decoder's levels that join a skip to what comes from below, coarse to fine, each twice as large."""
    if not isinstance(network, PartialConvUNet | PyramidUNet):
        return {}
    levels = {f"decoder.{number}": level for number, level in enumerate(network.decoder)}
    return {**levels, "head": network.head}


def _kernel_shape(module: CarafeUpsample) -> tuple[int, int, int]:
    return module.groups, module.up_kernel**2, module.scale**2


# ----------------------------------------------------------------------------------------------------------
# How it is done


@contextmanager
def _zeroed(module: nn.Module) -> Iterator[None]:
    """The module gives 0 for features; what else it returns, such as valid, stays."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return torch.zeros_like(output)
        return torch.zeros_like(output[0]), *output[1:]

    with module.register_forward_hook(hook):
        yield


@contextmanager
def _whole_octaves(network: nn.Module) -> Iterator[None]:
    """A `PyramidUNet` makes its features everywhere, not only near the hole."""
    if not isinstance(network, PyramidUNet):
        yield
        return
    before, network.whole_octaves = network.whole_octaves, True
    try:
        yield
    finally:
        network.whole_octaves = before


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
        stack.enter_context(_whole_octaves(network))
        stack.enter_context(network.register_forward_pre_hook(start))
        for part in network.modules():
            if isinstance(part, Upsampler):
                stack.enter_context(part.register_forward_hook(from_below))
        for module in (network.head, network.to_image):
            stack.enter_context(module.register_forward_hook(of_octave))
        yield


@contextmanager
def _predicting(module: CarafeUpsample, logits: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """The module takes its kernels' logits from that function of its features."""
    # An attribute of the object hides the method of its class, until it is deleted. Contexts may be nested.
    hidden = vars(module).get("_logits")
    vars(module)["_logits"] = logits
    try:
        yield
    finally:
        if hidden is None:
            del vars(module)["_logits"]
        else:
            vars(module)["_logits"] = hidden


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
            stack.enter_context(_predicting(module, predictor(module, kernel)))
        yield


def _unnormalized(kernels: Tensor, normalizer: str) -> Tensor:
    """Logits that the normalizer turns into these kernels [G, K, S²]; their order is that of the channels."""
    if normalizer == "softmax":
        logits = kernels.log()
    elif normalizer == "sigmoid":
        logits = kernels.logit()
    else:  # σ(l) / Σ σ(l) leaves a factor free: one that keeps σ(l) away from 1
        logits = (kernels / (2 * kernels.amax(1, keepdim=True).clamp(min=_TINY))).logit()
    return logits.clamp(_NO_WEIGHT, -_NO_WEIGHT)


def _normalized(logits: Tensor, module: CarafeUpsample) -> Tensor:
    """What the operator makes of logits: kernels [N, G, K, S², H, W] float32."""
    logits = logits.float().unflatten(1, _kernel_shape(module))
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
        """In this context what the level does is added."""
        predict = self._module._logits
        latest: list[Tensor] = []

        def logits(features: Tensor) -> Tensor:
            latest[:] = [predict(features)]
            return latest[0]

        def hook(_module: nn.Module, _inputs: Any, output: tuple[Tensor, Tensor | None]) -> None:
            self._height = output[0].shape[2]
            self._add(_normalized(latest.pop(), self._module), output[1])

        with _predicting(self._module, logits), self._module.register_forward_hook(hook):
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
        _, taps, _ = _kernel_shape(self._module)
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
    """A hook of a partial convolution: adds the energy that its output has from each of several parts."""

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
