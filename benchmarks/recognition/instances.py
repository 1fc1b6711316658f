"""Boxes and masks with torchvision's Faster R-CNN and Mask R-CNN."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from pycocotools.coco import COCO
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models import get_model
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

from inpaint.compat import use_carafe
from recognition.backbone import WIDTHS, small_regnet
from recognition.made import SHAPES, SmallShapes
from recognition.scores_of_instances import InstanceScores, coco_index

COCO_CLASSES = 91  # COCO's numbers of categories go up to 90, and 0 is the background
UPSAMPLERS = ("baseline", "carafe")


class Instances:
    """Boxes, and masks if wanted: the `Task` of torchvision's detectors.

    Args:
        train: pictures [3, H, W] in [0, 1] and targets, as torchvision's detectors take them.
        validation: the same, with `image_id`.
        truth: pycocotools' index of the latter.
        build: makes torchvision's network.
        masks: whether it has masks.
    """

    def __init__(
        self,
        train: Dataset[Any],
        validation: Dataset[Any],
        truth: COCO,
        build: Callable[[], FasterRCNN],
        masks: bool,
    ) -> None:
        self.train, self.validation, self.truth = train, validation, truth
        self.build, self.masks = build, masks
        self.collate = _lists

    def network(self, upsampler: str) -> nn.Module:
        """Return the detector as torchvision builds it, or with CARAFE: all other weights are then the same.

        Raises:
            ValueError: it is neither `baseline` nor `carafe`.
        """
        if upsampler not in UPSAMPLERS:
            raise ValueError(f"detectors come with {' and '.join(UPSAMPLERS)}, not {upsampler}")
        network = self.build()
        if upsampler == "carafe":
            use_carafe(network)
        return network

    def loss(self, network: nn.Module, batch: Any, device: torch.device) -> Tensor:
        """Return the sum of torchvision's losses."""
        images, targets = batch
        wanted = ("boxes", "labels", "masks") if self.masks else ("boxes", "labels")
        losses = network(
            [image.to(device) for image in images],
            [{name: target[name].to(device) for name in wanted} for target in targets],
        )
        return torch.stack(list(losses.values())).sum()

    @torch.no_grad()
    def scores(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Return average precision, and of masks also how well they fit."""
        scores = InstanceScores(self.truth, self.masks)
        for images, targets in DataLoader(self.validation, collate_fn=_lists):
            [detected] = network([image.to(device) for image in images])
            scores.add(detected, targets[0])
        return scores.values()


def _lists(
    samples: Sequence[tuple[Tensor, Mapping[str, Any]]],
) -> tuple[list[Tensor], list[Mapping[str, Any]]]:
    images, targets = zip(*samples, strict=True)
    return list(images), list(targets)


def made_instances(
    seed: int, masks: bool, pictures: int = 800, validation: int = 64, size: int = 96
) -> Instances:
    """Return the task of small shapes; `seed` is that of the pictures learnt from, not of the others."""
    held_out = SmallShapes(10_000, validation, size)
    truth = coco_index((held_out[index] for index in range(validation)), len(SHAPES))
    return Instances(
        SmallShapes(seed, pictures, size), held_out, truth, partial(small_detector, masks, size), masks
    )


def small_detector(masks: bool, size: int) -> FasterRCNN:
    """Return torchvision's detector on a small RegNet, for pictures of one size.

    Group normalisation: batches of four are too small for batch statistics, and without pretrained weights
    there are none to freeze. Pictures keep their size.
    """
    body = small_regnet(partial(nn.GroupNorm, 8))
    stages = {f"block{number}": str(number - 1) for number in range(1, 5)}
    backbone = BackboneWithFPN(body, stages, WIDTHS, out_channels=48)
    settings: dict[str, Any] = {
        "min_size": size,
        "max_size": size,
        "rpn_anchor_generator": AnchorGenerator(((12,), (18,), (26,), (36,), (48,)), ((0.5, 1.0, 2.0),) * 5),
        "rpn_pre_nms_top_n_train": 200,
        "rpn_pre_nms_top_n_test": 200,
        "rpn_post_nms_top_n_train": 60,
        "rpn_post_nms_top_n_test": 40,
        "rpn_batch_size_per_image": 64,
        "box_batch_size_per_image": 32,
        "box_detections_per_img": 20,
        "box_head": TwoMLPHead(48 * 7**2, 128),
    }
    classes = len(SHAPES) + 1
    settings["box_predictor"] = FastRCNNPredictor(128, classes)
    if not masks:
        return FasterRCNN(backbone, **settings)
    return MaskRCNN(
        backbone,
        mask_head=MaskRCNNHeads(48, (32, 32), 1),
        mask_predictor=MaskRCNNPredictor(32, 32, classes),
        **settings,
    )


def coco_detector(masks: bool, weights: str | None = "DEFAULT", size: int = 800) -> FasterRCNN:
    """Return torchvision's Faster or Mask R-CNN with ResNet-50 and a pyramid for COCO.

    Args:
        masks: Mask R-CNN.
        weights: torchvision's of the backbone, whose batch normalisation is then frozen; None: fresh ones.
        size: to which the short side is brought; the long one is kept below 5/3 of it.
    """
    name = "maskrcnn_resnet50_fpn" if masks else "fasterrcnn_resnet50_fpn"
    return get_model(
        name,
        weights=None,
        weights_backbone=weights,
        num_classes=COCO_CLASSES,
        min_size=size,
        max_size=size * 5 // 3,
    )
