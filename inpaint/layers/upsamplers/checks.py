"""Settings of upsamplers, refused when a layer is built: each error names the setting and what to take."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

MAX_UP_KERNEL = 23
"""The largest reassembly kernel whose gradients fit into the 64 KiB of shared memory of Turing GPUs."""


def check_whole(owner: str, name: str, value: Any, minimum: int = 1) -> int:
    """Return a whole number of at least `minimum`.

    Args:
        owner: what is built, for the message.
        name: of the setting, for the message.
        value: what was given for it.
        minimum: the least that it may be.

    Raises:
        ValueError: it is not a whole number, or below the minimum.

    >>> check_whole("CarafeUpsample", "scale", 1.5)
    Traceback (most recent call last):
    ValueError: CarafeUpsample: scale must be a whole number of at least 1, got 1.5; take 1 or 2
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is not None and number >= minimum:
        return number
    remedy = f"take {minimum} or more"
    if isinstance(value, float) and minimum <= value < 2**31:
        below = int(value)
        remedy = f"take {below}" if below == value else f"take {below} or {below + 1}"
    raise ValueError(f"{owner}: {name} must be a whole number of at least {minimum}, got {value!r}; {remedy}")


def check_kernel(owner: str, name: str, value: Any, largest: int | None = None) -> int:
    """Return the size of a kernel that has a middle, and is not larger than `largest`.

    Raises:
        ValueError: it is even, not a whole number, below 1, or too large.
    """
    size = check_whole(owner, name, value)
    if largest is not None and size > largest:
        raise ValueError(
            f"{owner}: {name} must be at most {largest}, which is what the operator has room for on a GPU, "
            f"got {size}; take {largest} or less"
        )
    if size % 2 == 0:
        raise ValueError(
            f"{owner}: {name} must be odd, so that it has a middle, got {size}; take {size - 1} or {size + 1}"
        )
    return size


def check_groups(owner: str, name: str, value: Any, channels: int) -> int:
    """Return a number of groups that divides the channels.

    Raises:
        ValueError: it does not; the message lists those that do.
    """
    groups = check_whole(owner, name, value)
    if channels % groups:
        fitting = [str(number) for number in range(1, channels + 1) if channels % number == 0]
        raise ValueError(
            f"{owner}: {name} must divide the {channels} channels, got {groups}; "
            f"take one of {', '.join(fitting)}"
        )
    return groups


def check_word(owner: str, name: str, value: Any, words: Sequence[str]) -> str:
    """Return a word that is one of `words`.

    Raises:
        ValueError: it is none of them; the message lists them.
    """
    if value not in words:
        raise ValueError(f"{owner}: {name} must be one of {', '.join(words)}, got {value!r}")
    return str(value)
