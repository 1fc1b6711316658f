"""What torch has to know of the compiled operators: shapes, gradients, autocast, vmap, FLOPs.

With these the operators go through `torch.compile` and `torch.export` without a graph break.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .memory_format import memory_format_of


def _empty_like_format(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return an empty tensor in the memory format of `like`."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=memory_format_of(like))


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
    n, c, h, w = _output_shape(features, scale)
    return _empty_like_format(features, (n, c, h, w)), valid.new_empty((n, 1, h, w))


def _down_shape(features: Tensor, stride: int) -> tuple[int, ...]:
    n, c, h, w = features.shape
    return (n, c, (h + stride - 1) // stride, (w + stride - 1) // stride)


def _down_fake(
    features: Tensor,
    logits: Tensor,
    kernel_size: int = 5,
    groups: int = 1,
    stride: int = 2,
    normalizer: str = "softmax",
) -> Tensor:
    return _empty_like_format(features, _down_shape(features, stride))


def _down_masked_fake(
    features: Tensor,
    logits: Tensor,
    kernel_size: int,
    groups: int,
    stride: int,
    normalizer: str,
    valid: Tensor,
) -> tuple[Tensor, Tensor]:
    n, c, h, w = _down_shape(features, stride)
    return _empty_like_format(features, (n, c, h, w)), valid.new_empty((n, 1, h, w))


def _down_backward_fake(
    grad: Tensor,
    features: Tensor,
    logits: Tensor,
    kernel_size: int,
    groups: int,
    stride: int,
    normalizer: str,
    valid: Tensor | None,
    features_wanted: bool,
    logits_wanted: bool,
) -> tuple[Tensor, Tensor]:
    return _gradients_fake(features, logits, (features_wanted, logits_wanted))


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
    # Without a formula of its own, an operator that is called inside another one's formula gives wrong second
    # derivatives, and no error.
    raise NotImplementedError(
        "carafe: second derivatives are not available in the compiled operator; set INPAINT_OPS=reference, "
        "whose plain-PyTorch form has them"
    )


def _autocast(op: Any, device_type: str) -> Any:
    """Return a rule that casts features and kernels as those of a convolution are, and leaves valid."""
    excluded = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, f"Autocast{device_type.upper()}"))

    def cast_and_call(features: Tensor, kernels: Tensor, *rest: Any) -> Any:
        lower = torch.get_autocast_dtype(device_type)
        with torch._C._ExcludeDispatchKeyGuard(excluded):
            cast = [t.to(lower) if t.dtype in (torch.float32, torch.bfloat16, torch.float16) else t
                    for t in (features, kernels)]  # fmt: skip
            return op(*cast, *rest)

    return cast_and_call


def _vmap(op: Any) -> Callable[..., Any]:
    """Return a rule that makes the mapped dimension part of the batch: its pictures are independent."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Any, Any]:
        size = info.batch_size

        def fold(argument: Any, dim: int | None) -> Any:
            if not isinstance(argument, Tensor):
                return argument
            first = argument.expand(size, *argument.shape) if dim is None else argument.movedim(dim, 0)
            return first.flatten(0, 1)

        def unfold(result: Tensor) -> tuple[Tensor, int | None]:
            if result.dim() == 1:  # a gradient that is not wanted
                return result, None
            return result.unflatten(0, (size, result.shape[0] // size)), 0

        results = op(*map(fold, arguments, in_dims))
        if isinstance(results, Tensor):
            return unfold(results)
        return tuple(zip(*map(unfold, results), strict=True))  # type: ignore[return-value]

    return rule


def _flops(
    features_shape: tuple[int, ...],
    kernels_shape: tuple[int, ...],
    kernel_size: int = 5,
    groups: int = 1,
    scale: int = 2,
    *rest: Any,
    **named: Any,
) -> int:
    """Count a multiplication and an addition for each tap, channel and output pixel, as the paper does (3.4).

    Normalisation is left out, as torch's formulas leave out what is not a product.
    """
    n, c, h, w = features_shape
    return 2 * n * c * h * w * (kernel_size * scale) ** 2


def _down_flops(
    features_shape: tuple[int, ...],
    logits_shape: tuple[int, ...],
    kernel_size: int = 5,
    *rest: Any,
    **named: Any,
) -> int:
    """Count the same for downsampling, whose logits have the output's size."""
    n, c, _, _ = features_shape
    return 2 * n * c * logits_shape[2] * logits_shape[3] * kernel_size**2


def _backward_flops(
    forward: Callable[..., int], grad_shape: tuple[int, ...], *arguments: Any, **named: Any
) -> int:
    """Count as many products again for each gradient that is wanted."""
    *_, features_wanted, kernels_wanted = arguments
    return (bool(features_wanted) + bool(kernels_wanted)) * forward(*arguments)


def register(namespace: str) -> torch.library.Library:
    """Register all of this for the CARAFE operators, for as long as the result is kept.

    Args:
        namespace: `inpaint`, or that of another library with the same schemas.
    """
    ops = getattr(torch.ops, namespace)
    forward = {name: getattr(ops, name).default for name in ("carafe", "carafe_fused", "carafe_down")}
    backward = {f"{name}_backward": getattr(ops, f"{name}_backward").default for name in forward}
    forward |= {f"{name}.masked": getattr(ops, name).masked for name in ("carafe_fused", "carafe_down")}
    fakes: dict[str, Callable[..., Any]] = {
        "carafe": _carafe_fake,
        "carafe_backward": _carafe_backward_fake,
        "carafe_fused": _fused_fake,
        "carafe_fused.masked": _masked_fake,
        "carafe_fused_backward": _fused_backward_fake,
        "carafe_down": _down_fake,
        "carafe_down.masked": _down_masked_fake,
        "carafe_down_backward": _down_backward_fake,
    }
    gradients: dict[str, tuple[Callable[..., Any], Callable[..., None], Any]] = {
        "carafe": (_carafe_gradient, _setup_carafe, ops.carafe_backward),
        "carafe_fused": (_fused_gradient, _setup_fused, ops.carafe_fused_backward),
        "carafe_fused.masked": (_masked_gradient, _setup_masked, ops.carafe_fused_backward),
        "carafe_down": (_fused_gradient, _setup_fused, ops.carafe_down_backward),
        "carafe_down.masked": (_masked_gradient, _setup_masked, ops.carafe_down_backward),
    }
    for name, op in (forward | backward).items():
        torch.library.register_fake(f"{namespace}::{name}", fakes[name])
        torch.library.register_vmap(f"{namespace}::{name}", _vmap(op))
    for name, (gradient, setup, backward_op) in gradients.items():
        formula = functools.partial(gradient, backward_op)
        torch.library.register_autograd(f"{namespace}::{name}", formula, setup_context=setup)
    for name in backward:
        torch.library.register_autograd(f"{namespace}::{name}", _no_second_order)
    registry = torch.library.Library(namespace, "FRAGMENT")
    for device in ("cpu", "cuda"):
        for name, op in forward.items():
            registry.impl(name, _autocast(op, device), f"Autocast{device.upper()}")
    register_flop_formula([ops.carafe, ops.carafe_fused])(_flops)
    register_flop_formula(ops.carafe_down)(_down_flops)
    for packets, count in (
        ([ops.carafe_backward, ops.carafe_fused_backward], _flops),
        ([ops.carafe_down_backward], _down_flops),
    ):
        register_flop_formula(packets)(functools.partial(_backward_flops, count))
    return registry


# ------------------------------------------------------------------------------------------------------------
# The fused passes of inference, and the exemplar operators
# ------------------------------------------------------------------------------------------------------------


def _pixels_like(x: Tensor, channels: int) -> Tensor:
    n, _, h, w = x.shape
    return torch.empty((n, channels, h, w), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _select(argument: Any, dim: Any, index: int) -> Any:
    if isinstance(argument, list | tuple):
        return [_select(*pair, index) for pair in zip(argument, dim or [None] * len(argument), strict=True)]
    return argument if dim is None else argument.select(dim, index)


def _vmap_in_turn(op: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, int]]:
    """Return a rule that calls the operator once for each place of the mapped dimension."""

    def rule(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Tensor, int]:
        results = [
            op(*(_select(argument, dim, index) for argument, dim in zip(arguments, in_dims, strict=True)))
            for index in range(info.batch_size)
        ]
        return torch.stack(results), 0

    return rule


def _no_fused_gradient(ctx: Any, *grads: Tensor) -> None:
    raise NotImplementedError(
        "inpaint: the fused operators have no gradient; the functions of inpaint.ops.fused run "
        "plain PyTorch where one is wanted"
    )


def _register_fused() -> None:
    fakes: dict[str, Callable[..., Tensor]] = {
        "membrane_raised": lambda fill, colour, known, sweeps: torch.empty_like(colour),
        "concatenate_known": lambda features, valids, places: _pixels_like(
            features[0], sum(x.shape[1] for x in features)
        ),
        "renormalize": lambda sums, known_mass, full_mass, bias: _pixels_like(sums, sums.shape[1]),
        "channel_norm": lambda x, weight, epsilon, negative_slope: _pixels_like(x, x.shape[1]),
    }
    for name, fake in fakes.items():
        op = getattr(torch.ops.inpaint, name).default
        torch.library.register_fake(f"inpaint::{name}", fake)
        torch.library.register_vmap(f"inpaint::{name}", _vmap_in_turn(op))
        torch.library.register_autograd(f"inpaint::{name}", _no_fused_gradient)


def _no_exemplar_trace(*arguments: Any) -> Any:
    raise NotImplementedError(
        "inpaint: the exemplar operators cannot be traced: what they return depends on the pictures' values; "
        "compile or export the network, and lay the detail afterwards"
    )


def _no_exemplar_gradient(ctx: Any, *grads: Tensor) -> Any:
    raise NotImplementedError("inpaint: the exemplar operators have no gradient")


def _register_exemplars() -> None:
    for name in ("exemplar_search", "exemplar_vote"):
        torch.library.register_fake(f"inpaint::{name}", _no_exemplar_trace)
        torch.library.register_autograd(f"inpaint::{name}", _no_exemplar_gradient)


def register_all() -> torch.library.Library:
    """Register everything of `torch.ops.inpaint`, for as long as the result is kept."""
    _register_fused()
    _register_exemplars()
    return register("inpaint")
