"""COCO's instances and ADE20k's scenes, read from the layouts in which they are published."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools.coco import COCO
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.datasets import CocoDetection
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from recognition.scores_of_labels import IGNORED

ADE20K_CLASSES = 150


class CocoInstances(Dataset[tuple[Tensor, dict[str, Any]]]):
    """COCO's objects, as torchvision's detectors take them.

    What cannot be learnt from is left out of the targets: crowds, which are regions of many objects, and
    boxes without width or height. For scores, `truth` has them: pycocotools knows what to do with crowds. It
    cannot read annotations without a segmentation, which are left out altogether.

    Args:
        images: the folder of the pictures.
        annotations: the JSON file of their objects.
        training: leave out pictures without an object, and flip every other picture.

    Attributes:
        truth: pycocotools' index.
    """

    def __init__(self, images: Path, annotations: Path, training: bool = False) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints what it does
            self.pictures = CocoDetection(images, annotations)
            self.truth: COCO = self.pictures.coco
            every = self.truth.dataset["annotations"]
            self.truth.dataset["annotations"] = [one for one in every if one.get("segmentation")]
            self.truth.createIndex()
        self.flip = v2.RandomHorizontalFlip() if training else v2.Identity()
        if training:
            found = self.truth.imgToAnns
            self.pictures.ids = [
                number for number in self.pictures.ids if any(map(_is_learnt, found[number]))
            ]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        """Return a picture [3, H, W] in [0, 1], and its boxes, labels (COCO's numbers), masks and number."""
        picture, annotations = self.pictures[index]
        image = functional.to_dtype(functional.to_image(picture), torch.float32, scale=True)
        objects = [annotation for annotation in annotations if _is_learnt(annotation)]
        size = tuple(image.shape[-2:])
        corners = torch.tensor([one["bbox"] for one in objects], dtype=torch.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        masks = [torch.from_numpy(self.truth.annToMask(one).copy()) for one in objects]
        target = {
            "boxes": tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=size),
            "labels": torch.tensor([one["category_id"] for one in objects], dtype=torch.int64),
            "masks": tv_tensors.Mask(
                torch.stack(masks) if masks else torch.zeros((0, *size), dtype=torch.uint8)
            ),
        }
        image, target = self.flip(image, target)
        plain = {name: value.as_subclass(torch.Tensor) for name, value in target.items()}
        return image.as_subclass(torch.Tensor), {**plain, "image_id": self.pictures.ids[index]}


def _is_learnt(annotation: dict[str, Any]) -> bool:
    width, height = annotation["bbox"][2:]
    return not annotation.get("iscrowd") and width > 0 and height > 0


def coco(folder: Path, split: str, training: bool = False) -> CocoInstances:
    """Return the pictures of `FOLDER/SPLIT`, with the objects of `FOLDER/annotations/instances_SPLIT.json`.

    Raises:
        FileNotFoundError: one of them is not there.
    """
    images, annotations = folder / split, folder / "annotations" / f"instances_{split}.json"
    for path in (images, annotations):
        if not path.exists():
            raise FileNotFoundError(f"COCO in {folder}: there is no {path.relative_to(folder)}")
    return CocoInstances(images, annotations, training)


class Ade20k(Dataset[tuple[Tensor, Tensor]]):
    """ADE20k's pictures with the class of each pixel: 0 to 149, and 255 where none is given.

    In the files, 1 to 150 are the classes and 0 is everything else, which is neither learnt nor scored.

    Args:
        pairs: pictures and labels.
        crop: side of the squares that are cut out for training, from pictures that were enlarged or reduced
            by a random factor and flipped by chance; None: whole pictures.
    """

    def __init__(self, pairs: Sequence[tuple[Path, Path]], crop: int | None = None) -> None:
        self.pairs = list(pairs)
        self.augment = v2.Identity() if crop is None else _crops(crop)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return a picture [3, H, W] in [0, 1], and labels [H, W], int64."""
        picture, classes = self.pairs[index]
        with Image.open(picture) as file:
            image = functional.to_image(file.convert("RGB"))
        with Image.open(classes) as file:
            raw = np.array(file)
        if raw.shape != tuple(image.shape[-2:]):
            raise ValueError(f"{classes}: {raw.shape}, but the picture is {tuple(image.shape[-2:])}")
        if raw.max() > ADE20K_CLASSES:
            raise ValueError(f"{classes}: has label {raw.max()}, expected 0 to {ADE20K_CLASSES}")
        # In uint8, 0 − 1 is 255, which is what is ignored.
        labels = tv_tensors.Mask(torch.from_numpy(raw.astype(np.uint8) - np.uint8(1)))
        image, labels = self.augment(image, labels)
        image = functional.to_dtype(image, torch.float32, scale=True).as_subclass(torch.Tensor)
        return image, labels.as_subclass(torch.Tensor).long()


def _crops(side: int) -> v2.Transform:
    """Return the usual augmentation of ADE20k: a factor of 0.5 to 2 of short side `side`, a crop, a flip."""
    return v2.Compose(
        [
            v2.RandomShortestSize([round(side * tenths / 10) for tenths in range(5, 21)]),
            v2.RandomCrop(
                side,
                pad_if_needed=True,
                fill={tv_tensors.Image: 0, tv_tensors.Mask: IGNORED},
            ),
            v2.RandomHorizontalFlip(),
        ]
    )


def ade20k(folder: Path, split: str, crop: int | None = None) -> Ade20k:
    """Return the pictures of `FOLDER/images/SPLIT`, with the labels in `FOLDER/annotations/SPLIT`.

    Raises:
        FileNotFoundError: there are no pictures, or one has no labels.
    """
    pictures = sorted((folder / "images" / split).glob("*.jpg"))
    if not pictures:
        raise FileNotFoundError(f"ADE20k in {folder}: there is no images/{split}/*.jpg")
    pairs = [(path, folder / "annotations" / split / f"{path.stem}.png") for path in pictures]
    for path, labels in pairs:
        if not labels.is_file():
            raise FileNotFoundError(f"{path}: there is no {labels.relative_to(folder)}")
    return Ade20k(pairs, crop)
