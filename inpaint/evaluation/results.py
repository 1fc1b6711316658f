"""The document that results.json holds: `results_document` makes it, `schema` says its shape.

docs/results.md describes the same keys for readers of such files.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import metadata
from typing import TypedDict

import torch

from inpaint.evaluation.cases import EvaluationSet
from inpaint.evaluation.protocol import Evaluation
from inpaint.evaluation.schema import VERSION, FeatureNetwork, Results
from inpaint.masks import HOLE_GREY

DEFINITIONS = {
    "psnr": "dB, RGB uint8, whole image, MSE floored at 0.001",
    "ssim": "Gaussian window, sigma 1.5, population covariance, mean of the RGB channels (scikit-image)",
    "l1": "mean absolute error, % of 255, whole image",
    "psnr_hole": "dB, RGB uint8, hole pixels, MSE floored at 0.001",
    "l1_hole": "mean absolute error, % of 255, hole pixels",
    "detail": "mean |Laplacian of luma| over the truth's, hole pixels with all four neighbours in the hole; "
    "1 is right",
    "patch_distance": "grey levels; sliced Wasserstein-1 distance of 7x7 RGB patches less their mean colour, "
    "in the hole against those around it, 32 projections; lower is nearer to the surroundings",
    "feature_distance": "squared difference of unit-length features, mean over the hole, sum over the stages "
    "of the network named in features; lower is better; not LPIPS",
    "lpips": "AlexNet, version 0.1",
    "seconds": "mean wall time of the method alone, after one untimed call",
    "average": "mean of per-image scores; a metric that an image does not have is left out of its mean",
    "differences": "method less over, mean over images; interval: 95 %, paired percentile bootstrap over "
    "images, 2000 resamples, seed 0",
    "composite": "known pixels are the photo's before scoring",
    "hole_given_as": f"grey {HOLE_GREY}",
    "bins": "lower < hole ratio <= upper",
}
"""What each metric and convention is; the "metrics" of results.json."""


class Environment(TypedDict):
    """When and with what an evaluation ran.

    Attributes:
        date: UTC, ISO 8601.
        versions: of the libraries: name -> version.
        threads: CPU threads of torch.
    """

    date: str
    versions: dict[str, str]
    threads: int


def results_document(
    evaluation: Evaluation,
    cases: EvaluationSet,
    *,
    images: str,
    device: str,
    features: FeatureNetwork | None = None,
    lpips_unavailable: str | None = None,
) -> Results:
    """Return what results.json holds of an evaluation.

    Args:
        evaluation: what `evaluate` measured.
        cases: what it was measured on, read to the end.
        images: what the photos are called.
        device: where models ran.
        features: the network of the feature distance, if there was one.
        lpips_unavailable: why there is no LPIPS, if there is none.
    """
    described = cases.describe()
    return {
        "version": VERSION,
        "protocol": {
            "images": images,
            "image_count": len(evaluation.records),
            "masks": described["masks"],
            "seed": described["seed"],
            "size": described["size"],
            "limit": described["limit"],
            "crop": described["crop"],
            "enlarged": described["enlarged"],
            "skipped": described["skipped"],
            "broken_masks": described["broken_masks"],
            "sha256": evaluation.sha256,
            "metrics": DEFINITIONS,
            "truth_patch_distance": evaluation.truth_patch_distance,
            "features": features,
            "features_unavailable": (
                None if features else "no backbone was given (--features squeezenet:FILE)"
            ),
            "lpips_unavailable": lpips_unavailable,
            "device": device,
            **environment(),
        },
        "methods": evaluation.summary(),
        "differences": evaluation.differences(),
    }


def environment() -> Environment:
    """Return when and with what an evaluation runs: date, library versions, CPU threads."""
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
