"""Signals that ask a run to end: noted, so that it can finish its step and write a checkpoint first."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger("inpaint.training")


@contextmanager
def signals_noted() -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM in a list instead of dying from them; a second one takes its usual effect.

    Not under torchrun, where a second signal need not be a second request: a cluster that signals every
    process of a job reaches this one directly, and again through torchrun's agent, which passes on what it
    receives and sends SIGKILL to what is still running 30 seconds later.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # Python delivers signals to the main thread alone
        return

    def note(number: int, frame: FrameType | None) -> None:
        if number not in received:
            logger.warning("%s: finishing this step, then writing a checkpoint", signal.Signals(number).name)
        received.append(number)
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
