"""The command line of `app.py`."""

from __future__ import annotations

import argparse
import errno
import math
import sys
from collections.abc import Sequence

from inpaint.page.limits import Limits
from inpaint.page.models import DEFAULT_MODEL, loader, model_names
from inpaint.page.page import build_page
from inpaint.page.serving import serve
from inpaint.weights import WeightsError


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until it is stopped.

    Args:
        argv: the command line's words; those of this process where None.

    Returns:
        The exit code.
    """
    parser = command_parser()
    options = parser.parse_args(argv)
    for name in ("max_megapixels", "max_megabytes", "max_queue"):
        value = getattr(options, name)
        if not (value > 0 and math.isfinite(value * 2**20)):  # a limit is a whole number of bytes or pixels
            parser.error(f"--{name.replace('_', '-')} must be above 0, and a number, got {value}")
    if not 0 <= options.port <= 65535:
        parser.error(f"--port must be 0 to 65535, got {options.port}")
    limits = Limits(
        file_bytes=round(options.max_megabytes * 2**20),
        pixels=round(options.max_megapixels * 1e6),
        queue=options.max_queue,
    )
    try:
        models = model_names(options.model)
        sys.stdout.write(f"Loading {models[0]} ...\n")
        load = loader(options.device)
        load(models[0], "photo")
        page = build_page(models, load, limits)
        address = serve(page, options.host, options.port, limits)
    except (WeightsError, ValueError, RuntimeError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 1
    except OSError as error:
        remedy = (
            "the port is taken; choose another with --port"
            if error.errno == errno.EADDRINUSE
            else error.strerror or error
        )
        sys.stderr.write(f"{parser.prog}: cannot listen on {options.host}:{options.port}: {remedy}\n")
        return 1
    sys.stdout.write(f"The page is at {address.rstrip('/')} (Ctrl-C stops it)\n")
    sys.stdout.flush()
    page.block_thread()
    return 0


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description="Serve the page where photos are painted on and filled.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (default: %(default)s)")
    parser.add_argument(
        "--model",
        help=f"chosen at the start: an installed model, a folder or a hub id (default: {DEFAULT_MODEL})",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: %(default)s)")
    parser.add_argument(
        "--max-megapixels", type=float, default=40, help="largest photo (default: %(default)s)"
    )
    parser.add_argument("--max-megabytes", type=float, default=30, help="largest file (default: %(default)s)")
    parser.add_argument("--max-queue", type=int, default=16, help="runs that may wait (default: %(default)s)")
    return parser
