"""How the scores of images become those of a method: means, over all images and by hole ratio."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from inpaint.evaluation.schema import MethodResults, Scores

HOLE_RATIO_BINS = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Edges of the bins of hole ratio; each bin holds lower < ratio <= upper, as in Liu et al. 2018."""

METRICS = (
    "psnr",
    "ssim",
    "l1",
    "psnr_hole",
    "l1_hole",
    "detail",
    "patch_distance",
    "feature_distance",
    "lpips",
    "seconds",
)
"""What is recorded of each method and image; a method's entry in the results also has "count"."""


def hole_ratio_bin(ratio: float) -> str | None:
    """Return the name of the bin of a hole ratio, or None outside all bins.

    >>> hole_ratio_bin(0.2), hole_ratio_bin(0.21), hole_ratio_bin(0.005)
    ('0.1-0.2', '0.2-0.3', None)
    """
    for lower, upper in itertools.pairwise(HOLE_RATIO_BINS):
        if lower < ratio <= upper:
            return f"{lower:g}-{upper:g}"
    return None


def means(scores: Sequence[Mapping[str, float | None]]) -> Scores:
    """Return the mean of each metric over the images that have it, and the count of images.

    Args:
        scores: each image's scores by the names of METRICS.

    Returns:
        The means, None where no image has the metric, and "count".
    """
    found: dict[str, float | None] = {}
    for metric in METRICS:
        values = [value for entry in scores if (value := entry[metric]) is not None]
        found[metric] = float(np.mean(values)) if values else None
    return cast(Scores, {**found, "count": len(scores)})


def method_results(images: Sequence[tuple[float, Mapping[str, float | None]]]) -> MethodResults:
    """Return one method's means over all images and over those of each bin.

    Args:
        images: of each image, the hole ratio and the method's scores.
    """
    bins: dict[str, list[Mapping[str, float | None]]] = {}
    for ratio, scores in images:
        if (name := hole_ratio_bin(ratio)) is not None:
            bins.setdefault(name, []).append(scores)
    return {
        **means([scores for _, scores in images]),
        "by_hole_ratio": {name: means(bins[name]) for name in sorted(bins)},
    }
