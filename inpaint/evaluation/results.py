"""What results.json holds of each method, how scores are averaged, and what an evaluation ran with."""

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np
import torch

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
"""What `evaluate` records of each method and image; all but "count" of a method's entry in the results."""


def hole_ratio_bin(ratio: float) -> str | None:
    """Name the bin of a hole ratio, "0.01-0.1" to "0.5-0.6"; None outside them."""
    for lower, upper in itertools.pairwise(HOLE_RATIO_BINS):
        if lower < ratio <= upper:
            return f"{lower:g}-{upper:g}"
    return None


def means(scores: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    """Mean of each metric over the images that have it (None where none does), and the count of images."""
    means: dict[str, Any] = {}
    for metric in METRICS:
        values = [value for entry in scores if (value := entry[metric]) is not None]
        means[metric] = float(np.mean(values)) if values else None
    return {**means, "count": len(scores)}


def environment() -> dict[str, Any]:
    """Say when and with what an evaluation ran: UTC date, library versions, CPU threads."""
    libraries = (
        "torch",
        "torchvision",
        "numpy",
        "scipy",
        "scikit-image",
        "opencv-python",
        "pillow",
        "lpips",
        "pypatchmatch",
    )
    versions = {}
    for library in libraries:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "threads": torch.get_num_threads(),
    }
