"""Figures for Prometheus."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from .jobs import JobQueue
from .records import Job

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)


class Metrics:
    """Counters of one service; they begin at 0 with it.

    Attributes:
        media_type: of `text`.
    """

    media_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "inpaint_requests", "Requests answered", ["method", "route", "status"], registry=registry
        )
        self._jobs = Counter("inpaint_jobs", "Jobs that ended", ["state"], registry=registry)
        for state in ("done", "failed", "cancelled"):
            self._jobs.labels(state)
        self._running = Histogram(
            "inpaint_job_seconds", "Seconds that finished jobs ran", buckets=_SECONDS, registry=registry
        )
        self._waited = Histogram(
            "inpaint_wait_seconds", "Seconds that finished jobs waited", buckets=_SECONDS, registry=registry
        )
        self._queue = Gauge("inpaint_queue", "Jobs by state", ["state"], registry=registry)
        self._results = Gauge("inpaint_result_bytes", "Bytes of finished results on disk", registry=registry)
        self._memory = Gauge(
            "inpaint_worker_memory_bytes", "Memory of the filling process", registry=registry
        )
        self._starts = Gauge("inpaint_worker_starts", "Filling processes started so far", registry=registry)

    def request(self, method: str, route: str, status: int) -> None:
        """Count an answered request."""
        self._requests.labels(method, route, str(status)).inc()

    def job_ended(self, job: Job) -> None:
        """Count a job that has ended."""
        self._jobs.labels(job.state).inc()
        if job.state == "done":
            self._running.observe(job.ended - job.started)
            self._waited.observe(max(0.0, job.started - job.created))

    def text(self, queue: JobQueue) -> bytes:
        """Return all figures as Prometheus reads them."""
        for state, count in queue.counts().items():
            self._queue.labels(state).set(count)
        self._results.set(queue.result_bytes())
        self._memory.set(queue.filler.memory())
        self._starts.set(queue.filler.starts)
        return generate_latest(self._registry)
