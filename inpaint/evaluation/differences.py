"""How sure a difference between two methods is: an interval from the images that both of them filled."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import bootstrap

COMPARED = ("psnr", "feature_distance")
"""The metrics whose differences are reported."""

RESAMPLES = 2000
CONFIDENCE = 0.95


def paired_interval(values: Sequence[float], others: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of `values - others`, image by image, from a percentile bootstrap.

    2000 times as many images are drawn, with replacement and one fixed seed, as there are (Efron and
    Tibshirani 1993); a pair of scores of one image stays together. None for fewer than two images. The
    interval covers the choice of images from ones like these, and neither other holes nor other seeds of
    training. Raises ValueError for sequences of two lengths.
    """
    if len(values) != len(others):
        raise ValueError(f"expected two scores of each image, got {len(values)} and {len(others)}")
    differences = np.subtract(values, others, dtype=np.float64)
    if differences.size < 2:
        return None
    interval = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
        batch=max(1, 10**6 // differences.size),  # bounds the memory of large sets
    ).confidence_interval
    return float(interval.low), float(interval.high)


def differences(
    scores: Sequence[Mapping[str, Mapping[str, float | None]]],
) -> list[dict[str, Any]]:
    """The "differences" part of results.json: every two methods in every metric of COMPARED that both have.

    `scores` has, for each image, each method's scores by metric. An entry is {"metric", "method", "over",
    "mean", "interval", "count"}: the mean over the images of the score of "method" less that of "over", its
    `paired_interval` as [low, high] or None, and the number of images that have both scores. Of two methods
    the later one is "method"; turned round, all signs change.
    """
    entries = []
    for metric in COMPARED:
        for over, method in itertools.combinations(scores[0] if scores else (), 2):
            pairs = [(image[method][metric], image[over][metric]) for image in scores]
            both = [(ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
            if not both:
                continue
            ours, theirs = zip(*both, strict=True)
            interval = paired_interval(ours, theirs)
            entries.append(
                {
                    "metric": metric,
                    "method": method,
                    "over": over,
                    "mean": float(np.mean(np.subtract(ours, theirs))),
                    "interval": None if interval is None else list(interval),
                    "count": len(both),
                }
            )
    return entries
