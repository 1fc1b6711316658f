"""The scores of benchmarks/recognition, beside slow loops, SciPy's distances and cases done by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage


def labels_of(seed: int, size: tuple[int, int]) -> np.ndarray:
    """Blobs of classes 0 to 3."""
    noise = np.random.default_rng(seed).normal(size=size)
    smooth = ndimage.gaussian_filter(noise, 1.5)
    return np.digitize(smooth, np.quantile(smooth, [0.4, 0.6, 0.8]))


def edge_by_loops(mask: np.ndarray) -> np.ndarray:
    edge = np.zeros_like(mask)
    height, width = mask.shape
    for y, x in np.argwhere(mask):
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            inside = 0 <= y + dy < height and 0 <= x + dx < width
            edge[y, x] |= inside and not mask[y + dy, x + dx]
    return edge


@pytest.mark.parametrize("size", [(37, 53), (1, 40), (64, 64)])
@pytest.mark.parametrize("tolerance", [1, 2])
def test_segmentation_scores_are_those_of_loops(
    label_scores: Any, size: tuple[int, int], tolerance: int
) -> None:
    pairs = [(labels_of(seed, size), labels_of(seed // 2 * 2, size)) for seed in range(1, 4)]
    pairs[0][1][:, :5] = 255
    scores = label_scores.LabelScores(4, [1, 3], tolerance)
    for predicted, truth in pairs:
        scores.add(predicted, truth)

    scored = [truth != 255 for _, truth in pairs]
    iou, f = [], []
    for label in range(4):
        both = sum(((p == label) & (t == label) & s).sum() for (p, t), s in zip(pairs, scored, strict=True))
        one = sum((((p == label) | (t == label)) & s).sum() for (p, t), s in zip(pairs, scored, strict=True))
        iou.append(both / one)
        counts = np.zeros(4)
        for (predicted, truth), known in zip(pairs, scored, strict=True):
            edges = [edge_by_loops(labels == label) & known for labels in (predicted, truth)]
            for index in (0, 1):
                other = edges[1 - index]
                away = ndimage.distance_transform_cdt(~other, "chessboard") if other.any() else np.inf
                near = edges[index] & (away <= tolerance)
                counts[2 * index : 2 * index + 2] += edges[index].sum(), near.sum()
        precision, recall = counts[1] / counts[0], counts[3] / counts[2]
        f.append(2 * precision * recall / (precision + recall))
    right = sum(((p == t) & s).sum() for (p, t), s in zip(pairs, scored, strict=True))
    assert scores.values() == pytest.approx(
        {
            "miou": np.mean(iou),
            "accuracy": right / sum(known.sum() for known in scored),
            "thin_iou": np.mean([iou[1], iou[3]]),
            "boundary_f": np.mean([f[1], f[3]]),
        }
    )


def test_a_class_that_is_nowhere_does_not_count(label_scores: Any) -> None:
    scores = label_scores.LabelScores(5, [3, 4])
    truth = np.zeros((9, 9), int)
    truth[4] = 3
    scores.add(truth, truth)
    assert scores.values() == {"miou": 1.0, "accuracy": 1.0, "thin_iou": 1.0, "boundary_f": 1.0}
    missed = label_scores.LabelScores(5, [3, 4])
    missed.add(np.zeros((9, 9), int), truth)
    assert missed.values()["boundary_f"] == 0
    assert math.isnan(label_scores.LabelScores(5, [3]).values()["miou"])


def average_precision(samples: list[Any], found: list[Any], ious: Any, threshold: float) -> float:
    """The mean over the classes of COCO's average precision at one IoU, by its definition, in loops."""
    precisions = []
    for label in sorted({int(one) for _, target in samples for one in target["labels"]}):
        hits: list[tuple[float, bool]] = []
        objects = sum(int((target["labels"] == label).sum()) for _, target in samples)
        for (_, target), detected in zip(samples, found, strict=True):
            free = [index for index, one in enumerate(target["labels"].tolist()) if one == label]
            for index in torch.argsort(detected["scores"], descending=True).tolist():
                if detected["labels"][index] != label:
                    continue
                best = max(free, key=lambda one: ious(detected, index, target, one), default=None)
                hit = best is not None and ious(detected, index, target, best) >= threshold
                if hit:
                    free.remove(best)
                hits.append((float(detected["scores"][index]), hit))
        hits.sort(key=lambda pair: -pair[0])
        right = np.cumsum([hit for _, hit in hits])
        precision, recall = right / np.arange(1, len(hits) + 1), right / objects
        wanted = np.linspace(0, 1, 101)
        precisions.append(np.mean([max(precision[recall >= one], default=0) for one in wanted]))
    return float(np.mean(precisions))


def mask_iou(detected: Any, index: int, target: Any, other: int) -> float:
    one, two = detected["masks"][index, 0] > 0.5, target["masks"][other] > 0
    return int((one & two).sum()) / int((one | two).sum())


def box_iou(detected: Any, index: int, target: Any, other: int) -> float:
    one, two = detected["boxes"][index].tolist(), target["boxes"][other].tolist()
    sides = [max(min(one[axis + 2], two[axis + 2]) - max(one[axis], two[axis]), 0) for axis in (0, 1)]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, two)]
    return sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1])


def detections(target: Any, seed: int) -> dict[str, torch.Tensor]:
    """What a mediocre detector might find: moved shapes, some with another class, some twice."""
    generator = torch.Generator().manual_seed(seed)
    boxes, labels, masks = [], [], []
    for box, label, mask in zip(target["boxes"], target["labels"], target["masks"], strict=True):
        for _ in range(int(torch.randint(0, 4, (), generator=generator))):
            right, down = torch.randint(-3, 4, (2,), generator=generator).tolist()
            boxes.append(box + torch.tensor([right, down, right, down]))
            masks.append(torch.roll(mask, (down, right), (0, 1))[None].float())
            labels.append(label if torch.rand((), generator=generator) < 0.8 else label % 4 + 1)
    count = len(boxes)
    return {
        "boxes": torch.stack(boxes) if count else torch.zeros(0, 4),
        "labels": torch.stack(labels) if count else torch.zeros(0, dtype=torch.int64),
        "masks": torch.stack(masks) if count else torch.zeros(0, 1, 96, 96),
        "scores": torch.rand(count, generator=generator),
    }


def test_average_precision_is_that_of_its_definition(instance_scores: Any, made: Any) -> None:
    pictures = made.SmallShapes(4, 12)
    samples = [pictures[index] for index in range(12)]
    scores = instance_scores.InstanceScores(instance_scores.coco_index(samples, 4), masks=True)
    found = [detections(target, seed) for seed, (_, target) in enumerate(samples)]
    for detected, (_, target) in zip(found, samples, strict=True):
        scores.add(detected, target)
    values = scores.values()
    for name, ious in (("box", box_iou), ("mask", mask_iou)):
        by_threshold = [
            average_precision(samples, found, ious, 0.5 + 0.05 * step - 1e-9) for step in range(10)
        ]
        assert values[f"{name}_ap50"] == pytest.approx(by_threshold[0], abs=1e-6)
        assert values[f"{name}_ap"] == pytest.approx(np.mean(by_threshold), abs=1e-6)
    assert 0.2 < values["box_ap50"] < 0.9


def test_masks_of_found_objects_are_compared_by_hand(instance_scores: Any) -> None:
    masks = torch.zeros(2, 20, 20)
    masks[0, 2:8, 2:8] = masks[1, 10:18, 10:18] = 1
    target = {
        "boxes": torch.tensor([[2.0, 2, 8, 8], [10, 10, 18, 18]]),
        "labels": torch.tensor([1, 2]),
        "masks": masks,
    }
    # Half of the first shape; the second with another class, and later with its own; the first again, which
    # is taken; and one that is not sure.
    half = masks[0].clone()
    half[:, 5:] = 0
    detected = {
        "boxes": target["boxes"][[0, 1, 1, 0, 1]],
        "labels": torch.tensor([1, 3, 2, 1, 2]),
        "scores": torch.tensor([0.9, 0.8, 0.6, 0.55, 0.4]),
        "masks": torch.stack([half, masks[1], masks[1], masks[0], masks[1]]) > 0,
    }
    assert instance_scores.matched_mask_ious(detected, target) == [0.5, 1.0]
    far = {**detected, "boxes": detected["boxes"] + 9}
    assert instance_scores.matched_mask_ious(far, target) == []


def test_nothing_found_is_zero_and_not_an_error(instance_scores: Any, made: Any) -> None:
    samples = [made.SmallShapes(4, 1)[0]]
    scores = instance_scores.InstanceScores(instance_scores.coco_index(samples, 4), masks=True)
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "scores": torch.zeros(0)}
    scores.add({**nothing, "masks": torch.zeros(0, 1, 96, 96)}, samples[0][1])
    values = scores.values()
    assert math.isnan(values.pop("mask_iou"))
    assert set(values.values()) == {0.0}
