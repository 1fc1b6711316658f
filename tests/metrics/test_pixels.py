"""PSNR, SSIM and L1 against slow loops and scikit-image, and what all metrics ask of their pictures."""

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from inpaint import metrics


def random_pair(height=37, width=23, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise = rng.integers(-30, 31, truth.shape)
    prediction = np.clip(truth + noise, 0, 255).astype(np.uint8)
    mask = rng.random((height, width)) < 0.3
    return truth, prediction, mask


def slow_hole_errors(truth, prediction, mask):
    """Squared and absolute errors of the hole's samples, one by one in Python integers."""
    squared, absolute = [], []
    for y in range(truth.shape[0]):
        for x in range(truth.shape[1]):
            if mask[y, x]:
                for c in range(3):
                    error = int(truth[y, x, c]) - int(prediction[y, x, c])
                    squared.append(error * error)
                    absolute.append(abs(error))
    return squared, absolute


def test_psnr_equals_scikit_image():
    truth, prediction, _ = random_pair()
    expected = peak_signal_noise_ratio(truth, prediction, data_range=255)
    assert metrics.psnr(truth, prediction) == pytest.approx(expected, rel=1e-12)


def test_psnr_has_no_integer_overflow():
    black, white = np.zeros((5, 7, 3), np.uint8), np.full((5, 7, 3), 255, np.uint8)
    assert metrics.psnr(black, white) == pytest.approx(0.0, abs=1e-12)
    assert metrics.psnr(white, black) == pytest.approx(0.0, abs=1e-12)
    assert metrics.l1(black, white) == pytest.approx(100.0)
    assert metrics.l1(white, black) == pytest.approx(100.0)


def test_hole_metrics_equal_a_slow_loop():
    truth, prediction, mask = random_pair()
    squared, absolute = slow_hole_errors(truth, prediction, mask)
    expected_psnr = 20 * math.log10(255) - 10 * math.log10(sum(squared) / len(squared))
    assert metrics.psnr_hole(truth, prediction, mask) == pytest.approx(expected_psnr, rel=1e-12)
    expected_l1 = 100 * sum(absolute) / len(absolute) / 255
    assert metrics.l1_hole(truth, prediction, mask) == pytest.approx(expected_l1, rel=1e-12)


def test_one_wrong_pixel_has_the_value_worked_out_by_hand():
    truth = np.full((20, 30, 3), 100, np.uint8)
    prediction = truth.copy()
    prediction[4, 5] = (110, 100, 80)  # squared errors 100 + 0 + 400, absolute 10 + 0 + 20
    mask = np.zeros((20, 30), bool)
    mask[4, 5:7] = True  # the wrong pixel and a right one
    result = metrics.score(truth, prediction, mask)
    assert result["psnr"] == pytest.approx(10 * math.log10(65025 / (500 / 1800)))
    assert result["psnr_hole"] == pytest.approx(10 * math.log10(65025 / (500 / 6)))
    assert result["l1"] == pytest.approx(100 * 30 / 1800 / 255)
    assert result["l1_hole"] == pytest.approx(100 * 30 / 6 / 255)


def test_identical_pictures_score_at_the_floor():
    truth, _, mask = random_pair()
    mask[5:20, 5:20] = True
    result = metrics.score(truth, truth.copy(), mask)
    ceiling = 10 * math.log10(255**2 / 1e-3)
    assert result.pop("patch_distance") is None  # every patch has a pixel of this hole
    assert result == {
        "psnr": ceiling,
        "ssim": 1.0,
        "l1": 0.0,
        "psnr_hole": ceiling,
        "l1_hole": 0.0,
        "detail": 1.0,
    }


def test_full_mask_makes_hole_metrics_equal_whole_metrics():
    truth, prediction, mask = random_pair()
    result = metrics.score(truth, prediction, np.ones_like(mask))
    assert result["psnr_hole"] == pytest.approx(result["psnr"], rel=1e-12)
    assert result["l1_hole"] == pytest.approx(result["l1"], rel=1e-12)


def test_empty_mask_has_no_hole_metrics():
    truth, prediction, mask = random_pair()
    result = metrics.score(truth, prediction, np.zeros_like(mask))
    assert result["psnr_hole"] is None
    assert result["l1_hole"] is None
    assert result["psnr"] < 40


def test_ssim_is_scikit_image_with_the_papers_settings():
    truth, prediction, _ = random_pair(64, 48)
    expected = structural_similarity(
        truth,
        prediction,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=2,
        data_range=255,
    )
    assert metrics.ssim(truth, prediction) == expected
    assert 0 < expected < 1


def test_ssim_of_one_window_equals_the_definition():
    """At 11×11 pixels exactly one window remains: Wang et al.'s formula in a few lines."""
    truth, prediction, _ = random_pair(11, 11)
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for c in range(3):
        a, b = truth[..., c].astype(float), prediction[..., c].astype(float)
        mean_a, mean_b = (window * a).sum(), (window * b).sum()
        var_a = (window * a * a).sum() - mean_a**2
        var_b = (window * b * b).sum() - mean_b**2
        cov = (window * a * b).sum() - mean_a * mean_b
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        values.append(
            (2 * mean_a * mean_b + c1)
            * (2 * cov + c2)
            / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
        )
    assert metrics.ssim(truth, prediction) == pytest.approx(np.mean(values), rel=1e-9)


@pytest.mark.parametrize("shape", [(10, 40, 3), (40, 10, 3), (1, 1, 3)])
def test_pictures_smaller_than_the_window_have_no_ssim(shape):
    truth = np.zeros(shape, np.uint8)
    assert metrics.ssim(truth, truth) is None
    assert metrics.score(truth, truth, np.ones(shape[:2], bool))["psnr"] > 78


def test_views_with_odd_strides_score_like_copies():
    truth, prediction, mask = random_pair(40, 31)
    views = truth[::-2, ::3, ::-1], prediction[::-2, ::3, ::-1], mask[::-2, ::3]
    assert metrics.score(*views) == metrics.score(*(view.copy() for view in views))


def test_inputs_are_untouched():
    arrays = random_pair()
    before = [array.copy() for array in arrays]
    metrics.score(*arrays)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_bad_inputs_are_named():
    truth, prediction, mask = random_pair()
    with pytest.raises(ValueError, match="truth: expected a uint8 RGB"):
        metrics.psnr(truth / 255, prediction)
    with pytest.raises(ValueError, match="prediction: expected a uint8 RGB"):
        metrics.l1(truth, prediction[..., 0])
    with pytest.raises(ValueError, match=r"prediction: expected the truth's shape \(37, 23, 3\)"):
        metrics.ssim(truth, prediction[:-1])
    with pytest.raises(ValueError, match=r"mask: expected bool .*uint8 .*mask > 127"):
        metrics.score(truth, prediction, mask.astype(np.uint8) * 255)
    with pytest.raises(ValueError, match="mask: expected bool"):
        metrics.psnr_hole(truth, prediction, mask.T)
    with pytest.raises(ValueError, match="truth: expected a uint8 RGB"):
        metrics.psnr(truth[:0], prediction[:0])
    with pytest.raises(ValueError, match="picture: expected a uint8 RGB"):
        metrics.patch_distance(truth[..., :2], mask)
    with pytest.raises(ValueError, match="mask: expected bool"):
        metrics.patch_distance(truth, mask[1:])
    with pytest.raises(ValueError, match="mask: expected bool"):
        metrics.detail(truth, prediction, mask[1:])
