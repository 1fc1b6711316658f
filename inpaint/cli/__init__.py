"""The `inpaint` command: fill holes in photos, trace a fill, list the models, serve page and API.

    inpaint run --image photo.jpg --mask hole.png --output filled.png
    inpaint run --image photo.jpg --mask hole.png --output filled.png --grow 4 --candidates 3
    inpaint run --image photos/ --mask masks/ --output filled/
    inpaint trace --image photo.jpg --mask hole.png --at 640,400 --output trace.png
    inpaint models
    inpaint serve
    inpaint doctor

Exit codes: 0 all done, 1 some photos failed (each is named, the others are done), 2 nothing was started,
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from inpaint.cli.arguments import UsageError, build_parser
from inpaint.cli.console import say
from inpaint.cli.models import list_models
from inpaint.cli.run import fill_photos
from inpaint.cli.service import examine, serve
from inpaint.cli.trace import trace_pixels

COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": fill_photos,
    "trace": trace_pixels,
    "models": lambda arguments: list_models(),
    "serve": serve,
    "doctor": examine,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return the exit code.

    Raises:
        SystemExit: with code 2, for arguments that make no sense, as argparse does.
    """
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        return COMMANDS[arguments.command](arguments)
    except UsageError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        say("stopped; what was written before is whole")
        return 130
