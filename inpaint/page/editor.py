"""The widget that a photo is painted on, and what it sends."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.component_meta import ComponentMeta
from gradio.components.base import server
from gradio.components.image_editor import AcceptBlobs
from PIL import Image

from inpaint.page.canvas import BRUSH, CANVAS_SIDE, painted


class WithoutStub(ComponentMeta):
    """Makes a component's class as Gradio does, but writes no `.pyi` file beside the module.

    Gradio writes such a file for every subclass of a component, also into an installed package. A type
    checker would read it instead of the module.
    """

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> WithoutStub:
        """Make the class; it may define neither events nor `__init__`, which Gradio would prepare."""
        return ABCMeta.__new__(cls, name, bases, attrs)


class MaskEditor(gr.ImageEditor, metaclass=WithoutStub):
    """Gradio's image editor, without the live data that it can keep on the server."""

    is_template = True  # Gradio's front end treats the class as the one it is derived from

    @server
    def accept_blobs(self, data: AcceptBlobs) -> None:
        """Refuse blobs: Gradio would keep any number of them in memory, and this page needs none."""
        raise gr.Error("This page takes no live editor data.")


def brush(height: int = 512, width: int = 512) -> gr.Brush:
    """Make a brush whose radius fits a canvas of that size: 5 % of the smaller side."""
    return gr.Brush(
        default_size=max(4, round(0.05 * min(height, width))),
        colors=[BRUSH],
        default_color=BRUSH,
        color_mode="fixed",
    )


def read_strokes(layers: Sequence[str | Path] | None) -> np.ndarray | None:
    """Read what is painted from the files of the editor's layers.

    Returns:
        bool H×W on the canvas; None without any layer.

    Raises:
        gr.Error: a file is none that the editor of this page sends.
    """
    alphas = []
    for path in layers or ():
        try:
            with Image.open(path, formats=("PNG", "WEBP")) as image:
                if max(image.size) > 4 * CANVAS_SIDE:
                    raise gr.Error("The painted mask is larger than any canvas of this page.")
                alphas.append(np.asarray(image.convert("RGBA").getchannel("A")))
        except OSError:
            raise gr.Error("The painted mask did not arrive whole; try again.") from None
    if len({alpha.shape for alpha in alphas}) > 1:
        raise gr.Error("The painted layers differ in size; open the photo again.")
    return painted(alphas)
