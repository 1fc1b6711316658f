"""The queue: order, places, estimates, limits, results, and its end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serving_fakes as fakes
from serving_client import run_async, wait_for

from inpaint.files import lock
from inpaint.serving.errors import BusyError, ServiceError
from inpaint.serving.estimates import Estimates, seconds_left, work
from inpaint.serving.jobs import JobQueue
from inpaint.serving.limits import Limits
from inpaint.serving.records import Job
from inpaint.serving.storage import Storage
from inpaint.serving.worker import Worker

ORDER = {"model": "m", "detail": "none", "grow": 0, "format": "", "runs": False}


@pytest.fixture(scope="module")
def workers() -> Iterator[tuple[Worker, Worker]]:
    """Processes for all queues of this file, because starting them takes a while."""
    filler, reader = Worker("serving_fakes:filler", {}), Worker("serving_fakes:reader", {})
    filler.start()
    reader.start()
    wait_for(lambda: filler.answers() and reader.answers(), 60)
    stops = filler.stop, reader.stop
    filler.stop = reader.stop = lambda: None  # type: ignore[method-assign]
    yield filler, reader
    for stop in stops:
        stop()


MakeQueue = Callable[..., JobQueue]


@pytest.fixture
def make_queue(workers: tuple[Worker, Worker], tmp_path: Path) -> Iterator[MakeQueue]:
    made = []

    def make(**limits: float) -> JobQueue:
        queue = JobQueue(Limits(**limits), *workers, Storage(tmp_path))  # type: ignore[arg-type]
        queue._thread.start()
        made.append(queue)
        return queue

    yield make
    for queue in made:
        queue.close()
        queue.storage.close()


def submit(queue: JobQueue, client: str, milliseconds: int = 300, size: int = 10) -> Job:
    with queue.slot(client) as slot:
        (slot.folder / "photo").write_bytes(b"x" * size)
        (slot.folder / "mask").write_bytes(b"y")
        return queue.submit(slot, {**ORDER, "seed": milliseconds})


# --- order and estimates ------------------------------------------------------------------------------------


def test_clients_take_turns(make_queue: MakeQueue) -> None:
    queue = make_queue(jobs_per_client=10)
    many = [submit(queue, "ann", 150) for _ in range(5)]
    wait_for(lambda: many[0].state == "running")
    one = submit(queue, "bob", 150)
    assert queue.status(one).place == 1
    assert queue.status(many[1]).place == 2
    assert queue.wait(many[-1], 20)
    order = sorted([*many, one], key=lambda job: job.started)
    assert order.index(one) == 1
    assert {job.state for job in order} == {"done"}


def test_a_client_with_long_jobs_gets_no_more_time_than_one_with_short_ones(make_queue: MakeQueue) -> None:
    queue = make_queue(jobs_per_client=10)
    blocking = submit(queue, "someone", 500)
    wait_for(lambda: blocking.state == "running")
    long = [submit(queue, "ann", 1) for _ in range(3)]
    for job in long:
        job.work *= 4
    queue.turns._next.clear()
    turns = [queue.turns.assign("ann", job.kind, 4 * job.work) for job in long]
    short = [queue.turns.assign("bob", job.kind, job.work) for job in long]
    assert sum(turn < turns[1] for turn in short) == 3


def test_one_clients_jobs_do_not_fill_the_queue(make_queue: MakeQueue) -> None:
    queue = make_queue(jobs_per_client=3, waiting=32)
    refused = 0
    for _ in range(40):
        try:
            submit(queue, "ann", 200)
        except BusyError as error:
            refused += 1
            assert int(error.headers["Retry-After"]) >= 1  # type: ignore[index]
    assert refused >= 30
    job = submit(queue, "bob", 10)
    assert queue.status(job).place <= 2


def test_the_queue_is_full_for_everyone_some_time(make_queue: MakeQueue) -> None:
    queue = make_queue(waiting=2, jobs_per_client=2)
    running = submit(queue, "ann", 400)
    wait_for(lambda: running.state == "running")
    submit(queue, "bob", 10)
    receiving = queue.slot("cid")  # a photo that is being received has a place, too
    with receiving, pytest.raises(BusyError, match="queue is full"), queue.slot("dan"):
        pass
    with queue.slot("dan"):
        pass
    assert queue.counts()["receiving"] == 0


def test_uploads_of_all_have_room_together(make_queue: MakeQueue, tmp_path: Path) -> None:
    queue = make_queue(jobs_per_client=9)
    storage = queue.storage = Storage(tmp_path, 100)
    with queue.slot("ann", 150):  # one alone may always come
        with pytest.raises(BusyError, match="as many photos") as refused, queue.slot("bob", 1):
            pass
        assert refused.value.headers == {"Retry-After": "10"}
    with queue.slot("ann", 70) as slot:
        (slot.folder / "photo").write_bytes(b"0")
        job = queue.submit(slot, ORDER | {"seed": 300})
    waiting = submit(queue, "ann", 5)
    with pytest.raises(BusyError), queue.slot("bob", 40):
        pass
    assert queue.wait(job, 20)  # its upload is gone, its result is not
    with queue.slot("bob", 40):
        pass
    assert queue.wait(waiting, 20) and not storage._uploads
    with pytest.raises(ServiceError), queue.slot("bob", 90) as slot:  # a form that cannot be used
        raise ServiceError(422, "no")
    assert not storage._uploads
    storage.close()


def test_estimates_hold(make_queue: MakeQueue) -> None:
    queue = make_queue(jobs_per_client=10)
    for _ in range(2):
        assert queue.wait(submit(queue, "ann", 400), 20)
    jobs = [submit(queue, "ann", 400) for _ in range(4)]
    began = time.monotonic()
    said = queue.status(jobs[-1]).seconds_left
    assert queue.status(jobs[0]).seconds_left <= said
    assert queue.wait(jobs[-1], 20)
    took = time.monotonic() - began
    assert abs(took - said) < 0.35 * took
    assert queue.status(jobs[-1]).seconds_left == 0.0


def test_estimates_are_of_each_kind() -> None:
    estimates = Estimates()
    before = estimates.seconds("a", 2.0)
    assert before > 0
    for _ in range(3):
        estimates.add("a", 2.0, 4.0)
        estimates.add("b", 1.0, 10.0)
    assert estimates.seconds("a", 1.0) == pytest.approx(2.0)
    assert estimates.seconds("b", 1.0) == pytest.approx(10.0)
    assert work(1_000_000, 0) < work(1_000_000, 10_000) < work(40_000_000, 10_000)
    left = [seconds_left(10, 10 * progress, progress) for progress in (0, 0.25, 0.5, 0.75, 1)]
    assert left == pytest.approx([10, 7.5, 5, 2.5, 0])


# --- ends ---------------------------------------------------------------------------------------------------


def test_a_running_job_holds_its_place_until_its_computing_has_ended(make_queue: MakeQueue) -> None:
    queue = make_queue(jobs_per_client=1)
    job = submit(queue, "ann", fakes.DEAF)
    wait_for(lambda: job.state == "running")
    pid = queue.filler.pid
    assert pid is not None
    queue.cancel(job)
    assert job.state == "running"
    with pytest.raises(BusyError):
        submit(queue, "ann", 1)
    assert queue.wait(job, 10)
    assert job.state == "cancelled"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not job.folder.exists()
    assert queue.wait(submit(queue, "ann", 1), 20)


def test_a_waiting_job_is_cancelled_at_once(make_queue: MakeQueue) -> None:
    queue = make_queue()
    first, second = submit(queue, "ann", 300), submit(queue, "ann", 300)
    queue.cancel(second)
    assert second.state == "cancelled" and not second.folder.exists()
    assert queue.wait(first, 10) and first.state == "done"


def test_jobs_after_a_crash_and_a_deadline_go_on(make_queue: MakeQueue) -> None:
    queue = make_queue(job_seconds=0.5, jobs_per_client=5)
    jobs = [submit(queue, "ann", seed) for seed in (fakes.ABORT, fakes.DEAF, 5)]
    assert queue.wait(jobs[-1], 20)
    assert [job.state for job in jobs] == ["failed", "failed", "done"]
    assert [job.error.status_code if job.error else 0 for job in jobs] == [500, 504, 0]


def test_uploads_are_removed_and_results_are_kept_for_a_while(make_queue: MakeQueue) -> None:
    queue = make_queue(result_seconds=0.5)
    job = submit(queue, "ann", 1)
    assert queue.wait(job, 10)
    assert [path.name for path in job.folder.iterdir()] == ["result"]
    assert queue.find(job.id) is job and queue.result_bytes() == 10
    wait_for(lambda: not job.folder.exists())
    with pytest.raises(ServiceError, match="no such job"):
        queue.find(job.id)


def test_the_oldest_results_make_room(make_queue: MakeQueue) -> None:
    queue = make_queue(result_megabytes=0.025)
    jobs = []
    for _ in range(4):
        jobs.append(submit(queue, "ann", 1, size=10_000))
        assert queue.wait(jobs[-1], 10)
    wait_for(lambda: [job.folder.exists() for job in jobs] == [False, False, True, True])
    assert queue.result_bytes() == 20_000


def test_updates_tell_of_every_change(make_queue: MakeQueue) -> None:
    queue = make_queue()
    submit(queue, "ann", 300)
    job = submit(queue, "ann", 400)

    async def follow() -> list[tuple[str, int, float]]:
        return [(status.state, status.place, status.progress) async for status in queue.updates(job, 0.05)]

    seen = run_async(follow())
    assert seen[0][:2] == ("waiting", 1)
    assert seen[-1] == ("done", 0, 1.0)
    assert len({progress for state, _, progress in seen if state == "running"}) > 2
    assert job.listeners == set()


def test_closing_waits_for_jobs_and_ends_the_rest(make_queue: MakeQueue) -> None:
    queue = make_queue(jobs_per_client=5)
    first, second, third = submit(queue, "ann", 200), submit(queue, "ann", 60_000), submit(queue, "ann", 1)
    assert queue.close(0.6) == 2
    assert [job.state for job in (first, second, third)] == ["done", "cancelled", "cancelled"]
    with pytest.raises(ServiceError, match="stopped"), queue.slot("bob"):
        pass


# --- the folder ---------------------------------------------------------------------------------------------


def test_what_a_killed_service_left_is_removed(tmp_path: Path) -> None:
    killed = Storage(tmp_path)
    (killed.new_folder() / "photo").write_bytes(b"private")
    living = Storage(tmp_path)
    assert living.swept == 0
    killed._lock.close()  # which the system does for a process that is killed
    (tmp_path / "not-ours").mkdir()
    next_one = Storage(tmp_path)
    assert next_one.swept == 1
    assert not killed.folder.exists() and living.folder.exists() and (tmp_path / "not-ours").exists()
    assert next_one.folder.stat().st_mode & 0o777 == 0o700
    with (living.folder / "in-use").open("ab") as stream:
        assert not lock(stream)
    for storage in (living, next_one):
        storage.close()
    assert [path.name for path in tmp_path.iterdir()] == ["not-ours"]
