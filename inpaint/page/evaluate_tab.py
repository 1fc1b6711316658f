"""The tab where a fill is compared with the truth under the hole, and with classical methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.processing_utils import save_bytes_to_cache

from inpaint.page.canvas import canvas_copy, mask_layer, shrink_mask
from inpaint.page.downloads import png
from inpaint.page.events import AT_ONCE, MODEL
from inpaint.page.limits import Limits
from inpaint.page.models import Load, load_or_refuse
from inpaint.page.outcome import Work
from inpaint.page.workbench import PAINT_FIRST, PREPARING, Start, Workbench, painted_photo

BASELINES = ("telea", "harmonic")
"""Methods beside the model, by their names in `inpaint.evaluation.METHODS`."""

COLUMNS = {
    "psnr": ("PSNR, whole (dB)", "{:.2f}"),
    "psnr_hole": ("PSNR, hole (dB)", "{:.2f}"),
    "ssim": ("SSIM, whole", "{:.4f}"),
}
"""The scores that are shown, with their titles and formats; higher is better in all of them."""


class EvaluateTab:
    """The tab where fills are compared with the truth: its widgets, and what its events do."""

    def __init__(self, model: gr.Dropdown, load: Load, limits: Limits, examples: Sequence[Path]) -> None:
        """Lay out the tab.

        Args:
            model: where a model is chosen.
            load: loads it.
            limits: of photos.
            examples: photos to offer.
        """
        self._load = load
        gr.Markdown(
            "Paint a hole over a clean photo. The methods never see what you painted over; "
            "their fills are scored against it. The model fills what is painted and no more, without the "
            "photo's texture.",
            elem_classes="facts",
        )
        start = Start("evaluate", examples)
        with gr.Row(visible=False) as desk:
            with gr.Column(min_width=320):
                self.bench = bench = Workbench("evaluate", start, desk, limits)
                run = gr.Button("Compare", variant="primary", elem_id="evaluate-run")
            with gr.Column(min_width=320, elem_classes="outcome"):
                table = gr.Markdown(PAINT_FIRST, elem_id="evaluate-table", elem_classes="facts")
                with gr.Column(visible=False, elem_classes="pictures") as panel:
                    pictures = []
                    for in_row in (2, 1, len(BASELINES)):  # hole and truth, the model, the baselines
                        with gr.Row():
                            pictures += [
                                gr.Image(interactive=False, buttons=["fullscreen"], min_width=140, height=220)
                                for _ in range(in_row)
                            ]
        for opened in bench.opened:
            opened.success(lambda: (PAINT_FIRST, gr.Column(visible=False)), None, [table, panel], **AT_ONCE)
        started = run.click(lambda: (PREPARING, gr.Column(visible=False)), None, [table, panel], **AT_ONCE)
        inputs, outputs = [bench.work, bench.strokes, model], [table, panel, *pictures]
        comparing = bench.take_strokes(started).success(
            self.compare, inputs, outputs, show_progress_on=table, **MODEL
        )
        comparing.failure(lambda: PAINT_FIRST, None, table, **AT_ONCE)

    def compare(
        self,
        work: Work | None,
        layers: list[str] | None,
        name: str,
        bar: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way to ask for it)
    ) -> tuple[Any, ...]:
        """Fill what is painted with the model and the baselines, and show the fills and their scores."""
        # Here, so that the page starts sooner.
        from inpaint.evaluation import METHODS, Case, compare

        work, mask = painted_photo(work, layers)
        # At the editor's size: to fill many megapixels by Telea and to score them would take minutes.
        case = Case(work.name, canvas_copy(work.photo.pixels), shrink_mask(mask))
        bar(0, desc="Loading the model")
        # The scores tell what the model has learnt; the photo's texture over its fill is no part of that.
        methods: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]
        methods = {name: load_or_refuse(self._load, name, "none")}
        methods |= {baseline.capitalize(): METHODS[baseline] for baseline in BASELINES}
        bar(0.2, desc="Filling and scoring")
        results = compare(case, methods)

        hole = case.image.copy()
        hole[case.mask] = mask_layer(case.mask)[case.mask][:, :3]
        shown = {"Hole": hole, "Truth": case.image} | {title: fill for title, (fill, _) in results.items()}
        images = [
            gr.Image(
                save_bytes_to_cache(png(picture), f"{number}.png", self.bench.editor.GRADIO_CACHE),
                label=title,
            )
            for number, (title, picture) in enumerate(shown.items())
        ]
        height, width = case.mask.shape
        text = score_table({title: scores for title, (_, scores) in results.items()})
        text += f"\n\nThe hole is {100 * case.hole_ratio:.1f} % of {width} × {height} pixels."
        return (text, gr.Column(visible=True), *images)


def score_table(scores: dict[str, dict[str, float | None]]) -> str:
    """Write scores by method as a Markdown table of `COLUMNS`, the best of a column in bold."""
    lines = [
        "| Method | " + " | ".join(title for title, _ in COLUMNS.values()) + " |",
        "|---|" + "---:|" * len(COLUMNS),
    ]
    for method, row in scores.items():
        cells = []
        for key, (_, form) in COLUMNS.items():
            value = row[key]
            best = max(-math.inf if (other := one[key]) is None else other for one in scores.values())
            text = "–" if value is None else form.format(value)
            cells.append(f"**{text}**" if value is not None and value == best else text)
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
