"""The page as a whole: a title and four tabs, which are places for the scripts in `static/flow`."""

from __future__ import annotations

import html
import json
from typing import Any

import gradio as gr

from inpaint.page.comparing import compared_methods
from inpaint.page.examples import EXAMPLES, example_photos
from inpaint.serving.app import Service
from inpaint.serving.schemas import LARGEST_SEED


def build_page(service: Service) -> gr.Blocks:
    """Build the page. Its models are the service's."""
    fill = {
        "maxBytes": service.limits.max_bytes,
        "maxPixels": service.limits.max_pixels,
        "largestSeed": LARGEST_SEED,
        "examples": [{"file": name, "title": EXAMPLES[name]} for name in example_photos()],
    }
    methods = [
        {"name": method.name, "title": method.title, "description": method.description}
        for method in compared_methods(service.models)
    ]
    with gr.Blocks(title="Inpaint", analytics_enabled=False) as page:
        gr.HTML("<h1>Inpaint</h1>", elem_classes="title", apply_default_css=False)
        tabs: list[tuple[str, str, dict[str, Any]]] = [
            ("Fill", "flow", fill),
            ("Batch", "batch", {}),
            ("Evaluate", "evaluate", {"methods": methods}),
            ("Trace", "trace", {}),
        ]
        for title, name, settings in tabs:
            with gr.Tab(title):
                gr.HTML(place(name, settings), elem_classes="flow-frame", apply_default_css=False)
    return page


def place(name: str, settings: dict[str, Any]) -> str:
    """Return the element that the scripts build a tab in.

    >>> place("flow", {"a": 1})
    '<div id="flow" data-settings="{&quot;a&quot;: 1}"></div>'
    """
    return f'<div id="{name}" data-settings="{html.escape(json.dumps(settings))}"></div>'
