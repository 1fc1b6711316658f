"""Where a pixel was gathered from: CARAFE's kernels, followed from an output pixel to its sources.

CARAFE's output is a weighted mean of a k×k window of its input, so the weights of one output pixel say where
it comes from, and through several levels they multiply: figure 5 of the paper (Wang et al., ICCV 2019) shows
them accumulated through the top-down path of a feature pyramid. Between two levels a network has
convolutions, too. They are passed over, as in the paper: a pixel of a level stands for itself.

With `valid` the weights are those of the masked reassembly, w·v / Σ w·v, so nothing comes from where valid is
0. In a `PyramidUNet` what is followed is the fill itself, octave by octave: the kernels of each head gather
from the coarser octave's picture; what they take of known pixels is from there, and what they take of the
hole was gathered in turn at that octave. What is left at the coarsest is of the smooth fill, a membrane over
the hole, which is followed, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import CarafeUpsample, Hole, coarsest_fill, halved, known_averages, raised
from ..ops import carafe_fused
from .base import Network
from .probes import carafe_levels
from .probes.hooks import whole_octaves
from .pyramid_unet import PyramidUNet


@dataclass(frozen=True)
class Reassembly:
    """One call of a `CarafeUpsample`, with all that its kernels are made of.

    Attributes:
        name: the module's name in the network, such as `decoder.0.upsample`.
        layer: the module.
        logits: of the kernels, [N, groups·k²·σ², H, W]; one picture can be followed, N = 1.
        valid: [N, 1, H, W], None where it was not given.
    """

    name: str
    layer: CarafeUpsample
    logits: Tensor
    valid: Tensor | None

    @property
    def source_size(self) -> tuple[int, int]:
        """Height and width of what was upsampled."""
        height, width = self.logits.shape[-2:]
        return int(height), int(width)

    @property
    def target_size(self) -> tuple[int, int]:
        """Height and width of the result, before any cropping."""
        height, width = self.source_size
        return height * self.layer.scale, width * self.layer.scale

    def gather(self, weights: Tensor) -> Tensor:
        """Return how much of each source pixel is in a weighted sum of output pixels.

        The sum's derivative with respect to the sources is just that, so the operator's own backward pass
        gives it. The groups of channels have kernels of their own; the weights are their mean.

        Args:
            weights: [σH, σW] float32, of the output pixels; fewer rows and columns where the result was
                cropped.

        Returns:
            [H, W] float32: 0 where valid is 0. It sums to what the weights sum to, less what falls on the
            zeros beyond the border, and on output pixels that have no known source.

        Raises:
            ValueError: the layer was given several pictures.
        """
        if len(self.logits) != 1:
            raise ValueError(
                f"{self.name} was given {len(self.logits)} pictures at once; only one can be followed"
            )
        groups = self.layer.groups
        height, width = self.target_size
        weights = F.pad(weights, (0, width - weights.shape[1], 0, height - weights.shape[0]))
        with torch.enable_grad():
            sources = self.logits.new_zeros(1, groups, *self.source_size, requires_grad=True)
            settings = (self.layer.up_kernel, groups, self.layer.scale, self.layer.normalizer)
            output = carafe_fused(sources, self.logits, *settings, valid=self.valid)
            if isinstance(output, tuple):
                output = output[0]
            (gathered,) = torch.autograd.grad(output, sources, (weights / groups).expand_as(output))
        return gathered[0].sum(0)


@dataclass(frozen=True)
class TracedLevel:
    """What a pixel has from one level.

    Attributes:
        name: of the CARAFE layer, or "smooth fill".
        weights: [H, W] float32, how much of each of the level's source pixels is in it.
        factor: pixels of the output along a side of a pixel of the level.
    """

    name: str
    weights: Tensor
    factor: int


@dataclass(frozen=True)
class Trace:
    """Where one pixel of a network's fill was gathered from.

    Attributes:
        pixel: row and column.
        levels: what it has from each level, from the finest to the coarsest.
        weights: [H, W] float32, all levels together, on the picture's known pixels; 0 in the hole.
        rest: what comes from no known pixel: places of the coarsest level under which all of the picture is
            hole. With the weights it sums to 1, less what falls beyond the border.
    """

    pixel: tuple[int, int]
    levels: list[TracedLevel]
    weights: Tensor
    rest: float


def record_reassemblies(network: nn.Module, run: Callable[[], Any]) -> list[Reassembly]:
    """Return every call of a CARAFE layer while a function runs, in order.

    Args:
        network: any module that has `CarafeUpsample` layers, such as a torchvision detector after
            `inpaint.compat.use_carafe`.
        run: calls the network with one picture.

    Raises:
        ValueError: the network has no such layer, or none was called.
    """
    layers = carafe_levels(network)
    if not layers:
        raise ValueError(f"{type(network).__name__} has no CARAFE layer, so there are no kernels to follow")
    calls: list[Reassembly] = []

    def hook(name: str) -> Callable[..., None]:
        def record(layer: CarafeUpsample, args: tuple[Any, ...], named: dict[str, Any], _output: Any) -> None:
            features, valid, hole = (*args, None, None)[:3]
            valid, hole = named.get("valid", valid), named.get("hole", hole)
            if valid is not None and (hole is None or hole is Hole.ARBITRARY):
                features = torch.where(valid > 0, features, 0)
            logits = layer._logits(features).float()
            calls.append(Reassembly(name, layer, logits, None if valid is None else valid.float()))

        return record

    with ExitStack() as hooks, torch.no_grad(), whole_octaves(network):
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_hook(hook(name), with_kwargs=True))
        run()
    if not calls:
        raise ValueError("none of the network's CARAFE layers was called")
    return calls


def gather_through(calls: Sequence[Reassembly], weights: Tensor) -> list[TracedLevel]:
    """Follow weights through a chain of reassemblies, each of which upsamples what the one before has made.

    Args:
        calls: in the order of the network, coarse to fine. Those that the last does not build on, by their
            sizes, are left out.
        weights: [H, W] float32, of the output pixels of the last call.

    Returns:
        What the output has from each level, from the finest to the coarsest.

    Raises:
        ValueError: the weights have another size than the last call's output.
    """
    levels: list[TracedLevel] = []
    size, factor = tuple(weights.shape), 1
    for call in reversed(calls):
        if not _is_cropped(size, call):
            if not levels:
                raise ValueError(f"the weights are {size}, and {call.name} made {call.target_size}")
            break
        weights = call.gather(weights)
        factor *= call.layer.scale
        levels.append(TracedLevel(call.name, weights, factor))
        size = call.source_size
    return levels


def trace(network: Network, image: Tensor, mask: Tensor, pixel: tuple[int, int]) -> Trace:
    """Return where a pixel of a network's fill was gathered from.

    Args:
        network: one of `inpaint.networks`, with CARAFE in it.
        image: [1, 3, H, W] in [0, 1], as for the network.
        mask: [1, 1, H, W], 1 = hole.
        pixel: row and column of a pixel of the hole.

    Raises:
        ValueError: the network has no CARAFE, or the pixel is not in the hole.

    >>> from inpaint.networks import build_network
    >>> network = build_network({"network": "PyramidUNet", "widths": [4, 8], "kernel_sizes": [3, 3],
    ...     "decoder_widths": [4], "encoder_blocks": [[], []], "decoder_blocks": [[]], "head_width": 4})
    >>> mask = torch.zeros(1, 1, 32, 32)
    >>> mask[..., 10:20, 10:20] = 1
    >>> found = trace(network, torch.rand(1, 3, 32, 32), mask, (15, 12))
    >>> round(float(found.weights.sum()) + found.rest, 4), float(found.weights[10:20, 10:20].sum())
    (1.0, 0.0)
    """
    row, column = pixel
    height, width = mask.shape[-2:]
    if not (0 <= row < height and 0 <= column < width and mask[0, 0, row, column]):
        raise ValueError(f"row {row}, column {column} is no pixel of the hole; only those are filled")
    calls = record_reassemblies(network, lambda: network(image, mask))
    start = torch.zeros(height, width, device=mask.device)
    start[row, column] = 1
    known = 1 - mask.float()
    if isinstance(network, PyramidUNet):
        levels, weights, rest = _through_octaves(network, calls, image, known, start)
    else:
        levels = gather_through(calls, start)
        weights, rest = _on_picture(levels[-1].weights, known[0, 0], levels[-1].factor)
    return Trace(pixel, levels, weights, rest)


def _through_octaves(
    network: PyramidUNet, calls: Sequence[Reassembly], image: Tensor, known: Tensor, weights: Tensor
) -> tuple[list[TracedLevel], Tensor, float]:
    """Follow the fill of a `PyramidUNet` through its octaves, fine to coarse, and through the smooth fill."""
    heads = [call for call in calls if call.name == "head"]
    levels = []
    share = known
    for octave, call in enumerate(reversed(heads), 1):
        share = halved(share)  # how much of the coarser octave's pixels is known
        here = share[0, 0]
        gathered = _without_padding(call.gather(weights), tuple(here.shape))
        levels.append(TracedLevel(call.name, gathered * here, 2**octave))
        weights = gathered * (1 - here)
    # The octaves' pixels, and the membrane that the coarsest begins with, are linear in the picture's
    # colours, but for clamping: derivatives say how much of each pixel of the picture is in them.
    with torch.enable_grad():
        colours = image.mean(1, keepdim=True).float().detach().requires_grad_()
        averages = known_averages(colours, known)
        taken = [(averages[n][0][0, 0] * level.weights).sum() for n, level in enumerate(levels, 1)]
        smooth = _smooth_fill(averages, tuple(weights.shape), network.settings.sweeps)[0, 0]
        (total,) = torch.autograd.grad(torch.stack(taken).sum(), colours, retain_graph=True)
        (through_smooth,) = torch.autograd.grad((smooth * weights).sum(), colours)
    through_smooth = through_smooth[0, 0] * known[0, 0]
    levels.append(TracedLevel("smooth fill", through_smooth, 1))
    return levels, total[0, 0] * known[0, 0] + through_smooth, float(weights.sum() - through_smooth.sum())


def _smooth_fill(averages: list[tuple[Tensor, Tensor]], size: tuple[int, ...], sweeps: int) -> Tensor:
    """Return the membrane at a size, as a `PyramidUNet` makes it below its coarsest octave."""
    fill = coarsest_fill(*averages[-1])
    for colour, known in averages[-2::-1]:
        if fill.shape[-2:] == size:
            break
        fill = raised(fill, colour, known, sweeps)
    return fill


def _on_picture(weights: Tensor, known: Tensor, factor: int) -> tuple[Tensor, float]:
    """Spread the weights of a coarse level over the known pixels that lie under each of its pixels.

    Args:
        weights: [h, w], of the level.
        known: [H, W], 1 where the picture is known, 0 in the hole.
        factor: pixels of the picture along a side of a pixel of the level.

    Returns:
        [H, W], and the sum of the weights under which no pixel is known.
    """
    height, width = known.shape
    padding = (0, weights.shape[1] * factor - width, 0, weights.shape[0] * factor - height)
    counts = F.avg_pool2d(F.pad(known, padding)[None], factor)[0] * factor**2
    each = torch.where(counts > 0, weights / counts.clamp(min=1), 0)
    spread = each.repeat_interleave(factor, 0).repeat_interleave(factor, 1)[:height, :width] * known
    return spread, float(weights[counts == 0].sum())


def _without_padding(weights: Tensor, size: tuple[int, ...]) -> Tensor:
    """Give the last row and column what fell on copies of them, to which an octave is padded."""
    height, width = size
    kept = weights[:height].clone()
    kept[-1] += weights[height:].sum(0)
    result = kept[:, :width].clone()
    result[:, -1] += kept[:, width:].sum(1)
    return result


def _is_cropped(size: tuple[int, ...], call: Reassembly) -> bool:
    """Return whether a call's output has this size, or had before it was cropped."""
    return all(
        whole - call.layer.scale < given <= whole for given, whole in zip(size, call.target_size, strict=True)
    )
