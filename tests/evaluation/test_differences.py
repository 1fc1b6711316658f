"""Intervals of paired differences: against a bootstrap written as a loop, and against the normal formula."""

import numpy as np
import pytest

from inpaint.evaluation.differences import differences, paired_interval


def test_interval_equals_a_loop_over_resampled_images():
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(25, 4, 23), rng.normal(24, 4, 23)
    means = []
    rng = np.random.default_rng(5)  # another seed: the interval must not hang on it
    for _ in range(2000):
        chosen = rng.integers(0, 23, 23)
        means.append(np.mean([ours[i] - theirs[i] for i in chosen]))
    low, high = paired_interval(ours, theirs)
    width = high - low
    assert (low, high) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.1 * width)
    assert (low, high) == paired_interval(ours, theirs)
    assert paired_interval(theirs, ours) == pytest.approx((-high, -low), abs=0.1 * width)


def test_interval_is_of_pairs_and_not_of_two_samples():
    """Images differ by far more than methods do; for many of them the interval is mean ± 1.96 s/√n."""
    rng = np.random.default_rng(0)
    images, gains = rng.normal(25, 6, 400), rng.normal(0.3, 0.5, 400)
    low, high = paired_interval(images + gains, images)
    half = 1.96 * gains.std(ddof=1) / np.sqrt(400)
    assert (low, high) == pytest.approx((gains.mean() - half, gains.mean() + half), abs=0.1 * half)


def test_equal_scores_few_images_and_a_wrong_number_of_scores():
    assert paired_interval([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == (0, 0)
    assert paired_interval([1.0], [2.0]) is None
    assert paired_interval([], []) is None
    with pytest.raises(ValueError, match="two scores of each image"):
        paired_interval([1.0, 2.0], [1.0])


def test_every_two_methods_are_compared_over_the_images_that_both_have():
    def image(a, b, c):
        return {
            "a": {"psnr": a, "feature_distance": None},
            "b": {"psnr": b, "feature_distance": b / 10},
            "c": {"psnr": c, "feature_distance": None if c == 26 else c / 10},
        }

    found = differences([image(20.0, 22.0, 26.0), image(30.0, 31.0, 27.0), image(25.0, 25.0, 25.0)])
    named = {(entry["metric"], entry["method"], entry["over"]): entry for entry in found}
    assert list(named) == [
        ("psnr", "b", "a"),
        ("psnr", "c", "a"),
        ("psnr", "c", "b"),
        ("feature_distance", "c", "b"),
    ]
    assert named["psnr", "b", "a"]["mean"] == pytest.approx(1)
    assert named["psnr", "b", "a"]["interval"] == list(paired_interval([22, 31, 25], [20, 30, 25]))
    assert named["psnr", "b", "a"]["count"] == 3
    features = named["feature_distance", "c", "b"]
    assert (features["mean"], features["count"]) == (pytest.approx(-0.2), 2)
    assert differences([]) == []
    (alone,) = differences([{name: {"psnr": 1.0, "feature_distance": None} for name in "ab"}])
    assert alone["interval"] is None
