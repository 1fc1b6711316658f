"""The evaluation: what is hashed, how scores are averaged and timed."""

import hashlib

import numpy as np
import pytest
from made_cases import box_case, keep_input, random_case
from skimage.data import chelsea

from inpaint import metrics
from inpaint.evaluation import Case, EvaluationSet, evaluate, scoring

RECIPE = "free-form:0.1-0.5"

# The hash


def digest_of(photos, **settings):
    return evaluate({"keep": keep_input}, EvaluationSet(photos, size=64, **settings)).sha256


def test_hash_names_the_pictures_and_holes(photos):
    reference = digest_of(photos, masks=RECIPE)
    assert digest_of(photos, masks=RECIPE) == reference
    assert digest_of(photos, masks=RECIPE, seed=1) != reference
    assert digest_of(photos, masks="box:0.1-0.5") != reference
    assert digest_of(photos, masks=RECIPE, limit=2) != reference


def test_names_that_are_no_utf8_are_hashed_as_their_bytes():
    case = Case("lat\udce9in.jpg", np.zeros((1, 8, 3), np.uint8), np.ones((1, 8), bool))
    expected = hashlib.sha256(b"lat\xe9in.jpg\x00(1, 8)\x00\xff").hexdigest()
    evaluation = evaluate({"keep": keep_input}, [case], sheet_rows=1)
    assert evaluation.sha256 == expected
    assert evaluation.rows[0].case is case


def test_hash_has_the_documented_value():
    mask = np.zeros((3, 5), bool)
    mask[0, 0] = mask[2, 4] = True  # bits 10000000 00000010 with one bit of padding
    case = Case("a.png", np.zeros((3, 5, 3), np.uint8), mask)
    expected = hashlib.sha256(b"a.png\x00(3, 5)\x00" + bytes([0b10000000, 0b00000010])).hexdigest()
    assert evaluate({"keep": keep_input}, [case]).sha256 == expected


# The scores


def test_averages_are_means_of_per_image_scores():
    cases = [
        random_case(str(seed), ratio=ratio, seed=seed) for seed, ratio in enumerate((0.05, 0.15, 0.18, 0.55))
    ]
    entry = evaluate({"keep": keep_input}, cases).summary()["keep"]

    def mean(function, members):
        return np.mean([function(case.image, case.destroyed(), case.mask) for case in members])

    assert entry["count"] == 4
    assert entry["psnr_hole"] == pytest.approx(mean(metrics.psnr_hole, cases))
    assert entry["l1_hole"] == pytest.approx(mean(metrics.l1_hole, cases))
    assert entry["psnr"] == pytest.approx(mean(lambda a, b, _: metrics.psnr(a, b), cases))
    assert list(entry["by_hole_ratio"]) == ["0.01-0.1", "0.1-0.2", "0.5-0.6"]
    assert entry["by_hole_ratio"]["0.1-0.2"]["count"] == 2
    assert entry["by_hole_ratio"]["0.1-0.2"]["psnr_hole"] == pytest.approx(
        mean(metrics.psnr_hole, cases[1:3])
    )


def test_texture_is_scored_beside_that_of_the_photos():
    cases = [box_case("a", 6), box_case("b", 30, chelsea)]
    evaluation = evaluate({"keep": keep_input}, cases)
    entry = evaluation.summary()["keep"]
    assert entry["detail"] == 0  # grey
    own = [metrics.patch_distance(case.image, case.mask) for case in cases]
    assert evaluation.truth_patch_distance == pytest.approx(np.mean(own))
    grey = [metrics.patch_distance(case.destroyed(), case.mask) for case in cases]
    assert entry["patch_distance"] == pytest.approx(np.mean(grey))
    assert entry["feature_distance"] is None
    assert evaluate({"keep": keep_input}, [random_case()]).truth_patch_distance is None  # no known patch


def test_photos_without_a_hole_count_for_whole_image_metrics_only():
    cases = [random_case("empty", ratio=0), random_case("half", ratio=0.5, seed=1)]
    entry = evaluate({"keep": keep_input}, cases).summary()["keep"]
    hole = metrics.psnr_hole(cases[1].image, cases[1].destroyed(), cases[1].mask)
    assert entry["psnr_hole"] == pytest.approx(hole)
    assert entry["count"] == 2
    assert entry["psnr"] > 40  # the empty one's 78 dB count
    assert list(entry["by_hole_ratio"]) == ["0.4-0.5"]

    nothing = evaluate({"keep": keep_input}, cases[:1]).summary()["keep"]
    assert nothing["psnr_hole"] is None
    assert nothing["l1_hole"] is None


def test_seconds_are_of_the_method_alone(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(scoring.time, "perf_counter", lambda: now[0])

    def first_call_is_slow(image, mask):
        now[0] += 100 if now[0] == 0 else 2
        return image

    def slow_metric(truth, prediction, mask=None):
        now[0] += 50
        return 0.5 if mask is None else float(mask.mean())

    cases = [random_case(str(seed), seed=seed) for seed in range(3)]
    evaluation = evaluate(
        {"method": first_call_is_slow}, cases, lpips=slow_metric, feature_distance=slow_metric
    )
    entry = evaluation.summary()["method"]
    assert entry["seconds"] == 2
    assert entry["lpips"] == 0.5
    assert entry["feature_distance"] == pytest.approx(0.25)


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(ValueError, match="no method"):
        evaluate({}, [random_case()])
