"""Values and gradients of every implementation against nested loops: sizes, types, layouts, threads."""

import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from carafe_examples import (
    COMPILED,
    FORMS,
    TOLERANCES,
    Example,
    Implementation,
    Sizes,
    compiled_kernels,
    example,
    forms,
    implementations,
    needs_compiled,
    normalizers,
    random_features,
    random_kernels,
    random_logits,
    solved,
)
from torch import Tensor

from inpaint import ops
from inpaint.ops import build, carafe, carafe_fused

# Around the borders of tiles and vectors: 8×8, 8×16 or 8×32 source pixels and 8 or 16 channels on the CPU,
# 8×8 and strips of 16×32 on a GPU. Kernel sizes that the CUDA compiler knows, and others.
SIZES = [
    Sizes(1, 1, 1, 1, kernel_size=1, scale=1),
    Sizes(1, 1, 1, 1, kernel_size=5, scale=3),
    Sizes(2, 3, 1, 9, kernel_size=3),
    Sizes(1, 2, 9, 1, kernel_size=7, scale=4),
    Sizes(2, 4, 5, 7, kernel_size=5, groups=2),
    Sizes(1, 4, 7, 5, kernel_size=3, groups=4, scale=3),
    Sizes(1, 6, 8, 8, kernel_size=1, groups=2),
    Sizes(1, 37, 3, 5, kernel_size=5),
    Sizes(1, 66, 2, 3, kernel_size=7, groups=2),
    Sizes(1, 130, 3, 2, kernel_size=3, scale=3),
    Sizes(1, 16, 4, 6, kernel_size=3, scale=4),
    Sizes(3, 2, 4, 4, kernel_size=5, scale=1),
    Sizes(1, 5, 9, 17, kernel_size=5, scale=1),
    Sizes(1, 2, 16, 7, kernel_size=3, scale=2),
    Sizes(1, 2, 8, 33, kernel_size=3, scale=1),
    Sizes(1, 2, 17, 16, kernel_size=7, scale=1),
    Sizes(1, 3, 17, 33, kernel_size=5, scale=1),
    Sizes(1, 5, 5, 6, kernel_size=9),
    Sizes(1, 20, 18, 5, kernel_size=3, groups=5),
]
SMALL = Sizes(2, 6, 4, 5, kernel_size=3, groups=2)
# Wide enough for tiles that lie wholly inside, with channels in whole vectors: those are read in place.
INTERIOR = Sizes(1, 32, 17, 33, kernel_size=3, groups=2, scale=1)


def test_the_compiled_operator_runs_where_a_compiler_exists() -> None:
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")):
        pytest.skip("no C++ compiler")
    assert build.has_compiler()
    assert ops.implementation("cpu") == "compiled"


@implementations
@forms
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_equals_the_loops(
    implementation: Implementation, sizes: Sizes, normalizer: str | None, valid: str | None
) -> None:
    made, expected = solved(sizes, normalizer, valid)
    made.check(implementation, expected)


@implementations
@normalizers
@pytest.mark.parametrize("valid", ["binary", "sparse", "soft", "all", "none"])
def test_every_kind_of_valid_equals_the_loops(
    implementation: Implementation, normalizer: str, valid: str
) -> None:
    made, expected = solved(Sizes(2, 4, 5, 6, kernel_size=3, groups=2), normalizer, valid)
    made.check(implementation, expected)


@implementations
@forms
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("channels_last", [False, True], ids=["nchw", "channels_last"])
def test_every_type_equals_the_loops(
    implementation: Implementation,
    normalizer: str | None,
    valid: str | None,
    dtype: torch.dtype,
    channels_last: bool,
) -> None:
    made = example(SMALL, normalizer, valid, dtype)
    if channels_last:
        made = laid_out(made, ["features", "numbers", "grad", "valid"], as_channels_last)
    made.check(implementation)


@implementations
@forms
@pytest.mark.parametrize(
    ("dtype", "numbers_dtype"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.bfloat16),
        (torch.float16, torch.float32),
        (torch.float32, torch.float64),
        (torch.float64, torch.float32),
    ],
    ids=str,
)
def test_mixed_types_equal_the_loops(
    implementation: Implementation,
    normalizer: str | None,
    valid: str | None,
    dtype: torch.dtype,
    numbers_dtype: torch.dtype,
) -> None:
    example(SMALL, normalizer, valid, dtype, numbers_dtype).check(implementation)


@implementations
@normalizers
@pytest.mark.parametrize("valid", [None, "mixed"])
@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize(("factor", "offset"), [(8, 0), (3, 100), (3, -60)])
def test_logits_far_from_zero_equal_the_loops(
    implementation: Implementation,
    normalizer: str,
    valid: str | None,
    scale: int,
    factor: float,
    offset: float,
) -> None:
    made = example(replace(SMALL, scale=scale), normalizer, valid)
    replace(made, numbers=factor * made.numbers + offset).check(implementation)


def test_a_bool_valid_is_taken_and_given_back_as_float32() -> None:
    made = example(SMALL, "softmax", "binary")
    assert made.valid is not None
    output, carried = carafe_fused(made.features, made.numbers, *SMALL.integers, valid=made.valid.bool())
    as_float = carafe_fused(made.features, made.numbers, *SMALL.integers, valid=made.valid)
    assert torch.equal(output, as_float[0]) and torch.equal(carried, as_float[1])
    assert carried.dtype == torch.float32


# ------------------------------------------------------------------------------------------------------------
# Memory layouts. What lies between the elements is NaN: reading it would show.
# ------------------------------------------------------------------------------------------------------------


def as_contiguous(tensor: Tensor) -> Tensor:
    return tensor.contiguous()


def as_channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


def as_permuted(tensor: Tensor) -> Tensor:
    return tensor.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)


def as_transposed(tensor: Tensor) -> Tensor:
    return tensor.transpose(2, 3).contiguous().transpose(2, 3)


def as_offset(tensor: Tensor) -> Tensor:
    """Starts in the middle of a storage, at no vector's border."""
    return torch.cat([tensor.new_full((3,), torch.nan), tensor.flatten()])[3:].view(tensor.shape)


def as_sliced(tensor: Tensor) -> Tensor:
    """Every stride is larger than it has to be."""
    n, c, h, w = tensor.shape
    view = tensor.new_full((n + 1, 2 * c + 1, h + 2, 3 * w + 2), torch.nan)[1:, 1::2, 1 : h + 1, 2::3]
    return view.copy_(tensor)


def as_channel_slice(tensor: Tensor) -> Tensor:
    """Some channels of a wider channels_last tensor."""
    n, c, h, w = tensor.shape
    view = as_channels_last(tensor.new_full((n, c + 3, h, w), torch.nan))[:, 2 : 2 + c]
    return view.copy_(tensor)


def as_expanded(tensor: Tensor) -> Tensor:
    """One picture and one column, repeated with stride 0."""
    return tensor[:1, :, :, :1].expand(tensor.shape)


LAYOUTS = [
    as_channels_last,
    as_permuted,
    as_transposed,
    as_offset,
    as_sliced,
    as_channel_slice,
    as_expanded,
]


def laid_out(made: Example, operands: list[str], layout: Callable[[Tensor], Tensor]) -> Example:
    present = {name: getattr(made, name) for name in operands if getattr(made, name) is not None}
    return replace(made, **{name: layout(tensor) for name, tensor in present.items()})


def keeps_format(result: Tensor, of: Tensor) -> bool:
    if of.stride(1) == 1:
        return result.is_contiguous(memory_format=torch.channels_last)
    return result.is_contiguous()


@implementations
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("operand", "normalizer", "valid"),
    [
        ("features", None, None),
        ("features", "softmax", None),
        ("features", "softmax", "mixed"),
        ("numbers", None, None),
        ("numbers", "softmax", None),
        ("numbers", "sigmoid", "mixed"),
        ("valid", "softmax", "mixed"),
        ("grad", None, None),
        ("grad", "sigmoid_normalized", "mixed"),
    ],
)
def test_any_strides_equal_the_loops(
    implementation: Implementation,
    operand: str,
    normalizer: str | None,
    valid: str | None,
    layout: Callable[[Tensor], Tensor],
) -> None:
    made = laid_out(example(SMALL, normalizer, valid), [operand], layout)
    made.check(implementation)


@compiled_kernels
@pytest.mark.parametrize("layout", [as_contiguous, *LAYOUTS])
def test_results_keep_the_memory_format(
    implementation: Implementation, layout: Callable[[Tensor], Tensor]
) -> None:
    for normalizer, valid in FORMS:
        made = laid_out(example(SMALL, normalizer, valid), ["features"], layout)
        output, _, to_features, to_numbers = made.run(implementation)
        assert keeps_format(output, made.features) and keeps_format(to_features, made.features)
        assert keeps_format(to_numbers, made.numbers)
        made = laid_out(example(SMALL, normalizer, valid), ["numbers"], layout)
        output, _, to_features, to_numbers = made.run(implementation)
        assert keeps_format(output, made.features) and keeps_format(to_features, made.features)
        assert keeps_format(to_numbers, made.numbers)


@implementations
def test_the_output_keeps_the_features_memory_format(implementation: Implementation) -> None:
    features, logits = random_features(SMALL), random_logits(SMALL)
    for layout in (as_contiguous, as_channels_last, as_channel_slice):
        x = layout(features)
        assert keeps_format(implementation.carafe_fused(x, logits, *SMALL.integers), x)
        assert keeps_format(implementation.carafe(x, random_kernels(SMALL), *SMALL.integers), x)


@compiled_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("normalizer", "valid"), [(None, None), ("softmax", None), ("softmax", "mixed")])
def test_tiles_that_are_read_in_place_equal_the_loops(
    implementation: Implementation, dtype: torch.dtype, normalizer: str | None, valid: str | None
) -> None:
    made = example(INTERIOR, normalizer, valid, dtype)
    expected = made.expected()
    for layout in (as_contiguous, as_channels_last):
        laid_out(made, ["features", "numbers", "grad", "valid"], layout).check(implementation, expected)


@implementations
@pytest.mark.parametrize("operand", ["features", "numbers", "grad"])
def test_offsets_past_2_to_the_31_are_right(implementation: Implementation, operand: str) -> None:
    made = example(Sizes(2, 2, 2, 2, kernel_size=3, scale=1), "softmax", dtype=torch.float16)
    tensor = getattr(made, operand)
    try:  # memory that is never touched is never there
        storage = torch.empty(2**31 + 4096, dtype=tensor.dtype)
    except RuntimeError:
        pytest.skip("the system does not lend 4 GiB of address space")
    far = storage.as_strided(tensor.shape, (2**31, *tensor[0].stride())).copy_(tensor)
    replace(made, **{operand: far}).check(implementation)


# ------------------------------------------------------------------------------------------------------------
# What must not change
# ------------------------------------------------------------------------------------------------------------


@implementations
@forms
def test_inputs_are_left_as_they_are(
    implementation: Implementation, normalizer: str | None, valid: str | None
) -> None:
    made = example(SMALL, normalizer, valid)
    before = [None if t is None else t.clone() for t in (made.features, made.numbers, made.grad, made.valid)]
    made.run(implementation)
    for tensor, copy in zip((made.features, made.numbers, made.grad, made.valid), before, strict=True):
        assert tensor is copy is None or torch.equal(tensor, copy)


@needs_compiled
@forms
def test_results_are_the_same_bits_for_any_number_of_threads(
    normalizer: str | None, valid: str | None
) -> None:
    made = example(Sizes(2, 20, 19, 34, kernel_size=5), normalizer, valid)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            results.append(made.run(COMPILED))
    finally:
        torch.set_num_threads(before)
    for first, *others in zip(*results, strict=True):
        assert all(first is other is None or torch.equal(first, other) for other in others)


@compiled_kernels
def test_only_the_wanted_gradients_are_worked_out(implementation: Implementation) -> None:
    made = example(SMALL, "softmax", "mixed")
    operands = (*SMALL.integers, "softmax", made.valid)
    _, _, to_features, to_numbers = made.run(implementation)
    wanting = made.features.clone().requires_grad_()
    output, _ = implementation.carafe_fused(wanting, made.numbers, *operands)
    assert torch.equal(torch.autograd.grad(output, wanting, made.grad)[0], to_features)
    wanting = made.numbers.clone().requires_grad_()
    output, _ = implementation.carafe_fused(made.features, wanting, *operands)
    assert torch.equal(torch.autograd.grad(output, wanting, made.grad)[0], to_numbers)


@implementations
def test_the_default_numbers_are_the_papers(implementation: Implementation) -> None:
    sizes = Sizes(1, 3, 4, 5)
    x, kernels, logits = random_features(sizes), random_kernels(sizes), random_logits(sizes)
    assert torch.equal(implementation.carafe(x, kernels), implementation.carafe(x, kernels, 5, 1, 2))
    assert torch.equal(
        implementation.carafe_fused(x, logits), implementation.carafe_fused(x, logits, 5, 1, 2, "softmax")
    )


def test_the_fused_form_is_normalise_shuffle_reassemble() -> None:
    sizes = Sizes(2, 4, 5, 6, kernel_size=5, groups=2, scale=3)
    x, logits = random_features(sizes, torch.float64), random_logits(sizes, torch.float64)
    shuffled = torch.nn.functional.pixel_shuffle(logits, 3)
    kernels = shuffled.view(2, 2, 25, 15, 18).softmax(2).view(2, 50, 15, 18)
    torch.testing.assert_close(carafe_fused(x, logits, 5, 2, 3), carafe(x, kernels, 5, 2, 3))
