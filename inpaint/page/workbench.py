"""What both tabs share: a photo is opened, then painted on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.processing_utils import save_bytes_to_cache

from inpaint.images import SUFFIXES, ImageError, Photo, read_mask
from inpaint.page.canvas import CanvasError, canvas_copy, canvas_size, mask_layer, photo_mask, shrink_mask
from inpaint.page.downloads import png
from inpaint.page.editor import MaskEditor, brush, read_strokes
from inpaint.page.events import AT_ONCE, QUIET
from inpaint.page.limits import Limits
from inpaint.page.messages import reason, refusal
from inpaint.page.outcome import Work
from inpaint.page.uploads import describe, read_upload

PAINT_FIRST = "Paint over what should go, then press the button."
PREPARING = "Reading what is painted …"


class Start:
    """Where a photo is opened: a drop zone, and examples.

    Attributes:
        column: the whole; hidden while a photo is open.
        upload: takes dropped, chosen and pasted files.
        gallery: the examples.
        examples: their files.
    """

    def __init__(self, name: str, examples: Sequence[Path]) -> None:
        """Lay out the start of the tab `name`."""
        self.examples = examples
        with gr.Column(elem_id=f"{name}-start", elem_classes="start") as self.column:
            self.upload = gr.File(
                label="Drop, choose or paste a photo",
                file_types=list(SUFFIXES),
                height=180,
                elem_id=f"{name}-upload",
                elem_classes="photo-input",
            )
            self.gallery = gr.Dataset(
                components=[gr.Image(type="filepath", render=False)],
                samples=[[str(path)] for path in examples],
                type="index",
                label="Or try one of these",
                elem_id=f"{name}-examples",
                visible=bool(examples),
            )


class Workbench:
    """The editor with its buttons.

    Attributes:
        work: state, the tab's `Work` or None.
        editor: where the photo is painted on.
        strokes: files of the layers painted when `take_strokes` last ran; `read_strokes` reads them.
        opened: events after which another photo is on the canvas.
    """

    def __init__(self, name: str, start: Start, desk: gr.Row, limits: Limits) -> None:
        """Lay out the editor of the tab `name`, and connect it with the start.

        Args:
            name: of the tab; the widgets' ids begin with it.
            start: is hidden when a photo is opened.
            desk: the row that the rest of the tab is in; is shown when a photo is opened.
            limits: of photos.
        """
        self._start, self._limits = start, limits
        self.work = gr.State(None, time_to_live=limits.idle_seconds)
        self.strokes = gr.File(file_count="multiple", type="filepath", visible=False)
        self.editor = MaskEditor(
            sources=(),
            transforms=(),
            layers=False,
            brush=brush(),
            buttons=[],
            show_label=False,
            format="png",
            height="min(520px, 100vw)",
            elem_id=f"{name}-editor",
            elem_classes="editor",
        )
        with gr.Row(elem_classes="bar"):
            facts = gr.Markdown(elem_id=f"{name}-facts", elem_classes="facts")
            load_mask = gr.UploadButton(
                "Load mask",
                file_types=list(SUFFIXES),
                size="sm",
                scale=0,
                min_width=100,
                elem_id=f"{name}-load-mask",
            )
            another = gr.Button("Another photo", size="sm", scale=0, min_width=120, elem_id=f"{name}-another")

        upload, gallery = start.upload, start.gallery
        shown = [self.work, start.column, desk, self.editor, facts]
        canvas = [self.work, self.editor]
        self.opened: list[Any] = [
            upload.upload(self.open_upload, upload, [*shown, upload], show_progress_on=upload, **QUIET),
            gallery.click(self.open_example, gallery, shown, show_progress_on=upload, **QUIET),
        ]
        # A refused file makes room for the next.
        self.opened[0].failure(lambda: None, None, upload, **AT_ONCE)
        self.editor.clear(self.clear_strokes, self.work, canvas, show_progress_on=facts, **QUIET)
        load_mask.upload(self.load_mask, [load_mask, self.work], canvas, show_progress_on=facts, **QUIET)
        another.click(lambda: gr.Column(visible=True), None, start.column, **QUIET)

    def take_strokes(self, event: Any) -> Any:
        """Update `strokes` after `event`, in the browser; returns the event of doing so."""
        layers = "(canvas) => [canvas?.layers ?? []]"
        return event.then(None, self.editor, self.strokes, js=layers, **AT_ONCE)

    def on_canvas(self, pixels: np.ndarray, mask: np.ndarray | None = None) -> dict[str, Any]:
        """Return the editor's value that shows a photo, and a mask drawn over it."""
        background = save_bytes_to_cache(png(canvas_copy(pixels)), "photo.png", self.editor.GRADIO_CACHE)
        layers = [] if mask is None else [mask_layer(shrink_mask(mask))]
        return {"background": background, "layers": layers, "composite": None}

    def open_upload(self, path: str | None) -> tuple[Any, ...]:
        """Put an uploaded photo on the canvas."""
        if path is None:
            raise refusal("Choose a photo first.")
        return (*self._open(path, Path(path).stem), None)

    def open_example(self, index: int) -> tuple[Any, ...]:
        """Put an example on the canvas."""
        path = self._start.examples[index]
        return self._open(path, path.stem)

    def clear_strokes(self, work: Work | None) -> tuple[Any, Any]:
        """Put the photo on the canvas afresh: the editor's bin takes the photo away, too."""
        if work is None:
            return gr.skip(), gr.skip()
        return dataclasses.replace(work, loaded_mask=None), self.on_canvas(work.photo.pixels)

    def load_mask(self, path: str | None, work: Work | None) -> tuple[Any, Any]:
        """Put an uploaded mask on the canvas."""
        if path is None or work is None:
            raise refusal("Open a photo first, then its mask.")
        height, width = work.photo.pixels.shape[:2]
        try:
            mask = read_mask(Path(path).read_bytes(), max_pixels=self._limits.pixels)
        except ImageError as error:
            raise refusal(f"This mask cannot be opened: {reason(error)}.") from None
        if mask.shape != (height, width):
            raise refusal(
                f"The mask is {mask.shape[1]} × {mask.shape[0]} pixels, the photo {width} × {height}; "
                "they must be of one size."
            )
        return dataclasses.replace(work, loaded_mask=mask), self.on_canvas(work.photo.pixels, mask)

    def _open(self, path: str | Path, title: str) -> tuple[Any, ...]:
        try:
            photo: Photo = read_upload(path, self._limits)
        except ImageError as error:
            raise refusal(f"This file cannot be opened: {reason(error)}.") from None
        size = canvas_size(*photo.pixels.shape[:2])
        return (
            Work(title, photo),
            gr.Column(visible="hidden"),
            gr.Row(visible=True),
            gr.update(value=self.on_canvas(photo.pixels), brush=brush(*size)),
            describe(photo),
        )


def painted_photo(work: Work | None, layers: Sequence[str] | None) -> tuple[Work, np.ndarray]:
    """Return a tab's work and its mask at the photo's size, or say what is missing.

    Args:
        work: the value of `Workbench.work`.
        layers: the value of `Workbench.strokes`.

    Returns:
        The work, and a mask bool H×W that is neither empty nor everything.

    Raises:
        gr.Error: something is missing; the message says what to do.
    """
    if work is None:
        raise refusal("Open a photo first. (A photo left alone for hours is forgotten.)")
    try:
        mask = photo_mask(work, read_strokes(layers))
    except CanvasError:
        raise refusal(
            "The photo was taken off the canvas. Press redo, or the bin to start it afresh."
        ) from None
    if not mask.any():
        raise refusal("Nothing is painted yet: brush over what should go, then fill.")
    if mask.all():
        raise refusal("Everything is painted over: leave some of the photo to fill from.")
    return work, mask
