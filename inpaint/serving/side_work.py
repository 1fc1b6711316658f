"""Work that is no fill, in a process of its own: it holds up no fills, and fills do not hold it up."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .errors import BusyError, CancelledError
from .limits import Limits
from .storage import Storage
from .worker import Worker

MOST_WAITING = 8
"""Pieces of work that wait, run or are being received, of all clients."""

MOST_OF_CLIENT = 2
"""Those of one client."""

_BUSY_SECONDS = 5.0  # until there may be a place again


class SideWork:
    """One process, and the few places before it. The process is started for the first piece of work.

    Args:
        factory: `module:function` that returns the work, see `Worker`.
        settings: of it.
        what: what a piece of work is called in messages.
        limits: memory, and the longest time of a piece of work.
        storage: where its files lie.
        is_closing: asked whether the service is being stopped, which ends the work.
    """

    def __init__(
        self,
        factory: str,
        settings: Mapping[str, Any],
        what: str,
        limits: Limits,
        storage: Storage,
        is_closing: Callable[[], bool] = lambda: False,
    ) -> None:
        self._worker = Worker(
            factory,
            settings,
            what=what,
            memory_bytes=limits.memory_megabytes * 1e6,
            idle_bytes=limits.idle_megabytes * 1e6,
            jobs_per_process=limits.jobs_per_process,
        )
        self._storage, self._seconds, self._is_closing = storage, limits.job_seconds, is_closing
        # A thread of its own: those that asyncio shares would all wait here, and answers with them.
        self._thread = ThreadPoolExecutor(1, f"inpaint-{what}")
        self._lock = threading.Lock()
        self._clients: Counter[str] = Counter()

    @contextlib.contextmanager
    def place(self, client: str, upload_bytes: int = 0) -> Iterator[Path]:
        """Hold a place for a client; yields an empty folder, which is removed afterwards.

        Args:
            client: who sends something.
            upload_bytes: what is going to be received, at most.

        Raises:
            BusyError: all places are taken, the client has as many as it may, or there is no room.
        """
        with self._lock:
            if self._clients[client] >= MOST_OF_CLIENT or self._clients.total() >= MOST_WAITING:
                raise BusyError(
                    "The server is busy with other pictures; try again in a moment.", _BUSY_SECONDS
                )
            self._clients[client] += 1
        try:
            folder = self._storage.new_folder(upload_bytes)
            try:
                yield folder
            finally:
                self._storage.remove(folder)
        finally:
            with self._lock:
                self._clients[client] -= 1
                self._clients += Counter()  # drops what is 0

    async def run(
        self, folder: Path, order: Mapping[str, Any], cancelled: Callable[[], bool] = lambda: False
    ) -> dict[str, Any]:
        """Do a piece of work when it is its turn, and return its result.

        Args:
            folder: where its files lie.
            order: what to do, as JSON can hold it.
            cancelled: asked from another thread whether the work is to end.

        Raises:
            ServiceError: it failed, was cancelled, crashed, took too long or too much memory.
        """
        stopped = threading.Event()
        running = asyncio.wrap_future(self.submit(folder, order, lambda: stopped.is_set() or cancelled()))
        try:
            return await asyncio.shield(running)
        finally:
            # Where this was interrupted: the folder may not be removed while the process reads in it.
            stopped.set()
            await asyncio.wait({running})

    def submit(
        self, folder: Path, order: Mapping[str, Any], cancelled: Callable[[], bool] = lambda: False
    ) -> Future[dict[str, Any]]:
        """Do what `run` does for a caller that waits in a thread of its own; the result is the future's."""

        def is_over() -> bool:
            return cancelled() or self._is_closing()

        def work() -> dict[str, Any]:
            if is_over():
                raise CancelledError
            return self._worker.run(folder, order, seconds=self._seconds, cancelled=is_over)

        return self._thread.submit(work)

    def close(self) -> None:
        """End the process, whatever it does."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._worker.stop()
