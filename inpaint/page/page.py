"""The page as a whole: a title and three tabs. Two are places for the scripts in `static/flow`."""

from __future__ import annotations

import html
import json
from typing import Any

import gradio as gr

from inpaint.page.evaluate_tab import EvaluateTab
from inpaint.page.examples import EXAMPLES, example_photos
from inpaint.page.routes import Desk
from inpaint.serving.app import Service
from inpaint.serving.schemas import LARGEST_SEED


def build_page(service: Service, desk: Desk) -> gr.Blocks:
    """Build the page.

    Args:
        service: its models are offered, its queue fills.
        desk: does what else has to be done with photos.
    """
    settings = {
        "maxBytes": service.limits.max_bytes,
        "maxPixels": service.limits.max_pixels,
        "largestSeed": LARGEST_SEED,
        "examples": [{"file": name, "title": EXAMPLES[name]} for name in example_photos()],
    }
    with gr.Blocks(title="Inpaint", analytics_enabled=False, delete_cache=(3600, 24 * 3600)) as page:
        gr.HTML("<h1>Inpaint</h1>", elem_classes="title", apply_default_css=False)
        with gr.Tab("Fill", id="fill"):
            gr.HTML(place(settings), elem_classes="flow-frame", apply_default_css=False)
        with gr.Tab("Batch", id="batch"):
            gr.HTML('<div id="batch"></div>', elem_classes="flow-frame", apply_default_css=False)
        with gr.Tab("Evaluate", id="evaluate"):
            EvaluateTab(service, desk)
    page.queue(max_size=16, default_concurrency_limit=1)
    return page


def place(settings: dict[str, Any]) -> str:
    """Return the element that the scripts build the Fill tab in.

    >>> place({"a": 1})
    '<div id="flow" data-settings="{&quot;a&quot;: 1}"></div>'
    """
    return f'<div id="flow" data-settings="{html.escape(json.dumps(settings))}"></div>'
