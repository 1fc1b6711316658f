"""The public functions, and what torch has to know of the compiled operators: shapes, gradients, autocast.

CARAFE: Content-Aware ReAssembly of FEatures, Wang et al., ICCV 2019. Masked reassembly carries the validity
of partial convolution (Liu et al., ECCV 2018) through the reassembly kernels; `csrc/README.md` derives it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import cuda, library, reference

NORMALIZERS = ("softmax", "sigmoid", "sigmoid_normalized")
_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def carafe(
    features: Tensor, kernels: Tensor, kernel_size: int = 5, groups: int = 1, scale: int = 2
) -> Tensor:
    """Reassembles features with ready, normalised kernels: y[o] = Σₖ w[o, k]·x[⌊o/σ⌋ + k].

    The argument order and the layout are those of mmcv's `carafe`.

    Args:
        features: [N, C, H, W]; float32, float64, bfloat16 or float16; any strides.
        kernels: [N, groups·k², σH, σW], channel g·k² + i·k + j; its type may differ from that of features.
        kernel_size: k, odd.
        groups: channels c of group ⌊c·groups/C⌋ share kernels; divides C.
        scale: σ, the up-sampling factor, at least 1.

    Returns:
        [N, C, σH, σW] in the type and memory format of features. Sums are kept in float32, in float64 if one
        of the two is float64. Pixels outside the image count as zero.

    Raises:
        ValueError: a shape or number does not fit; the message names it.
        TypeError: an unsupported dtype.
    """
    _check("carafe", features, kernel_size, groups, scale)
    _check_tensor(
        "carafe", "kernels", kernels, _kernels_shape(features, kernel_size, groups, scale), features
    )
    if _has_kernel(features):
        return torch.ops.inpaint.carafe(features, kernels, kernel_size, groups, scale)
    return reference.carafe(features, kernels, kernel_size, groups, scale)


def carafe_fused(
    features: Tensor,
    logits: Tensor,
    kernel_size: int = 5,
    groups: int = 1,
    scale: int = 2,
    normalizer: str = "softmax",
    valid: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Normalises, pixel-shuffles and reassembles in one pass; the shuffled kernels are never written out.

    With w = normalizer(pixel_shuffle(logits, σ)) over the k² taps of a group this is `carafe(features, w)`.
    Given valid it is the masked reassembly, for each output pixel and group

        W = Σₖ wₖ,   s = Σₖ wₖ·vₖ,   y = (W/s)·Σₖ wₖ·vₖ·xₖ  (0 where s = 0),   v' = s/W  (mean over groups).

    Pixels outside the image are zero features in the plain form, unknown in the masked one. What features
    hold where valid is 0 is never read into a product, so NaN there reaches neither results nor gradients.

    Args:
        features: [N, C, H, W]; float32, float64, bfloat16 or float16; any strides.
        logits: [N, groups·k²·σ², H, W], the kernel predictor's output in pixel-shuffle channel order.
        kernel_size: k, odd.
        groups: divides C.
        scale: σ, at least 1.
        normalizer: `softmax`, `sigmoid`, or `sigmoid_normalized` (σ(l) / Σ σ(l)).
        valid: [N, 1, H, W] in [0, 1], floating point or bool; None for the plain form.

    Returns:
        [N, C, σH, σW] in the type and memory format of features; with valid, that and v' [N, 1, σH, σW] in
        the type of valid (float32 for bool). No gradient flows to valid nor through v'.

    Raises:
        ValueError: a shape, number or name does not fit; the message names it.
        TypeError: an unsupported dtype.
    """
    _check("carafe_fused", features, kernel_size, groups, scale)
    n, _, h, w = features.shape
    shape = (n, groups * kernel_size**2 * scale**2, h, w)
    _check_tensor("carafe_fused", "logits", logits, shape, features)
    if normalizer not in NORMALIZERS:
        raise ValueError(f"carafe_fused: normalizer must be one of {NORMALIZERS}, got {normalizer!r}")
    if valid is not None:
        if valid.dtype == torch.bool:
            valid = valid.float()
        _check_tensor("carafe_fused", "valid", valid, (n, 1, h, w), features)
    if not _has_kernel(features):
        return reference.carafe_fused(features, logits, kernel_size, groups, scale, normalizer, valid)
    if valid is None:
        return torch.ops.inpaint.carafe_fused(features, logits, kernel_size, groups, scale, normalizer)
    return torch.ops.inpaint.carafe_fused(features, logits, kernel_size, groups, scale, normalizer, valid)


def implementation(device: torch.device | str = "cpu") -> str:
    """`compiled` or `reference`: what runs for tensors on this device."""
    return "compiled" if torch.device(device).type in _KERNELS else "reference"


def _has_kernel(features: Tensor) -> bool:
    return features.device.type in _KERNELS


def _check(op: str, features: Tensor, kernel_size: int, groups: int, scale: int) -> None:
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"{op}: kernel_size must be odd and at least 1, got {kernel_size}")
    if scale < 1:
        raise ValueError(f"{op}: scale must be at least 1, got {scale}")
    if groups < 1:
        raise ValueError(f"{op}: groups must be at least 1, got {groups}")
    if features.dim() != 4:
        raise ValueError(f"{op}: features must have shape [N, C, H, W], got {list(features.shape)}")
    if features.dtype not in _DTYPES:
        raise TypeError(f"{op}: features must be float32, float64, bfloat16 or float16, got {features.dtype}")
    if features.shape[1] % groups:
        raise ValueError(
            f"{op}: the channels of features, {features.shape[1]}, must be a multiple of groups = {groups}"
        )


def _check_tensor(op: str, name: str, tensor: Tensor, shape: tuple[int, ...], features: Tensor) -> None:
    if tensor.dim() != 4 or tuple(tensor.shape) != shape:
        raise ValueError(f"{op}: {name} must have shape {list(shape)}, got {list(tensor.shape)}")
    if tensor.dtype not in _DTYPES:
        raise TypeError(f"{op}: {name} must be float32, float64, bfloat16 or float16, got {tensor.dtype}")
    if tensor.device != features.device:
        raise ValueError(f"{op}: {name} is on {tensor.device}, features on {features.device}")


def _kernels_shape(features: Tensor, kernel_size: int, groups: int, scale: int) -> tuple[int, ...]:
    n, _, h, w = features.shape
    return (n, groups * kernel_size**2, scale * h, scale * w)


# ------------------------------------------------------------------------------------------------------------
# Registration
# ------------------------------------------------------------------------------------------------------------


def _empty_like_format(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """An empty tensor in the memory format of `like`, by the rule of csrc/carafe.h."""
    channels_last = like.shape[1] > 1 and like.shape[2] * like.shape[3] > 1 and like.stride(1) == 1
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=memory_format)


def _output_shape(features: Tensor, scale: int) -> tuple[int, ...]:
    n, c, h, w = features.shape
    return (n, c, scale * h, scale * w)


def _carafe_fake(
    features: Tensor, kernels: Tensor, kernel_size: int = 5, groups: int = 1, scale: int = 2
) -> Tensor:
    return _empty_like_format(features, _output_shape(features, scale))


def _fused_fake(
    features: Tensor,
    logits: Tensor,
    kernel_size: int = 5,
    groups: int = 1,
    scale: int = 2,
    normalizer: str = "softmax",
) -> Tensor:
    return _empty_like_format(features, _output_shape(features, scale))


def _masked_fake(
    features: Tensor,
    logits: Tensor,
    kernel_size: int,
    groups: int,
    scale: int,
    normalizer: str,
    valid: Tensor,
) -> tuple[Tensor, Tensor]:
    n, _, h, w = _output_shape(features, scale)
    return _empty_like_format(features, (n, features.shape[1], h, w)), valid.new_empty((n, 1, h, w))


def _gradients_fake(features: Tensor, kernels: Tensor, wanted: tuple[bool, bool]) -> tuple[Tensor, Tensor]:
    first, second = (
        _empty_like_format(of, tuple(of.shape)) if want else of.new_empty((0,))
        for of, want in zip((features, kernels), wanted, strict=True)
    )
    return first, second


def _carafe_backward_fake(
    grad: Tensor,
    features: Tensor,
    kernels: Tensor,
    kernel_size: int,
    groups: int,
    scale: int,
    features_wanted: bool,
    kernels_wanted: bool,
) -> tuple[Tensor, Tensor]:
    return _gradients_fake(features, kernels, (features_wanted, kernels_wanted))


def _fused_backward_fake(
    grad: Tensor,
    features: Tensor,
    logits: Tensor,
    kernel_size: int,
    groups: int,
    scale: int,
    normalizer: str,
    valid: Tensor | None,
    features_wanted: bool,
    logits_wanted: bool,
) -> tuple[Tensor, Tensor]:
    return _gradients_fake(features, logits, (features_wanted, logits_wanted))


def _setup_carafe(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    features, kernels, *ctx.numbers = inputs
    ctx.save_for_backward(features, kernels)


def _setup_fused(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    features, logits, *ctx.settings = inputs
    ctx.save_for_backward(features, logits)


def _setup_masked(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    features, logits, *ctx.settings, valid = inputs
    ctx.save_for_backward(features, logits, valid)
    ctx.mark_non_differentiable(output[1])


def _carafe_gradient(backward: Any, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    wanted = ctx.needs_input_grad[:2]
    gradients = backward(grad, *ctx.saved_tensors, *ctx.numbers, *wanted)
    return (*_only(gradients, wanted), None, None, None)


def _fused_gradient(backward: Any, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    wanted = ctx.needs_input_grad[:2]
    gradients = backward(grad, *ctx.saved_tensors, *ctx.settings, None, *wanted)
    return (*_only(gradients, wanted), None, None, None, None)


def _masked_gradient(backward: Any, ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    features, logits, valid = ctx.saved_tensors
    wanted = ctx.needs_input_grad[:2]
    gradients = backward(grad, features, logits, *ctx.settings, valid, *wanted)
    return (*_only(gradients, wanted), None, None, None, None, None)


def _only(gradients: tuple[Tensor, Tensor], wanted: tuple[bool, bool]) -> list[Tensor | None]:
    return [gradient if want else None for gradient, want in zip(gradients, wanted, strict=True)]


def _no_second_order(ctx: Any, *grads: Tensor) -> None:
    # Without this an operator called inside a formula, having none of its own, returns silently wrong
    # second derivatives.
    raise NotImplementedError(
        "carafe: second derivatives are not available in the compiled operator; set INPAINT_OPS=reference, "
        "whose plain-PyTorch form has them"
    )


def _autocast(op: Any, device_type: str) -> Any:
    """Features and kernels are taken in autocast's type as a convolution's are; valid is left as it is."""
    excluded = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, f"Autocast{device_type.upper()}"))

    def cast_and_call(features: Tensor, kernels: Tensor, *rest: Any) -> Any:
        lower = torch.get_autocast_dtype(device_type)
        with torch._C._ExcludeDispatchKeyGuard(excluded):
            cast = [t.to(lower) if t.dtype in (torch.float32, torch.bfloat16, torch.float16) else t
                    for t in (features, kernels)]  # fmt: skip
            return op(*cast, *rest)

    return cast_and_call


def register(namespace: str) -> torch.library.Library:
    """Tells torch the operators' fakes, gradients and autocast rules, for as long as the result is kept.

    `namespace` is `inpaint`, or that of other libraries with the same schemas.
    """
    ops = getattr(torch.ops, namespace)
    fakes: dict[str, Callable[..., Any]] = {
        "carafe": _carafe_fake,
        "carafe_backward": _carafe_backward_fake,
        "carafe_fused": _fused_fake,
        "carafe_fused.masked": _masked_fake,
        "carafe_fused_backward": _fused_backward_fake,
    }
    for name, fake in fakes.items():
        torch.library.register_fake(f"{namespace}::{name}", fake)
    for name, gradient, setup, backward in (
        ("carafe", _carafe_gradient, _setup_carafe, ops.carafe_backward),
        ("carafe_fused", _fused_gradient, _setup_fused, ops.carafe_fused_backward),
        ("carafe_fused.masked", _masked_gradient, _setup_masked, ops.carafe_fused_backward),
    ):
        formula = functools.partial(gradient, backward)
        torch.library.register_autograd(f"{namespace}::{name}", formula, setup_context=setup)
    for name in ("carafe_backward", "carafe_fused_backward"):
        torch.library.register_autograd(f"{namespace}::{name}", _no_second_order)
    registry = torch.library.Library(namespace, "FRAGMENT")
    for device in ("cpu", "cuda"):
        key = f"Autocast{device.upper()}"
        registry.impl("carafe", _autocast(ops.carafe.default, device), key)
        registry.impl("carafe_fused", _autocast(ops.carafe_fused.default, device), key)
        registry.impl("carafe_fused.masked", _autocast(ops.carafe_fused.masked, device), key)
    return registry


_KERNELS: set[str] = set()  # the devices that have some
if library.load():
    _REGISTRY = register("inpaint")  # torch forgets the rules when this is collected
    _KERNELS |= {"cpu", "meta"} | ({"cuda"} if cuda.load() else set())
