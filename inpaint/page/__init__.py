"""The page: open a photo, paint over what should go, look, download.

Nothing is loaded from other hosts, and no photo leaves the machine that serves the page. What is painted on
is the browser's own canvas (`static/canvas`); the page around it (`static/flow`) asks the REST API of
`inpaint.serving` for fills, so that page and programs stand in one queue. What else needs a photo decoded is
done by a process of its own (`desk`).

This is the only part of the package that imports Gradio.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inpaint.page.mounting import mount_page

# Gradio reads it when it is imported; without it, Gradio would report its use to its makers.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

__all__ = ["mount_page"]


def __getattr__(name: str) -> Any:
    """Import Gradio when the page is built: the desk's process has no need of it."""
    if name == "mount_page":
        from inpaint.page.mounting import mount_page

        return mount_page
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
