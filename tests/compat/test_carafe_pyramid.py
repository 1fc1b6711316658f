"""torchvision's feature pyramid with CARAFE."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from inpaint.compat import use_carafe
from inpaint.compat.mmcv import CARAFE, CARAFEPack
from inpaint.compat.pyramid import CarafeFeaturePyramid

CHANNELS = [4, 6, 10]
EVEN, ODD = [(16, 24), (8, 12), (4, 6)], [(25, 19), (13, 10), (7, 5)]


def levels(sizes: list[tuple[int, int]], **kind: object) -> OrderedDict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return OrderedDict(
        (f"level{i}", torch.randn(2, c, *size, generator=generator).to(**kind))  # type: ignore[arg-type]
        for i, (c, size) in enumerate(zip(CHANNELS, sizes, strict=True))
    )


def pyramid(**settings: int) -> CarafeFeaturePyramid:
    """With kernels that are not flat."""
    torch.manual_seed(0)
    made = CarafeFeaturePyramid(CHANNELS, 8, LastLevelMaxPool(), compressed_channels=4, **settings)
    for upsampler in made.upsamplers:
        nn.init.normal_(upsampler.content_encoder.weight)
    return made.eval()


@pytest.mark.parametrize("sizes", [EVEN, ODD], ids=["even", "odd"])
@pytest.mark.parametrize(
    "extra", [None, LastLevelMaxPool(), LastLevelP6P7(10, 8)], ids=["none", "max", "p6p7"]
)
def test_kernels_of_the_middle_tap_alone_give_torchvisions_own_results(
    sizes: list[tuple[int, int]], extra: object
) -> None:
    """Then CARAFE is nearest interpolation, to the last bit, at odd sizes, too."""
    plain = FeaturePyramidNetwork(CHANNELS, 8, extra)  # type: ignore[arg-type]
    wanted = plain(levels(sizes))
    use_carafe(plain)
    assert isinstance(plain, CarafeFeaturePyramid) and len(plain.upsamplers) == 2
    for upsampler in plain.upsamplers:
        nn.init.zeros_(upsampler.content_encoder.weight)
        with torch.no_grad():
            upsampler.content_encoder.bias.view(25, 4)[12] = 1e4
    results = plain(levels(sizes))
    assert list(results) == list(wanted)
    assert all(torch.equal(results[name], wanted[name]) for name in wanted)


def test_the_result_is_that_of_the_formula() -> None:
    """Lateral plus the CARAFE of the sum above it, cut at the right and at the bottom."""
    made, inputs = pyramid(), levels(ODD)
    inner = [block(x) for block, x in zip(made.inner_blocks, inputs.values(), strict=True)]
    sums = [inner[2]]
    for i in (1, 0):
        sums.append(inner[i] + made.upsamplers[i](sums[-1])[:, :, : ODD[i][0], : ODD[i][1]])
    results = made(inputs)
    for i in range(3):
        torch.testing.assert_close(results[f"level{i}"], made.layer_blocks[i](sums[2 - i]))


def test_levels_that_do_not_halve_are_refused() -> None:
    made = pyramid()
    with pytest.raises(ValueError, match=r"size \(32, 24\) does not fit features of \(8, 12\) at scale 2"):
        made(levels([(32, 24), (8, 12), (4, 6)]))


@pytest.mark.parametrize("last", [False, True])
def test_autocast_and_memory_formats(last: bool) -> None:
    layout = torch.channels_last if last else torch.contiguous_format
    made = pyramid().to(memory_format=layout)
    wanted = made(levels(ODD))
    with torch.autocast("cpu", torch.bfloat16):
        results = made(levels(ODD, memory_format=layout))
    for name, result in results.items():
        assert result.dtype == torch.bfloat16
        if name != "pool":
            assert result.is_contiguous(memory_format=layout)
        torch.testing.assert_close(result.float(), wanted[name], rtol=0.05, atol=0.1)
    sum(result.float().square().sum() for result in results.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


def test_torch_compile_makes_one_graph_and_the_same_results() -> None:
    made = pyramid()
    torch.compiler.reset()
    compiled = torch.compile(made, fullgraph=True, backend="aot_eager")
    results = compiled(levels(ODD))
    for name, wanted in made(levels(ODD)).items():
        torch.testing.assert_close(results[name], wanted)


# ------------------------------------------------------------------------------------------------------------
# Where a model leaves Python
# ------------------------------------------------------------------------------------------------------------


class Listed(nn.Module):
    """A pyramid whose inputs and results are tensors, as programs outside Python have them."""

    def __init__(self) -> None:
        super().__init__()
        self.pyramid = pyramid()

    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> list[Tensor]:
        return list(self.pyramid(OrderedDict(level0=a, level1=b, level2=c)).values())


def mask_head() -> MaskRCNNPredictor:
    head = MaskRCNNPredictor(8, 6, 3).eval()
    use_carafe(head, compressed_channels=4)
    nn.init.normal_(head.conv5_mask.carafe.content_encoder.weight)
    return head


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", ["pyramid", "mask head"])
def test_the_older_onnx_exporter_gives_standard_operators(part: str, tmp_path: Path) -> None:
    """For all sizes: the pyramid is exported at even ones and run at odd ones."""
    if part == "pyramid":
        module: nn.Module = Listed()
        example, other = (tuple(levels(sizes).values()) for sizes in (EVEN, ODD))
    else:
        module = mask_head()
        example, other = (torch.randn(2, 8, 14, 14),), (torch.randn(5, 8, 7, 9),)
    names = ["a", "b", "c"][: len(example)]
    file = tmp_path / "module.onnx"
    torch.onnx.export(
        module, example, str(file), dynamo=False, opset_version=17, input_names=names,
        dynamic_axes={name: {0: "n", 2: f"h{name}", 3: f"w{name}"} for name in names},
    )  # fmt: skip
    graph = onnx.load(file)
    assert {node.domain for node in graph.graph.node} == {""} and not graph.functions
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for inputs in (example, other):
        results = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
        wanted = module(*inputs)
        for result, want in zip(results, wanted if isinstance(wanted, list) else [wanted], strict=True):
            np.testing.assert_allclose(result, want.detach().numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_trace_runs_without_the_operator() -> None:
    module, inputs = Listed(), tuple(levels(EVEN).values())
    trace = torch.jit.trace(module, inputs)
    assert "inpaint::" not in str(trace.inlined_graph)
    for result, wanted in zip(trace(*inputs), module(*inputs), strict=True):
        torch.testing.assert_close(result, wanted)


def test_export_keeps_the_operator() -> None:
    module, inputs = Listed(), tuple(levels(ODD).values())
    program = torch.export.export(module, inputs)
    for result, wanted in zip(program.module()(*inputs), module(*inputs), strict=True):
        torch.testing.assert_close(result, wanted)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: nn.Sequential(nn.ReLU(), pyramid()), "CarafeFeaturePyramid"),
        (lambda: CARAFEPack(8, 2), "CARAFEPack"),
        (lambda: mask_head(), "CarafeUpsample"),
        (lambda: CARAFE(5, 1, 2), "CARAFE"),
    ],
    ids=["pyramid", "pack", "mask head", "carafe"],
)
def test_torchscript_is_refused_with_what_to_take(make: object, name: str) -> None:
    with pytest.raises(
        NotImplementedError, match=rf"torch.jit.script cannot compile {name}: .* Take torch.jit.trace"
    ):
        torch.jit.script(make())  # type: ignore[operator]
