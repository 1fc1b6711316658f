"""`inpaint serve` and `inpaint doctor`. The packages behind them are imported when they are needed."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from inpaint.extras import PAGE_ALONE, require_extra

if TYPE_CHECKING:
    from inpaint.serving.app import Service


def serve(arguments: argparse.Namespace) -> int:
    """Serve the page and the REST API until Ctrl-C; with `--no-page` the API alone.

    Raises:
        MissingExtraError: the packages for it are not installed.
    """
    require_extra("app", "inpaint serve", without=PAGE_ALONE if arguments.no_page else ())
    from inpaint.serving import command

    return command.run(arguments, _page)


def examine(arguments: argparse.Namespace) -> int:
    """Say what was found on this machine."""
    from inpaint.serving import doctor

    return doctor.run(arguments)


def _page(service: Service) -> Callable[[Any], object]:
    # Here, because the import of Gradio takes seconds.
    from inpaint.page import mount_page

    return mount_page(service)
