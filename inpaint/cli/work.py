"""`inpaint train` and `inpaint evaluate`. The packages behind them are imported when they are needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from inpaint.cli.console import say
from inpaint.extras import DISPENSABLE, MissingExtraError, require_extra


def train(words: Sequence[str] | None = None, prog: str = "train.py") -> int:
    """Train a network, and return the exit code.

    Args:
        words: the command line, by default the process's own.
        prog: what the command is called in messages.
    """
    if not _is_ready(prog):
        return 2
    from inpaint.training.command import main

    return main(sys.argv[1:] if words is None else words, prog)


def evaluate(words: Sequence[str] | None = None, prog: str = "evaluate.py") -> int:
    """Score methods, and return the exit code.

    Args:
        words: the command line, by default the process's own.
        prog: what the command is called in messages.
    """
    if not _is_ready(prog):
        return 2
    from inpaint.evaluation.arguments import main

    return main(sys.argv[1:] if words is None else words, prog)


PASSED_ON: dict[str, Callable[[Sequence[str], str], int]] = {"train": train, "evaluate": evaluate}
"""Commands that read their own command line, which is given to them with what they are called."""


def _is_ready(prog: str) -> bool:
    """Return whether the packages are installed; if not, say how to install them."""
    try:
        require_extra("train", prog, without=DISPENSABLE)
    except MissingExtraError as error:
        say(str(error))
        return False
    return True
