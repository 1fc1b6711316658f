"""What torch asks of an operator: derivatives, schemas, fakes, compilation, autocast."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from carafe_examples import (
    COMPILED,
    TWIN,
    Implementation,
    Sizes,
    compiled_kernels,
    example,
    implementations,
    needs_compiled,
    normalizers,
)
from torch import Tensor

from inpaint.layers import CarafeUpsample
from inpaint.ops import carafe, carafe_fused

TINY = Sizes(1, 4, 3, 2, kernel_size=3, groups=2)
SIZES = Sizes(2, 6, 4, 5, kernel_size=3, groups=2)


# ------------------------------------------------------------------------------------------------------------
# Derivatives
# ------------------------------------------------------------------------------------------------------------


def operands(sizes: Sizes, normalizer: str | None, valid: str | None) -> tuple[Tensor, Tensor, Tensor | None]:
    made = example(sizes, normalizer, valid, torch.float64)
    return made.features.requires_grad_(), made.numbers.requires_grad_(), made.valid


@compiled_kernels
def test_gradcheck_of_ready_kernels(implementation: Implementation) -> None:
    features, kernels, _ = operands(TINY, None, None)

    def function(x: Tensor, w: Tensor) -> Tensor:
        return implementation.carafe(x, w, *TINY.integers)

    assert torch.autograd.gradcheck(function, (features, kernels))


@compiled_kernels
@normalizers
@pytest.mark.parametrize("valid", [None, "binary", "soft", "mixed"])
@pytest.mark.parametrize("scale", [2, 3])
def test_gradcheck_of_the_fused_form(
    implementation: Implementation, normalizer: str, valid: str | None, scale: int
) -> None:
    sizes = Sizes(1, 2, 3, 2, kernel_size=3, groups=2 if scale == 2 else 1, scale=scale)
    features, logits, known = operands(sizes, normalizer, valid)

    def function(x: Tensor, numbers: Tensor) -> Tensor:
        result = implementation.carafe_fused(x, numbers, *sizes.integers, normalizer, known)
        return result if isinstance(result, Tensor) else result[0]

    assert torch.autograd.gradcheck(function, (features, logits))


@pytest.mark.parametrize(
    ("normalizer", "valid"), [(None, None), ("softmax", None), ("sigmoid_normalized", "mixed")]
)
def test_the_twin_has_second_derivatives(normalizer: str | None, valid: str | None) -> None:
    sizes = Sizes(1, 1, 2, 2, kernel_size=3, scale=1)
    features, numbers, known = operands(sizes, normalizer, valid)

    def function(x: Tensor, n: Tensor) -> Tensor:
        if normalizer is None:
            return TWIN.carafe(x, n, *sizes.integers)
        result = TWIN.carafe_fused(x, n, *sizes.integers, normalizer, known)
        return result if known is None else result[0]

    assert torch.autograd.gradgradcheck(function, (features, numbers))


@needs_compiled
@pytest.mark.parametrize(("normalizer", "valid"), [(None, None), ("softmax", None), ("softmax", "mixed")])
@pytest.mark.parametrize("by", ["features", "numbers"])
def test_second_derivatives_of_the_compiled_form_raise(
    normalizer: str | None, valid: str | None, by: str
) -> None:
    made = example(SIZES, normalizer, valid)
    made.features.requires_grad_(), made.numbers.requires_grad_()
    if normalizer is None:
        output = carafe(made.features, made.numbers, *SIZES.integers)
    else:
        result = carafe_fused(made.features, made.numbers, *SIZES.integers, normalizer, made.valid)
        output = result if isinstance(result, Tensor) else result[0]
    operand = getattr(made, by)
    (slope,) = torch.autograd.grad(output.square().sum(), operand, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"second derivatives .* INPAINT_OPS=reference"):
        slope.sum().backward()


# ------------------------------------------------------------------------------------------------------------
# Registration
# ------------------------------------------------------------------------------------------------------------


@needs_compiled
@pytest.mark.parametrize("name", ["carafe", "carafe_fused", "carafe_fused.masked"])
@pytest.mark.parametrize("channels_last", [False, True], ids=["nchw", "channels_last"])
def test_opcheck_of_the_forward_operators(name: str, channels_last: bool) -> None:
    made = example(SIZES, None if name == "carafe" else "softmax", "mixed" if "masked" in name else None)
    x, numbers = made.features, made.numbers
    if channels_last:
        x, numbers = (t.contiguous(memory_format=torch.channels_last) for t in (x, numbers))
    arguments: tuple[Any, ...] = (x.requires_grad_(), numbers.requires_grad_(), *SIZES.integers)
    if name != "carafe":
        arguments += ("softmax",)
    if made.valid is not None:
        arguments += (made.valid,)
    packet, _, overload = name.partition(".")
    torch.library.opcheck(getattr(getattr(torch.ops.inpaint, packet), overload or "default"), arguments)


@needs_compiled
@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)], ids=str)
@pytest.mark.parametrize("valid", [None, "mixed"])
def test_opcheck_of_the_backward_operators(wanted: tuple[bool, bool], valid: str | None) -> None:
    tests = ("test_schema", "test_faketensor")
    made = example(SIZES, "softmax", valid)
    arguments = (made.grad, made.features, made.numbers, *SIZES.integers, "softmax", made.valid, *wanted)
    torch.library.opcheck(torch.ops.inpaint.carafe_fused_backward.default, arguments, test_utils=tests)
    if valid is None:
        made = example(SIZES)
        arguments = (made.grad, made.features, made.numbers, *SIZES.integers, *wanted)
        torch.library.opcheck(torch.ops.inpaint.carafe_backward.default, arguments, test_utils=tests)


@implementations
def test_meta_tensors_give_shapes(implementation: Implementation) -> None:
    made = example(SIZES, "softmax", "mixed")
    assert made.valid is not None
    x, logits, valid = (t.to("meta") for t in (made.features, made.numbers, made.valid))
    output, carried = implementation.carafe_fused(x, logits, *SIZES.integers, "softmax", valid)
    assert output.device.type == "meta" and output.shape == SIZES.output_shape
    assert carried.shape == (SIZES.batch, 1, *SIZES.output_shape[2:])


# ------------------------------------------------------------------------------------------------------------
# torch.compile
# ------------------------------------------------------------------------------------------------------------


def both_forms(features: Tensor, logits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Plain and masked reassembly between operations of torch's own."""
    plain = carafe_fused(features.relu(), logits, *SIZES.integers)
    kernels = torch.nn.functional.pixel_shuffle(logits, SIZES.scale).sigmoid()
    ready = carafe(features, kernels, *SIZES.integers)
    output, carried = carafe_fused(features, logits * 2, *SIZES.integers, "sigmoid", valid)
    return plain + ready, output, carried


def forward_and_backward(function: Callable[..., Any], sizes: Sizes, dynamic: bool = False) -> list[Tensor]:
    torch.manual_seed(1)
    made = example(sizes, "softmax", "mixed")
    assert made.valid is not None
    x, logits, valid = (
        t.contiguous(memory_format=torch.channels_last) for t in (made.features, made.numbers, made.valid)
    )
    for tensor in (x, logits, valid) if dynamic else ():
        for dimension in (0, 2, 3):
            torch._dynamo.mark_dynamic(tensor, dimension)
    x.requires_grad_(), logits.requires_grad_()
    results = function(x, logits, valid)
    gradients = torch.autograd.grad(results[0].sum() + results[1].square().sum(), (x, logits))
    return [*(r.detach() for r in results), *gradients]


@needs_compiled
def test_compiles_into_one_graph_forward_and_backward() -> None:
    torch.compiler.reset()
    compiled = torch.compile(both_forms, fullgraph=True, backend="aot_eager", dynamic=False)
    results = forward_and_backward(compiled, SIZES)
    for result, wanted in zip(results, forward_and_backward(both_forms, SIZES), strict=True):
        torch.testing.assert_close(result, wanted, rtol=1e-6, atol=1e-6)
        assert result.stride() == wanted.stride()


@needs_compiled
def test_one_graph_serves_every_size() -> None:
    graphs = []

    def counting(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(both_forms, fullgraph=True, backend=counting)
    for batch, height, width in ((2, 4, 5), (3, 7, 6), (5, 2, 9)):
        sizes = Sizes(batch, 6, height, width, kernel_size=3, groups=2)
        results = forward_and_backward(compiled, sizes, dynamic=True)
        for result, wanted in zip(results, forward_and_backward(both_forms, sizes), strict=True):
            torch.testing.assert_close(result, wanted)
    assert len(graphs) == 1


@needs_compiled
def test_inductor_compiles_a_module_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inductor chooses strides of its own: what the fake promises has to hold."""
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("Inductor needs a C++ compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CI", "1")  # Inductor is stricter there about decompositions
    torch.compiler.reset()
    module = CarafeUpsample(8, compressed_channels=4, up_kernel=3).to(memory_format=torch.channels_last)
    x = torch.randn(1, 8, 6, 7).contiguous(memory_format=torch.channels_last).requires_grad_()
    valid = (torch.rand(1, 1, 6, 7) < 0.7).float()

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        output, carried = module(x, valid)
        return output.tanh(), carried

    # Half a minute of looking for vector instructions and preparing headers is left out.
    cheaply = {"compile_threads": 1, "cpp.vec_isa_ok": False, "cpp_cache_precompile_headers": False}
    compiled = torch.compile(function, fullgraph=True, options=cheaply)
    results, wanted = compiled(x), function(x)
    torch.testing.assert_close(results, wanted)
    gradients = [torch.autograd.grad(y[0].sum(), [x, *module.parameters()]) for y in (results, wanted)]
    torch.testing.assert_close(gradients[0], gradients[1])


# ------------------------------------------------------------------------------------------------------------
# Autocast
# ------------------------------------------------------------------------------------------------------------


@needs_compiled
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_takes_features_and_logits_down_and_leaves_valid(dtype: torch.dtype) -> None:
    made = example(SIZES, "softmax", "soft")
    assert made.valid is not None
    x, logits = made.features.requires_grad_(), made.numbers.requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        output, carried = carafe_fused(x, logits, *SIZES.integers, valid=made.valid)
    assert output.dtype == dtype and carried.dtype == torch.float32
    wanted = carafe_fused(x.to(dtype), logits.to(dtype), *SIZES.integers, valid=made.valid)
    assert torch.equal(output, wanted[0]) and torch.equal(carried, wanted[1])
    output.float().sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.float32
    assert logits.grad is not None and logits.grad.dtype == torch.float32


@needs_compiled
def test_autocast_covers_every_form_and_spares_float64() -> None:
    fused, ready = example(SIZES, "sigmoid"), example(SIZES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert carafe(ready.features, ready.numbers, *SIZES.integers).dtype == torch.bfloat16
        assert carafe_fused(fused.features, fused.numbers, *SIZES.integers).dtype == torch.bfloat16
        mixed = carafe_fused(fused.features.bfloat16(), fused.numbers, *SIZES.integers)
        assert mixed.dtype == torch.bfloat16
        double = carafe(ready.features.double(), ready.numbers.double(), *SIZES.integers)
    close = COMPILED.carafe(ready.features.double(), ready.numbers.double(), *SIZES.integers)
    assert double.dtype == torch.float64 and torch.equal(double, close)
