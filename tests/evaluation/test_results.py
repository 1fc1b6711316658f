"""The results.json document: its shape, and what an evaluation ran with."""

import json
from pathlib import Path
from typing import get_type_hints

from made_cases import keep_input
from results_shape import check_shape

from inpaint.datasets import open_photos
from inpaint.evaluation import EvaluationSet, evaluate, results_document
from inpaint.evaluation.results import environment
from inpaint.evaluation.schema import Difference, FeatureNetwork, MethodResults, Protocol, Results


def test_the_document_has_the_shape_that_the_schema_says(photos):
    cases = EvaluationSet(photos, "box:0.1-0.3", size=64)
    evaluation = evaluate({"keep": keep_input, "same": keep_input}, cases)
    features = {"backbone": "squeezenet1_1", "sha256": "0" * 64}
    for given in ({}, {"features": features, "lpips_unavailable": "switched off"}):
        document = results_document(evaluation, cases, images="photos", device="cpu", **given)
        check_shape(json.loads(json.dumps(document, allow_nan=False)), Results)
        assert document["version"] == 1
        assert (document["protocol"]["features"] is None) == (not given)
        assert (document["protocol"]["features_unavailable"] is None) == bool(given)
    assert document["differences"][0]["count"] == document["protocol"]["image_count"] == 3


def test_the_documentation_has_every_key():
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text("utf-8")
    section = text.partition("\n## results.json\n")[2].partition("\n## ")[0]
    for part in (Results, Protocol, MethodResults, Difference, FeatureNetwork):
        for key in get_type_hints(part):
            assert f"`{key}`" in section, key


def test_what_cannot_be_had_is_null(tmp_path, photo_folder):
    cases = EvaluationSet(open_photos(photo_folder), "box", size=8, limit=1)  # below SSIM's window
    document = results_document(
        evaluate({"keep": keep_input, "same": keep_input}, cases), cases, images="photos", device="cpu"
    )
    check_shape(json.loads(json.dumps(document, allow_nan=False)), Results)
    entry = document["methods"]["keep"]
    assert [key for key in entry if entry[key] is None] == [
        "ssim",
        "patch_distance",
        "feature_distance",
        "lpips",
    ]
    assert document["differences"][0]["interval"] is None


def test_environment_is_plain_json():
    entry = environment()
    assert entry == json.loads(json.dumps(entry))
    assert {"torch", "scikit-image", "opencv-python", "pypatchmatch"} <= set(entry["versions"])
    assert entry["date"].endswith("+00:00")
