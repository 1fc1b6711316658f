"""Passes over memory that a network makes at inference, each fused into one: compiled for the CPU.

They have no gradient. Where one is wanted, on other devices, and where there is no compiled library, the
plain-PyTorch twin runs, which is differentiable; twins and kernels agree to the rounding of the results'
type. `csrc/README.md` says how the kernels work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import functional

# A window with less known mass than this is divided by this: a valid that has faded to 1e-38 would otherwise
# turn the renormalisation into infinity times zero.
_LEAST_MASS = 1e-30
# The spectral radius that the acceleration assumes: what is left of the smoothest error after a plain sweep.
_SPECTRAL_RADIUS = 0.98
_EPSILON = 1e-6
_MOST_CHANNELS = 1024
_TYPES = (torch.float32, torch.bfloat16)


# ----------------------------------------------------------------------------------------------------------
# The public functions


def membrane_raised(fill: Tensor, colour: Tensor, known: Tensor, sweeps: int) -> Tensor:
    """Brings a fill up to a finer level, and sweeps its unknown pixels towards the membrane.

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
    if _compiled(fill, colour, known) and fill.dtype == colour.dtype == known.dtype == torch.float32:
        operands = (fill.contiguous(), colour.contiguous(), known.contiguous())
        return torch.ops.inpaint.membrane_raised(*operands, sweeps)
    return membrane_raised_twin(fill, colour, known, sweeps)


def concatenate_known(features: Sequence[Tensor], valids: Sequence[Tensor | None]) -> Tensor:
    """x·v of several tensors side by side, by selection where v = 0: NaN there does not come through.

    Args:
        features: [N, C, H, W] each.
        valids: [N, 1, H, W] or [N, C, H, W] in [0, 1] for each of them; None for what is taken as it is.

    Returns:
        [N, ΣC, H, W] in the type of the first.
    """
    masks = [valid for valid in valids if valid is not None]
    if (
        _compiled(*features, *masks)
        and all(x.dtype in _TYPES for x in features)
        and all(v.dtype == torch.float32 and v.shape[1] == 1 and v.is_contiguous() for v in masks)
        and _is_channels_last(features[0])
    ):
        places, count = [], 0
        for valid in valids:
            places.append(-1 if valid is None else count)
            count += valid is not None
        return torch.ops.inpaint.concatenate_known(list(features), masks, places)
    return concatenate_known_twin(features, valids)


def renormalize(sums: Tensor, known_mass: Tensor, full_mass: float, bias: Tensor | None) -> Tensor:
    """sums·full/known + bias where known > 0, else 0: the second half of a partial (transposed) convolution.

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
    return renormalize_twin(sums, known_mass, full_mass, bias)


def channel_norm(x: Tensor, weight: Tensor, negative_slope: float = 1.0) -> Tensor:
    """Layer normalisation over the channels of each pixel, without a shift, then a leaky rectifier.

    Args:
        x: [N, C, H, W].
        weight: [C] float32.
        negative_slope: of the rectifier; 1 is none.

    Returns:
        [N, C, H, W] in the type of x.
    """
    if _on_pixels(x, weight):
        return torch.ops.inpaint.channel_norm(x, weight, _EPSILON, negative_slope)
    return channel_norm_twin(x, weight, negative_slope)


# ----------------------------------------------------------------------------------------------------------
# The twins


def membrane_raised_twin(fill: Tensor, colour: Tensor, known: Tensor, sweeps: int) -> Tensor:
    """`membrane_raised` in plain PyTorch."""
    unknown = 1 - known
    fill = F.interpolate(fill, size=colour.shape[-2:], mode="bilinear", align_corners=False)
    fill = torch.lerp(colour, fill, unknown)
    lowest, highest = fill.amin((2, 3), keepdim=True), fill.amax((2, 3), keepdim=True)
    before, omega = fill, 1.0
    for sweep in range(sweeps):
        mean = F.avg_pool2d(fill, 3, stride=1, padding=1, count_include_pad=False)
        if sweep > 0:
            omega = 1 / (1 - _SPECTRAL_RADIUS**2 * (0.5 if sweep == 1 else omega / 4))
        before, fill = fill, torch.lerp(before, mean, omega * unknown)
    return torch.clamp(fill, lowest, highest)


def concatenate_known_twin(features: Sequence[Tensor], valids: Sequence[Tensor | None]) -> Tensor:
    """`concatenate_known` in plain PyTorch."""
    known = [
        x if v is None else torch.where(v > 0, x * v.to(x.dtype), 0)
        for x, v in zip(features, valids, strict=True)
    ]
    return torch.cat([x.to(features[0].dtype) for x in known], dim=1)


def renormalize_twin(sums: Tensor, known_mass: Tensor, full_mass: float, bias: Tensor | None) -> Tensor:
    """`renormalize` in plain PyTorch."""
    known = known_mass > 0
    ratio = torch.where(known, full_mass / known_mass.clamp(min=_LEAST_MASS), 0).to(sums.dtype)
    if bias is None:
        return sums * ratio
    # The bias stays a [1, C, 1, 1] view, so that it is the sums' memory format that is kept.
    return torch.where(known, torch.addcmul(bias.to(sums.dtype).reshape(1, -1, 1, 1), sums, ratio), 0)


def channel_norm_twin(x: Tensor, weight: Tensor, negative_slope: float = 1.0) -> Tensor:
    """`channel_norm` in plain PyTorch."""
    pixels = x.permute(0, 2, 3, 1)  # [N, H, W, C], contiguous in channels_last
    normal = F.layer_norm(pixels, weight.shape, weight, eps=_EPSILON).permute(0, 3, 1, 2)
    return normal if negative_slope == 1 else F.leaky_relu(normal, negative_slope, inplace=True)


# ----------------------------------------------------------------------------------------------------------
# Which of the two


def is_compiled(*tensors: Tensor) -> bool:
    """Would the compiled kernels run for these tensors: on the CPU, and no gradient wanted of them?"""
    return _compiled(*tensors)


def _compiled(*tensors: Tensor) -> bool:
    if "cpu" not in functional._KERNELS or functional._leaves_for_onnx():
        return False
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return False
    return all(tensor.device.type in ("cpu", "meta") for tensor in tensors)


def _on_pixels(x: Tensor, weight: Tensor | None) -> bool:
    weights = () if weight is None else (weight,)
    return (
        _compiled(x, *weights)
        and x.dtype in _TYPES
        and all(w.dtype == torch.float32 and w.is_contiguous() for w in weights)
        and x.dim() == 4
        and x.shape[1] <= _MOST_CHANNELS
        and _is_channels_last(x)
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def _is_channels_last(x: Tensor) -> bool:
    """By the rule of csrc/operators.h; what fits both formats is left to the twin, which keeps either."""
    return x.shape[1] > 1 and x.shape[2] * x.shape[3] > 1 and x.stride(1) == 1


# ----------------------------------------------------------------------------------------------------------
# What torch has to know


def _pixels_like(x: Tensor, channels: int) -> Tensor:
    n, _, h, w = x.shape
    return torch.empty((n, channels, h, w), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _no_gradient(ctx: Any, *grads: Tensor) -> None:
    raise NotImplementedError(
        "inpaint: the fused operators have no gradient; the functions of inpaint.ops.fused take the twin "
        "where one is wanted"
    )


def _picked(argument: Any, dim: Any, index: int) -> Any:
    if isinstance(argument, list | tuple):
        return [_picked(*pair, index) for pair in zip(argument, dim or [None] * len(argument), strict=True)]
    return argument if dim is None else argument.select(dim, index)


def _vmap(op: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, int]]:
    """One after the other: inference has no use for more."""

    def rule(info: Any, in_dims: tuple[Any, ...], *given: Any) -> tuple[Tensor, int]:
        results = [
            op(*(_picked(argument, dim, index) for argument, dim in zip(given, in_dims, strict=True)))
            for index in range(info.batch_size)
        ]
        return torch.stack(results), 0

    return rule


def _register() -> None:
    fakes: dict[str, Callable[..., Tensor]] = {
        "membrane_raised": lambda fill, colour, known, sweeps: torch.empty_like(colour),
        "concatenate_known": lambda features, valids, places: _pixels_like(
            features[0], sum(x.shape[1] for x in features)
        ),
        "renormalize": lambda sums, known_mass, full_mass, bias: _pixels_like(sums, sums.shape[1]),
        "channel_norm": lambda x, weight, epsilon, negative_slope: _pixels_like(x, x.shape[1]),
    }
    for name, fake in fakes.items():
        torch.library.register_fake(f"inpaint::{name}", fake)
        torch.library.register_vmap(f"inpaint::{name}", _vmap(getattr(torch.ops.inpaint, name).default))
        torch.library.register_autograd(f"inpaint::{name}", _no_gradient)


if "cpu" in functional._KERNELS:
    _register()
