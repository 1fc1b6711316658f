"""The process that does the work: what ends it, and what does not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serving_fakes as fakes
from serving_client import PHOTO, serving, wait_for

import inpaint
from inpaint.serving import doctor
from inpaint.serving.errors import CancelledError, ServiceError
from inpaint.serving.limits import Limits
from inpaint.serving.memory import memory_is_watched
from inpaint.serving.worker import Worker


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photo").write_bytes(PHOTO)
    return tmp_path


@pytest.fixture(scope="module")
def shared() -> Iterator[Worker]:
    worker = Worker("serving_fakes:filler", {})
    yield worker
    worker.stop()


def gone(pid: int | None) -> bool:
    assert pid is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_work_is_done_and_reported(shared: Worker, folder: Path) -> None:
    fractions: list[float] = []
    result = shared.run(folder, {"seed": 400}, seconds=20, report=fractions.append)
    assert result == {"bytes": len(PHOTO)}
    assert (folder / "result").read_bytes() == PHOTO
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and len(fractions) > 2
    assert shared.answers()
    assert shared.memory() > 1_000_000


@pytest.mark.parametrize(
    ("seed", "status", "words"),
    [
        (fakes.RAISE, 500, "RuntimeError"),
        (fakes.OUT_OF_MEMORY, 413, "smaller"),
        (fakes.REFUSE, 422, "taste"),
    ],
)
def test_a_failure_is_told_and_the_process_goes_on(
    shared: Worker, folder: Path, seed: int, status: int, words: str
) -> None:
    shared.run(folder, {"seed": 0}, seconds=20)
    pid = shared.pid
    with pytest.raises(ServiceError, match=words) as caught:
        shared.run(folder, {"seed": seed}, seconds=20)
    assert caught.value.status_code == status
    assert "secret" not in caught.value.detail
    assert shared.run(folder, {"seed": 0}, seconds=20) and shared.pid == pid


def test_work_that_reports_ends_when_it_is_cancelled_and_the_process_stays(
    shared: Worker, folder: Path
) -> None:
    shared.run(folder, {"seed": 0}, seconds=20)
    pid, began = shared.pid, time.monotonic()
    with pytest.raises(CancelledError):
        shared.run(folder, {"seed": 60_000}, seconds=90, cancelled=lambda: time.monotonic() > began + 0.2)
    assert time.monotonic() - began < 5
    assert shared.pid == pid
    assert shared.run(folder, {"seed": 0}, seconds=20)


def test_work_that_does_not_listen_is_killed(shared: Worker, folder: Path) -> None:
    shared.run(folder, {"seed": 0}, seconds=20)
    pid, began = shared.pid, time.monotonic()
    with pytest.raises(CancelledError):
        shared.run(folder, {"seed": fakes.DEAF}, seconds=90, cancelled=lambda: time.monotonic() > began + 0.2)
    assert gone(pid)  # when `run` returns the computing has ended
    assert shared.run(folder, {"seed": 0}, seconds=20)


def test_the_deadline_ends_work(shared: Worker, folder: Path) -> None:
    shared.run(folder, {"seed": 0}, seconds=20)
    pid = shared.pid
    with pytest.raises(ServiceError, match=r"0\.3 seconds") as caught:
        shared.run(folder, {"seed": fakes.DEAF}, seconds=0.3)
    assert caught.value.status_code == 504
    assert gone(pid)


def test_a_crash_ends_one_piece_of_work(shared: Worker, folder: Path) -> None:
    with pytest.raises(ServiceError, match="crashed") as caught:
        shared.run(folder, {"seed": fakes.ABORT}, seconds=20)
    assert caught.value.status_code == 500
    assert shared.run(folder, {"seed": 0}, seconds=20)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell memory")
def test_work_that_takes_too_much_memory_is_ended(folder: Path) -> None:
    worker = Worker("serving_fakes:filler", {}, memory_bytes=400e6)
    try:
        with pytest.raises(ServiceError, match="memory") as caught:
            worker.run(folder, {"seed": fakes.HOG}, seconds=60)
        assert caught.value.status_code == 413
    finally:
        worker.stop()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell memory")
def test_a_process_that_has_grown_or_done_enough_is_replaced(folder: Path) -> None:
    worker = Worker("serving_fakes:filler", {}, idle_bytes=200e6, jobs_per_process=3)
    try:
        worker.run(folder, {"seed": 0}, seconds=20)
        before, pid = worker.memory(), worker.pid
        for _ in range(4):
            worker.run(folder, {"seed": fakes.GROW}, seconds=20)
        assert gone(pid) and worker.starts > 1
        worker.run(folder, {"seed": 0}, seconds=20)
        assert worker.memory() < before + 150e6
        starts = worker.starts
        for _ in range(3):
            worker.run(folder, {"seed": 0}, seconds=20)
        assert worker.starts == starts + 1
    finally:
        worker.stop()


def test_what_cannot_be_prepared_fails_every_piece_of_work(folder: Path) -> None:
    worker = Worker("serving_fakes:broken", {})
    try:
        for _ in range(8):  # each time in a new process: the one before is known to be gone
            with pytest.raises(ServiceError, match="no model here") as caught:
                worker.run(folder, {"seed": 0}, seconds=20)
            assert caught.value.status_code == 503
        assert not worker.answers(0.1)
    finally:
        worker.stop()


def test_stop_ends_work_for_good(folder: Path) -> None:
    worker = Worker("serving_fakes:filler", {})
    worker.start()
    wait_for(worker.answers)
    pid = worker.pid

    def work() -> None:
        with pytest.raises(ServiceError):
            worker.run(folder, {"seed": fakes.DEAF}, seconds=60)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.3)
    worker.stop()
    thread.join(10)
    assert not thread.is_alive() and gone(pid)
    with pytest.raises(ServiceError, match="stopped"):
        worker.run(folder, {"seed": 0}, seconds=20)


PARENT = """
import sys, time
from pathlib import Path
from inpaint.serving.limits import Limits
from inpaint.serving.worker import Worker
import serving_fakes
if __name__ == "__main__":
    worker = Worker("serving_fakes:filler", {})
    worker.start()
    while not worker.answers():
        time.sleep(0.05)
    worker._process.order(Path(sys.argv[1]), {"seed": serving_fakes.DEAF})
    print(worker.pid, flush=True)
    time.sleep(60)
"""


def test_a_process_ends_with_a_parent_that_is_killed(folder: Path) -> None:
    (folder / "parent.py").write_text(PARENT)
    paths = os.pathsep.join([str(Path(fakes.__file__).parent), str(Path(inpaint.__file__).parents[1])])
    command = [sys.executable, folder / "parent.py", folder]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    wait_for(lambda: gone(pid))


def test_where_the_system_tells_no_memory_work_goes_on_and_the_log_says_so_once(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert memory_is_watched() == (sys.platform == "linux")
    monkeypatch.setattr("inpaint.serving.memory.PROCESSES", str(tmp_path / "proc"))
    assert not memory_is_watched()
    (tmp_path / "service").mkdir()
    with serving(tmp_path / "service", Limits(memory_megabytes=1, idle_megabytes=1)) as running:
        assert running.post(seed=1).status_code == 200
        assert running.queue.filler.memory() == 0 and running.queue.filler.starts == 1
    assert caplog.text.count("--memory-megabytes and --idle-megabytes are not watched") == 1
    findings = {finding.name: finding for finding in doctor._memory()}
    assert findings["memory limit"].state == "note" and "max-megapixels" in findings["memory limit"].remedy
