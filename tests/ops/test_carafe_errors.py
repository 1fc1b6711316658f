"""Operands that do not fit, and operands with nothing in them."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from carafe_examples import (
    TWIN,
    Implementation,
    Sizes,
    example,
    forms,
    implementations,
    needs_compiled,
    normalizers,
    random_grad,
)
from torch import Tensor

from inpaint.ops import carafe, carafe_fused

SIZES = Sizes(2, 6, 3, 4, kernel_size=3, groups=2)
NAMES = {"carafe": "kernels", "carafe_fused": "logits"}


def operands(op: str) -> dict[str, Any]:
    made = example(SIZES, None if op == "carafe" else "softmax")
    return {
        "features": made.features,
        NAMES[op]: made.numbers,
        "kernel_size": SIZES.kernel_size,
        "groups": SIZES.groups,
        "scale": SIZES.scale,
    }


WRONG = [
    ("features", torch.zeros(6, 3, 4), r"features must have shape \[N, C, H, W\], got \[6, 3, 4\]"),
    ("features", torch.zeros(2, 5, 3, 4), "the channels of features, 5, must be a multiple of groups = 2"),
    ("kernel_size", 4, "kernel_size must be odd and at least 1, got 4"),
    ("kernel_size", -3, "kernel_size must be odd and at least 1, got -3"),
    ("scale", 0, "scale must be at least 1, got 0"),
    ("groups", 0, "groups must be at least 1, got 0"),
    ("groups", -2, "groups must be at least 1, got -2"),
]
WRONG_CARAFE = [
    ("kernels", torch.zeros(2, 9, 6, 8), r"kernels must have shape \[2, 18, 6, 8\], got \[2, 9, 6, 8\]"),
    ("kernels", torch.zeros(2, 18, 3, 4), r"kernels must have shape \[2, 18, 6, 8\], got \[2, 18, 3, 4\]"),
    ("kernels", torch.zeros(18, 6, 8), r"kernels must have shape \[2, 18, 6, 8\], got \[18, 6, 8\]"),
    ("kernel_size", 5, r"kernels must have shape \[2, 50, 6, 8\], got \[2, 18, 6, 8\]"),
]
WRONG_FUSED = [
    ("logits", torch.zeros(2, 18, 3, 4), r"logits must have shape \[2, 72, 3, 4\], got \[2, 18, 3, 4\]"),
    ("logits", torch.zeros(1, 72, 3, 4), r"logits must have shape \[2, 72, 3, 4\], got \[1, 72, 3, 4\]"),
    ("scale", 3, r"logits must have shape \[2, 162, 3, 4\], got \[2, 72, 3, 4\]"),
    ("valid", torch.zeros(2, 6, 3, 4), r"valid must have shape \[2, 1, 3, 4\], got \[2, 6, 3, 4\]"),
    ("valid", torch.zeros(2, 3, 4), r"valid must have shape \[2, 1, 3, 4\], got \[2, 3, 4\]"),
    ("normalizer", "none", "normalizer must be .*'softmax'.*'sigmoid'.*'sigmoid_normalized'.*, got 'none'"),
]
CALLS = [
    *(("carafe", *wrong) for wrong in WRONG + WRONG_CARAFE),
    *(("carafe_fused", *wrong) for wrong in WRONG + WRONG_FUSED),
]


@pytest.mark.parametrize(("op", "name", "value", "message"), CALLS)
def test_errors_name_the_operand_and_both_shapes(op: str, name: str, value: Any, message: str) -> None:
    function = carafe if op == "carafe" else carafe_fused
    with pytest.raises(ValueError, match=f"^{op}: {message}$"):
        function(**(operands(op) | {name: value}))


@needs_compiled
@pytest.mark.parametrize(("op", "name", "value", "message"), CALLS)
def test_the_compiled_operator_checks_for_itself(op: str, name: str, value: Any, message: str) -> None:
    keywords = operands(op) | {name: value}
    if "valid" in keywords:
        keywords["normalizer"] = "softmax"
    with pytest.raises(RuntimeError, match=f"{op}: {message}"):
        getattr(torch.ops.inpaint, op)(**keywords)


@needs_compiled
def test_the_backward_operators_check_for_themselves() -> None:
    ops = torch.ops.inpaint
    made, grad = example(SIZES), random_grad(SIZES)
    fused = example(SIZES, "softmax", "mixed")
    plain_numbers, fused_numbers = (3, 2, 2), (3, 2, 2, "softmax")
    wrong: list[tuple[Any, tuple[Any, ...], str]] = [
        (
            ops.carafe_backward,
            (grad[..., 1:], made.features, made.numbers, *plain_numbers),
            r"carafe_backward: grad must have shape \[2, 6, 6, 8\], got \[2, 6, 6, 7\]",
        ),
        (
            ops.carafe_backward,
            (grad, made.features, made.numbers[1:], *plain_numbers),
            r"carafe_backward: kernels must have shape \[2, 18, 6, 8\], got \[1, 18, 6, 8\]",
        ),
        (
            ops.carafe_fused_backward,
            (grad, fused.features, fused.numbers, *fused_numbers, grad),
            r"carafe_fused_backward: valid must have shape \[2, 1, 3, 4\], got \[2, 6, 6, 8\]",
        ),
        (
            ops.carafe_fused_backward,
            (grad, fused.features, fused.numbers, 3, 2, 2, "max", None),
            "carafe_fused_backward: normalizer must be",
        ),
    ]
    for operator, arguments, message in wrong:
        with pytest.raises(RuntimeError, match=message):
            operator(*arguments, True, True)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.complex64, torch.bool], ids=str)
@pytest.mark.parametrize("op", NAMES)
def test_unsupported_types_are_named(op: str, dtype: torch.dtype) -> None:
    function = carafe if op == "carafe" else carafe_fused
    for name in ("features", NAMES[op]):
        keywords = operands(op)
        keywords[name] = keywords[name].to(dtype)
        with pytest.raises(TypeError, match=f"{op}: {name} must be float32, .* got {dtype}"):
            function(**keywords)


@needs_compiled
@pytest.mark.parametrize("op", NAMES)
def test_the_compiled_operator_names_unsupported_types(op: str) -> None:
    for name in ("features", NAMES[op]):
        keywords = operands(op)
        keywords[name] = keywords[name].long()
        with pytest.raises(RuntimeError, match=f"{op}: {name} must be float32"):
            getattr(torch.ops.inpaint, op)(**keywords)


def test_operands_on_different_devices_are_named() -> None:
    keywords = operands("carafe_fused")
    keywords["logits"] = keywords["logits"].to("meta")
    with pytest.raises(ValueError, match="carafe_fused: logits is on meta, features on cpu"):
        carafe_fused(**keywords)


EMPTY = [
    Sizes(0, 4, 3, 5, kernel_size=3, groups=2),
    Sizes(2, 0, 3, 5, kernel_size=3, groups=2),
    Sizes(2, 4, 0, 5, kernel_size=3, groups=2),
    Sizes(2, 4, 3, 0, kernel_size=3, groups=2, scale=3),
    Sizes(0, 0, 0, 0, kernel_size=3),
]


@implementations
@pytest.mark.parametrize("sizes", EMPTY, ids=str)
@forms
def test_nothing_in_nothing_out(
    implementation: Implementation, sizes: Sizes, normalizer: str | None, valid: str | None
) -> None:
    made = example(sizes, normalizer, valid)
    output, carried, to_features, to_numbers = made.run(implementation)
    assert output.shape == sizes.output_shape
    assert to_features.shape == made.features.shape
    assert to_numbers.shape == made.numbers.shape and not to_numbers.any()
    if carried is not None:
        assert carried.shape == (sizes.batch, 1, *sizes.output_shape[2:])


@implementations
@normalizers
def test_valid_is_carried_even_without_channels(implementation: Implementation, normalizer: str) -> None:
    made = example(Sizes(1, 0, 4, 5, kernel_size=3), normalizer, "mixed")
    made.check(implementation)


# ------------------------------------------------------------------------------------------------------------
# Numbers that are not finite
# ------------------------------------------------------------------------------------------------------------

NOT_FINITE = pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])


def with_number(tensor: Tensor, value: float) -> Tensor:
    """In a window of the middle and in one of the border."""
    tensor = tensor.clone()
    tensor[0, 0, 1, 2] = tensor[-1, -1, 0, 0] = value
    return tensor


def same(actual: Tensor, wanted: Tensor) -> None:
    """Infinities and NaN count as one: which of them a sum gives hangs on its order."""
    assert torch.equal(actual.isfinite(), wanted.isfinite())
    torch.testing.assert_close(actual.nan_to_num(0, 0, 0), wanted.nan_to_num(0, 0, 0), rtol=2e-5, atol=2e-5)


@implementations
@forms
@NOT_FINITE
@pytest.mark.parametrize("operand", ["features", "numbers"])
@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_what_is_not_finite_goes_where_the_formula_takes_it(
    implementation: Implementation, normalizer: str | None, valid: str | None, value: float, operand: str
) -> None:
    made = example(SIZES, normalizer, valid)
    if made.valid is not None:  # all known around the two
        made = replace(made, valid=with_number(made.valid, 1.0))
    made = replace(made, **{operand: with_number(getattr(made, operand), value)})
    output, carried, *_ = made.run(implementation)
    twins, twins_carried, *_ = made.run(TWIN)
    same(output, twins)
    limits = [] if operand == "features" or normalizer is None else [-torch.inf]  # a weight of 0
    limits += [torch.inf] if limits and normalizer != "softmax" else []  # 1
    assert bool(output.isfinite().all()) == (value in limits)
    if carried is None:
        same(output, torch.from_numpy(made.expected().output).float())
    elif operand == "features":
        same(carried, twins_carried)
        assert carried.isfinite().all()


@implementations
@normalizers
@pytest.mark.parametrize("value", [torch.nan, -torch.inf, -1.0])
@pytest.mark.parametrize("kind", ["mixed", "all"])
def test_a_valid_that_is_no_share_counts_as_unknown(
    implementation: Implementation, normalizer: str, value: float, kind: str
) -> None:
    made = example(SIZES, normalizer, kind)
    assert made.valid is not None
    results = (replace(made, valid=with_number(made.valid, v)).run(implementation) for v in (value, 0.0))
    for result, wanted in zip(*results, strict=True):
        assert torch.equal(result, wanted)
