"""The tab where a fill is compared with the truth under the hole, and with classical methods.

What is compared is the photo that is open on the Fill tab, with the mask painted there. The model's fill is a
job of the same queue as all fills.
"""

from __future__ import annotations

import base64
import binascii
import math
import shutil
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache

from inpaint.page.desk import BASELINES, BLANKED, FILL, MASK, PHOTO, SMALL_MASK
from inpaint.page.routes import Desk
from inpaint.serving import tasks
from inpaint.serving.app import Service
from inpaint.serving.errors import ServiceError

COLUMNS = {
    "psnr": ("PSNR, whole (dB)", "{:.2f}"),
    "psnr_hole": ("PSNR, hole (dB)", "{:.2f}"),
    "ssim": ("SSIM, whole", "{:.4f}"),
}
"""The scores that are shown, with their titles and formats; higher is better in all of them."""

PAINT_FIRST = "Open a clean photo on the Fill tab and paint a hole there, then compare here."

TAKE_CANVAS = "(...given) => window.inpaintPage.compared(given)"
"""What the browser sends: the photo and the mask of the Fill tab in place of the two hidden texts."""

_CLIENT = "the Evaluate tab"


class EvaluateTab:
    """The tab where fills are compared with the truth: its widgets, and what its events do."""

    def __init__(self, service: Service, desk: Desk) -> None:
        """Lay out the tab."""
        self._service, self._desk = service, desk
        gr.Markdown(
            "Scores the model on what you painted on the Fill tab. The methods never see what is under the "
            "mask; their fills are scored against it. The model fills what is painted and no more, without "
            "the photo's texture.",
            elem_classes="facts",
        )
        photo, mask = gr.Textbox(visible=False), gr.Textbox(visible=False)
        with gr.Row(elem_classes="bar"):
            model = gr.Dropdown(
                [(one.title, one.name) for one in service.models],
                value=service.models.default,
                label="Model",
                filterable=False,
                scale=0,
                min_width=240,
                elem_id="evaluate-model",
            )
            run = gr.Button("Compare", variant="primary", scale=0, min_width=160, elem_id="evaluate-run")
        table = gr.Markdown(PAINT_FIRST, elem_id="evaluate-table", elem_classes="facts")
        with gr.Column(visible=False, elem_classes="pictures") as panel:
            self._pictures = []
            for in_row in (2, 1, len(BASELINES)):  # hole and truth, the model, the baselines
                with gr.Row():
                    self._pictures += [
                        gr.Image(interactive=False, buttons=["fullscreen"], min_width=140, height=320)
                        for _ in range(in_row)
                    ]
        run.click(
            self.compare,
            [photo, mask, model],
            [table, panel, *self._pictures],
            js=TAKE_CANVAS,
            show_progress_on=table,
            concurrency_limit=1,
            api_visibility="private",
        )

    def compare(self, photo: str, mask: str, model: str) -> tuple[Any, ...]:
        """Fill what is painted with the model and the baselines, and show the fills and their scores.

        Args:
            photo: a file's bytes in base64, empty where none is open.
            mask: the same, empty where nothing is painted.
            model: the model's name.
        """
        if not photo or not mask:
            raise gr.Error(PAINT_FIRST, print_exception=False)
        try:
            chosen = self._service.models.find(model)
            with self._desk.place() as folder:
                (folder / PHOTO).write_bytes(base64.b64decode(photo, validate=True))
                (folder / MASK).write_bytes(base64.b64decode(mask, validate=True))
                self._desk.run(folder, {"do": "prepare"})
                self._fill(folder, chosen.name)
                told = self._desk.run(folder, {"do": "compare", "title": chosen.title})
                pictures = [
                    gr.Image(self._in_cache(folder / file), label=title)
                    for title, file in told["pictures"].items()
                ]
        except binascii.Error:
            raise gr.Error("The photo did not arrive whole; try again.", print_exception=False) from None
        except ServiceError as error:
            raise gr.Error(str(error.detail), print_exception=False) from None
        width, height = told["size"]
        text = score_table(told["scores"])
        text += f"\n\nThe hole is {100 * told['share']:.1f} % of {width} × {height} pixels."
        return (text, gr.Column(visible=True), *pictures)

    def _fill(self, folder: Path, model: str) -> None:
        """Let the queue fill what `prepare` made ready.

        The scores tell what the model has learnt; the photo's texture over its fill is no part of that.
        """
        queue = self._service.queue
        order = {"model": model, "detail": "none", "seed": 0, "grow": 0, "format": "PNG", "runs": False}
        with queue.slot(_CLIENT) as slot:
            shutil.copyfile(folder / BLANKED, slot.folder / tasks.PHOTO)
            shutil.copyfile(folder / SMALL_MASK, slot.folder / tasks.MASK)
            job = queue.submit(slot, order)
        try:
            queue.wait(job)
            if job.error is not None:
                raise job.error
            shutil.copyfile(job.result, folder / FILL)
        finally:
            queue.cancel(job)
            queue.forget(job)

    def _in_cache(self, path: Path) -> str:
        return save_bytes_to_cache(path.read_bytes(), path.name, self._pictures[0].GRADIO_CACHE)


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
