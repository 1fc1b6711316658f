"""How good a filled picture is, compared with the photo: one number per image and metric.

PSNR, SSIM, L1 and LPIPS compare it with the photo; `detail`, `patch_distance` and `FeatureDistance` see the
smears that these forgive. Pictures are uint8 RGB, H×W×3, of equal size; a mask is bool H×W, True = hole. A
metric that cannot be had for a picture (no hole, smaller than the metric's window) is None, never NaN or a
stand-in number. Scores of a data set are means of these per-image scores, see `inpaint.evaluation`.
"""

import numpy as np

from inpaint.metrics.features import FeatureDistance
from inpaint.metrics.lpips_alex import LpipsAlex, LpipsUnavailableError
from inpaint.metrics.pixels import l1, l1_hole, psnr, psnr_hole, ssim
from inpaint.metrics.texture import detail, patch_distance

__all__ = [
    "FeatureDistance",
    "LpipsAlex",
    "LpipsUnavailableError",
    "detail",
    "l1",
    "l1_hole",
    "patch_distance",
    "psnr",
    "psnr_hole",
    "score",
    "ssim",
]


def score(truth: np.ndarray, prediction: np.ndarray, mask: np.ndarray) -> dict[str, float | None]:
    """Return all metrics of one picture that need no network.

    The prediction is scored as it stands: put the photo's known pixels back first.

    Args:
        truth: the photo, uint8 H×W×3.
        prediction: the photo with its hole filled, uint8 H×W×3.
        mask: bool H×W, True = hole.

    Returns:
        psnr, ssim, l1, psnr_hole, l1_hole, detail and patch_distance by these names.

    Raises:
        ValueError: the arrays are not uint8 H×W×3 pictures of one size and a bool H×W mask.

    >>> truth, mask = np.full((16, 16, 3), 100, np.uint8), np.zeros((16, 16), bool)
    >>> mask[4:8, 4:8] = True
    >>> scores = score(truth, np.where(mask[..., None], np.uint8(110), truth), mask)
    >>> round(scores["psnr"], 2), round(scores["psnr_hole"], 2), scores["detail"]
    (40.17, 28.13, None)
    """
    return {
        "psnr": psnr(truth, prediction),
        "ssim": ssim(truth, prediction),
        "l1": l1(truth, prediction),
        "psnr_hole": psnr_hole(truth, prediction, mask),
        "l1_hole": l1_hole(truth, prediction, mask),
        "detail": detail(truth, prediction, mask),
        "patch_distance": patch_distance(prediction, mask),
    }
