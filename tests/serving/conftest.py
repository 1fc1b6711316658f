"""The server that most tests of the service ask."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from serving_client import Running, serving

from inpaint.serving.limits import Limits


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = Limits(max_megabytes=0.5, max_megapixels=0.1, job_seconds=1.5, memory_megabytes=700)
    with serving(tmp_path_factory.mktemp("service"), limits) as running:
        yield running


@pytest.fixture
def service(shared_service: Running) -> Iterator[Running]:
    """A server whose fills are stand-ins, without jobs."""
    yield shared_service
    queue = shared_service.queue
    for job in list(queue._jobs.values()):
        queue.cancel(job)
        assert queue.wait(job, 20)
        queue.forget(job)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """`inpaint serve` sends logs to stderr, in the test's process too."""
    logs = [logging.getLogger(name) for name in ("inpaint", "uvicorn")]
    before = [(log, log.handlers[:], log.level, log.propagate) for log in logs]
    yield
    for log, handlers, level, propagate in before:
        log.handlers[:], log.propagate = handlers, propagate
        log.setLevel(level)
