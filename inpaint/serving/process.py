"""What runs inside a worker process: it takes orders from its parent, and reports to it.

Messages are JSON in both directions. A decoder that a hostile photo has taken over can then send wrong
numbers, and nothing that would run in the parent, as a pickle would.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from .errors import ServiceError

Report = Callable[[float], None]
"""Takes the fraction done, from 0 to 1. Raises `Stopped` where the work is to end."""

Work = Callable[[Path, Mapping[str, Any], Report], dict[str, Any]]
"""Does one piece of work: the folder with its files, the order, a `Report`; returns what is JSON."""

_NICENESS = 5
"""The server itself has to answer while all cores fill photos."""

_REPORT_SECONDS = 0.1

logger = logging.getLogger("inpaint.serving")


class Stopped(BaseException):
    """The parent wants this piece of work to end; no `except Exception` on the way may stop that."""


def main(connection: Connection, factory: str, settings: str, what: str = "fill") -> None:
    """Run the work that a factory makes, order by order, until the parent is gone.

    Args:
        connection: the pipe to the parent.
        factory: `module:function` that takes the settings and returns a `Work`.
        settings: JSON.
        what: what a piece of work is called in messages.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    with contextlib.suppress(AttributeError, OSError):
        os.nice(_NICENESS)
    child = _Child(connection)
    try:
        module, _, name = factory.partition(":")
        work: Work = getattr(importlib.import_module(module), name)(json.loads(settings))
    except Exception as error:
        logger.exception("the process could not be prepared")
        child.send(kind="broken", detail=f"{type(error).__name__}: {error}")
        return
    child.send(kind="ready")
    while True:
        child.do(work, child.orders.get(), what)


class _Child:
    """The child's end of the pipe.

    Attributes:
        orders: what to do, in order.
    """

    def __init__(self, connection: Connection) -> None:
        self.orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._connection = connection
        self._lock = threading.Lock()
        self._stopped: set[int] = set()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, **message: Any) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._connection.send_bytes(json.dumps(message).encode())

    def do(self, work: Work, order: dict[str, Any], what: str) -> None:
        """Do one piece of work and say how it ended."""
        number, last = order["number"], 0.0

        def report(fraction: float) -> None:
            nonlocal last
            if number in self._stopped:
                raise Stopped
            if time.monotonic() - last >= _REPORT_SECONDS:
                last = time.monotonic()
                self.send(kind="progress", number=number, fraction=min(max(float(fraction), 0.0), 1.0))

        try:
            result = work(Path(order["folder"]), order["order"], report)
        except Stopped:
            self.send(kind="stopped", number=number)
        except ServiceError as error:
            self.send(kind="failed", number=number, status=error.status_code, detail=error.detail)
        except MemoryError:
            detail = "There is not memory enough for this photo; make it smaller."
            self.send(kind="failed", number=number, status=413, detail=detail)
        except Exception as error:
            logger.exception("a job failed")
            detail = f"The {what} failed ({type(error).__name__}); try another photo, model or mask."
            self.send(kind="failed", number=number, status=500, detail=detail)
        else:
            self.send(kind="done", number=number, result=result)
        self._stopped.discard(number)

    def _listen(self) -> None:
        """Answer the parent at once, whatever is being computed; end with it."""
        try:
            while True:
                message = json.loads(self._connection.recv_bytes())
                if message["kind"] == "ping":
                    self.send(kind="pong")
                elif message["kind"] == "stop":
                    self._stopped.add(message["number"])
                else:
                    self.orders.put(message)
        except (EOFError, OSError):
            sys.stderr.flush()
            os._exit(0)
