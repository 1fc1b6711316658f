"""A process that does one piece of work at a time, as its parent sees it: started, watched and ended.

A crash in native code, a deadline that has passed and a client that is gone end one piece of work; the next
one finds a new process, or the same where the work ended by itself when it was asked to.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import process
from .errors import CancelledError, ServiceError
from .memory import resident_bytes

GRACE_SECONDS = 1.0
"""How long work that is to end has to do so by itself, which spares the start of a new process."""

START_SECONDS = 300.0
"""Longest start of a process: it may have to compile the operator first."""

_RESTART_SECONDS = 5.0
"""Time from one start to the next of a process that ends without being asked."""

_POLL_SECONDS = 0.05
_LONGEST_MESSAGE = 1 << 20

logger = logging.getLogger("inpaint.serving")


class Worker:
    """One process, and the work it does.

    `run` is called by one thread at a time; all else by any thread.

    Args:
        factory: `module:function` that is called in the process with `settings` and returns the work, a
            `process.Work`.
        settings: what JSON can hold.
        what: what a piece of work is called in messages.
        memory_bytes: memory of the process above which the work is ended.
        idle_bytes: memory after a piece of work above which the process is replaced.
        jobs_per_process: pieces of work after which it is replaced.

    Attributes:
        starts: how many processes there have been.
    """

    def __init__(
        self,
        factory: str,
        settings: Mapping[str, Any],
        *,
        what: str = "fill",
        memory_bytes: float = 8e9,
        idle_bytes: float = 2.5e9,
        jobs_per_process: int = 500,
    ) -> None:
        self._factory, self._settings, self._what = factory, json.dumps(dict(settings)), what
        self._memory_bytes, self._idle_bytes = memory_bytes, idle_bytes
        self._jobs_per_process = jobs_per_process
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._closed = False
        self._last_start = -_RESTART_SECONDS
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """The process's id; None where there is none."""
        current = self._process
        return current.pid if current is not None and current.alive else None

    def memory(self) -> int:
        """Return the bytes of memory that the process has; 0 where that is not known."""
        return resident_bytes(self.pid) if self.pid else 0

    def answers(self, seconds: float = 2.0) -> bool:
        """Return whether the process is prepared and answers, busy or not."""
        current = self._process
        return current is not None and current.ready.is_set() and current.ping(seconds)

    def start(self) -> None:
        """See to it that there is a process; one that has just ended is not followed at once by another."""
        with self._lock:
            if self._closed or (self._process is not None and self._process.alive):
                return
            if time.monotonic() - self._last_start < _RESTART_SECONDS:
                return
            self._start()

    def run(
        self,
        folder: Path,
        order: Mapping[str, Any],
        *,
        seconds: float,
        report: Callable[[float], None] = lambda fraction: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Do one piece of work and return its result. When this returns or raises, the computing has ended.

        Args:
            folder: where its files lie.
            order: what to do, as JSON can hold it.
            seconds: the deadline, counted from when the process is prepared.
            report: called with the fraction done.
            cancelled: asked twenty times a second whether the work is to end.

        Raises:
            CancelledError: it was cancelled.
            ServiceError: it failed, crashed, took too long or too much memory.
        """
        current = self._usable()
        try:
            return self._follow(current, current.order(folder, order), seconds, report, cancelled)
        except ServiceError:
            raise
        except BaseException:  # a message that makes no sense, or a fault of `report`
            self._end(current)
            raise

    def _follow(
        self,
        current: _Process,
        number: int,
        seconds: float,
        report: Callable[[float], None],
        cancelled: Callable[[], bool],
    ) -> dict[str, Any]:
        """Read what the process says of an order until that has ended."""
        failure: ServiceError | None = None
        prepared_at, kill_at = None, float("inf")
        began = time.monotonic()
        while True:
            message = current.next_message()
            kind = message.get("kind")
            if kind == "progress" and message.get("number") == number:
                report(float(message["fraction"]))
            elif kind == "gone":
                self._end(current)
                raise failure or _crash(self._what, current.exit_code)
            elif kind == "broken":
                current.kill()  # followed by another after a while (`start`), not at once
                raise ServiceError(
                    503, f"No model could be loaded ({message['detail']}); see the server's log."
                )
            elif kind in ("done", "failed", "stopped") and message.get("number") == number:
                self._after_work(current)
                if failure is not None:
                    raise failure
                if kind == "done":
                    return dict(message["result"])
                raise ServiceError(int(message["status"]), str(message["detail"]))
            now = time.monotonic()
            if now > kill_at:
                self._end(current)
                continue  # `gone` follows
            if prepared_at is None and current.ready.is_set():
                prepared_at = now
            if failure is None:
                failure = self._reason_to_end(current, cancelled, seconds, prepared_at, began)
                if failure is not None:
                    current.send(kind="stop", number=number)
                    kill_at = now + (0 if failure.status_code == 413 else GRACE_SECONDS)

    def stop(self) -> None:
        """End the process, whatever it does, for good."""
        with self._lock:
            self._closed = True
            current = self._process
        if current is not None:
            current.kill()

    def _reason_to_end(
        self,
        current: _Process,
        cancelled: Callable[[], bool],
        seconds: float,
        prepared_at: float | None,
        began: float,
    ) -> ServiceError | None:
        now = time.monotonic()
        if cancelled():
            return CancelledError()
        if prepared_at is None and now - began > START_SECONDS:
            return ServiceError(503, "The process did not start in time; see the server's log.")
        if prepared_at is not None and now - prepared_at > seconds:
            return ServiceError(
                504,
                f"The {self._what} took longer than the {seconds:g} seconds it may; make the photo or hole "
                "smaller.",
            )
        if resident_bytes(current.pid) > self._memory_bytes:
            return ServiceError(
                413,
                f"The {self._what} took more memory than this server gives it; make the photo or hole "
                "smaller.",
            )
        return None

    def _usable(self) -> _Process:
        with self._lock:
            if self._closed:
                raise ServiceError(503, "The server is being stopped; try again in a minute.")
            if self._process is None or not self._process.alive:
                self._start()
            assert self._process is not None
            return self._process

    def _start(self) -> None:
        self._last_start = time.monotonic()
        self._process = _Process(self._factory, self._settings, self._what)
        self.starts += 1

    def _after_work(self, current: _Process) -> None:
        """Replace a process that has grown or done enough; its successor loads while nobody waits."""
        current.jobs += 1
        memory = resident_bytes(current.pid)
        if current.jobs >= self._jobs_per_process or memory > self._idle_bytes:
            logger.info("the process is replaced after %d jobs with %.0f MB", current.jobs, memory / 1e6)
            self._end(current)

    def _end(self, current: _Process) -> None:
        current.kill()
        with self._lock:
            if not self._closed and self._process is current:
                self._start()


class _Process:
    """One process and the pipe to it.

    Attributes:
        ready: set when it is prepared.
        jobs: pieces of work done.
    """

    def __init__(self, factory: str, settings: str, what: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=process.main, args=(theirs, factory, settings, what), daemon=True
        )
        self._process.start()
        theirs.close()
        self.ready, self.jobs = threading.Event(), 0
        self._number = 0
        self._pong = threading.Event()
        # One thread at a time waits for it: of two, the one that comes too late takes it for alive.
        self._reaping = threading.Lock()
        self._send_lock = threading.Lock()
        self._messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="inpaint-worker-listener", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    @property
    def alive(self) -> bool:
        with self._reaping:
            return self._process.is_alive()

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    def order(self, folder: Path, order: Mapping[str, Any]) -> int:
        """Send an order and return its number."""
        self._number += 1
        self.send(kind="order", number=self._number, folder=str(folder), order=dict(order))
        return self._number

    def send(self, **message: Any) -> None:
        with self._send_lock, contextlib.suppress(OSError):  # that it is gone, `next_message` says
            self._connection.send_bytes(json.dumps(message).encode())

    def next_message(self) -> dict[str, Any]:
        """Return the next message; an empty one where none has come for a moment."""
        try:
            return self._messages.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            return {}

    def ping(self, seconds: float) -> bool:
        """Return whether it answers within so many seconds."""
        self._pong.clear()
        self.send(kind="ping")
        return self._pong.wait(seconds)

    def kill(self) -> None:
        """End it and wait until it is gone."""
        with self._reaping:
            self._process.kill()
            self._process.join()

    def _listen(self) -> None:
        try:
            while True:
                message = json.loads(self._connection.recv_bytes(_LONGEST_MESSAGE))
                if message["kind"] == "pong":
                    self._pong.set()
                elif message["kind"] == "ready":
                    self.ready.set()
                else:
                    self._messages.put(message)
        except (EOFError, OSError, ValueError, TypeError, LookupError):
            self.ready.clear()
            self.kill()
            self._messages.put({"kind": "gone"})


def _crash(what: str, exit_code: int | None) -> ServiceError:
    logger.error("the process ended in the middle of a %s, with code %s", what, exit_code)
    return ServiceError(
        500,
        f"The {what} crashed and nothing was changed; try another photo, mask or model. Other jobs go on.",
    )
