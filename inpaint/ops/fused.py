"""Passes over memory that a network makes at inference, each fused into one: compiled for the CPU.

The compiled kernels have no gradient. Where one is wanted, on other devices, and where there is no compiled
library, `fused_reference.py` runs, which is differentiable; the two agree to the rounding of the results'
type. `csrc/README.md` says how the kernels work.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import functional, fused_reference
from .memory_format import is_channels_last

_MOST_CHANNELS = 1024
_TYPES = (torch.float32, torch.bfloat16)


def membrane_raised(fill: Tensor, colour: Tensor, known: Tensor, sweeps: int) -> Tensor:
    """Bring a fill up to a finer level, and sweep its unknown pixels towards the membrane.

    Unknown pixels begin at the bilinear interpolation of the fill. Each sweep moves them towards the mean of
    the 3×3 pixels around them, as far as the picture reaches, by Chebyshev semi-iteration (Golub and Varga,
    Numerische Mathematik 3, 1961): ω times as far as a plain sweep would, from the fill *before* the last.
    That may overshoot, so the result is kept in the range that it started from.

    Args:
        fill: [N, C, h, w] float32, of the coarser level.
        colour: [N, C, H, W] float32, finite where nothing is known.
        known: [N, 1, H, W] float32, 0 or 1.
        sweeps: at least 1.

    Returns:
        [N, C, H, W] float32: colour where known is 1.
    """
    if is_compiled(fill, colour, known) and fill.dtype == colour.dtype == known.dtype == torch.float32:
        operands = (fill.contiguous(), colour.contiguous(), known.contiguous())
        return torch.ops.inpaint.membrane_raised(*operands, sweeps)
    return fused_reference.membrane_raised(fill, colour, known, sweeps)


def concatenate_known(features: Sequence[Tensor], valids: Sequence[Tensor | None]) -> Tensor:
    """Return x·v of several tensors side by side, by selection where v = 0: NaN there does not come through.

    Args:
        features: [N, C, H, W] each.
        valids: [N, 1, H, W] or [N, C, H, W] in [0, 1] for each of them; None for what is taken as it is.

    Returns:
        [N, ΣC, H, W] in the type of the first.
    """
    masks = [valid for valid in valids if valid is not None]
    if (
        is_compiled(*features, *masks)
        and all(x.dtype in _TYPES for x in features)
        and all(v.dtype == torch.float32 and v.shape[1] == 1 and v.is_contiguous() for v in masks)
        and is_channels_last(features[0])
    ):
        places, count = [], 0
        for valid in valids:
            places.append(-1 if valid is None else count)
            count += valid is not None
        return torch.ops.inpaint.concatenate_known(list(features), masks, places)
    return fused_reference.concatenate_known(features, valids)


def renormalize(sums: Tensor, known_mass: Tensor, full_mass: float, bias: Tensor | None) -> Tensor:
    """Return sums·full/known + bias where known > 0, else 0.

    That is the second half of a partial convolution, plain or transposed.

    Args:
        sums: [N, C, H, W], the convolution of x·v without bias.
        known_mass: [N, 1, H, W], the window's sum of v, float32.
        full_mass: the window's sum if all were known.
        bias: [C] or None.

    Returns:
        [N, C, H, W] in the type of sums.
    """
    if _on_pixels(sums, bias) and known_mass.dtype == torch.float32 and known_mass.is_contiguous():
        return torch.ops.inpaint.renormalize(sums, known_mass, full_mass, bias)
    return fused_reference.renormalize(sums, known_mass, full_mass, bias)


def channel_norm(x: Tensor, weight: Tensor, negative_slope: float = 1.0) -> Tensor:
    """Normalise over the channels of each pixel, scale without a shift, then apply a leaky rectifier.

    Args:
        x: [N, C, H, W].
        weight: [C] float32.
        negative_slope: of the rectifier; 1 is none.

    Returns:
        [N, C, H, W] in the type of x.
    """
    if _on_pixels(x, weight):
        return torch.ops.inpaint.channel_norm(x, weight, fused_reference.EPSILON, negative_slope)
    return fused_reference.channel_norm(x, weight, negative_slope)


def is_compiled(*tensors: Tensor) -> bool:
    """Return whether compiled kernels run for these tensors: on the CPU, and no gradient wanted of them."""
    if not functional.runs_compiled("cpu"):
        return False
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return False
    return all(tensor.device.type in ("cpu", "meta") for tensor in tensors)


def _on_pixels(x: Tensor, weight: Tensor | None) -> bool:
    weights = () if weight is None else (weight,)
    return (
        is_compiled(x, *weights)
        and x.dtype in _TYPES
        and all(w.dtype == torch.float32 and w.is_contiguous() for w in weights)
        and x.dim() == 4
        and x.shape[1] <= _MOST_CHANNELS
        and is_channels_last(x)
        and x.is_contiguous(memory_format=torch.channels_last)
    )
