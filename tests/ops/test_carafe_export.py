"""Where PyTorch takes the operator: export, ONNX, vmap and FLOP counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from carafe_examples import Sizes, example, needs_compiled
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from inpaint.compat.mmcv import CARAFEPack
from inpaint.layers import CarafeUpsample
from inpaint.ops import carafe, carafe_fused

SIZES = Sizes(2, 6, 4, 5, kernel_size=3, groups=2)


def upsampler(channels: int = 6, **settings: int | str) -> CarafeUpsample:
    """With kernels that are not flat."""
    module = CarafeUpsample(channels, compressed_channels=4, **settings).eval()  # type: ignore[arg-type]
    nn.init.normal_(module.content_encoder.weight)
    return module


# ------------------------------------------------------------------------------------------------------------
# torch.export
# ------------------------------------------------------------------------------------------------------------


@needs_compiled
def test_export_keeps_the_operator_whole_for_every_size() -> None:
    module, dynamic = upsampler(), torch.export.Dim.DYNAMIC
    shapes = {0: dynamic, 2: dynamic, 3: dynamic}
    program = torch.export.export(module, (torch.randn(2, 6, 5, 7),), dynamic_shapes=(shapes,))
    for exported in (program, program.run_decompositions()):
        targets = [node.target for node in exported.graph.nodes if node.op == "call_function"]
        assert torch.ops.inpaint.carafe_fused.default in targets
        for size in ((1, 6, 3, 4), (3, 6, 8, 2)):
            x = torch.randn(size)
            torch.testing.assert_close(exported.module()(x), module(x))


class Ready(nn.Module):
    """The form with ready kernels."""

    def forward(self, features: Tensor, numbers: Tensor) -> Tensor:
        return carafe(features, numbers.sigmoid(), 3, 2, 2)


class Inside(nn.Module):
    """The layer as a part of something else."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.up = upsampler(up_kernel=3, groups=2, scale=3, normalizer="sigmoid_normalized")

    def forward(self, image: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        return self.up(self.first(image).relu(), valid)


def inputs(*sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple((torch.rand(size) < 0.6).float() if size[1] == 1 else torch.randn(size) for size in sizes)


@needs_compiled
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("form", "dynamo"),
    [
        *((form, True) for form in ("plain", "sigmoid", "ready", "masked", "inside")),
        *((form, False) for form in ("plain", "masked", "ready", "inside", "pack")),
    ],
)
def test_onnx_export_gives_standard_operators_that_onnxruntime_runs(
    form: str, dynamo: bool, tmp_path: Path
) -> None:
    """Plain torch.onnx.export, no table of translations; height, width and batch stay free."""
    module, shapes = {
        "plain": (upsampler(), lambda n, h, w: [(n, 6, h, w)]),
        "sigmoid": (upsampler(normalizer="sigmoid", scale=3), lambda n, h, w: [(n, 6, h, w)]),
        "ready": (Ready(), lambda n, h, w: [(n, 6, h, w), (n, 18, 2 * h, 2 * w)]),
        "masked": (upsampler(), lambda n, h, w: [(n, 6, h, w), (n, 1, h, w)]),
        "inside": (Inside().eval(), lambda n, h, w: [(n, 3, h, w), (n, 1, h, w)]),
        "pack": (CARAFEPack(6, 2).eval(), lambda n, h, w: [(n, 6, h, w)]),
    }[form]
    example_inputs = inputs(*shapes(2, 6, 7))
    n, h, w = (torch.export.Dim(name, min=1, max=64) for name in "nhw")
    free: list[dict[int, object]] = [{0: n, 2: h, 3: w} for _ in example_inputs]
    if form == "ready":
        free[1] = {0: n, 2: 2 * h, 3: 2 * w}
    if dynamo:
        program = torch.onnx.export(
            module, example_inputs, dynamo=True, dynamic_shapes=tuple(free), verbose=False
        )
        assert program is not None
        program.save(tmp_path / "module.onnx")
    else:  # what MMDeploy and others call
        names = ["features", "further"][: len(example_inputs)]
        torch.onnx.export(
            module,
            example_inputs,
            str(tmp_path / "module.onnx"),
            dynamo=False,
            opset_version=17,
            input_names=names,
            dynamic_axes={name: {0: "n", 2: "h", 3: "w"} for name in names},
        )
    model = onnx.load(tmp_path / "module.onnx")
    assert {node.domain for node in model.graph.node} == {""} and not model.functions
    session = onnxruntime.InferenceSession(tmp_path / "module.onnx", providers=["CPUExecutionProvider"])
    for size in ((2, 6, 7), (1, 9, 4), (3, 2, 11)):
        tensors = inputs(*shapes(*size))
        names = [value.name for value in session.get_inputs()]
        results = session.run(None, {k: t.numpy() for k, t in zip(names, tensors, strict=True)})
        wanted = module(*tensors)
        wanted = [wanted] if isinstance(wanted, Tensor) else [part for part in wanted if part is not None]
        for result, want in zip(results, wanted, strict=True):
            np.testing.assert_allclose(result, want.detach().numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_a_trace_runs_without_the_operator() -> None:
    module, x = Inside().eval().up, torch.randn(2, 6, 5, 4)
    trace = torch.jit.trace(module, x)
    assert "inpaint::" not in str(trace.inlined_graph)
    for size in ((2, 6, 5, 4), (1, 6, 3, 7)):
        x = torch.randn(size)
        torch.testing.assert_close(trace(x), module(x))


# ------------------------------------------------------------------------------------------------------------
# FLOPs
# ------------------------------------------------------------------------------------------------------------


@needs_compiled
def test_the_layer_has_the_flops_that_the_paper_states() -> None:
    """199k for a position at 256 channels: section 3.4, biases left out."""
    features = torch.randn(2, 256, 6, 5)
    with FlopCounterMode(display=False) as counter:
        CarafeUpsample(256)(features)
    assert counter.get_total_flops() == 2 * 6 * 5 * (2 * 256 * 64 + 2 * 64 * 9 * 100 + 2 * 25 * 4 * 256)
    assert counter.get_total_flops() // (2 * 6 * 5) == 199_168


@needs_compiled
@pytest.mark.parametrize("normalizer", [None, "softmax", "sigmoid"])
@pytest.mark.parametrize("valid", [None, "mixed"])
def test_each_gradient_costs_as_much_as_the_forward(normalizer: str | None, valid: str | None) -> None:
    made = example(SIZES, normalizer, valid)
    once = 2 * 2 * 6 * 4 * 5 * 9 * 4
    for wanting in ((), ("features",), ("features", "numbers")):
        x, numbers = made.features.detach(), made.numbers.detach()
        x.requires_grad_("features" in wanting), numbers.requires_grad_("numbers" in wanting)
        with FlopCounterMode(display=False) as counter:
            if normalizer is None:
                output = carafe(x, numbers, *SIZES.integers)
            else:
                result = carafe_fused(x, numbers, *SIZES.integers, normalizer, made.valid)
                output = result if isinstance(result, Tensor) else result[0]
            if wanting:
                output.sum().backward()
        assert counter.get_total_flops() == once * (1 + len(wanting))


# ------------------------------------------------------------------------------------------------------------
# vmap
# ------------------------------------------------------------------------------------------------------------


@needs_compiled
@pytest.mark.parametrize(("normalizer", "valid"), [(None, None), ("softmax", None), ("sigmoid", "mixed")])
@pytest.mark.parametrize("in_dims", [(0, 0, 0), (2, 0, 1), (None, 0, None), (0, None, None)], ids=str)
def test_vmap_equals_a_loop(
    normalizer: str | None, valid: str | None, in_dims: tuple[int | None, ...]
) -> None:
    made = [example(SIZES, normalizer, valid) for _ in range(3)]

    def function(x: Tensor, numbers: Tensor, known: Tensor | None) -> Tensor:
        if normalizer is None:
            return carafe(x, numbers, *SIZES.integers)
        result = carafe_fused(x, numbers, *SIZES.integers, normalizer, known)
        return result if isinstance(result, Tensor) else torch.cat(result, 1)

    operands = []
    for name, dim in zip(("features", "numbers", "valid"), in_dims, strict=True):
        each = [getattr(one, name) for one in made]
        shared = dim is None or each[0] is None
        operands.append(each[0] if shared else torch.stack(each, dim))
    dims = tuple(None if t is None else dim for t, dim in zip(operands, in_dims, strict=True))
    mapped = [t.requires_grad_() if i < 2 else t for i, t in enumerate(operands)]
    result = torch.func.vmap(function, in_dims=dims)(*mapped)
    loop = torch.stack(
        [
            function(*(t if d is None else t.select(d, i) for t, d in zip(mapped, dims, strict=True)))
            for i in range(3)
        ]
    )
    torch.testing.assert_close(result, loop)
    slope = torch.randn_like(loop)
    gradients = (torch.autograd.grad(y, mapped[:2], slope, retain_graph=True) for y in (result, loop))
    for mapped_gradient, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(mapped_gradient, wanted)
