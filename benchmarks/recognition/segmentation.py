"""Semantic segmentation with UperNet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.models.feature_extraction import create_feature_extractor

from inpaint.segmentation import UperNet, upernet
from recognition.backbone import WIDTHS, small_regnet
from recognition.made import SEGMENTATION_CLASSES, THIN_CLASSES, ThinStructures
from recognition.scores_of_labels import IGNORED, LabelScores

UPSAMPLERS = {"baseline": "bilinear"}  # other names are those of inpaint.layers.build_upsampler

# torchvision's mean and deviation of ImageNet's colours, which its backbones expect.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Segmentation:
    """A class for each pixel: the `Task` of UperNet.

    Args:
        train: pictures [3, H, W] in [0, 1] and their labels [H, W], all of one size.
        validation: the same; sizes may differ.
        build: from the name of an upsampler, as `UperNet` takes it, to the network.
        classes: number of them.
        thin: those whose boundaries are scored.
    """

    def __init__(
        self,
        train: Dataset[Any],
        validation: Dataset[Any],
        build: Callable[[str], UperNet],
        classes: int,
        thin: Iterable[int] = (),
    ) -> None:
        self.train, self.validation, self.build = train, validation, build
        self.classes, self.thin = classes, list(thin)
        self.collate = default_collate

    def network(self, upsampler: str) -> nn.Module:
        """Return UperNet with an upsampler in all three places."""
        return self.build(UPSAMPLERS.get(upsampler, upsampler))

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor], device: torch.device) -> Tensor:
        """Return the cross entropy of the pixels that have a label."""
        image, labels = (part.to(device) for part in batch)
        return F.cross_entropy(network(normalized(image)), labels, ignore_index=IGNORED)

    @torch.no_grad()
    def scores(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the scores at the full size of each picture."""
        scores = LabelScores(self.classes, self.thin)
        for image, labels in DataLoader(self.validation):
            predicted = network(normalized(image.to(device))).argmax(1).cpu()
            scores.add(predicted[0].numpy(), labels[0].numpy())
        return scores.values()


def normalized(image: Tensor) -> Tensor:
    """Return pictures in [0, 1] with the mean and deviation that torchvision's backbones expect."""
    mean, deviation = (image.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    return (image - mean) / deviation


def made_segmentation(seed: int, pictures: int = 4800, validation: int = 96, size: int = 64) -> Segmentation:
    """Return the task of thin structures; `seed` is that of the pictures learnt from, not of the others."""
    return Segmentation(
        ThinStructures(seed, pictures, size),
        ThinStructures(10_000, validation, size),
        small_upernet,
        len(SEGMENTATION_CLASSES),
        THIN_CLASSES,
    )


def small_upernet(upsampler: str) -> UperNet:
    """Return UperNet on a small RegNet whose levels are 1/2 to 1/16 of the picture's size.

    The first stage has stride 1: with torchvision's 2 the finest level is 1/4 of the size, and the last step
    to full size, bilinear for all upsamplers, would decide alone about lines of one pixel.
    """
    body = small_regnet(nn.BatchNorm2d, first_stride=1)
    extractor = create_feature_extractor(body, [f"block{number}" for number in range(1, 5)])
    return UperNet(
        extractor,
        WIDTHS,
        len(SEGMENTATION_CLASSES),
        width=24,
        ppm=upsampler,
        fpn=upsampler,
        fuse=upsampler,
        dropout=0.0,
    )


def ade20k_upernet(upsampler: str, backbone: str = "resnet50", weights: str | None = "DEFAULT") -> UperNet:
    """Return UperNet for ADE20k's 150 classes."""
    return upernet(150, backbone, upsampler, weights=weights)
