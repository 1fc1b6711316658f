"""Random numbers that depend on their keys alone."""

from __future__ import annotations

import hashlib
import json
import operator

import numpy as np


def generator_for(*keys: int | str) -> np.random.Generator:
    """Return a random generator that is a pure function of `keys`, the same on every machine and run.

    The keys are hashed with SHA-256, so neighbouring keys (step 7, step 8) give unrelated streams, and
    `1` and `"1"` are different keys.

    >>> [int(generator_for("holes", step).integers(1000)) for step in (7, 7, 8)]
    [594, 594, 399]
    """
    plain = [key if isinstance(key, str) else operator.index(key) for key in keys]
    digest = hashlib.sha256(json.dumps(plain).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
