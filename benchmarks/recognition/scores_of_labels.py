"""Scores of semantic segmentation: intersection over union, and how well boundaries are met."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

IGNORED = 255  # a label that is not scored, as in ADE20k


class LabelScores:
    """Counts over any number of pictures, from which the scores are computed once.

    - `miou`: the mean over the classes of intersection over union, all pictures counted together. A class
      that is in no truth and no prediction has none.
    - `accuracy`: the share of the pixels that have the right class.
    - `thin_iou`: the mean of the same over the thin classes alone.
    - `boundary_f`: the mean over the thin classes of 2PR/(P + R). P is the share of a prediction's boundary
      pixels that have one of the truth's at most `tolerance` pixels away, in rows and in columns, and R the
      share of the truth's that have one of the prediction's. A boundary pixel of a class is one that has
      another class above, below, left or right of it; pictures are counted together.

    Args:
        classes: number of them.
        thin: the classes whose boundaries are looked at.
        tolerance: pixels that a boundary may be off.

    >>> import numpy as np
    >>> scores = LabelScores(classes=2, thin=[1])
    >>> scores.add(np.array([[0, 1, 1, 0]]), np.array([[0, 1, 0, 0]]))
    >>> {name: round(value, 3) for name, value in scores.values().items()}
    {'miou': 0.583, 'accuracy': 0.75, 'thin_iou': 0.5, 'boundary_f': 1.0}
    """

    def __init__(self, classes: int, thin: Iterable[int] = (), tolerance: int = 1) -> None:
        self.classes, self.thin, self.tolerance = classes, list(thin), tolerance
        self.confusion = np.zeros((classes, classes), np.int64)  # [truth, prediction]
        # [class, (predicted boundary, of it met, true boundary, of it met)]
        self.boundaries = np.zeros((classes, 4), np.int64)

    def add(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Count a picture: labels [H, W] of both; where the truth is 255, nothing is counted."""
        scored = truth != IGNORED
        pairs = truth[scored].astype(np.int64) * self.classes + predicted[scored]
        self.confusion += np.bincount(pairs, minlength=self.classes**2).reshape(self.confusion.shape)
        for label in self.thin:
            edges = [boundary(labels == label) & scored for labels in (predicted, truth)]
            reached = [_widened(edge, self.tolerance) for edge in edges]
            self.boundaries[label] += [
                edges[0].sum(),
                (edges[0] & reached[1]).sum(),
                edges[1].sum(),
                (edges[1] & reached[0]).sum(),
            ]

    def values(self) -> dict[str, float]:
        """Return the scores; NaN where nothing was there to be scored."""
        right = np.diag(self.confusion)
        union = self.confusion.sum(0) + self.confusion.sum(1) - right
        iou = _divided(right, union)
        values = {
            "miou": _mean(iou),
            "accuracy": float(_divided(right.sum(), self.confusion.sum())),
        }
        if self.thin:
            made, made_met, true, true_met = self.boundaries[self.thin].T
            # 2PR/(P + R) is 0 where either is, and not defined where there is neither.
            precision, recall = made_met / np.maximum(made, 1), true_met / np.maximum(true, 1)
            f = np.where(
                made + true > 0, 2 * precision * recall / np.maximum(precision + recall, 1e-12), np.nan
            )
            values |= {"thin_iou": _mean(iou[self.thin]), "boundary_f": _mean(f)}
        return values


def boundary(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask that have one outside it above, below, left or right; the frame is none."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inside = cv2.erode(mask.astype(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    return mask & (inside == 0)


def _widened(mask: np.ndarray, by: int) -> np.ndarray:
    square = np.ones((2 * by + 1, 2 * by + 1), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0


def _divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
