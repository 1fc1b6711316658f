"""The routes: what they answer, with every status."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import serving_fakes as fakes
from serving_client import MASK, PHOTO, Running, form, mask, photo, serving, wait_for

from inpaint.serving.limits import Limits

CURL = shutil.which("curl")


def assert_problem(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    for word in words:
        assert word in answer.json()["detail"]


# --- fills --------------------------------------------------------------------------------------------------


def test_a_fill_at_once(service: Running) -> None:
    answer = service.post(seed=5)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == PHOTO  # the stand-in's fill
    assert int(answer.headers["content-length"]) == len(PHOTO)
    assert service.queue._jobs == {} and service.queue.result_bytes() == 0


def test_a_mask_as_text(service: Running) -> None:
    assert service.post(mask=None, mask_rle=f"100 200 {48 * 64 - 300}", seed=5).status_code == 200
    assert_problem(service.post(mask=None, mask_rle="1 2 3"), 422, "64×48 = 3072")


def test_a_job(service: Running) -> None:
    answer = service.post("/api/v1/jobs", seed=600)
    assert answer.status_code == 202
    job = answer.json()["id"]
    assert answer.headers["location"] == f"/api/v1/jobs/{job}"
    assert len(job) >= 22
    state = service.wait_for_state(job, "running")
    assert (state["width"], state["height"], state["hole"]) == (64, 48, 200)
    early = service.client.get(f"/api/v1/jobs/{job}/result")
    assert_problem(early, 409, "not ended")
    assert service.wait_for_state(job, "done")["progress"] == 1.0
    result = service.client.get(f"/api/v1/jobs/{job}/result")
    assert (result.status_code, result.content) == (200, PHOTO)
    assert service.client.delete(f"/api/v1/jobs/{job}").status_code == 200
    assert_problem(service.client.get(f"/api/v1/jobs/{job}"), 404, "no such job")


def test_events(service: Running) -> None:
    job = service.job(seed=700)
    with service.client.stream("GET", f"/api/v1/jobs/{job}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    assert set(lines[::2]) == {"event: status"}
    seen = [json.loads(line.removeprefix("data: ")) for line in lines[1::2]]
    assert [status["state"] for status in seen][-1] == "done"
    fractions = [status["progress"] for status in seen]
    assert fractions == sorted(fractions) and len(set(fractions)) > 2


def test_a_client_that_stops_listening_to_events_cancels_nothing(service: Running) -> None:
    job = service.job(seed=600)
    with service.client.stream("GET", f"/api/v1/jobs/{job}/events") as answer:
        next(answer.iter_lines())
    assert service.wait_for_state(job, "done")


def test_cancelling(service: Running) -> None:
    job = service.job(seed=1400)
    waiting = service.job(seed=1)
    service.wait_for_state(job, "running")
    for each in (waiting, job):
        answer = service.client.delete(f"/api/v1/jobs/{each}")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        assert_problem(service.client.get(f"/api/v1/jobs/{each}/result"), 410, "cancelled")


def test_a_client_that_is_gone_ends_its_job(service: Running) -> None:
    with pytest.raises(httpx.ReadTimeout):
        service.client.post("/api/v1/inpaint", **form(seed=1400), timeout=0.4)
    wait_for(lambda: service.queue.counts() == {"waiting": 0, "running": 0, "receiving": 0}, 3)
    wait_for(lambda: service.queue._jobs == {}, 3)


def test_a_client_that_is_gone_before_it_knows_the_jobs_id_ends_the_job(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = service.queue.submit_async

    async def submit_slowly(slot: Any, order: Any) -> Any:
        await asyncio.sleep(0.6)
        return await submit(slot, order)

    monkeypatch.setattr(service.queue, "submit_async", submit_slowly)
    with pytest.raises(httpx.ReadTimeout):
        service.client.post("/api/v1/jobs", timeout=0.3, **form(seed=20_000))
    job = wait_for(lambda: list(service.queue._jobs.values()))[0]
    assert service.queue.wait(job, 5) and job.state == "cancelled"


@pytest.mark.parametrize(
    ("seed", "status", "words"),
    [(fakes.DEAF, 504, "1.5 seconds"), (fakes.ABORT, 500, "crashed"), (fakes.RAISE, 500, "RuntimeError")],
)
def test_a_fill_that_fails(service: Running, seed: int, status: int, words: str) -> None:
    assert_problem(service.post(seed=seed), status, words)
    job = service.job(seed=seed)
    assert words in service.wait_for_state(job, "failed")["detail"]
    assert_problem(service.client.get(f"/api/v1/jobs/{job}/result"), status, words)
    assert service.post(seed=1).status_code == 200


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"image": b"no picture"}, 415, "photo"),
        ({"image": PHOTO[:200]}, 415, "cut short"),
        ({"mask": b"no picture"}, 415, "mask"),
        ({"image": photo(400, 400)}, 413, "0.2 megapixels"),
        ({"image": b"x" * 600_000}, 413, "0.5 MB"),
        ({"mask": mask(20, 30)}, 422, "30×20"),
        ({"mask": MASK, "mask_rle": "0 3072"}, 422, "either"),
        ({"mask": None}, 422, "either"),
        ({"image": None}, 422, "image"),
        ({"mask": None, "mask_rle": "3072"}, 422, "without a hole"),
        ({"mask": None, "mask_rle": "0 3072"}, 422, "covers everything"),
        ({"model": "../../etc/passwd"}, 422, "pconv-carafe"),
        ({"model": "someone/some-model"}, 422, "pconv-carafe"),
        ({"detail": "much"}, 422, "photo, none"),
        ({"format": "eps"}, 422, "jpeg"),
        ({"seed": -1}, 422, "seed"),
        ({"seed": 2**63}, 422, "seed"),
        ({"grow": 1001}, 422, "grow"),
        ({"grow": "1.5"}, 422, "grow"),
        ({"colour": "red"}, 422, "not known"),
    ],
)
def test_refused(service: Running, fields: dict[str, Any], status: int, words: str) -> None:
    for path in ("/api/v1/inpaint", "/api/v1/jobs"):
        answer = service.post(path, **fields)
        assert_problem(answer, status, words)
    assert service.queue.counts()["receiving"] == 0
    assert [path.name for path in service.service.storage.folder.iterdir()] == ["in-use"]


def test_a_body_that_is_no_form_is_refused(service: Running) -> None:
    assert_problem(service.client.post("/api/v1/inpaint", json={"image": "x"}), 415, "multipart/form-data")
    assert_problem(service.client.post("/api/v1/inpaint"), 415, "multipart/form-data")
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = service.client.post("/api/v1/inpaint", content=b"--y\r\nnonsense", headers=headers)
    assert_problem(answer, answer.status_code)
    assert answer.status_code in (400, 422)


def test_addresses_that_are_not_there(service: Running) -> None:
    for path in ("/api/v1/jobs/0", "/api/v1/jobs/0/result", "/api/v1/jobs/0/events", "/api/v2", "/docs"):
        assert_problem(service.client.get(path), 404)
    assert_problem(service.client.delete("/api/v1/jobs/0"), 404)
    assert_problem(service.client.get("/api/v1/inpaint"), 405)


def test_a_client_with_too_many_jobs_is_told_when_to_come_back(service: Running) -> None:
    for _ in range(service.service.limits.jobs_per_client):
        service.job(seed=1400)
    for path in ("/api/v1/jobs", "/api/v1/inpaint"):
        answer = service.post(path)
        assert_problem(answer, 429, "one client")
        assert int(answer.headers["retry-after"]) >= 1


# --- the rest -----------------------------------------------------------------------------------------------


def test_models(service: Running) -> None:
    answer = service.client.get("/api/v1/models").json()
    assert [model["name"] for model in answer["models"] if model["default"]] == ["pconv-carafe"]
    assert answer["details"] == ["photo", "none"]
    assert "jpeg" in answer["formats"]


def test_metrics(service: Running) -> None:
    service.post(seed=1)
    answer = service.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    for line in (
        'inpaint_requests_total{method="POST",route="/api/v1/inpaint",status="200"} ',
        'inpaint_jobs_total{state="done"} ',
        'inpaint_queue{state="waiting"} 0.0',
        "inpaint_job_seconds_count ",
        "inpaint_worker_memory_bytes ",
    ):
        assert f"\n{line}" in answer.text


def test_health_follows_the_process(tmp_path: Path) -> None:
    with serving(tmp_path, filler="serving_fakes:broken", ready=False) as running:
        answer = running.client.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "starting")
        wait_for(running.queue.reader.answers)
        assert_problem(running.post(), 503, "no model here")


def test_a_process_that_ends_by_itself_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inpaint.serving.worker._RESTART_SECONDS", 0.2)
    with serving(tmp_path, filler="serving_fakes:quits", ready=False) as running:
        wait_for(lambda: running.queue.filler.starts >= 3)


def test_health_is_ready_while_a_job_runs(service: Running) -> None:
    job = service.job(seed=fakes.DEAF)
    service.wait_for_state(job, "running")
    answer = service.client.get("/health")
    assert (answer.status_code, answer.json()["status"], answer.json()["running"]) == (200, "ready", 1)


def test_one_client_that_joins_again_and_again_does_not_block_another(tmp_path: Path) -> None:
    limits = Limits(trusted_proxies="127.0.0.1", jobs_per_client=4)
    with serving(tmp_path, limits) as running:
        ann, bob = ({"X-Forwarded-For": address} for address in ("203.0.113.1", "203.0.113.2"))
        statuses = [running.post("/api/v1/jobs", ann, seed=200).status_code for _ in range(40)]
        assert statuses.count(429) >= 30
        began = time.monotonic()
        assert running.post(headers=bob, seed=10).status_code == 200
        assert time.monotonic() - began < 3


@pytest.mark.skipif(CURL is None, reason="no curl here; httpx asks the same in the other tests")
def test_curl(service: Running, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(PHOTO)
    (tmp_path / "mask.png").write_bytes(MASK)
    command = [str(CURL), "-sS", "-f", "-F", "image=@photo.png", "-F", "mask=@mask.png", "-F", "seed=3"]
    command += ["-o", "filled.png", f"http://localhost:{service.port}/api/v1/inpaint"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=30)
    assert (tmp_path / "filled.png").read_bytes() == PHOTO
