"""One fill of what is painted: how it is to be made, and what is kept of it."""

from __future__ import annotations

import html
import time

import gradio as gr
import numpy as np

from inpaint.inference.inpainter import grown
from inpaint.page.messages import refusal
from inpaint.page.models import Load, load_or_refuse
from inpaint.page.outcome import KeptFill, Outcome, Settings, Work, thumbnail_of

LARGEST_GROWTH = 50
"""End of the slider that grows a mask, in pixels."""


def suggested_growth(height: int, width: int) -> int:
    """Return by how many pixels to grow a mask on a photo of that size, as long as nobody says: 2 to 16.

    Edges are softer, and brushes coarser, the more pixels a photo has: it is 0.4 % of the shorter side.

    >>> suggested_growth(1000, 1500)
    4
    """
    return min(max(round(0.004 * min(height, width)), 2), 16)


def choose_settings(before: Outcome, model: str, growth: int, textured: bool, another: bool) -> Settings:
    """Return the settings of the next fill.

    Args:
        before: the fills so far of the same photo and mask.
        model: the model's name.
        growth: by how many pixels to grow the mask.
        textured: whether the photo's texture is laid over the network's fill.
        another: whether a fill is wanted that is not there yet; otherwise it is the one of seed 0.

    Raises:
        gr.Error: another fill is wanted, but without texture there is only one.
    """
    seed = before.next_seed() if another and textured else 0
    settings = Settings(model, "photo" if textured else "none", growth, seed)
    if another and any(kept.settings == settings for kept in before.fills):
        raise refusal(
            "Without the photo's own texture there is only one fill: tick it under Fill to have others."
        )
    return settings


def make_fill(
    load: Load, work: Work, mask: np.ndarray, settings: Settings, bar: gr.Progress
) -> tuple[KeptFill, np.ndarray]:
    """Fill what is painted.

    Args:
        load: loads the model.
        work: the photo.
        mask: bool H×W as painted.
        settings: how to fill it.
        bar: shows the progress.

    Returns:
        What to keep of the fill, and the photo with it, uint8 H×W×3.

    Raises:
        gr.Error: the grown mask covers everything, or the model cannot be loaded.
    """
    hole = grown(mask, settings.grow)
    if hole.all():
        raise refusal(
            "Grown by so much, the mask covers everything: grow it less, to leave some of the photo."
        )
    bar(0, desc="Loading the model")
    fill = load_or_refuse(load, settings.model, settings.detail)
    start = time.perf_counter()
    pixels = fill(
        work.photo.pixels, hole, seed=settings.seed, progress=lambda done: bar(done, desc="Filling")
    )
    seconds = time.perf_counter() - start
    facts = [
        f"Filled {100 * hole.mean():.1f} % of the photo with {html.escape(settings.model)} in {seconds:.1f} s"
    ]
    if settings.grow:
        facts.append(f"grown by {settings.grow} pixels")
    if settings.detail == "photo":
        facts.append(f"seed {settings.seed}")
    return KeptFill(settings, pixels[hole], thumbnail_of(pixels, mask), " · ".join(facts)), pixels
