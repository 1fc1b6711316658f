"""The tab where photos are filled."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.processing_utils import save_bytes_to_cache

from inpaint.page.canvas import canvas_copy
from inpaint.page.downloads import downloads, png
from inpaint.page.events import AT_ONCE, MODEL, QUIET
from inpaint.page.filling import LARGEST_GROWTH, choose_settings, make_fill, suggested_growth
from inpaint.page.limits import Limits
from inpaint.page.messages import refusal
from inpaint.page.models import Load
from inpaint.page.outcome import Outcome, Work
from inpaint.page.workbench import PAINT_FIRST, PREPARING, Start, Workbench, painted_photo


class FillTab:
    """The tab where photos are filled: its widgets, and what its events do."""

    def __init__(self, model: gr.Dropdown, load: Load, limits: Limits, examples: Sequence[Path]) -> None:
        """Lay out the tab.

        Args:
            model: where a model is chosen.
            load: loads it.
            limits: of photos and kept fills.
            examples: photos to offer.
        """
        self._load, self._limits = load, limits
        self.outcome = gr.State(None, time_to_live=limits.idle_seconds)  # the last runs' `Outcome`, or None
        start = Start("fill", examples)
        with gr.Row(visible=False) as desk:
            with gr.Column(min_width=320):
                self.bench = Workbench("fill", start, desk, limits)
                self.run = gr.Button("Fill", variant="primary", elem_id="fill-run")
                self._lay_out_settings()
            with gr.Column(min_width=320, elem_classes="outcome"):
                self._lay_out_outcome()
        self._connect(model)

    def _lay_out_settings(self) -> None:
        with gr.Accordion("Edge and texture", open=False, elem_id="fill-settings"):
            self.grow = gr.Slider(
                0,
                LARGEST_GROWTH,
                step=1,
                value=suggested_growth(512, 512),
                label="Grow the mask by … pixels",
                info="Things have soft edges: painted over just up to the edge, they leave a rim, and "
                "the fill goes on from it. 0.4 % of the photo's shorter side takes it up.",
                precision=0,
                elem_id="fill-grow",
            )
            self.texture = gr.Checkbox(
                True,
                label="Lay the photo's own texture over the fill",
                info="Without it the fill is the network's alone: smoother, and only one of its kind.",
                elem_id="fill-texture",
            )

    def _lay_out_outcome(self) -> None:
        self.report = gr.Markdown(PAINT_FIRST, elem_id="fill-report", elem_classes="facts")
        self.slider = gr.ImageSlider(
            interactive=False,
            show_label=False,
            max_height=520,
            buttons=["fullscreen"],
            elem_id="fill-result",
            elem_classes="pictures",
            visible=False,
        )
        # Hidden while something is filled, so that nobody chooses or downloads what is about to change.
        with gr.Column(visible=False) as self.actions:
            with gr.Row(elem_classes="bar"):
                self.strip = gr.Gallery(
                    columns=self._limits.fills,
                    allow_preview=False,
                    buttons=[],
                    show_label=False,
                    container=False,
                    interactive=False,
                    min_width=240,
                    elem_id="fill-strip",
                    elem_classes="strip",
                )
                self.other = gr.Button(
                    "Another fill", size="sm", scale=0, elem_id="fill-other", min_width=120
                )
            with gr.Row(elem_classes="bar"):
                self.save = gr.DownloadButton("Download", size="sm", elem_id="fill-save", min_width=130)
                self.save_png = gr.DownloadButton("PNG", size="sm", elem_id="fill-save-png", min_width=130)
                self.save_mask = gr.DownloadButton("Mask", size="sm", elem_id="fill-save-mask", min_width=90)
                self.again = gr.Button("Use as next input", size="sm", elem_id="fill-again", min_width=140)

    def _connect(self, model: gr.Dropdown) -> None:
        """Say what happens on which event."""
        bench, report, actions = self.bench, self.report, self.actions
        shown = [self.outcome, self.slider, self.strip, report]
        files = [self.save, self.save_png, self.save_mask]
        for opened in bench.opened:
            fresh = [self.outcome, report, self.slider, self.strip, actions, self.grow]
            opened.success(self.start_over, bench.work, fresh, **AT_ONCE)
        inputs = [bench.work, bench.strokes, self.outcome, model, self.grow, self.texture]
        for button, action in ((self.run, self.fill), (self.other, self.fill_otherwise)):
            started = button.click(
                lambda: (PREPARING, gr.Column(visible=False)), None, [report, actions], **AT_ONCE
            )
            filling = bench.take_strokes(started).success(
                action, inputs, shown, show_progress_on=report, **MODEL
            )
            filling.success(self.offer_downloads, self.outcome, [*files, actions], **QUIET)
            filling.failure(self.leave_on_offer, self.outcome, [report, actions], **AT_ONCE)
        self.strip.select(
            self.choose,
            self.outcome,
            [*shown, *files],
            show_progress_on=report,
            trigger_mode="always_last",
            **QUIET,
        )
        self.again.click(
            self.use_as_input, self.outcome, [bench.work, bench.editor], show_progress_on=report, **QUIET
        )

    def fill(
        self,
        work: Work | None,
        layers: list[str] | None,
        before: Outcome | None,
        name: str,
        growth: int,
        textured: bool,
        bar: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way to ask for it)
    ) -> tuple[Any, ...]:
        """Make the first fill of what is painted."""
        return self._make(work, layers, before, (name, growth, textured), bar, another=False)

    def fill_otherwise(
        self,
        work: Work | None,
        layers: list[str] | None,
        before: Outcome | None,
        name: str,
        growth: int,
        textured: bool,
        bar: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way to ask for it)
    ) -> tuple[Any, ...]:
        """Make another fill of what is painted."""
        return self._make(work, layers, before, (name, growth, textured), bar, another=True)

    def _make(
        self,
        work: Work | None,
        layers: list[str] | None,
        before: Outcome | None,
        chosen: tuple[str, int, bool],
        bar: gr.Progress,
        another: bool,
    ) -> tuple[Any, ...]:
        work, mask = painted_photo(work, layers)
        if before is None or not before.is_of(work, mask):
            before = Outcome(work, mask)
        settings = choose_settings(before, *chosen, another)
        kept, pixels = make_fill(self._load, work, mask, settings, bar)
        outcome = before.with_fill(kept, self._limits.fills)
        return (outcome, *self._show(outcome, pixels))

    def choose(self, outcome: Outcome | None, event: gr.SelectData) -> tuple[Any, ...]:
        """Show an earlier fill and offer its files, in one event: what is downloaded is what is shown."""
        if outcome is None or event.index not in range(len(outcome.fills)):
            raise refusal("This fill is no longer kept.")
        outcome = dataclasses.replace(outcome, shown=event.index)
        return (outcome, *self._show(outcome, outcome.pixels()), *self._files_of(outcome))

    def offer_downloads(self, outcome: Outcome) -> tuple[Any, ...]:
        """Offer the files of the fill that is shown."""
        return (*self._files_of(outcome), gr.Column(visible=True))

    def leave_on_offer(self, outcome: Outcome | None) -> tuple[Any, Any]:
        """Offer the last fill again after a run that failed."""
        return PAINT_FIRST if outcome is None else outcome.report, gr.Column(visible=outcome is not None)

    def use_as_input(self, outcome: Outcome | None) -> tuple[Any, Any]:
        """Put the photo with the fill that is shown on the canvas."""
        if outcome is None:
            raise refusal("There is no fill to go on from.")
        pixels = outcome.pixels()
        photo = dataclasses.replace(outcome.work.photo, pixels=pixels)
        return Work(outcome.work.name, photo), self.bench.on_canvas(pixels)

    def start_over(self, work: Work) -> tuple[Any, ...]:
        """Forget the fills of another photo, and suggest by how much to grow the masks of this one."""
        growth = suggested_growth(*work.photo.pixels.shape[:2])
        slider, actions = gr.ImageSlider(None, visible=False), gr.Column(visible=False)
        return None, PAINT_FIRST, slider, None, actions, growth

    def _show(self, outcome: Outcome, pixels: np.ndarray) -> tuple[Any, ...]:
        """Return what shows a fill: the values of slider, strip and report."""
        before_after = tuple(
            save_bytes_to_cache(png(canvas_copy(picture)), f"{title}.png", self.slider.GRADIO_CACHE)
            for title, picture in (("before", outcome.work.photo.pixels), ("after", pixels))
        )
        thumbnails = [kept.thumbnail for kept in outcome.fills]
        return (
            gr.ImageSlider(before_after, visible=True),
            gr.Gallery(thumbnails, selected_index=outcome.shown),
            outcome.report,
        )

    def _files_of(self, outcome: Outcome) -> tuple[gr.DownloadButton, ...]:
        """Return the three download buttons for the fill that is shown."""
        buttons: list[gr.DownloadButton] = []
        for name, data in downloads(outcome.work.name, outcome.work.photo, outcome.pixels()):
            kind = Path(name).suffix.removeprefix(".").upper()
            title = f"{kind}, exact pixels" if buttons else f"Download {kind}"
            buttons.append(gr.DownloadButton(title, value=self._in_cache(data, name), visible=True))
        if len(buttons) == 1:
            buttons.append(gr.DownloadButton(value=None, visible=False))
        # What was painted, not what it was grown to: loaded again, it gives the same fill.
        mask_file = self._in_cache(png(outcome.mask), f"{outcome.work.name}-mask.png")
        return (*buttons, gr.DownloadButton("Mask", value=mask_file))

    def _in_cache(self, data: bytes, name: str) -> str:
        return save_bytes_to_cache(data, name, self.save.GRADIO_CACHE)
