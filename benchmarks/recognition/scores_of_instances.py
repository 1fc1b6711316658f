"""Scores of detected boxes and masks: COCO's average precision, and how well masks fit."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor
from torchvision.ops import box_iou

SURE = 0.5  # a detection of a lower score is not looked at for `mask_iou`
FOUND = 0.5  # the IoU of boxes from which on an object counts as found for `mask_iou`


class InstanceScores:
    """Detections of any number of pictures, and the scores of all of them.

    - `box_ap`, `box_ap50`, `mask_ap`, `mask_ap50`: by pycocotools; mean over IoU 0.5 to 0.95, and at 0.5.
    - `mask_iou`: mean intersection over union of the masks of found objects. Detections with a score of 0.5
      or more are taken from the surest on. Each takes the object of its class, among those that are not taken
      yet, whose box has the largest IoU with its own; it is found if that is 0.5 or more. Boxes decide, so
      that sharp masks and blurred ones are compared on the same terms.
    - `found`: the share of objects that are.

    Args:
        truth: pycocotools' index of all pictures, such as `CocoDetection.coco` or what `coco_index` makes.
        masks: whether to score masks, too.
    """

    def __init__(self, truth: COCO, masks: bool) -> None:
        self.truth, self.masks = truth, masks
        self.images: list[int] = []
        self.detections: list[dict[str, Any]] = []
        self.matched_ious: list[float] = []
        self.objects = 0

    def add(self, detected: Mapping[str, Tensor], target: Mapping[str, Any]) -> None:
        """Count a picture: what torchvision's detector returns for it, and what is true of it."""
        image = int(target["image_id"])
        self.images.append(image)
        detected = {name: values.cpu() for name, values in detected.items()}
        boxes = detected["boxes"].clone()
        boxes[:, 2:] -= boxes[:, :2]
        binary = detected["masks"][:, 0] > 0.5 if self.masks else None
        for index, (box, label, score) in enumerate(
            zip(boxes.tolist(), detected["labels"].tolist(), detected["scores"].tolist(), strict=True)
        ):
            entry = {"image_id": image, "category_id": label, "bbox": box, "score": score}
            if binary is not None:
                entry["segmentation"] = encoded(binary[index].numpy())
            self.detections.append(entry)
        if binary is not None:
            ious = matched_mask_ious({**detected, "masks": binary}, target)
            self.matched_ious += ious
            self.objects += len(target["labels"])

    def values(self) -> dict[str, float]:
        """Return the scores."""
        values = {}
        for kind, name in (("bbox", "box"), ("segm", "mask")):
            if kind == "segm" and not self.masks:
                continue
            values[f"{name}_ap"], values[f"{name}_ap50"] = self._average_precision(kind)
        if self.masks:
            values["mask_iou"] = float(np.mean(self.matched_ious)) if self.matched_ious else float("nan")
            values["found"] = len(self.matched_ious) / max(self.objects, 1)
        return values

    def _average_precision(self, kind: str) -> tuple[float, float]:
        if not self.detections:
            return 0.0, 0.0  # pycocotools cannot index an empty list
        with contextlib.redirect_stdout(io.StringIO()):
            results = self.truth.loadRes([dict(entry) for entry in self.detections])
            evaluation = COCOeval(self.truth, results, kind)
            evaluation.params.imgIds = sorted(self.images)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return float(evaluation.stats[0]), float(evaluation.stats[1])


def matched_mask_ious(detected: Mapping[str, Tensor], target: Mapping[str, Any]) -> list[float]:
    """Return the mask IoU of each found object of a picture; see `InstanceScores`.

    Args:
        detected: `boxes`, `labels`, `scores`, and `masks` [N, H, W], bool.
        target: `boxes`, `labels`, and `masks` [N, H, W].
    """
    free = torch.ones(len(target["labels"]), dtype=torch.bool)
    overlaps = box_iou(detected["boxes"], target["boxes"])
    ious = []
    for index in torch.argsort(detected["scores"], descending=True, stable=True).tolist():
        if detected["scores"][index] < SURE:
            break
        candidates = overlaps[index] * (free & (target["labels"] == detected["labels"][index]))
        if candidates.numel() == 0 or candidates.max() < FOUND:
            continue
        chosen = int(candidates.argmax())
        free[chosen] = False
        one, other = detected["masks"][index], target["masks"][chosen] > 0
        ious.append(float((one & other).sum() / (one | other).sum().clamp(min=1)))
    return ious


def encoded(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask [H, W] as COCO's run lengths, with text that JSON can hold."""
    runs = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": runs["size"], "counts": runs["counts"].decode()}


def coco_index(samples: Iterable[tuple[Tensor, Mapping[str, Any]]], categories: int) -> COCO:
    """Return pycocotools' index of a data set of torchvision's form, with classes 1 to `categories`."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image, target in samples:
        height, width = image.shape[-2:]
        number = int(target["image_id"])
        images.append({"id": number, "height": height, "width": width})
        for box, label, mask in zip(target["boxes"], target["labels"], target["masks"], strict=True):
            x1, y1, x2, y2 = box.tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(label),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float((mask > 0).sum()),
                    "segmentation": encoded(mask.numpy()),
                    "iscrowd": 0,
                }
            )
    index = COCO()
    index.dataset = {
        "info": {},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number} for number in range(1, categories + 1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    return index
