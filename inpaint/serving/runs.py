"""Masks as text: the lengths of runs, which is short and needs no image library."""

from __future__ import annotations

import re

import numpy as np

from .errors import ServiceError

MOST_CHARACTERS = 4_000_000
"""Longest text that is taken; a mask with more runs is shorter as a PNG."""

_TEXT = re.compile(r"[\d\s,]*", re.ASCII)


def encode_runs(mask: np.ndarray) -> str:
    """Return a mask, bool H×W, as run lengths.

    Rows follow each other, from the top; runs of pixels to keep and of hole take turns, keep first.

    >>> encode_runs(np.array([[False, True, True], [True, False, False]]))
    '1 3 2'
    """
    flat = np.concatenate([[False], mask.reshape(-1), [not mask.reshape(-1)[-1]]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    return " ".join(map(str, np.diff(ends, prepend=0)))


def decode_runs(text: str, height: int, width: int) -> np.ndarray:
    """Return the mask, bool H×W, that `encode_runs` wrote.

    >>> decode_runs("1 3 2", 2, 3).astype(int).tolist()
    [[0, 1, 1], [1, 0, 0]]

    Raises:
        ServiceError: (422) it is no list of whole numbers, or they do not add up to the photo's pixels.
    """
    words = text.replace(",", " ").split()
    if not words or _TEXT.fullmatch(text) is None or max(map(len, words)) > 9:
        raise ServiceError(
            422, "mask_rle has to hold whole numbers with spaces or commas between them, such as 1 3 2."
        )
    lengths = np.array(words, dtype=np.int64)
    if lengths.sum() != height * width:
        raise ServiceError(
            422,
            f"The runs of mask_rle add up to {lengths.sum()} pixels, but the upright photo has "
            f"{width}×{height} = {height * width}; count runs of all pixels, row by row.",
        )
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(height, width)
