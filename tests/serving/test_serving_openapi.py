"""What `/openapi.json` says is what there is: its routes, and what requests made from it are answered."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from serving_client import Running, serving

from inpaint.serving.limits import Limits

ROUTES = {
    "/api/v1/inpaint": {"post": {200, 408, 410, 413, 415, 422, 429, 500, 504}},
    "/api/v1/jobs": {"post": {202, 408, 413, 415, 422, 429, 500}},
    "/api/v1/jobs/{job_id}": {"get": {200, 404}, "delete": {200, 404}},
    "/api/v1/jobs/{job_id}/events": {"get": {200, 404}},
    "/api/v1/jobs/{job_id}/result": {"get": {200, 404, 409, 410, 413, 422, 500, 504}},
    "/api/v1/select": {"post": {200, 408, 410, 413, 415, 422, 429, 500, 504}},
    "/api/v1/models": {"get": {200}},
    "/health": {"get": {200, 503}},
    "/metrics": {"get": {200}},
}
EVERYWHERE = {400, 401, 403, 421, 429, 503}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = Limits(max_megabytes=0.5, max_megapixels=0.1, jobs_per_client=30, connections_per_client=150)
    with serving(tmp_path_factory.mktemp("openapi"), limits) as running:
        yield running


def test_the_document_has_exactly_the_routes(quiet: Running) -> None:
    document = quiet.client.get("/openapi.json").json()
    assert set(document["paths"]) == set(ROUTES)
    for path, methods in ROUTES.items():
        assert set(document["paths"][path]) == set(methods)
        for method, statuses in methods.items():
            answers = document["paths"][path][method]["responses"]
            assert statuses | EVERYWHERE <= {int(status) for status in answers}
            for status, answer in answers.items():
                assert answer["description"] and answer["content"], (path, status)
                if int(status) >= 400 and path != "/health":
                    assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/Problem")
    form = document["paths"]["/api/v1/inpaint"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert set(form["schema"]["properties"]) == {
        *("image", "mask", "mask_rle", "model", "detail", "seed", "grow", "format")
    }
    form = document["paths"]["/api/v1/select"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert set(form["schema"]["properties"]) == {"image", "mask", "mask_rle", "method"}


@pytest.mark.parametrize("path", ROUTES)
def test_requests_made_from_the_document_are_answered_as_it_says(quiet: Running, path: str) -> None:
    schemathesis = pytest.importorskip(
        "schemathesis", reason="schemathesis is not installed: pip install -e .[dev]"
    )
    hypothesis = pytest.importorskip("hypothesis")
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    schema = schemathesis.openapi.from_url(f"http://localhost:{quiet.port}/openapi.json")
    for method in ROUTES[path]:
        operation = schema[path][method]

        @hypothesis.settings(
            max_examples=12,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            # Random bytes are no photo: that they are refused is right.
            case.call_and_validate(excluded_checks=[positive_data_acceptance], timeout=20)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ask()
