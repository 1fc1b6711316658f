"""Whose turn it is, and when: clients share the filling process fairly."""

from __future__ import annotations

import time
from collections.abc import Iterable

from .estimates import Estimates, seconds_left
from .records import Job


class Turns:
    """The order of jobs, and how long they take.

    Clients take turns: a client's next job is due when the seconds it was given so far are over, as if each
    had the same share of the process. One client with many jobs does not hold up another with one. Whoever
    holds the queue's lock may call this.

    Attributes:
        estimates: seconds of jobs, from those done so far.
    """

    def __init__(self) -> None:
        self.estimates = Estimates()
        self._now = 0.0  # the turn of the job that runs or ran last
        self._next: dict[str, float] = {}  # client -> when its next job is due

    def assign(self, client: str, kind: str, work: float) -> float:
        """Return the turn of a client's new job."""
        turn = max(self._now, self._next.get(client, 0.0))
        self._next[client] = turn + self.estimates.seconds(kind, work)
        return turn

    def begin(self, job: Job) -> None:
        """Note that a job has its turn now."""
        self._now = job.turn
        self._next = {client: turn for client, turn in self._next.items() if turn > self._now}

    def in_order(self, jobs: Iterable[Job]) -> list[Job]:
        """Return those of the jobs that wait, next first."""
        return sorted((job for job in jobs if job.state == "waiting"), key=lambda job: job.turn)

    def seconds_of(self, job: Job) -> float:
        """Return how long a job will still run, not counting those before it."""
        expected = self.estimates.seconds(job.kind, job.work)
        if job.state != "running":
            return expected
        return seconds_left(expected, time.monotonic() - job.started, job.progress)
