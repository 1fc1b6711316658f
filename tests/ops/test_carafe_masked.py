"""Masked reassembly: what lies in the hole has no influence, and known taps are never lost."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from carafe_examples import (
    TWIN,
    Implementation,
    Sizes,
    compiled_kernels,
    example,
    implementations,
    normalizers,
    random_features,
    random_logits,
)
from torch import Tensor

SIZES = Sizes(2, 18, 9, 10, kernel_size=3, groups=2)
ODD_SCALE = Sizes(1, 3, 6, 5, kernel_size=5, scale=3)  # sub-pixels that do not share out a vector's lanes


def same_bits(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@implementations
@normalizers
@pytest.mark.parametrize("valid", ["binary", "sparse", "mixed", "none"])
@pytest.mark.parametrize("sizes", [SIZES, ODD_SCALE], ids=str)
@pytest.mark.parametrize("channels_last", [False, True], ids=["nchw", "channels_last"])
def test_nothing_in_the_hole_changes_a_bit(
    implementation: Implementation, normalizer: str, valid: str, sizes: Sizes, channels_last: bool
) -> None:
    made = example(sizes, normalizer, valid)
    if channels_last:
        made = replace(made, features=made.features.contiguous(memory_format=torch.channels_last))
    assert made.valid is not None
    results = []
    for content in (0.0, torch.nan, torch.inf, 1e30):
        filled = torch.where(made.valid > 0, made.features, content)
        results.append(replace(made, features=filled).run(implementation))
    assert all(torch.isfinite(tensor).all() for tensor in results[0] if tensor is not None)
    assert all(same_bits(results[0], other) for other in results[1:])
    to_features = results[0][2]
    assert not to_features[(made.valid == 0).expand_as(to_features)].any()


@implementations
@normalizers
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_all_valid_equals_the_plain_form_away_from_the_border(
    implementation: Implementation, normalizer: str, scale: int, dtype: torch.dtype
) -> None:
    sizes = Sizes(1, 5, 10, 19, scale=scale)
    x, logits = random_features(sizes, dtype), random_logits(sizes, dtype)
    plain = implementation.carafe_fused(x, logits, *sizes.integers, normalizer)
    output, carried = implementation.carafe_fused(
        x, logits, *sizes.integers, normalizer, x.new_ones(sizes.valid_shape)
    )
    inside = (..., slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale))
    if implementation is not TWIN:
        assert torch.equal(output[inside], plain[inside])
        assert (carried[inside] == 1).all()
    else:
        torch.testing.assert_close(output[inside], plain[inside])
        torch.testing.assert_close(carried[inside], torch.ones_like(carried[inside]))
    # At the border the outside counts as unknown: less than the whole kernel mass is known.
    assert (carried[..., 0, :] < 1).all() and (carried[..., -1] < 1).all()


@implementations
@normalizers
@pytest.mark.parametrize("scale", [2, 3])
def test_a_window_without_known_pixels_gives_exactly_zero(
    implementation: Implementation, normalizer: str, scale: int
) -> None:
    sizes = Sizes(1, 3, 7, 7, kernel_size=3, scale=scale)
    valid = torch.ones(sizes.valid_shape)
    valid[..., 1:6, 1:6] = 0
    output, carried = implementation.carafe_fused(
        random_features(sizes), random_logits(sizes), *sizes.integers, normalizer, valid
    )
    deep = (..., slice(2 * scale, 5 * scale), slice(2 * scale, 5 * scale))
    assert not output[deep].any() and not carried[deep].any()
    assert (carried[..., :scale, :] > 0).all()


def one_known_tap(logit: float, others: float, valid: float, dtype: torch.dtype, scale: int) -> list[Tensor]:
    """A 3×3 window in whose first tap alone something is known, seen from its centre."""
    sizes = Sizes(1, 4, 3, 3, kernel_size=3, scale=scale)
    x = random_features(sizes, dtype)
    logits = torch.full(sizes.logits_shape, others, dtype=dtype)
    logits[:, : scale**2, 1, 1] = logit  # tap (0, 0) of the window around the centre
    known = torch.zeros(sizes.valid_shape, dtype=dtype)
    known[..., 0, 0] = valid
    return [x, logits, known]


@implementations
@pytest.mark.parametrize("normalizer", ["softmax", "sigmoid_normalized"])
@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize(("logit", "others"), [(-200.0, 0.0), (0.0, 200.0), (-1e4, 1e4)])
def test_a_known_tap_is_never_lost_to_underflow(
    implementation: Implementation, normalizer: str, scale: int, logit: float, others: float
) -> None:
    x, logits, valid = one_known_tap(logit, others, 1.0, torch.float32, scale)
    x.requires_grad_(), logits.requires_grad_()
    output, carried = implementation.carafe_fused(x, logits, 3, 1, scale, normalizer, valid)
    centre = (..., slice(scale, 2 * scale), slice(scale, 2 * scale))
    assert torch.equal(output[centre], x[..., :1, :1].expand_as(output[centre]))
    assert ((carried >= 0) & (carried <= 1)).all()
    gradients = torch.autograd.grad(output.square().sum(), (x, logits))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert gradients[0][..., 0, 0].all()


@implementations
@normalizers
@pytest.mark.parametrize("scale", [2, 3])
def test_a_tap_that_is_hardly_known_is_not_lost(
    implementation: Implementation, normalizer: str, scale: int
) -> None:
    """1e-40 has no finite reciprocal in float32."""
    x, logits, valid = one_known_tap(0.0, 0.0, 1e-40, torch.float32, scale)
    assert valid.any()
    output, _ = implementation.carafe_fused(x, logits, 3, 1, scale, normalizer, valid)
    mass = 9 * 0.5 if normalizer == "sigmoid" else 1.0
    centre = output[..., scale : 2 * scale, scale : 2 * scale]
    wanted = (mass * x[..., :1, :1]).expand_as(centre)
    torch.testing.assert_close(centre, wanted, rtol=1e-4, atol=0)  # 1e-40 itself has five digits


@compiled_kernels
def test_a_faint_sigmoid_weight_does_not_overflow(implementation: Implementation) -> None:
    """W/s is beyond float32, (W/s)·w is not; in float64 neither is."""
    results = []
    for dtype in (torch.float32, torch.float64):
        x, logits, valid = one_known_tap(-87.0, 9.0, 1.0, dtype, 2)
        x = torch.linspace(-1, 1, x.numel(), dtype=dtype).view(x.shape).requires_grad_()
        logits.requires_grad_()
        output, _ = implementation.carafe_fused(x, logits, 3, 1, 2, "sigmoid", valid)
        results.append([output, *torch.autograd.grad(output.square().sum(), (x, logits))])
    for single, double in zip(*results, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)


@implementations
@pytest.mark.parametrize("normalizer", ["softmax", "sigmoid_normalized"])
@pytest.mark.parametrize("scale", [2, 3])
def test_known_taps_without_any_weight_count_as_unknown(
    implementation: Implementation, normalizer: str, scale: int
) -> None:
    x, logits, valid = one_known_tap(-torch.inf, 0.0, 1.0, torch.float32, scale)
    output, carried = implementation.carafe_fused(x, logits, 3, 1, scale, normalizer, valid)
    centre = (..., slice(scale, 2 * scale), slice(scale, 2 * scale))
    assert not output[centre].any() and not carried[centre].any()
    assert torch.isfinite(output).all() and torch.isfinite(carried).all()


@implementations
@normalizers
def test_no_gradient_reaches_valid_nor_passes_through_it(
    implementation: Implementation, normalizer: str
) -> None:
    made = example(SIZES, normalizer, "mixed")
    assert made.valid is not None
    x, logits = made.features.requires_grad_(), made.numbers.requires_grad_()
    valid = made.valid.requires_grad_()
    output, carried = implementation.carafe_fused(x, logits, *SIZES.integers, normalizer, valid)
    assert output.requires_grad and not carried.requires_grad
    assert torch.autograd.grad(output.sum(), valid, allow_unused=True)[0] is None


@compiled_kernels
@normalizers
def test_valid_is_carried_group_by_group_and_averaged(
    implementation: Implementation, normalizer: str
) -> None:
    sizes = Sizes(1, 4, 5, 6, kernel_size=3, groups=4, scale=2)
    made = example(sizes, normalizer, "mixed", torch.float64)
    fused = implementation.carafe_fused
    _, carried = fused(made.features, made.numbers, 3, 4, 2, normalizer, made.valid)
    alone = [
        fused(made.features[:, g : g + 1], part, 3, 1, 2, normalizer, made.valid)[1]
        for g, part in enumerate(made.numbers.chunk(4, dim=1))
    ]
    torch.testing.assert_close(carried, torch.stack(alone).mean(0))


@implementations
def test_soft_valid_weighs_the_taps(implementation: Implementation) -> None:
    """Equal kernels, two pixels: y = (v₁x₁ + v₂x₂) / (v₁ + v₂), v' = (v₁ + v₂) / k²."""
    x = torch.tensor([[[[3.0, 5.0]]]])
    valid = torch.tensor([[[[0.25, 0.75]]]])
    output, carried = implementation.carafe_fused(x, torch.zeros(1, 9, 1, 2), 3, 1, 1, "softmax", valid)
    torch.testing.assert_close(output, torch.full((1, 1, 1, 2), 4.5))
    torch.testing.assert_close(carried, torch.full((1, 1, 1, 2), 1 / 9))
