"""`inpaint serve`: its arguments, and what it does."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inpaint.devices import check_device_name
from inpaint.plugins import add_plugin_flag, check_plugins
from inpaint.terminal import printable

from .limits import LimitValueError, add_flags, from_arguments

if TYPE_CHECKING:
    from .app import Service


def add_serve_command(commands: Any) -> argparse.ArgumentParser:
    """Add `serve` to a parser's commands (what `add_subparsers` returned), and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "serve",
        help="serve the page and the REST API",
        description="Serve the page and the REST API, or with --no-page the REST API alone, until Ctrl-C.",
        epilog="Flags override environment variables, which override defaults. docs/service.md says how to "
        "run it behind a proxy and in a container.",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="HOST",
        help="address to listen on; 0.0.0.0 is every address of this machine (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=_port, default=7860, metavar="N", help="port to listen on (default: %(default)s)"
    )
    parser.add_argument("--no-page", action="store_true", help="serve the REST API alone")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="folder, weights file or hub id to offer beside the installed models; may be given again",
    )
    parser.add_argument(
        "--device",
        type=_device,
        default="auto",
        metavar="NAME",
        help="where networks run: auto, cpu, cuda or cuda:1 (default: %(default)s)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=None,
        metavar="DIR",
        help="where a private folder for uploads and results is made (default: the system's folder for "
        "temporary files)",
    )
    add_plugin_flag(parser)
    add_flags(parser)
    return parser


def run(
    arguments: argparse.Namespace, page: Callable[[Service], Callable[[Any], object]] | None = None
) -> int:
    """Serve as the arguments say, and return the exit code: 0 stopped as asked, 2 nothing was started.

    Args:
        arguments: what the parser of `add_serve_command` made.
        page: makes a page for a service: returns what mounts it on an application.
    """
    try:
        limits = from_arguments(arguments)
    except LimitValueError as error:
        return _fail(str(error))
    # Here, because these imports take seconds.
    from .app import Service, serve
    from .models import Models
    from .server import log_to_stderr

    log_to_stderr()
    try:
        check_plugins(arguments.plugin)  # the process that fills imports them
        models = Models(arguments.model)
        service = Service(
            limits,
            models,
            device=arguments.device,
            folder=arguments.folder,
            plugins=arguments.plugin,
        )
    except (ValueError, OSError) as error:
        return _fail(str(error))
    if arguments.host not in ("127.0.0.1", "localhost", "::1") and not limits.auth:
        logging.getLogger("inpaint.serving").warning(
            "anyone who reaches %s can use this service; --auth asks for a token", arguments.host
        )
    mount = None if arguments.no_page or page is None else page(service)
    try:
        serve(service, arguments.host, arguments.port, mount=mount)
    except OSError as error:
        return _fail(
            f"cannot listen on {arguments.host}:{arguments.port} ({error}); name another --port or --host"
        )
    return 0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text}: expected a number from 0 (any free port) to 65535")
    return int(text)


def _device(text: str) -> str:
    try:
        return check_device_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _fail(message: str) -> int:
    sys.stderr.write(f"inpaint serve: error: {printable(message)}\n")
    return 2
