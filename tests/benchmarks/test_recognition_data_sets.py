"""benchmarks/recognition/data_sets.py on small folders of COCO's and ADE20k's layouts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from inpaint.segmentation import upernet


def picture(path: Path, size: tuple[int, int], mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(path)


def rectangle(x1: int, y1: int, x2: int, y2: int) -> list[int]:
    return [x1, y1, x2, y1, x2, y2, x1, y2]


@pytest.fixture
def coco_folder(tmp_path: Path) -> Path:
    """Four pictures: of all kinds of annotation, grey, without any, and with a crowd alone."""
    sizes = {7: (53, 37), 12: (40, 64), 13: (33, 35), 20: (50, 41)}  # width, height
    odd = np.zeros((37, 53), np.uint8, order="F")
    odd[4:9, 30:50:2] = 1
    packed = rle.encode(odd)
    packed = {"size": packed["size"], "counts": packed["counts"].decode()}
    crowd = {"size": [37, 53], "counts": [0, 37 * 53]}  # the whole picture
    objects = [
        (7, 90, [3, 4, 10, 6], [rectangle(3, 4, 13, 10)], 0),
        (7, 1, [30, 4, 19, 5], packed, 0),
        (7, 1, [0, 0, 53, 37], crowd, 1),
        (7, 2, [5, 5, 0, 8], [rectangle(5, 5, 5, 13)], 0),  # no width
        (7, 2, [5, 5, 4, 4], [], 0),  # no segmentation
        (12, 18, [2, 2, 30, 50], [rectangle(2, 2, 8, 12), rectangle(20, 40, 32, 52)], 0),  # in two parts
        (20, 1, [0, 0, 50, 41], {"size": [41, 50], "counts": [0, 41 * 50]}, 1),
    ]
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": box[2] * box[3],
            "segmentation": segmentation,
            "iscrowd": iscrowd,
        }
        for number, (image, category, box, segmentation, iscrowd) in enumerate(objects, 1)
    ]
    images = [
        {"id": number, "file_name": f"{number:012}.jpg", "width": width, "height": height}
        for number, (width, height) in sizes.items()
    ]
    categories = [{"id": number, "name": str(number)} for number in (1, 2, 18, 90)]
    for split in ("train2017", "val2017"):
        for number, size in sizes.items():
            picture(tmp_path / split / f"{number:012}.jpg", size, "L" if number == 12 else "RGB")
        file = tmp_path / "annotations" / f"instances_{split}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": categories}), "utf-8"
        )
    return tmp_path


def test_coco_gives_what_can_be_learnt(data_sets: Any, coco_folder: Path) -> None:
    pictures = data_sets.coco(coco_folder, "val2017")
    assert [pictures[index][1]["image_id"] for index in range(len(pictures))] == [7, 12, 13, 20]
    image, target = pictures[0]
    assert image.shape == (3, 37, 53) and image.dtype == torch.float32 and image.max() <= 1
    assert target["labels"].tolist() == [90, 1]
    assert target["boxes"].tolist() == [[3, 4, 13, 10], [30, 4, 49, 9]]
    expected = torch.zeros(2, 37, 53, dtype=torch.uint8)
    expected[0, 4:10, 3:13] = expected[1, 4:9, 30:50:2] = 1
    assert torch.equal(target["masks"], expected)

    grey, parts = pictures[1]
    assert torch.equal(grey[0], grey[1]) and grey.shape == (3, 64, 40)
    assert parts["masks"].sum() == 6 * 10 + 12 * 12
    for index, size in ((2, (35, 33)), (3, (41, 50))):
        empty = pictures[index][1]
        assert empty["boxes"].shape == (0, 4) and empty["masks"].shape == (0, *size)
        assert empty["labels"].dtype == torch.int64


def test_coco_leaves_pictures_without_objects_out_of_training_and_flips(
    data_sets: Any, coco_folder: Path
) -> None:
    pictures = data_sets.coco(coco_folder, "train2017", training=True)
    assert pictures.pictures.ids == [7, 12]
    seen = set()
    for _ in range(20):
        image, target = pictures[0]
        assert type(image) is torch.Tensor and {type(target["boxes"])} == {torch.Tensor}
        for box, mask in zip(target["boxes"].tolist(), target["masks"], strict=True):
            columns = mask.any(0).nonzero()
            assert abs(columns.min() - box[0]) <= 1 and abs(columns.max() + 1 - box[2]) <= 1
        seen.add(tuple(target["boxes"][0].tolist()))
    assert seen == {(3, 4, 13, 10), (53 - 13, 4, 53 - 3, 10)}


def test_a_crowd_forgives_and_does_not_count(data_sets: Any, instance_scores: Any, coco_folder: Path) -> None:
    pictures = data_sets.coco(coco_folder, "val2017")
    scores = instance_scores.InstanceScores(pictures.truth, masks=True)
    for index in range(len(pictures)):
        _, target = pictures[index]
        boxes, labels, masks = target["boxes"], target["labels"], target["masks"]
        if index in (0, 3):  # a surer one of class 1 in the crowd, which nobody annotated alone
            more = torch.zeros_like(masks[:1]) if len(masks) else torch.zeros(1, 41, 50, dtype=torch.uint8)
            more[:, 20:30, 5:15] = 1
            boxes = torch.cat([torch.tensor([[5.0, 20, 15, 30]]), boxes])
            labels, masks = torch.cat([torch.tensor([1]), labels]), torch.cat([more, masks])
        scores.add(
            {
                "boxes": boxes,
                "labels": labels,
                "masks": masks[:, None].float(),
                "scores": torch.linspace(0.9, 0.8, len(labels)),
            },
            target,
        )
    values = scores.values()
    # Class 2 has two objects that no mask or box of ours can meet, and a mean is over the four classes.
    assert values["mask_ap"] == pytest.approx(0.75, abs=1e-6)
    assert values["mask_iou"] == 1 and values["found"] == 1


def test_coco_says_what_is_missing(data_sets: Any, coco_folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no test2017$"):
        data_sets.coco(coco_folder, "test2017")
    (coco_folder / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no annotations.instances_val2017\.json$"):
        data_sets.coco(coco_folder, "val2017")


@pytest.fixture
def ade_folder(tmp_path: Path) -> Path:
    for split in ("training", "validation"):
        for number, size in enumerate([(53, 37), (40, 64), (70, 31)], 1):
            name = f"ADE_{split[:5]}_{number:08}"
            picture(tmp_path / "images" / split / f"{name}.jpg", size, "L" if number == 2 else "RGB")
            classes = np.add.outer(np.arange(size[1]), np.arange(size[0])) % 151
            path = tmp_path / "annotations" / split / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(classes.astype(np.uint8)).save(path)
    return tmp_path


def test_ade20k_counts_its_classes_from_zero_and_ignores_other(data_sets: Any, ade_folder: Path) -> None:
    pictures = data_sets.ade20k(ade_folder, "validation")
    assert len(pictures) == 3
    image, labels = pictures[0]
    assert image.shape == (3, 37, 53) and labels.shape == (37, 53) and labels.dtype == torch.int64
    expected = np.add.outer(np.arange(37), np.arange(53)) % 151 - 1
    assert np.array_equal(labels, np.where(expected < 0, 255, expected))
    grey, _ = pictures[1]
    assert grey.shape == (3, 64, 40) and torch.equal(grey[0], grey[2])


def test_ade20k_crops_pictures_and_labels_alike(data_sets: Any, ade_folder: Path) -> None:
    # The picture is made of its labels, so that a crop shows whether both went the same way.
    for path in (ade_folder / "images" / "training").glob("*.jpg"):
        classes = np.zeros((60, 60), np.uint8)
        classes[:, 30:] = 100
        Image.fromarray(np.repeat(classes[..., None] * 2, 3, 2)).save(path, quality=100)
        Image.fromarray(classes + 1).save(ade_folder / "annotations" / "training" / f"{path.stem}.png")
    pictures = data_sets.ade20k(ade_folder, "training", crop=32)
    padded = 0
    for index in [0, 1, 2] * 8:
        image, labels = pictures[index]
        assert image.shape == (3, 32, 32) and labels.shape == (32, 32)
        known = labels != 255
        assert set(labels[known].unique().tolist()) <= {0, 100}
        padded += int(not known.all())
        wrong = (image[0][known] > 0.4) != (labels[known] == 100)
        assert wrong.float().mean() < 0.07  # a column between the halves, at most
    assert 0 < padded < 24  # of short sides below 32


def test_ade20k_says_what_is_wrong(data_sets: Any, ade_folder: Path) -> None:
    labels = sorted((ade_folder / "annotations" / "validation").iterdir())
    Image.fromarray(np.full((37, 53), 151, np.uint8)).save(labels[0])
    with pytest.raises(ValueError, match=r"has label 151, expected 0 to 150$"):
        data_sets.ade20k(ade_folder, "validation")[0]
    Image.fromarray(np.zeros((36, 53), np.uint8)).save(labels[0])
    with pytest.raises(ValueError, match=r"\(36, 53\), but the picture is \(37, 53\)$"):
        data_sets.ade20k(ade_folder, "validation")[0]
    labels[1].unlink()
    with pytest.raises(FileNotFoundError, match=f"there is no annotations.validation.{labels[1].name}$"):
        data_sets.ade20k(ade_folder, "validation")
    with pytest.raises(FileNotFoundError, match=r"there is no images/test/\*\.jpg$"):
        data_sets.ade20k(ade_folder, "test")


def test_the_script_trains_on_coco(
    recognizing: Any, coco_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def small(masks: bool, weights: str | None, size: int) -> Any:
        assert not masks and weights is None
        backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
        return FasterRCNN(
            backbone,
            91,
            min_size=size,
            max_size=size,
            rpn_post_nms_top_n_train=50,
            rpn_post_nms_top_n_test=20,
        )

    monkeypatch.setattr("recognition.tasks.coco_detector", small)
    words = ["--task", "detection", "--data", f"coco:{coco_folder}", "--batch", "2", "--size", "64"]
    assert trained(recognizing, monkeypatch, capsys, words) == ["box AP", "box AP50"]


def test_the_script_trains_on_ade20k(
    recognizing: Any, ade_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def small(upsampler: str, weights: str | None) -> Any:
        assert weights is None
        return upernet(150, "resnet18", upsampler, width=8)

    monkeypatch.setattr("recognition.tasks.ade20k_upernet", small)
    words = ["--task", "segmentation", "--data", f"ade20k:{ade_folder}", "--batch", "3", "--size", "32"]
    assert trained(recognizing, monkeypatch, capsys, words) == ["mIoU", "accuracy"]


def trained(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> list[str]:
    """The scores in the table after a step with CARAFE."""
    words = [*words, "--upsamplers", "carafe", "--seeds", "4", "--fresh", "--steps", "1", "--rate", "1e-4"]
    monkeypatch.setattr("sys.argv", ["compare_recognition.py", *words, "--device", "cpu"])
    script.main()
    page = capsys.readouterr().out
    assert "| carafe    |     1 |" in page
    (head,) = (line for line in page.splitlines() if line.startswith("| upsampler"))
    return [cell.strip() for cell in head.split("|")][3:-2]


def test_the_networks_of_real_runs_are_the_published_ones(recognizing: Any) -> None:
    instances, segmentation = (sys.modules[f"recognition.{name}"] for name in ("instances", "segmentation"))
    with torch.device("meta"):  # no memory for the weights
        masks = instances.coco_detector(masks=True, weights=None, size=800)
        scenes = segmentation.ade20k_upernet("carafe", weights=None)
    assert masks.transform.min_size == (800,) and masks.transform.max_size == 1333
    assert masks.roi_heads.box_predictor.cls_score.out_features == 91
    assert scenes.classifier[1].out_channels == 150 and scenes.classifier[1].in_channels == 512
