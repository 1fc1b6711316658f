"""The page as a whole: a title, the choice of a model, and two tabs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from inpaint.page.evaluate_tab import EvaluateTab
from inpaint.page.fill_tab import FillTab
from inpaint.page.limits import Limits
from inpaint.page.models import Load
from inpaint.page.uploads import example_photos


def build_page(
    models: Sequence[str],
    load: Load,
    limits: Limits | None = None,
    examples: Sequence[Path] | None = None,
) -> gr.Blocks:
    """Build the page.

    Args:
        models: names to choose from; the first is chosen at the start.
        load: is called whenever a model is needed, also with the same arguments again.
        limits: what the page accepts and keeps.
        examples: photos to offer; by default those of scikit-image.

    Raises:
        ValueError: there is no model.
    """
    if not models:
        raise ValueError("the page needs at least one model")
    limits = limits or Limits()
    examples = example_photos() if examples is None else examples

    with gr.Blocks(title="Inpaint", analytics_enabled=False, delete_cache=(3600, 24 * 3600)) as page:
        with gr.Row(elem_classes="head"):
            gr.Markdown("# Inpaint\nPaint over anything in a photo; it is filled in.", elem_classes="title")
            model = gr.Dropdown(
                list(models),
                value=models[0],
                label="Model",
                filterable=False,
                container=False,
                scale=0,
                min_width=200,
                elem_id="model",
            )
        with gr.Tab("Fill", id="fill"):
            FillTab(model, load, limits, examples)
        with gr.Tab("Evaluate", id="evaluate"):
            EvaluateTab(model, load, limits, examples)
    page.queue(max_size=limits.queue, default_concurrency_limit=1)
    return page
