"""The page: open a photo, paint over what should go, look, download.

Nothing is loaded from other hosts, and no photo leaves the machine that serves the page. The browser's editor
works on a copy of the photo, reduced where it is large (`canvas`); what is filled and downloaded is the photo
itself, as its file was read.

This is the only part of the package that imports Gradio.
"""

import os

# Gradio reads it when it is imported; without it, Gradio would report its use to its makers.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

from inpaint.page.limits import Limits
from inpaint.page.page import build_page
from inpaint.page.serving import serve

__all__ = ["Limits", "build_page", "serve"]
