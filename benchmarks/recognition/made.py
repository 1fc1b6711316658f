"""Pictures that are drawn from a seed, with what is true of each pixel: nothing is read from a file.

They are made so that upsampling matters. Thin lines and rings are lost where labels are upsampled without
regard to the picture, and shapes of 12 to 40 pixels with holes and corners show how sharp a mask is. Colours
say nothing of the class: a piece of a line and a piece of a ring look alike, so that the coarse levels of a
network have to know which it is, and the fine ones where its edge is.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

GROUND, LINE, RING, DISC = range(4)
SEGMENTATION_CLASSES = ("ground", "line", "ring", "disc")
THIN_CLASSES = (LINE, RING)

# 0 is the background, as in torchvision's detectors.
SHAPES = ("star", "ring", "cross", "L")

_SHIFT = 4  # fractional bits of the coordinates that OpenCV takes


class ThinStructures(Dataset[tuple[Tensor, Tensor]]):
    """Lines, rings and small discs on textured ground, with the class of each pixel.

    Picture i depends on the seed and on i alone.

    Args:
        seed: two sets with different seeds share no picture.
        count: of pictures.
        size: height and width of each.

    >>> image, labels = ThinStructures(seed=0, count=1)[0]
    >>> image.shape, labels.shape, sorted(set(labels.flatten().tolist()))
    (torch.Size([3, 64, 64]), torch.Size([64, 64]), [0, 1, 2, 3])
    """

    def __init__(self, seed: int, count: int, size: int = 64) -> None:
        self.seed, self.count, self.size = seed, count, size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return a picture [3, H, W] in [0, 1], and labels [H, W], int64."""
        rng = _generator(self.seed, index, self.count)
        size = self.size
        image, labels = _ground(rng, size), np.zeros((size, size), np.uint8)
        kinds = [LINE] * rng.integers(2, 5) + [RING] * rng.integers(2, 4) + [DISC] * rng.integers(3, 6)
        for kind in kinds:  # what is drawn later covers what was drawn before
            shape = np.zeros((size, size), np.uint8)
            if kind == LINE:
                ends = rng.integers(0, size, (2, 2))
                while np.abs(ends[0] - ends[1]).max() < size // 3:
                    ends = rng.integers(0, size, (2, 2))
                cv2.line(
                    shape, tuple(map(int, ends[0])), tuple(map(int, ends[1])), 1, int(rng.integers(1, 4))
                )
            else:
                centre = tuple(map(int, rng.integers(4, size - 4, 2)))
                if kind == RING:
                    cv2.circle(shape, centre, int(rng.integers(6, 15)), 1, int(rng.integers(1, 4)))
                else:
                    cv2.circle(shape, centre, int(rng.integers(2, 7)), 1, cv2.FILLED)
            _paint(image, shape > 0, rng)
            labels[shape > 0] = kind
        return _tensor(image), torch.from_numpy(labels.astype(np.int64))


class SmallShapes(Dataset[tuple[Tensor, dict[str, Any]]]):
    """Stars, rings, crosses and L-forms of 12 to 40 pixels, as torchvision's detectors take them.

    Picture i depends on the seed and on i alone. Shapes hardly overlap: no two boxes share more than a tenth
    of what they cover together.

    Args:
        seed: two sets with different seeds share no picture.
        count: of pictures.
        size: height and width of each.

    >>> image, target = SmallShapes(seed=0, count=1)[0]
    >>> {name: tuple(target[name].shape) for name in ("boxes", "labels", "masks")}
    {'boxes': (4, 4), 'labels': (4,), 'masks': (4, 96, 96)}
    """

    def __init__(self, seed: int, count: int, size: int = 96) -> None:
        self.seed, self.count, self.size = seed, count, size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        """Return a picture [3, H, W] in [0, 1], and its boxes, labels, masks and number."""
        rng = _generator(self.seed, index, self.count)
        image = _ground(rng, self.size)
        masks: list[np.ndarray] = []
        boxes: list[np.ndarray] = []
        labels: list[int] = []
        wanted = int(rng.integers(2, 5))
        for _ in range(50):
            if len(masks) == wanted:
                break
            label = int(rng.integers(1, len(SHAPES) + 1))
            mask = _shape(rng, SHAPES[label - 1], self.size)
            box = _box(mask)
            if any(_overlap(box, other) > 0.1 for other in boxes):
                continue
            _paint(image, mask, rng)
            for earlier in masks:
                earlier &= ~mask
            masks.append(mask)
            boxes.append(box)
            labels.append(label)
        return _tensor(image), {
            "boxes": torch.from_numpy(np.stack([_box(mask) for mask in masks]).astype(np.float32)),
            "labels": torch.tensor(labels),
            "masks": torch.from_numpy(np.stack(masks).astype(np.uint8)),
            "image_id": index + 1,
        }


def _generator(seed: int, index: int, count: int) -> np.random.Generator:
    if not 0 <= index < count:
        raise IndexError(index)
    return np.random.default_rng([seed, index])


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.clip(image, 0, 1).astype(np.float32).transpose(2, 0, 1).copy())


def _ground(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return a texture: a colour, clouds of two sizes, and grain."""
    image = np.tile(rng.uniform(0.2, 0.8, 3), (size, size, 1))
    for cells, strength in ((4, 0.08), (size // 6, 0.05)):
        clouds = rng.normal(0, strength, (cells, cells, 3))
        image += cv2.resize(clouds, (size, size), interpolation=cv2.INTER_CUBIC)
    return image + rng.normal(0, 0.03, image.shape)


def _paint(image: np.ndarray, where: np.ndarray, rng: np.random.Generator) -> None:
    """Paint pixels in a grainy colour that differs from what is there."""
    below = image[where].mean(0)
    colour = rng.uniform(0, 1, 3)
    while np.abs(colour - below).max() < 0.35:
        colour = rng.uniform(0, 1, 3)
    image[where] = colour + rng.normal(0, 0.03, (int(where.sum()), 3))


def _shape(rng: np.random.Generator, kind: str, size: int) -> np.ndarray:
    """Return the mask of a shape of 12 to 40 pixels, turned by any angle, wholly in the picture."""
    radius = rng.uniform(6, 20)
    centre = rng.uniform(radius + 1, size - radius - 2, 2)
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    outlines = [
        np.round((radius * points @ turn.T + centre) * 2**_SHIFT).astype(np.int32)
        for points in _outlines(kind)
    ]
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, outlines, 1, shift=_SHIFT)  # the inside of a second outline is a hole
    return mask > 0


def _outlines(kind: str) -> list[np.ndarray]:
    """Return the corners of a shape in a circle of radius 1."""
    if kind in ("star", "ring"):
        count = 10 if kind == "star" else 48
        angles = np.arange(count) * 2 * np.pi / count
        circle = np.stack([np.cos(angles), np.sin(angles)], 1)
        if kind == "ring":
            return [circle, 0.55 * circle]
        return [circle * np.where(np.arange(count) % 2, 0.45, 1.0)[:, None]]
    if kind == "cross":
        long, short = 0.95, 0.3
        corner = [(short, long), (short, short), (long, short)]
        quarters = [[(x, y), (y, -x), (-x, -y), (-y, x)] for x, y in corner]
        return [np.array([quarters[step][turn] for turn in range(4) for step in range(3)])]
    return [np.array([(-0.7, -0.7), (0.7, -0.7), (0.7, -0.2), (-0.2, -0.2), (-0.2, 0.7), (-0.7, 0.7)])]


def _box(mask: np.ndarray) -> np.ndarray:
    """Return x1, y1, x2, y2 around a mask; the last two are those of the pixel after it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two boxes."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)
