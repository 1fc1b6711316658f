"""Differences between methods, each with an interval from the images that both of them filled."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import bootstrap

from inpaint.evaluation.schema import Difference

COMPARED = ("psnr", "feature_distance")
"""The metrics whose differences are reported."""

RESAMPLES = 2000
CONFIDENCE = 0.95


def paired_interval(values: Sequence[float], others: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of `values - others`, image by image, from a percentile bootstrap.

    2000 times as many images are drawn, with replacement and one fixed seed, as there are (Efron and
    Tibshirani 1993); a pair of scores of one image stays together. The interval covers the choice of images
    from ones like these, and neither other holes nor other seeds of training.

    Args:
        values: one method's scores, one an image.
        others: another method's scores of the same images.

    Returns:
        The interval's ends, low before high; None for fewer than two images.

    Raises:
        ValueError: the sequences have two lengths.

    >>> paired_interval([25.0, 27.0, 30.0], [24.0, 26.0, 29.0])
    (1.0, 1.0)
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
) -> list[Difference]:
    """Return the "differences" part of results.json: every two methods in every metric of COMPARED.

    Of two methods the later one is "method"; turned round, all signs change. Two methods that share no image
    with both scores have no entry.

    Args:
        scores: for each image, each method's scores by metric.
    """
    entries: list[Difference] = []
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
