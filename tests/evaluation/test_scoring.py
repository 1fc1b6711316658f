"""What a method sees of a case, and what is made of its fill."""

import numpy as np
import pytest
from made_cases import random_case

from inpaint import metrics
from inpaint.evaluation import compare, evaluate
from inpaint.evaluation.scoring import MethodError, score_method
from inpaint.masks import HOLE_GREY


def test_the_truth_in_the_hole_never_reaches_a_method():
    case = random_case(ratio=0.4)
    truth = case.image.copy()
    seen = []

    def spy(image, mask):
        seen.append((image.copy(), mask.copy()))
        image[:] = 77  # neither the case nor the next method may notice
        mask[:] = False
        return image

    evaluation = evaluate(
        {"spy": spy, "second": lambda image, mask: seen.append((image, mask)) or image}, [case]
    )
    assert len(seen) == 4  # each method has one untimed call first
    for image, mask in seen:
        assert (image[case.mask] == HOLE_GREY).all()
        np.testing.assert_array_equal(image[~case.mask], truth[~case.mask])
        np.testing.assert_array_equal(mask, case.mask)
    np.testing.assert_array_equal(case.image, truth)
    # Handing the input back scores as grey does: nothing of the truth is in it.
    grey = np.where(case.mask[..., None], HOLE_GREY, truth).astype(np.uint8)
    scores = evaluation.records[0][2]["second"]
    assert scores["psnr_hole"] == pytest.approx(metrics.psnr_hole(truth, grey, case.mask))
    assert scores["psnr_hole"] < 12


def test_composites_are_scored_not_raw_fills():
    case = random_case()

    def wrong_outside(image, mask):
        return np.where(mask[..., None], case.image, 255 - case.image)

    scores = evaluate({"wrong-outside": wrong_outside}, [case]).records[0][2]["wrong-outside"]
    assert scores["psnr"] == scores["psnr_hole"] == pytest.approx(10 * np.log10(255**2 / 1e-3))
    assert scores["ssim"] == 1


def test_one_method_scores_one_case_as_evaluate_does():
    case = random_case()
    calls = []

    def invert(image, mask):
        calls.append(image)
        return 255 - image

    fill, scores = score_method("invert", invert, case)
    assert len(calls) == 1
    np.testing.assert_array_equal(fill[~case.mask], case.image[~case.mask])
    np.testing.assert_array_equal(fill[case.mask], 255 - HOLE_GREY)
    evaluated = evaluate({"invert": invert}, [case]).records[0][2]["invert"]
    assert scores | {"seconds": None} == evaluated | {"seconds": None}
    assert scores["seconds"] > 0
    with pytest.raises(MethodError, match=f"flat on {case.name}"):
        score_method("flat", lambda image, mask: image[..., 0], case)


def test_methods_are_compared_on_one_case_in_their_order():
    case = random_case()
    methods = {"white": lambda image, mask: np.full_like(image, 255), "ready": ReadyTruth(case)}
    compared = compare(case, methods, lpips=lambda truth, fill: 0.5)
    assert list(compared) == ["white", "ready"]
    for name, (fill, scores) in compared.items():
        alone, alone_scores = score_method(name, methods[name], case, lpips=lambda truth, fill: 0.5)
        np.testing.assert_array_equal(fill, alone)
        assert scores | {"seconds": None} == alone_scores | {"seconds": None}
        assert (scores["lpips"], scores["feature_distance"]) == (0.5, None)
    assert compared["ready"][1]["seconds"] is None
    assert compare(case, {}) == {}


class ReadyTruth:
    def __init__(self, case):
        self.fills = {case.name: case.image}

    def read(self, name):
        return self.fills[name]


def test_ready_fills_are_scored_without_seconds():
    case = random_case()
    entry = evaluate({"ready": ReadyTruth(case)}, [case]).summary()["ready"]
    assert entry["seconds"] is None
    assert entry["psnr_hole"] > 78


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            lambda image, mask: image[:-1],
            r"bad on x: expected a uint8 picture of shape \(40, 40, 3\), got uint8",
        ),
        (lambda image, mask: image / 255, "bad on x: expected a uint8 picture .* got float64"),
        (lambda image, mask: 1 / 0, "bad failed on x: division by zero"),
    ],
)
def test_failing_methods_are_named(method, message):
    with pytest.raises(MethodError, match=message):
        evaluate({"bad": method}, [random_case()])
