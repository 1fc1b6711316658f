"""`use_carafe`: what it replaces, what it leaves, and the sentences where it cannot."""

from __future__ import annotations

import copy
import functools
import io
import itertools
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.segmentation import fcn_resnet50
from torchvision.ops import FeaturePyramidNetwork

from inpaint.compat import use_carafe
from inpaint.compat.pyramid import CarafeFeaturePyramid
from inpaint.layers import CarafeUpsample

ROOT = Path(__file__).resolve().parents[2]
MASK_HEAD = "roi_heads.mask_predictor.conv5_mask"


def detector(kind: type[FasterRCNN] = MaskRCNN) -> FasterRCNN:
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5)
    few = {"rpn_post_nms_top_n_train": 40, "box_batch_size_per_image": 16, "box_detections_per_img": 4}
    return kind(backbone, num_classes=3, min_size=64, max_size=96, **few)


def photos() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, 61, 83, generator=generator), torch.rand(3, 70, 64, generator=generator)]


def truth(images: list[Tensor]) -> list[dict[str, Tensor]]:
    masks = torch.zeros(2, 100, 100, dtype=torch.uint8)
    masks[:, 8:40, 8:32] = 1
    boxes = torch.tensor([[8.0, 8.0, 32.0, 40.0], [4.0, 6.0, 60.0, 58.0]])
    return [
        {"boxes": boxes, "labels": torch.tensor([1, 2]), "masks": masks[:, : x.shape[1], : x.shape[2]]}
        for x in images
    ]


class UNet(nn.Module):
    """With what people's own networks have: an interpolation, deconvolutions, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.up1 = nn.Sequential(nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1), nn.ReLU())
        self.up2 = nn.ModuleDict({"resize": nn.Upsample(scale_factor=2, mode="bilinear")})
        self.up3 = nn.ConvTranspose2d(8, 5, 3, stride=2, padding=1, output_padding=1, bias=False)
        self.same = nn.ConvTranspose2d(5, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return self.same(self.up3(self.up2["resize"](self.up1(self.inside(image)))))


# ------------------------------------------------------------------------------------------------------------
# torchvision's detectors
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FasterRCNN, MaskRCNN])
def test_a_detector_trains_with_carafe_in_its_places(kind: type[FasterRCNN]) -> None:
    torch.manual_seed(0)
    model = detector(kind)
    before = model.state_dict(keep_vars=True)
    replaced = use_carafe(model, compressed_channels=16)
    names = ["backbone.fpn", MASK_HEAD] if kind is MaskRCNN else ["backbone.fpn"]
    assert [one.name for one in replaced] == names
    assert str(replaced[0]) == (
        "backbone.fpn: nearest interpolation between 4 levels of 256 channels -> "
        "CARAFE ×2 of 256 channels, 3 times"
    )
    # Everything else has the same keys, and they are the same tensors.
    new = {f"backbone.fpn.upsamplers.{i}" for i in range(3)} | {*names[1:]}
    now = model.state_dict(keep_vars=True)
    assert {key for key in before if key not in now} == {
        f"{name}.{kind}" for name in names[1:] for kind in ("weight", "bias")
    }
    assert {key.rsplit(".", 2)[0] for key in now if key not in before} == new
    assert all(tensor is now[key] for key, tensor in before.items() if key in now)

    fresh = {name: p for name, p in model.named_parameters() if name.rsplit(".", 2)[0] in new}
    assert len(fresh) == 4 * len(new)
    start = {name: p.detach().clone() for name, p in fresh.items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    for _ in range(2):
        loss = sum(model(photos(), truth(photos())).values(), torch.zeros(()))
        assert torch.isfinite(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert [name for name, p in fresh.items() if torch.equal(p, start[name])] == []
    model.eval()
    assert set(model(photos())[0]) == {"boxes", "labels", "scores", *(["masks"] if kind is MaskRCNN else [])}


def test_a_mask_head_keeps_its_sizes_and_changes_channels_where_the_deconvolution_did() -> None:
    equal, fewer = MaskRCNNPredictor(16, 16, 3), MaskRCNNPredictor(16, 12, 3)
    use_carafe(equal)
    [replaced] = use_carafe(fewer)
    assert replaced.after == "CARAFE ×2 of 16 channels, 1×1 convolution to 12"
    assert isinstance(equal.conv5_mask, CarafeUpsample)
    features = torch.randn(4, 16, 14, 14)
    assert equal(features).shape == fewer(features).shape == (4, 3, 28, 28)
    conv = fewer.conv5_mask.conv
    wanted = F.conv2d(fewer.conv5_mask.carafe(features), conv.weight, conv.bias)
    torch.testing.assert_close(fewer.conv5_mask(features), wanted)


def test_a_second_call_has_nothing_to_replace_and_says_so() -> None:
    model = detector()
    use_carafe(model)
    with pytest.raises(
        ValueError,
        match=r"nothing to replace: looked for torchvision's .*; there is CARAFE already, in 4 places$",
    ):
        use_carafe(model)
    # What is put in afterwards is new.
    model.roi_heads.mask_predictor = MaskRCNNPredictor(256, 256, 5)
    assert [one.name for one in use_carafe(model)] == [MASK_HEAD]


def test_a_network_without_such_parts_is_refused() -> None:
    class Own(FeaturePyramidNetwork):
        """Its forward may be another one: it is left alone."""

    for model in (fcn_resnet50(weights=None, weights_backbone=None), Own([4, 8], 4), nn.ReLU()):
        with pytest.raises(ValueError, match=r"looked for torchvision's .* of its MaskRCNNPredictor$"):
            use_carafe(model)


def tiny_detector(**_: object) -> MaskRCNN:
    """A Mask R-CNN whose backbone is five convolutions: for what takes long with a ResNet."""
    torch.manual_seed(0)
    channels = [3, 8, 8, 16, 16, 32]
    body = nn.Sequential(
        *(nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.ReLU()) for a, b in itertools.pairwise(channels))
    )
    layers = {str(i): str(i - 1) for i in range(1, 5)}
    backbone = BackboneWithFPN(body, layers, channels[2:], out_channels=16)
    few = {"rpn_pre_nms_top_n_test": 40, "box_batch_size_per_image": 16, "box_detections_per_img": 4}
    return MaskRCNN(backbone, num_classes=3, min_size=128, mask_head=MaskRCNNHeads(16, (256,), 1), **few)


@pytest.mark.filterwarnings("ignore")
def test_the_documents_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its very text, with a smaller network behind the name, and compiled for no processor in particular."""
    text = (ROOT / "docs" / "operator.md").read_text("utf-8")
    codes = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    (code,) = (code for code in codes if "use_carafe" in code)
    (tracing,) = (code for code in codes if "gather_through" in code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torchvision.models.detection, "maskrcnn_resnet50_fpn", tiny_detector)
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    torch.compiler.reset()
    names: dict[str, Any] = {}
    exec(compile(code, "docs/operator.md", "exec"), names)
    model, photo = names["model"], names["photos"][0]
    assert torch.isfinite(names["loss"])
    assert list(names["levels"]) == ["0", "1", "2", "3", "pool"]
    graph = onnx.load("model.onnx")
    assert {node.domain for node in graph.graph.node} == {""}
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    results = session.run(None, {session.get_inputs()[0].name: photo.numpy()})
    with torch.no_grad():
        wanted = model([photo])[0]
    assert len(wanted["boxes"]) > 0
    for result, want in zip(results, wanted.values(), strict=True):
        np.testing.assert_allclose(result, want.numpy(), rtol=1e-4, atol=1e-4)
    exec(compile(tracing, "docs/operator.md", "exec"), names)
    sizes = [tuple(level.shape[-2:]) for level in names["levels"].values()]
    assert names["pixel"].shape == sizes[0] and names["level"].weights.shape == sizes[3]
    assert names["level"].name == "backbone.fpn.upsamplers.2"


# ------------------------------------------------------------------------------------------------------------
# Named modules
# ------------------------------------------------------------------------------------------------------------


def test_named_modules_are_replaced_whatever_holds_them() -> None:
    model = UNet().train()
    replaced = use_carafe(model, {"up1": 8, "up2": 8, "up3": 8}, up_kernel=3, groups=2)
    assert [(one.name, one.before) for one in replaced] == [
        ("up1.0", "deconvolution 4×4, stride 2, 8 channels"),
        ("up2.resize", "bilinear interpolation ×2"),
        ("up3", "deconvolution 3×3, stride 2, 8 to 5 channels"),
    ]
    assert isinstance(model.up1[0], CarafeUpsample) and model.up1[0].groups == 2
    assert model.up3.conv.bias is None
    assert isinstance(model.same, nn.ConvTranspose2d)
    assert model(torch.randn(1, 3, 20, 28)).shape == (1, 3, 40, 56)


def test_what_is_named_is_all_that_is_replaced() -> None:
    model = detector()
    assert [one.name for one in use_carafe(model, "roi_heads")] == [MASK_HEAD]
    assert type(model.backbone.fpn) is FeaturePyramidNetwork
    assert [one.name for one in use_carafe(model, ["backbone.fpn"])] == ["backbone.fpn"]
    keypoints = KeypointRCNNPredictor(16, 17)
    use_carafe(keypoints, modules=["kps_score_lowres"])
    assert keypoints(torch.randn(2, 16, 14, 14)).shape == (2, 17, 56, 56)


def test_a_module_in_two_places_stays_one() -> None:
    model = UNet()
    model.again = model.up1
    use_carafe(model, ["up1", "again"])
    assert model.again[0] is model.up1[0]
    shared = nn.ConvTranspose2d(8, 8, 2, stride=2)
    both = nn.Sequential(shared, shared)
    assert len(use_carafe(both, ["0", "1"])) == 2
    assert both[0] is both[1]


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (["up4"], r"the model has no module 'up4'; did you mean 'up\d'\?"),
        (["inside"], r"nothing to replace in 'inside', a Conv2d: looked for nn.Upsample, nn.ConvTranspose2d"),
        (["same"], r"nothing to replace in 'same', a ConvTranspose2d"),
        ([], r"modules names nothing"),
        (["up3", "up2.resize"], r"'up2.resize' is an nn.Upsample, which .*: modules=\{'up2.resize': ch"),
        ({"up2": 8, "more": 8}, r"'more', ConvTranspose2d\(8, 8, .*\), does not give 2 times as many"),
        ({"up2": 8, "uneven": 8}, r"'uneven', ConvTranspose2d\(8, 8, .*\), does not give 2 times as many"),
        ({"up2": 8, "one_half": 8}, r"'one_half', Upsample\(.*\), has no whole scale factor"),
        ({"up2": 8, "fixed": 8}, r"'fixed', Upsample\(size=32, .*\), has no whole scale factor"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_replaced_is_named_and_nothing_changes(modules: object, message: str) -> None:
    model = UNet()
    model.more = nn.ConvTranspose2d(8, 8, 3, stride=2)
    model.uneven = nn.ConvTranspose2d(8, 8, (2, 3), stride=(2, 3))
    model.one_half = nn.Upsample(scale_factor=1.5)
    model.fixed = nn.Upsample(size=32)
    parts = list(model.modules())
    with pytest.raises(ValueError, match=f"^use_carafe: {message}"):
        use_carafe(model, modules)  # type: ignore[arg-type]
    assert all(now is then for now, then in zip(model.modules(), parts, strict=True))


def test_wrong_settings_are_refused_before_anything_changes() -> None:
    model = detector()
    with pytest.raises(ValueError, match="up_kernel must be"):
        use_carafe(model, up_kernel=4)
    with pytest.raises(TypeError, match="kernel_size"):
        use_carafe(model, kernel_size=5)
    assert type(model.backbone.fpn) is FeaturePyramidNetwork
    with pytest.raises(ValueError, match="the model itself is what is to be replaced, a ConvTranspose2d"):
        use_carafe(nn.ConvTranspose2d(4, 4, 2, stride=2), modules=[""])


# ------------------------------------------------------------------------------------------------------------
# In the style of the model
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [False, True])
def test_new_parts_have_the_type_device_format_and_mode_of_the_model(last: bool) -> None:
    layout = torch.channels_last if last else torch.contiguous_format
    model = UNet().to(torch.bfloat16).to(memory_format=layout).eval()
    model.pyramid = FeaturePyramidNetwork([4, 8], 16).double().to(memory_format=layout).eval()
    use_carafe(model, {"up1": 8, "up2": 8, "pyramid": 16}, compressed_channels=6)
    for part, dtype in (
        (model.up1[0], torch.bfloat16),
        (model.up2["resize"], torch.bfloat16),
        (model.pyramid.upsamplers[0], torch.float64),
    ):
        assert not part.training
        weights = list(part.parameters())
        assert {weight.dtype for weight in weights} == {dtype}
        assert all(weight.is_contiguous(memory_format=layout) for weight in weights if weight.dim() == 4)
    image = torch.randn(1, 3, 20, 28, dtype=torch.bfloat16).to(memory_format=layout)
    assert model(image).is_contiguous(memory_format=layout)

    with torch.device("meta"):
        bare = detector()
    use_carafe(bare)
    assert {p.device.type for p in bare.parameters()} == {"meta"}


def test_the_model_is_saved_copied_and_loaded_as_before() -> None:
    model = UNet().eval()
    model.pyramid = FeaturePyramidNetwork([4, 8], 16).eval()
    use_carafe(model, {"": 8})
    levels = {"0": torch.randn(1, 4, 7, 9), "1": torch.randn(1, 8, 4, 5)}
    wanted = model.pyramid(levels)["0"]
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = UNet().eval()
    other.pyramid = FeaturePyramidNetwork([4, 8], 16).eval()
    use_carafe(other, {"": 8})
    other.load_state_dict(torch.load(file, weights_only=True))
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), other):
        assert isinstance(copied.pyramid, CarafeFeaturePyramid)
        assert torch.equal(copied.pyramid(levels)["0"], wanted)
        assert copied.up1[0] is not model.up1[0]


def test_hooks_of_a_pyramid_stay() -> None:
    pyramid = FeaturePyramidNetwork([4, 8], 16)
    calls: list[int] = []
    pyramid.register_forward_hook(lambda *_: calls.append(1))
    use_carafe(pyramid)
    pyramid({"0": torch.randn(1, 4, 8, 8), "1": torch.randn(1, 8, 4, 4)})
    assert calls == [1]


def test_distributed_training_takes_the_model_after_and_not_before() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        model = UNet()
        with pytest.raises(
            ValueError, match=r"wrapped in DistributedDataParallel already, .* before wrapping"
        ):
            use_carafe(DistributedDataParallel(copy.deepcopy(model)), ["module.up1"])
        use_carafe(model, {"": 8})
        parallel = DistributedDataParallel(model)
        for _ in range(2):  # the second iteration finds parameters that got no gradient in the first
            parallel(torch.randn(1, 3, 20, 28)).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.up1.parameters())
    finally:
        dist.destroy_process_group()
