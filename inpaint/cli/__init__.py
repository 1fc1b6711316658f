"""The `inpaint` command: fill holes, trace a fill, list models, serve page and API, train, evaluate.

    inpaint run --image photo.jpg --mask hole.png --output filled.png
    inpaint run --image photo.jpg --mask hole.png --output filled.png --grow 4 --candidates 3
    inpaint run --image photos/ --mask masks/ --output filled/
    inpaint trace --image photo.jpg --mask hole.png --at 640,400 --output trace.png
    inpaint models
    inpaint serve
    inpaint train --preset pconv-carafe --data photos/train --output runs/first
    inpaint evaluate --images photos --masks free-form:0.1-0.5 --methods telea,pconv-carafe --output runs/a
    inpaint doctor

Exit codes: 0 all done, 1 some photos failed (each is named, the others are done), 2 nothing was started,
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from inpaint.cli.arguments import UsageError, build_parser
from inpaint.cli.console import say
from inpaint.cli.models import list_models
from inpaint.cli.run import fill_photos
from inpaint.cli.service import examine, serve
from inpaint.cli.trace import trace_pixels
from inpaint.cli.work import PASSED_ON
from inpaint.extras import MissingExtraError
from inpaint.plugins import PluginError

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
    words = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    try:
        if words and words[0] in PASSED_ON:  # they have flags of their own
            return PASSED_ON[words[0]](words[1:], f"{parser.prog} {words[0]}")
        arguments = parser.parse_args(words)
        return COMMANDS[arguments.command](arguments)
    except MissingExtraError as error:
        say(str(error))
        return 2
    except (UsageError, PluginError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        say("stopped; what was written before is whole")
        return 130
