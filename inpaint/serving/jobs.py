"""The queue: who is next, how long it takes, and what becomes of results.

Its methods may be called by any thread, so that a page uses the same queue as the REST API; `updates` is for
coroutines. One thread of its own hands job after job to the filling process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import tasks
from .errors import BusyError, CancelledError, ServiceError
from .estimates import work
from .limits import Limits
from .records import Job, Slot, State, Status
from .storage import Storage
from .turns import Turns
from .worker import Worker

READING_SECONDS = 60.0
"""Longest time to read a photo and its mask, those before it in the reading process not counted."""

_MOST_RECORDS = 10_000  # of ended jobs; their results are limited by bytes and age
_TICK_SECONDS = 0.5

logger = logging.getLogger("inpaint.serving")


class JobQueue:
    """Jobs of all clients, in a fair order, for one filling process.

    Args:
        limits: what is taken on.
        filler: does the work of `tasks.filler`, or a stand-in.
        reader: does the work of `tasks.reader`.
        storage: where uploads and results lie.
        on_end: called with each job that has ended, for figures.
    """

    def __init__(
        self,
        limits: Limits,
        filler: Worker,
        reader: Worker,
        storage: Storage,
        on_end: Callable[[Job], None] = lambda job: None,
    ) -> None:
        self.limits, self.filler, self.reader, self.storage = limits, filler, reader, storage
        self.turns = Turns()
        self._on_end = on_end
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}
        self._slots: dict[str, Slot] = {}
        self._running: Job | None = None
        self._open = True
        self._draining = False
        self._reading = ThreadPoolExecutor(1, "inpaint-reading")
        self._thread = threading.Thread(target=self._serve, name="inpaint-queue", daemon=True)

    # --- what clients do ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the processes, and the thread that hands out jobs."""
        self.filler.start()
        self.reader.start()
        self._thread.start()

    @contextlib.contextmanager
    def slot(self, client: str, upload_bytes: int = 0) -> Iterator[Slot]:
        """Hold a place for a client while its photo is received; the place is given up, or `submit` takes it.

        Args:
            client: who sends it.
            upload_bytes: what is going to be received, at most.

        Raises:
            BusyError: all places are taken, the client has as many jobs as it may, or there is no room.
        """
        with self._changed:
            self._check_open()
            waiting = [job for job in self._jobs.values() if job.state == "waiting"]
            mine = sum(job.client == client and not job.is_ended for job in self._jobs.values())
            mine += sum(slot.client == client for slot in self._slots.values())
            if mine >= self.limits.jobs_per_client:
                raise BusyError(
                    f"You have {mine} jobs in the queue, as many as one client may; try again later.",
                    self._client_seconds(client),
                )
            if len(waiting) + len(self._slots) >= self.limits.waiting:
                raise BusyError(
                    "The server is busy: its queue is full; try again later.", self._next_seconds()
                )
            slot = Slot(client, self.storage.new_folder(upload_bytes))
            self._slots[slot.folder.name] = slot
        try:
            yield slot
        finally:
            with self._changed:
                left = self._slots.pop(slot.folder.name, None)
            if left is not None:
                self.storage.remove(slot.folder)

    def submit(self, slot: Slot, order: Mapping[str, Any]) -> Job:
        """Read what lies in a slot's folder, and put it into the queue.

        Args:
            slot: its folder holds the files `tasks.PHOTO`, and `tasks.MASK` or `tasks.RUNS`.
            order: `model`, `detail`, `seed`, `grow`, `format` (empty: the photo's) and `runs` (whether the
                mask is text).

        Raises:
            ServiceError: the photo or mask cannot be used.
        """
        return self._enqueue(slot, order, self._read(slot, order))

    async def submit_async(self, slot: Slot, order: Mapping[str, Any]) -> Job:
        """Do what `submit` does without blocking the event loop."""
        facts = await asyncio.wrap_future(self._reading.submit(self._read_now, slot, dict(order)))
        return self._enqueue(slot, order, facts)

    def find(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            ServiceError: (404) there is none of this id, or it has been forgotten.
        """
        job = self._jobs.get(job_id)
        if job is None:
            raise ServiceError(
                404,
                "There is no such job; finished ones are forgotten after a while, so send the photo again.",
            )
        return job

    def status(self, job: Job) -> Status:
        """Return a job's state, place and estimate."""
        with self._changed:
            place, left = 0, 0.0
            if job.state == "running":
                left = self.turns.seconds_of(job)
            elif job.state == "waiting":
                before = self._in_order()
                place = before.index(job) + 1
                left = self._next_seconds() + sum(map(self.turns.seconds_of, before[:place]))
            return Status(job.id, job.state, place, round(left, 1), job.progress, job.error, job.facts)

    def cancel(self, job: Job) -> None:
        """Take a job back. A running one keeps its place until its computing has ended."""
        with self._changed:
            job.cancel = True
            if job.state == "waiting":
                self._end(job, "cancelled", CancelledError())

    def forget(self, job: Job) -> None:
        """Remove an ended job and its result."""
        with self._changed:
            if job.is_ended:
                self._jobs.pop(job.id, None)
        if job.is_ended:
            self.storage.remove(job.folder)

    def wait(self, job: Job, seconds: float | None = None) -> bool:
        """Block until a job has ended, at most so many seconds; return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: job.is_ended, seconds)

    async def updates(self, job: Job, every: float = 0.2) -> AsyncIterator[Status]:
        """Yield a job's status whenever it changes, at most every so many seconds, until it has ended."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def listen() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(changed.set)

        job.listeners.add(listen)
        last = None
        try:
            while True:
                changed.clear()
                status = self.status(job)
                if status != last:
                    yield status
                last = status
                if status.is_ended:
                    return
                with contextlib.suppress(TimeoutError):  # places and estimates change without a word
                    await asyncio.wait_for(changed.wait(), 1.0)
                if not job.is_ended:
                    await asyncio.sleep(every)
        finally:
            job.listeners.discard(listen)

    # --- what the administrator sees ------------------------------------------------------------------------

    @property
    def is_closing(self) -> bool:
        """Whether no more jobs are taken."""
        return self._draining

    def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state that is not yet an end, and how many are being received."""
        with self._changed:
            states = [job.state for job in self._jobs.values()]
            return {
                "waiting": states.count("waiting"),
                "running": states.count("running"),
                "receiving": len(self._slots),
            }

    def result_bytes(self) -> int:
        """Return the bytes of all finished results."""
        with self._changed:
            return sum(job.size for job in self._jobs.values())

    def close(self, seconds: float = 0.0, hurry: Callable[[], bool] = lambda: False) -> int:
        """Take no more jobs, end those not done in so many seconds, and return how many these were.

        Args:
            seconds: time for jobs to finish.
            hurry: asked ten times a second whether they have no time any more.
        """
        with self._changed:
            self._draining = True
            end = time.monotonic() + seconds
            while self._pending() and time.monotonic() < end and not hurry():
                self._changed.wait(0.1)
            left = self._pending()
            for job in left:
                job.cancel = True
                if job.state == "waiting":
                    self._end(
                        job, "cancelled", ServiceError(503, "The server was stopped; send the photo again.")
                    )
            self._open = False
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(10)
        self.filler.stop()
        self.reader.stop()
        self._reading.shutdown(wait=False, cancel_futures=True)
        return len(left)

    # --- inside ---------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._draining:
            raise ServiceError(
                503, "The server is being stopped; try again in a minute.", {"Retry-After": "60"}
            )

    def _pending(self) -> list[Job]:
        return [job for job in self._jobs.values() if not job.is_ended]

    def _in_order(self) -> list[Job]:
        return self.turns.in_order(self._jobs.values())

    def _read(self, slot: Slot, order: Mapping[str, Any]) -> dict[str, Any]:
        return self._reading.submit(self._read_now, slot, dict(order)).result()

    def _read_now(self, slot: Slot, order: dict[str, Any]) -> dict[str, Any]:
        return self.reader.run(slot.folder, order, seconds=READING_SECONDS)

    def _enqueue(self, slot: Slot, order: Mapping[str, Any], facts: dict[str, Any]) -> Job:
        amount = work(facts["width"] * facts["height"], facts["hole"])
        with self._changed:
            self._check_open()
            job = Job(slot.folder.name, slot.client, slot.folder, dict(order), facts, amount)
            job.turn = self.turns.assign(job.client, job.kind, amount)
            self._jobs[job.id] = job
            del self._slots[job.id]
            self._changed.notify_all()
        return job

    def _next_seconds(self) -> float:
        """Return the seconds until the next job can run."""
        return self.turns.seconds_of(self._running) if self._running is not None else 0.0

    def _client_seconds(self, client: str) -> float:
        """Return the seconds until one of a client's jobs is done, at a guess."""
        seconds = self._next_seconds()
        if self._running is not None and self._running.client == client:
            return seconds
        for job in self._in_order():
            seconds += self.turns.seconds_of(job)
            if job.client == client:
                break
        return seconds

    def _serve(self) -> None:
        while True:
            with self._changed:
                if not self._open:
                    return
                waiting = self._in_order()
                if waiting:
                    job = self._running = waiting[0]
                    job.state, job.started = "running", time.monotonic()
                    self.turns.begin(job)
                    self._tell(job)
                else:
                    self._changed.wait(_TICK_SECONDS)
            if waiting:
                self._run(job)
            else:
                self.filler.start()  # where it has ended without being asked
                self.reader.start()
            self._sweep()

    def _run(self, job: Job) -> None:
        def report(fraction: float) -> None:
            if fraction == 0.0:
                job.started = time.monotonic()  # the model is loaded
            job.progress = fraction
            self._tell(job)

        state: State = "failed"
        error: ServiceError | None = None
        try:
            result = self.filler.run(
                job.folder,
                job.order,
                seconds=self.limits.job_seconds,
                report=report,
                cancelled=lambda: job.cancel,
            )
            job.size, state = int(result["bytes"]), "done"
            job.facts = {**job.facts, "notes": result.get("notes", job.facts["notes"])}
        except CancelledError as reason:
            state, error = "cancelled", reason
        except ServiceError as reason:
            error = reason
        except Exception:  # a mistake of ours ends this job and not the queue
            logger.exception("a job failed")
            error = ServiceError(500, "The fill failed by a fault of the server; see its log.")
        for name in (tasks.PHOTO, tasks.MASK, tasks.RUNS):
            (job.folder / name).unlink(missing_ok=True)
        self.storage.release(job.folder)
        with self._changed:
            self._running = None
            if state == "done":
                job.progress = 1.0
                self.turns.estimates.add(job.kind, job.work, time.monotonic() - job.started)
            self._end(job, state, error)

    def _end(self, job: Job, state: State, error: ServiceError | None) -> None:
        job.state, job.error, job.ended = state, error, time.monotonic()
        if state != "done":
            self.storage.remove(job.folder)
        self._tell(job)
        self._changed.notify_all()
        self._on_end(job)

    def _tell(self, job: Job) -> None:
        for listener in list(job.listeners):
            listener()

    def _sweep(self) -> None:
        """Forget results that are too old, and the oldest where they are too many."""
        with self._changed:
            ended = sorted((job for job in self._jobs.values() if job.is_ended), key=lambda job: job.ended)
            size, count = sum(job.size for job in ended), len(ended)
        now = time.monotonic()
        for job in ended:
            old = now - job.ended > self.limits.result_seconds
            if old or size > self.limits.result_megabytes * 1e6 or count > _MOST_RECORDS:
                self.forget(job)
                size, count = size - job.size, count - 1
