"""Why a run stops."""

from __future__ import annotations

import enum

# What each process may ask for after a step, exchanged so that all know.
REQUESTS = ("out_of_time", "signalled", "checkpoint")


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient is NaN or infinite; the message names the step, the terms and the remedy."""


class Stop(enum.Enum):
    """Why a run ended. In every case its state is in a checkpoint."""

    FINISHED = "the schedule is done"
    OUT_OF_TIME = "the time limit is reached"
    INTERRUPTED = "interrupted from the keyboard"
    TERMINATED = "asked to end"

    @property
    def is_validated(self) -> bool:
        """Whether the run's weights are validated at this end of it."""
        return self in (Stop.FINISHED, Stop.OUT_OF_TIME)
