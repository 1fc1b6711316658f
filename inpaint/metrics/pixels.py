"""How near a filled picture is to the photo, pixel by pixel: PSNR, SSIM and L1."""

import numpy as np
from skimage.metrics import structural_similarity

from inpaint.metrics.checks import checked_mask, checked_pair

MSE_FLOOR = 1e-3
"""Least mean squared error, on the 0–255 scale: identical pictures score 78.13 dB instead of infinity."""

SSIM_WINDOW = 11
"""Side of SSIM's Gaussian window in pixels (σ 1.5, cut at 3.5 σ)."""


def psnr(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB, 10·log10(255² / max(MSE, 1e-3)).

    The mean squared error (MSE) is that of all pixels and channels.

    >>> black = np.zeros((2, 2, 3), np.uint8)
    >>> psnr(black, black + 255), round(psnr(black, black), 2)
    (0.0, 78.13)
    """
    return _decibels(_mean_squared_error(*checked_pair(truth, prediction)))


def psnr_hole(truth: np.ndarray, prediction: np.ndarray, mask: np.ndarray) -> float | None:
    """Return PSNR in dB over the hole's pixels alone; None where the mask is empty.

    >>> black, mask = np.zeros((2, 2, 3), np.uint8), np.eye(2, dtype=bool)
    >>> psnr_hole(black, black + 255, mask), psnr_hole(black, black, mask & False)
    (0.0, None)
    """
    truth, prediction = checked_pair(truth, prediction)
    mask = checked_mask(mask, truth)
    return _decibels(_mean_squared_error(truth[mask], prediction[mask])) if mask.any() else None


def ssim(truth: np.ndarray, prediction: np.ndarray) -> float | None:
    """Return the structural similarity, the mean of the three channels, in [-1, 1].

    Wang et al. 2004 as scikit-image computes it with a Gaussian window of σ 1.5 and population covariance.
    None where a side is shorter than the 11-pixel window.

    >>> black = np.zeros((16, 16, 3), np.uint8)
    >>> ssim(black, black), ssim(black[:8], black[:8])
    (1.0, None)
    """
    truth, prediction = checked_pair(truth, prediction)
    if min(truth.shape[:2]) < SSIM_WINDOW:
        return None
    return float(
        structural_similarity(
            truth,
            prediction,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=2,
            data_range=255,
        )
    )


def l1(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Return the mean absolute error over all pixels and channels, in % of the 0–255 range.

    >>> black = np.zeros((2, 2, 3), np.uint8)
    >>> round(l1(black, black + 51), 6)
    20.0
    """
    return _percent_l1(*checked_pair(truth, prediction))


def l1_hole(truth: np.ndarray, prediction: np.ndarray, mask: np.ndarray) -> float | None:
    """Return the mean absolute error over the hole's pixels alone, in %; None where the mask is empty."""
    truth, prediction = checked_pair(truth, prediction)
    mask = checked_mask(mask, truth)
    return _percent_l1(truth[mask], prediction[mask]) if mask.any() else None


def _mean_squared_error(a: np.ndarray, b: np.ndarray) -> float:
    difference = a.astype(np.int16) - b
    return float(np.square(difference, dtype=np.int32).mean(dtype=np.float64))


def _percent_l1(a: np.ndarray, b: np.ndarray) -> float:
    difference = a.astype(np.int16) - b
    return float(np.abs(difference).mean(dtype=np.float64)) / 255 * 100


def _decibels(mse: float) -> float:
    return float(10 * np.log10(255**2 / max(mse, MSE_FLOOR)))
