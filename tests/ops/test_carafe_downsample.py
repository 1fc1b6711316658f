"""Downsampling: against the loops, against unfold and pooling, and what torch asks of an operator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from carafe_examples import (
    EMULATED,
    TWIN,
    Implementation,
    Sizes,
    compiled_kernels,
    example,
    implementations,
    needs_compiled,
    needs_compiler,
    normalizers,
    solved,
)
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from inpaint.ops import carafe_downsample

# Odd sizes, all strides and kernels, groups, channels that fill vectors and such that do not; a stride above
# the kernel; tiles that lie inside the image.
SIZES = [
    Sizes(2, 6, 7, 9, kernel_size=3, groups=2, scale=1, stride=2),
    Sizes(1, 5, 8, 6, kernel_size=5, scale=1, stride=2),
    Sizes(1, 18, 10, 13, kernel_size=5, groups=3, scale=1, stride=3),
    Sizes(2, 4, 5, 11, kernel_size=7, groups=4, scale=1, stride=4),
    Sizes(1, 16, 9, 8, kernel_size=1, scale=1, stride=2),
    Sizes(1, 3, 1, 1, kernel_size=3, scale=1, stride=4),
    Sizes(1, 2, 1, 9, kernel_size=3, scale=1, stride=5),
    Sizes(1, 64, 23, 41, kernel_size=3, scale=1, stride=2),
]
SMALL = SIZES[0]
FUSED_FORMS = pytest.mark.parametrize("valid", [None, "mixed"], ids=["plain", "masked"])
sizes_of_all_kinds = pytest.mark.parametrize("sizes", SIZES, ids=str)


def channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


# ------------------------------------------------------------------------------------------------------------
# Against the definition
# ------------------------------------------------------------------------------------------------------------


@implementations
@sizes_of_all_kinds
@normalizers
@FUSED_FORMS
def test_downsampling_equals_the_loops(
    implementation: Implementation, sizes: Sizes, normalizer: str, valid: str | None
) -> None:
    made, expected = solved(sizes, normalizer, valid)
    made.check(implementation, expected)
    last = replace(
        made,
        features=channels_last(made.features),
        numbers=channels_last(made.numbers),
        grad=channels_last(made.grad),
    )
    last.check(implementation, expected)


@implementations
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@FUSED_FORMS
def test_downsampling_in_every_type_equals_the_loops(
    implementation: Implementation, dtype: torch.dtype, valid: str | None
) -> None:
    made = example(SMALL, "softmax", valid, dtype)
    made.check(implementation)


@compiled_kernels
@pytest.mark.parametrize(("kernel_size", "stride"), [(1, 1), (3, 2), (5, 2), (5, 3), (7, 4)])
@pytest.mark.parametrize(("height", "width"), [(12, 12), (11, 17)])
def test_downsampling_equals_unfold_and_softmax(
    implementation: Implementation, kernel_size: int, stride: int, height: int, width: int
) -> None:
    rows, columns = -(-height // stride), -(-width // stride)
    x = torch.randn(2, 8, height, width, dtype=torch.float64, requires_grad=True)
    logits = torch.randn(2, 2 * kernel_size**2, rows, columns, dtype=torch.float64, requires_grad=True)
    windows = F.unfold(x, kernel_size, padding=kernel_size // 2, stride=stride)
    windows = windows.view(2, 2, 4, kernel_size**2, rows, columns)
    kernels = logits.view(2, 2, kernel_size**2, rows, columns).softmax(2)
    wanted = torch.einsum("ngckhw,ngkhw->ngchw", windows, kernels).flatten(1, 2)
    result = implementation.carafe_downsample(x, logits, kernel_size, 2, stride)
    torch.testing.assert_close(result, wanted)
    slope = torch.randn_like(wanted)
    gradients = [torch.autograd.grad(y, (x, logits), slope) for y in (result, wanted)]
    torch.testing.assert_close(*gradients)


@implementations
@normalizers
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_flat_logits_are_average_pooling(
    implementation: Implementation, normalizer: str, stride: int
) -> None:
    """Plain reassembly counts the zeros around the image, masked reassembly the pixels inside alone."""
    x = torch.randn(1, 4, 9, 10)
    logits = torch.zeros(1, 25, -(-9 // stride), -(-10 // stride))
    mass = 25 * 0.5 if normalizer == "sigmoid" else 1.0  # of weights λ(0) that are not divided
    result = implementation.carafe_downsample(x, logits, 5, 1, stride, normalizer)
    torch.testing.assert_close(result, mass * F.avg_pool2d(x, 5, stride, 2, count_include_pad=True))
    masked, share = implementation.carafe_downsample(
        x, logits, 5, 1, stride, normalizer, torch.ones(1, 1, 9, 10)
    )
    torch.testing.assert_close(masked, mass * F.avg_pool2d(x, 5, stride, 2, count_include_pad=False))
    torch.testing.assert_close(share, F.avg_pool2d(torch.ones(1, 1, 9, 10), 5, stride, 2))


@implementations
@normalizers
@FUSED_FORMS
def test_stride_one_is_upsampling_by_one(
    implementation: Implementation, normalizer: str, valid: str | None
) -> None:
    made = example(Sizes(2, 6, 7, 9, kernel_size=5, groups=2, scale=1), normalizer, valid, torch.float32)
    call = (made.features, made.numbers, 5, 2, 1, normalizer, made.valid)
    down, same = implementation.carafe_downsample(*call), implementation.carafe_fused(*call)
    pairs = [(down, same)] if valid is None else zip(down, same, strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@implementations
def test_pixels_between_the_windows_count_for_nothing(implementation: Implementation) -> None:
    x = torch.randn(1, 3, 8, 8).requires_grad_()
    logits = torch.randn(1, 9, 2, 2)
    result = implementation.carafe_downsample(x, logits, 3, 1, 5)
    (gradient,) = torch.autograd.grad(result.sum(), x)
    read = torch.zeros(8, 8, dtype=torch.bool)
    for row in (0, 5):
        for column in (0, 5):
            read[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
    assert ((gradient != 0) == read).all()


# ------------------------------------------------------------------------------------------------------------
# The hole
# ------------------------------------------------------------------------------------------------------------


@implementations
@normalizers
@pytest.mark.parametrize("valid", ["binary", "mixed", "none"])
@pytest.mark.parametrize("sizes", SIZES[:2], ids=str)
def test_nothing_in_the_hole_changes_a_bit_of_a_smaller_picture(
    implementation: Implementation, normalizer: str, valid: str, sizes: Sizes
) -> None:
    made = example(sizes, normalizer, valid)
    assert made.valid is not None
    results = []
    for content in (0.0, torch.nan, torch.inf):
        filled = torch.where(made.valid > 0, made.features, content)
        results.append(replace(made, features=filled).run(implementation))
    assert all(torch.isfinite(tensor).all() for tensor in results[0] if tensor is not None)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))  # type: ignore[arg-type]
    assert not results[0][2][(made.valid == 0).expand_as(results[0][2])].any()


# ------------------------------------------------------------------------------------------------------------
# Derivatives, memory, threads
# ------------------------------------------------------------------------------------------------------------


@compiled_kernels
@normalizers
@pytest.mark.parametrize("valid", [None, "binary", "mixed"])
def test_gradcheck_of_downsampling(
    implementation: Implementation, normalizer: str, valid: str | None
) -> None:
    sizes = Sizes(1, 4, 5, 4, kernel_size=3, groups=2, scale=1, stride=2)
    made = example(sizes, normalizer, valid, torch.float64)

    def function(x: Tensor, numbers: Tensor) -> Tensor:
        result = implementation.carafe_downsample(x, numbers, *sizes.integers, normalizer, made.valid)
        return result if isinstance(result, Tensor) else result[0]

    assert torch.autograd.gradcheck(function, (made.features.requires_grad_(), made.numbers.requires_grad_()))


def test_the_twin_has_second_derivatives_of_downsampling() -> None:
    sizes = Sizes(1, 1, 3, 2, kernel_size=3, scale=1, stride=2)
    made = example(sizes, "softmax", None, torch.float64)
    operands = (made.features.requires_grad_(), made.numbers.requires_grad_())
    assert torch.autograd.gradgradcheck(
        lambda x, numbers: TWIN.carafe_downsample(x, numbers, *sizes.integers), operands
    )


@needs_compiled
def test_second_derivatives_of_the_compiled_downsampling_raise() -> None:
    made = example(SMALL, "softmax")
    output = carafe_downsample(made.features.requires_grad_(), made.numbers, *SMALL.integers)
    (slope,) = torch.autograd.grad(output.square().sum(), made.features, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"second derivatives .* INPAINT_OPS=reference"):
        slope.sum().backward()


@implementations
@FUSED_FORMS
def test_a_smaller_picture_keeps_the_memory_format(implementation: Implementation, valid: str | None) -> None:
    made = example(SMALL, "softmax", valid)
    for keep in (torch.contiguous_format, torch.channels_last):
        formatted = replace(
            made,
            features=made.features.contiguous(memory_format=keep),
            numbers=made.numbers.contiguous(memory_format=keep),
        )
        output, carried, *gradients = formatted.run(implementation)
        for tensor in (output, *gradients) if implementation is not TWIN else (output,):
            assert tensor.is_contiguous(memory_format=keep)
        assert carried is None or carried.is_contiguous()


@implementations
def test_downsampling_takes_any_strides(implementation: Implementation) -> None:
    made, expected = solved(SMALL, "softmax", "mixed")
    assert made.valid is not None

    def scattered(tensor: Tensor) -> Tensor:
        holder = tensor.new_full([2 * size for size in tensor.shape], torch.nan).transpose(1, 3).contiguous()
        view = holder.transpose(1, 3)[::2, ::2, 1::2, ::2]
        return view.copy_(tensor)

    parts = {name: scattered(getattr(made, name)) for name in ("features", "numbers", "grad", "valid")}
    replace(made, **parts).check(implementation, expected)


@needs_compiled
@FUSED_FORMS
def test_downsampling_gives_the_same_bits_for_any_number_of_threads(valid: str | None) -> None:
    made = example(Sizes(3, 24, 21, 35, kernel_size=5, groups=2, scale=1, stride=2), "softmax", valid)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(made.run(Implementation(None, None, carafe_downsample)))  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            assert first is second is None or torch.equal(first, second)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------
# Registration
# ------------------------------------------------------------------------------------------------------------


@needs_compiled
@FUSED_FORMS
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
def test_opcheck_of_downsampling(valid: str | None, last: bool) -> None:
    made = example(SMALL, "softmax", valid)
    x, numbers = (channels_last(t) if last else t for t in (made.features, made.numbers))
    settings = (*SMALL.integers, "softmax")
    arguments: tuple[Any, ...] = (x.requires_grad_(), numbers.requires_grad_(), *settings)
    packet = torch.ops.inpaint.carafe_down
    if made.valid is None:
        torch.library.opcheck(packet.default, arguments)
    else:
        torch.library.opcheck(packet.masked, (*arguments, made.valid))
    for wanted in ((True, True), (True, False), (False, True)):
        arguments = (made.grad, x.detach(), numbers.detach(), *settings, made.valid, *wanted)
        torch.library.opcheck(
            torch.ops.inpaint.carafe_down_backward.default,
            arguments,
            test_utils=("test_schema", "test_faketensor"),
        )


@needs_compiled
def test_one_graph_compiles_downsampling_for_every_size() -> None:
    graphs = []

    def counting(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    def function(x: Tensor, logits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        plain = carafe_downsample(x.relu(), logits, *SMALL.integers)
        output, carried = carafe_downsample(x, logits * 2, *SMALL.integers, "sigmoid", valid)
        return plain + output, carried

    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend=counting)
    for height, width in ((7, 9), (8, 12), (13, 6)):
        made = example(replace(SMALL, height=height, width=width), "softmax", "mixed")
        assert made.valid is not None
        operands = (made.features.requires_grad_(), made.numbers.requires_grad_(), made.valid)
        for tensor in operands:
            torch._dynamo.mark_dynamic(tensor, 2)
            torch._dynamo.mark_dynamic(tensor, 3)
        results, wanted = compiled(*operands), function(*operands)
        torch.testing.assert_close(results, wanted)
        gradients = [torch.autograd.grad(y[0].sum(), operands[:2]) for y in (results, wanted)]
        torch.testing.assert_close(*gradients)
    assert len(graphs) == 1


@needs_compiled
@FUSED_FORMS
def test_vmap_of_downsampling_equals_a_loop(valid: str | None) -> None:
    made = [example(SMALL, "softmax", valid) for _ in range(3)]

    def function(x: Tensor, numbers: Tensor, *known: Tensor) -> Any:
        return carafe_downsample(x, numbers, *SMALL.integers, "softmax", *known)

    columns = [[m.features for m in made], [m.numbers for m in made]]
    if valid is not None:
        columns.append([m.valid for m in made])  # type: ignore[misc]
    mapped = torch.func.vmap(function)(*(torch.stack(column) for column in columns))
    looped = [function(*operands) for operands in zip(*columns, strict=True)]
    if valid is None:
        assert torch.equal(mapped, torch.stack(looped))
    else:
        assert all(
            torch.equal(m, torch.stack(parts))
            for m, parts in zip(mapped, zip(*looped, strict=True), strict=True)
        )


@needs_compiled
def test_autocast_takes_downsampling_down_and_leaves_valid() -> None:
    made = example(SMALL, "softmax", "soft")
    assert made.valid is not None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, carried = carafe_downsample(made.features, made.numbers, *SMALL.integers, valid=made.valid)
    wanted = carafe_downsample(
        made.features.bfloat16(), made.numbers.bfloat16(), *SMALL.integers, valid=made.valid
    )
    assert output.dtype == torch.bfloat16 and carried.dtype == torch.float32
    assert torch.equal(output, wanted[0]) and torch.equal(carried, wanted[1])


@needs_compiled
@FUSED_FORMS
def test_flops_of_downsampling_are_two_for_each_tap_and_number(valid: str | None) -> None:
    made = example(SMALL, "softmax", valid)
    x, numbers = made.features.requires_grad_(), made.numbers.requires_grad_()
    once = 2 * 2 * 6 * 4 * 5 * 9  # N·C·⌈7/2⌉·⌈9/2⌉·k²
    with FlopCounterMode(display=False) as counter:
        result = carafe_downsample(x, numbers, *SMALL.integers, valid=made.valid)
    assert counter.get_total_flops() == once
    with FlopCounterMode(display=False) as counter:
        (result if isinstance(result, Tensor) else result[0]).sum().backward()
    assert counter.get_total_flops() == 2 * once


@needs_compiled
def test_meta_tensors_give_the_smaller_shape() -> None:
    made = example(SMALL, "softmax", "mixed")
    assert made.valid is not None
    x, logits, valid = (t.to("meta") for t in (made.features, made.numbers, made.valid))
    output, carried = carafe_downsample(x, logits, *SMALL.integers, valid=valid)
    assert output.shape == SMALL.output_shape and carried.shape == (2, 1, 4, 5)


# ------------------------------------------------------------------------------------------------------------
# What does not fit
# ------------------------------------------------------------------------------------------------------------

WRONG = [
    ("stride", 0, "stride must be at least 1, got 0"),
    ("kernel_size", 4, "kernel_size must be odd and at least 1, got 4"),
    ("stride", 3, r"logits must have shape \[2, 18, 3, 3\], got \[2, 18, 4, 5\]"),
    ("logits", torch.zeros(2, 18, 3, 4), r"logits must have shape \[2, 18, 4, 5\], got \[2, 18, 3, 4\]"),
    ("valid", torch.zeros(2, 1, 4, 5), r"valid must have shape \[2, 1, 7, 9\], got \[2, 1, 4, 5\]"),
    ("normalizer", "none", "normalizer must be .*'softmax'.*, got 'none'"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_errors_of_downsampling_name_the_operand(name: str, value: Any, message: str) -> None:
    made = example(SMALL, "softmax")
    operands = {"features": made.features, "logits": made.numbers, "kernel_size": 3, "groups": 2, "stride": 2}
    with pytest.raises(ValueError, match=f"^carafe_downsample: {message}$"):
        carafe_downsample(**(operands | {name: value}))


@needs_compiled
@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_the_compiled_downsampling_checks_for_itself(name: str, value: Any, message: str) -> None:
    made = example(SMALL, "softmax")
    operands = {"features": made.features, "logits": made.numbers, "kernel_size": 3, "groups": 2, "stride": 2}
    if name == "valid":
        operands["normalizer"] = "softmax"  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match=f"carafe_down: {message}"):
        torch.ops.inpaint.carafe_down(**(operands | {name: value}))


@implementations
@pytest.mark.parametrize("shape", [(0, 4, 3, 5), (2, 0, 3, 5), (2, 4, 0, 5), (2, 4, 3, 0)])
@FUSED_FORMS
def test_downsampling_nothing_gives_nothing(
    implementation: Implementation, shape: tuple[int, ...], valid: str | None
) -> None:
    made = example(Sizes(*shape, kernel_size=3, scale=1, stride=2), "softmax", valid)
    output, _, to_features, to_numbers = made.run(implementation)
    assert output.shape == made.sizes.output_shape and to_features.shape == made.features.shape
    assert not to_numbers.any()


@needs_compiler
def test_large_windows_take_smaller_tiles_of_a_gpu() -> None:
    made = example(Sizes(1, 5, 12, 9, kernel_size=15, scale=1, stride=2), "softmax", "mixed")
    for result, wanted in zip(made.run(EMULATED), made.run(TWIN), strict=True):
        torch.testing.assert_close(result, wanted, rtol=1e-5, atol=1e-5)


@needs_compiler
def test_windows_too_far_apart_for_shared_memory_are_named() -> None:
    made = example(Sizes(1, 1, 2, 2, kernel_size=3, scale=1, stride=2000), "softmax")
    with pytest.raises(RuntimeError, match="kernel_size 3 with stride 2000 needs more shared memory"):
        EMULATED.carafe_downsample(made.features, made.numbers, *made.sizes.integers)
