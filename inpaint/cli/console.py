"""What the `inpaint` command says on stderr."""

from __future__ import annotations

import sys

from tqdm import tqdm

from inpaint.terminal import printable


def say(text: str) -> None:
    """Write a line above the progress bar, with what could steer a terminal escaped."""
    tqdm.write(printable(text), file=sys.stderr)
