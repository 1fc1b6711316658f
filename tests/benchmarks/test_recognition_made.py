"""benchmarks/recognition/made.py: pictures depend on the seed and the number alone, and are true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.parametrize("name", ["ThinStructures", "SmallShapes"])
def test_a_picture_depends_on_seed_and_number_alone(made: Any, name: str) -> None:
    make = getattr(made, name)
    few, many, others = make(5, 3, 75), make(5, 9, 75), make(6, 3, 75)
    [np.random.default_rng().random(), torch.rand(1), many[8], many[0]]
    for number in (2, 0):
        for one, again in zip(few[number], many[number], strict=True):
            assert same(one, again)
        assert not torch.equal(few[number][0], others[number][0])
    assert not torch.equal(few[0][0], few[1][0])
    assert len([*few]) == 3  # a loop over it ends


def test_thin_structures_have_every_class_and_are_thin(made: Any) -> None:
    pictures = made.ThinStructures(1, 40)
    shares = np.zeros(4)
    for image, labels in pictures:
        assert image.shape == (3, 64, 64) and image.dtype == torch.float32
        assert image.min() >= 0 and image.max() <= 1
        shares += np.bincount(labels.flatten(), minlength=4) / labels.numel() / len(pictures)
        for thin in made.THIN_CLASSES:
            # Crossings are thicker than what crosses there: almost all pixels are near the edge.
            inner = ndimage.distance_transform_cdt(labels.numpy() == thin, "taxicab")
            assert (inner > 3).sum() <= 0.2 * max((inner > 0).sum(), 1)
    assert shares[0] > 0.6 and (shares[1:] > 0.02).all(), shares


def test_small_shapes_fit_their_boxes_and_sizes(made: Any) -> None:
    labels: set[int] = set()
    for index, (image, target) in enumerate(made.SmallShapes(2, 40)):
        assert image.shape == (3, 96, 96) and target["image_id"] == index + 1
        assert len(target["labels"]) >= 2
        assert target["masks"].sum(0).max() == 1  # none covers another
        labels |= set(target["labels"].tolist())
        for box, mask in zip(target["boxes"].tolist(), target["masks"].numpy(), strict=True):
            [(rows, columns)] = ndimage.find_objects(mask)
            assert box == [columns.start, rows.start, columns.stop, rows.stop]
            assert max(box[2] - box[0], box[3] - box[1]) <= 42
            assert min(box[2] - box[0], box[3] - box[1]) >= 5
    assert labels == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("kind", "share", "holes"),
    [
        ("ring", np.pi * (1 - 0.55**2), 1),
        ("cross", 2 * 1.9 * 0.6 - 0.6**2, 0),
        ("L", 1.4 * 0.5 + 0.9 * 0.5, 0),
        ("star", 5 * 0.45 * np.sin(np.pi / 5), 0),
    ],
)
def test_shapes_have_the_area_of_their_kind(made: Any, kind: str, share: float, holes: int) -> None:
    for seed in range(10):
        mask = made._shape(np.random.default_rng(seed), kind, 96)
        radius = np.random.default_rng(seed).uniform(6, 20)  # what is drawn first
        outline = 10 * radius  # OpenCV draws the outline, too, which adds half a pixel along it
        assert share * radius**2 - 2 <= mask.sum() <= share * radius**2 + outline
        background, count = ndimage.label(~mask)
        assert count == 1 + holes and ndimage.label(mask)[1] == 1, background
