"""One job as the queue keeps it, and what can be said of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from . import tasks
from .errors import ServiceError

State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass
class Slot:
    """A place that a client holds in the queue, from before its photo is received."""

    client: str
    folder: Path


@dataclass
class Job:
    """One fill. Read its state by `JobQueue.status`.

    Attributes:
        id: cannot be guessed; it is also the name of its folder.
        client: who sent it.
        order: model, detail, seed, grow, format, runs.
        facts: width, height, hole (pixels), format and notes, as the reading process found them.
        work: megapixels of hole and a little more, see `estimates`.
        turn: jobs run in the order of it.
    """

    id: str
    client: str
    folder: Path
    order: dict[str, Any]
    facts: dict[str, Any]
    work: float
    turn: float = 0.0
    state: State = "waiting"
    progress: float = 0.0
    error: ServiceError | None = None
    size: int = 0
    created: float = field(default_factory=time.monotonic)
    started: float = 0.0
    ended: float = 0.0
    cancel: bool = False
    listeners: set[Callable[[], None]] = field(default_factory=set)

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def kind(self) -> str:
        """What jobs of a like speed have in common."""
        return f"{self.order['model']} {self.order['detail']}"

    @property
    def result(self) -> Path:
        """Where the finished picture lies."""
        return self.folder / tasks.RESULT


@dataclass(frozen=True)
class Status:
    """What can be said of a job at one moment.

    Attributes:
        place: its place among those that wait, 1 is next; 0 where it does not wait.
        seconds_left: estimate until it is done; 0 where it has ended.
        progress: fraction done, 0 to 1.
        error: why it failed.
    """

    id: str
    state: State
    place: int
    seconds_left: float
    progress: float
    error: ServiceError | None
    facts: Mapping[str, Any]

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("done", "failed", "cancelled")
