"""Failed sign-ins: after a few, a client has to wait longer and longer before its next try is looked at."""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from .errors import BusyError

FREE_TRIES = 5
"""Wrong tokens in a row that cost nothing: people mistype, and browsers try what they remember."""

LONGEST_SECONDS = 300.0
"""Longest wait after a wrong token; the first is a second, and each is twice the one before."""

FORGET_SECONDS = 3600.0
"""After so long without a wrong token a client begins anew."""

MOST_CLIENTS = 10_000
"""Clients that are remembered; of more, those whose last wrong token is the longest ago are forgotten."""

logger = logging.getLogger("inpaint.serving")


@dataclass
class _Record:
    failures: int
    last: float  # when the last wrong token came
    until: float  # no try is looked at before


class SignIns:
    """Counts wrong tokens by client, in the event loop's thread.

    A client that has to wait is refused whatever it sends: if the right token were let through, it could be
    told from wrong ones at any speed.

    Args:
        clock: the seconds now.

    >>> now = 0.0
    >>> sign_ins = SignIns(lambda: now)
    >>> for _ in range(6):
    ...     sign_ins.check("192.0.2.1")
    ...     sign_ins.failed("192.0.2.1")
    >>> sign_ins.check("192.0.2.2")
    >>> sign_ins.check("192.0.2.1")
    Traceback (most recent call last):
        ...
    inpaint.serving.errors.BusyError: 429: Too many wrong tokens came from your address; try again in 1 s.
    >>> now = 1.0
    >>> sign_ins.check("192.0.2.1")
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def check(self, client: str) -> None:
        """Refuse a client that has to wait.

        Raises:
            BusyError: (429) it has to; the answer says how long.
        """
        record = self._records.get(client)
        if record is None:
            return
        now = self._clock()
        if now - record.last > FORGET_SECONDS:
            del self._records[client]
        elif now < record.until:
            left = record.until - now
            raise BusyError(
                f"Too many wrong tokens came from your address; try again in {math.ceil(left)} s.", left
            )

    def failed(self, client: str) -> None:
        """Note that a client has sent a wrong token."""
        now = self._clock()
        record = self._records.setdefault(client, _Record(0, now, now))
        self._records.move_to_end(client)
        record.failures += 1
        record.last = now
        over = record.failures - FREE_TRIES
        if over > 0:
            # The exponent is bounded: a float has no room for 2.0 ** 1024.
            seconds = min(2.0 ** min(over - 1, 30), LONGEST_SECONDS)
            record.until = now + seconds
            if over == 1 or seconds == LONGEST_SECONDS:
                logger.warning("%s sent %d wrong tokens and has to wait", client, record.failures)
        while len(self._records) > MOST_CLIENTS:
            self._records.popitem(last=False)

    def succeeded(self, client: str) -> None:
        """Forget the wrong tokens of a client that has sent a right one."""
        self._records.pop(client, None)

    def __len__(self) -> int:
        return len(self._records)
