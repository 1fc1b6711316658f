"""The page: open a photo, paint over what should go, look, download.

    python app.py                                   # http://127.0.0.1:7860
    python app.py --port 8000 --device cpu
    python app.py --model path/to/model/folder      # beside the installed models
    python app.py --host 0.0.0.0 --max-megapixels 12

Nothing is loaded from other hosts, and no photo leaves the machine that runs this program. The browser's
editor works on a copy of the photo, reduced where it is large; what is filled and downloaded is the photo
itself, as its file was read. What is downloaded as mask is what was painted, not what it was grown to: loaded
again, it gives the same fill.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import functools
import html
import io
import math
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

# Gradio reads it when it is imported; without it, it would call home.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
import numpy as np
from gradio.components.base import server
from gradio.components.image_editor import AcceptBlobs
from gradio.processing_utils import save_bytes_to_cache
from PIL import Image

from inpaint.images import (
    LOSSY_FORMATS,
    SUFFIXES,
    ImageError,
    Photo,
    encode_photo,
    read_mask,
    read_photo,
)
from inpaint.inference import Inpainter
from inpaint.inference.inpainter import Detail, grown
from inpaint.inference.plan import bounding_box
from inpaint.weights import WeightsError, find_model, installed_models

DEFAULT_MODEL = "pconv-carafe"

CANVAS_SIDE = 2048
"""Longest side of the editor's copy in pixels. Browsers send it back as three PNG files at every run, phones
hold few larger textures, and nobody paints finer than the screen."""

LARGEST_CANVAS_FILE = 5 * CANVAS_SIDE**2
"""No PNG of the canvas has more bytes: four channels that do not compress, and what PNG adds."""

PAINTED_ALPHA = 16
"""Layer alpha (0–255) from which a canvas pixel counts as painted, so that faint strokes count too."""

BRUSH = ("rgb(232, 62, 84)", 0.6)
"""Colour and opacity of a stroke: it shows what it covers."""

HOLE_GREY = 127
"""What the methods of the Evaluate tab see instead of the truth in the hole."""

LARGEST_GROWTH = 50
"""End of the slider that grows a mask, in pixels."""

THUMBNAIL_SIDE = 192
"""Side of a picture in the strip of fills, in pixels."""

PAINT_FIRST = "Paint over what should go, then press the button."
PREPARING = "Reading what is painted …"

EXAMPLES = ("astronaut.png", "coffee.png", "chelsea.png", "motorcycle_left.png", "rocket.jpg")
"""Photos that scikit-image installs with itself."""


class Fill(Protocol):
    """What the page needs of an Inpainter."""

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        *,
        seed: int = 0,
        progress: Callable[[float], None] | None = None,
    ) -> np.ndarray:
        """Fill the hole: uint8 H×W×3 and bool H×W in, uint8 H×W×3 out."""
        ...


Load = Callable[[str, Detail], Fill]
"""Turns a model's name into an Inpainter, or a stand-in, with the photo's texture or without."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the page takes on.

    Attributes:
        file_bytes: largest uploaded file.
        pixels: largest width × height of a photo.
        queue: runs that may wait; one runs at a time.
        sessions: browser tabs whose photo is remembered; the one unused for longest is forgotten first.
        idle_seconds: how long an unused tab's photo is remembered.
        fills: fills of a photo and mask that a tab keeps to go back to; the oldest is forgotten first. Each
            takes 3 bytes for a pixel of its hole.
    """

    file_bytes: int = 30 * 2**20
    pixels: int = 40_000_000
    queue: int = 16
    sessions: int = 8
    idle_seconds: int = 2 * 3600
    fills: int = 6


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """What one browser tab works on.

    Attributes:
        name: the photo's file name without suffix; downloads are named after it.
        photo: the photo as it was read, at its own size.
        loaded_mask: bool H×W, a mask file that was loaded into the editor, or None.
    """

    name: str
    photo: Photo
    loaded_mask: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a fill depends on besides photo and mask: equal settings give equal fills.

    Attributes:
        model: the model's name.
        detail: "photo" or "none", see `inpaint.Inpainter`.
        grow: pixels around the mask that are filled, too.
        seed: which of the fills with the photo's texture; 0 where there is only one.
    """

    model: str
    detail: Detail
    grow: int
    seed: int


@dataclasses.dataclass(frozen=True, eq=False)
class KeptFill:
    """One fill, without what the photo has anyway.

    Attributes:
        settings: how it was made.
        values: uint8 [pixels of the hole, 3], row by row.
        thumbnail: uint8 h×w×3, the hole and some of what lies around it.
        report: a line about it, in Markdown.
    """

    settings: Settings
    values: np.ndarray
    thumbnail: np.ndarray
    report: str


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """The fills of a photo and mask, of which one is shown.

    Attributes:
        work: what was filled.
        mask: bool H×W as painted.
        fills: oldest first; none is like another in its settings.
        shown: index in `fills`.
    """

    work: Work
    mask: np.ndarray
    fills: tuple[KeptFill, ...] = ()
    shown: int = -1

    @property
    def report(self) -> str:
        """The line about the fill that is shown."""
        return self.fills[self.shown].report

    def pixels(self) -> np.ndarray:
        """Return the photo with the fill that is shown, uint8 H×W×3."""
        fill = self.fills[self.shown]
        pixels = self.work.photo.pixels.copy()
        pixels[grown(self.mask, fill.settings.grow)] = fill.values
        return pixels

    def is_of(self, work: Work, mask: np.ndarray) -> bool:
        """Whether these are fills of that photo and mask."""
        return self.work.photo is work.photo and np.array_equal(self.mask, mask)

    def next_seed(self) -> int:
        """Return a seed that no fill here has."""
        return 1 + max((fill.settings.seed for fill in self.fills), default=-1)

    def with_fill(self, fill: KeptFill, most: int) -> Outcome:
        """Return the outcome that shows one more fill; at most so many are kept."""
        others = [other for other in self.fills if other.settings != fill.settings]
        fills = (*others, fill)[-most:]
        return dataclasses.replace(self, fills=fills, shown=len(fills) - 1)


class CanvasError(ValueError):
    """What the editor sent does not belong to the photo."""


# ----------------------------------------------------------------------------------------------------
# Photo and canvas


def canvas_size(height: int, width: int) -> tuple[int, int]:
    """Size (height, width) of the editor's copy of a photo: its own, or reduced to `CANVAS_SIDE`."""
    scale = min(1.0, CANVAS_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def canvas_copy(pixels: np.ndarray) -> np.ndarray:
    """Copy a photo (uint8 H×W×3) to the editor's size."""
    height, width = canvas_size(*pixels.shape[:2])
    if (height, width) == pixels.shape[:2]:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def painted(layers: Sequence[np.ndarray]) -> np.ndarray | None:
    """Join the editor's layers (their alpha, uint8 H×W) to one binary mask; None without layers."""
    masks = [alpha >= PAINTED_ALPHA for alpha in layers]
    return functools.reduce(np.logical_or, masks) if masks else None


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a bool mask to H×W by nearest neighbour: it stays binary and covers what was painted."""
    if mask.shape == (height, width):
        return mask
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def shrink_mask(mask: np.ndarray) -> np.ndarray:
    """Reduce a photo's mask to the editor's size; a canvas pixel is hole if any photo pixel under it is.

    Which pixels lie under one is as in `resize_mask`, so that enlarging the result covers the whole mask.
    """
    height, width = canvas_size(*mask.shape)
    if (height, width) == mask.shape:
        return mask
    rows, columns = np.nonzero(mask)
    small = np.zeros((height, width), dtype=bool)
    small[
        (2 * rows + 1) * height // (2 * mask.shape[0]), (2 * columns + 1) * width // (2 * mask.shape[1])
    ] = True
    return small


def photo_mask(work: Work, canvas_mask: np.ndarray | None) -> np.ndarray:
    """Bring what is painted on the canvas to the photo's own resolution, bool H×W.

    Where the canvas still shows a loaded mask as it was loaded, that mask's own pixels hold, so that a mask
    file is used exactly even if the canvas is smaller than the photo. Raises `CanvasError` for a canvas whose
    proportions are not the photo's: undo can take the photo itself off the canvas.
    """
    height, width = work.photo.pixels.shape[:2]
    if canvas_mask is None:
        return np.zeros((height, width), dtype=bool)
    rows, columns = canvas_size(height, width)
    if abs(canvas_mask.shape[0] * columns - canvas_mask.shape[1] * rows) > max(canvas_mask.shape):
        raise CanvasError("the canvas does not show the photo")
    mask = resize_mask(canvas_mask, height, width)
    if work.loaded_mask is None:
        return mask
    shown = shrink_mask(work.loaded_mask)
    changed = resize_mask(resize_mask(canvas_mask, *shown.shape) != shown, height, width)
    return np.where(changed, mask, work.loaded_mask)


def suggested_growth(height: int, width: int) -> int:
    """By how many pixels to grow a mask on a photo of that size, as long as nobody says: 2 to 16.

    Edges are softer, and brushes coarser, the more pixels a photo has: it is 0.4 % of the shorter side.
    """
    return min(max(round(0.004 * min(height, width)), 2), 16)


def thumbnail_of(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cut a square around the hole (bool H×W, not empty) out of a photo; at most `THUMBNAIL_SIDE` a side."""
    height, width = mask.shape
    box = bounding_box(mask)
    side = min(32 + round(1.5 * max(box.bottom - box.top, box.right - box.left)), height, width)
    top = min(max((box.top + box.bottom - side) // 2, 0), height - side)
    left = min(max((box.left + box.right - side) // 2, 0), width - side)
    picture = Image.fromarray(pixels[top : top + side, left : left + side])
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return np.asarray(picture)


def brush(height: int = 512, width: int = 512) -> gr.Brush:
    """Make a brush whose radius fits a canvas of that size: 5 % of the smaller side."""
    return gr.Brush(
        default_size=max(4, round(0.05 * min(height, width))),
        colors=[BRUSH],
        default_color=BRUSH,
        color_mode="fixed",
    )


def mask_layer(mask: np.ndarray) -> np.ndarray:
    """Draw a mask the way the brush does: uint8 H×W×4 RGBA."""
    red, green, blue = (int(value) for value in BRUSH[0].removeprefix("rgb(").removesuffix(")").split(","))
    layer = np.zeros((*mask.shape, 4), dtype=np.uint8)
    layer[mask] = (red, green, blue, round(255 * BRUSH[1]))
    return layer


def read_upload(path: str | Path, limits: Limits) -> Photo:
    """Read an uploaded photo. Raises `ImageError` with a reason for people."""
    path = Path(path)
    if path.stat().st_size > limits.file_bytes:
        raise ImageError(f"the file is larger than {limits.file_bytes / 2**20:.0f} MB; save a smaller copy")
    # As bytes: the name a browser sent is no news to its user, and the cache's path is nobody's business.
    return read_photo(path.read_bytes(), max_pixels=limits.pixels)


def downloads(name: str, photo: Photo, fill: np.ndarray) -> list[tuple[str, bytes]]:
    """Encode a fill as files (name, bytes): in the photo's own format and, where that is lossy, as PNG too.

    Size, EXIF and colour profile are the photo's. Where its format cannot hold it, there is only the PNG.
    """
    result = dataclasses.replace(photo, pixels=fill)
    files = []
    if photo.format != "PNG":
        suffix = next(suffix for suffix, known in SUFFIXES.items() if known == photo.format)
        with contextlib.suppress(ImageError):
            files.append((f"{name}-filled{suffix}", encode_photo(result, photo.format)))
    if photo.format in LOSSY_FORMATS or not files:
        files.append((f"{name}-filled.png", encode_photo(result, "PNG")))
    return files


def png(pixels: np.ndarray) -> bytes:
    """Encode an array that Pillow knows as a PNG, quickly rather than small."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def comparison(
    truth: np.ndarray, mask: np.ndarray, methods: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]
) -> dict[str, tuple[np.ndarray, dict[str, float | None]]]:
    """Fill a photo's hole with each method and score it: {method: (fill, scores)}.

    The truth in the hole is painted over before any method sees the photo, and the known pixels are put back
    before the scores of `inpaint.metrics.score` are taken.
    """
    from inpaint.metrics import score

    destroyed = truth.copy()
    destroyed[mask] = HOLE_GREY
    results = {}
    for name, fill in methods.items():
        filled = np.where(mask[..., None], fill(destroyed.copy(), mask.copy()), truth)
        results[name] = (filled, score(truth, filled, mask))
    return results


def score_table(scores: dict[str, dict[str, float | None]]) -> str:
    """Write scores by method as a Markdown table, the best of a column in bold."""
    columns = {
        "psnr": ("PSNR, whole (dB)", "{:.2f}"),
        "psnr_hole": ("PSNR, hole (dB)", "{:.2f}"),
        "ssim": ("SSIM, whole", "{:.4f}"),
    }
    lines = [
        "| Method | " + " | ".join(title for title, _ in columns.values()) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for method, row in scores.items():
        cells = []
        for key, (_, form) in columns.items():
            value = row[key]
            best = max(-math.inf if (other := one[key]) is None else other for one in scores.values())
            text = "–" if value is None else form.format(value)
            cells.append(f"**{text}**" if value is not None and value == best else text)
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


# ----------------------------------------------------------------------------------------------------
# Widgets

# How events run: the page has no public API; the model serves one run at a time, photos are opened beside it.
#
# The editor is no input of an event that runs here: the browser picks the painted layers out first
# (`Workbench.take_strokes`). And an event that sets the editor, or a row that the editor is in, names another
# widget in `show_progress_on`. Otherwise Gradio's front end keeps telling the editor about the progress of
# every event of the page, and each time has it send all its pictures to the server.
_QUIET: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_AT_ONCE: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
_MODEL: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", "api_visibility": "private"}

from gradio.events import Dependency

class MaskEditor(gr.ImageEditor):
    """Gradio's image editor, without the live data that it can keep on the server."""

    is_template = True  # for Gradio's front end this is an ImageEditor

    @server
    def accept_blobs(self, data: AcceptBlobs) -> None:
        """Refuse blobs: Gradio would keep any number of them in memory, and this page needs none."""
        raise gr.Error("This page takes no live editor data.")
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


def read_strokes(layers: Sequence[str | Path] | None) -> np.ndarray | None:
    """Read what is painted from the files of the editor's layers: bool H×W on the canvas; None without any.

    Raises `gr.Error` for files that no editor of this page sends.
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


def example_photos() -> list[Path]:
    """Find the example photos; those that this scikit-image does not bring are left out."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return [folder / name for name in EXAMPLES if (folder / name).is_file()]


def describe(photo: Photo) -> str:
    """Say in a line what was opened."""
    height, width = photo.pixels.shape[:2]
    line = f"{width} × {height} · {photo.format}"
    if canvas_size(height, width) != (height, width):
        line += " · shown smaller here, filled at full size"
    return " · ".join([line, *(html.escape(note) for note in photo.notes)])


@dataclasses.dataclass(frozen=True)
class Workbench:
    """What both tabs share: a photo is opened, then painted on.

    Attributes:
        work: state, the tab's `Work` or None.
        editor: where the photo is painted on.
        strokes: files of the layers painted when `take_strokes` last ran; `read_strokes` reads them.
        opened: events after which another photo is on the canvas.
        show: turns a photo's pixels into the editor's value, without strokes.
    """

    work: gr.State
    editor: MaskEditor
    strokes: gr.File
    opened: list[Any]
    show: Callable[[np.ndarray], dict[str, Any]]

    def take_strokes(self, event: Any) -> Any:
        """Bring `strokes` up to date after `event`; returns the event of doing so, which is the browser's."""
        layers = "(canvas) => [canvas?.layers ?? []]"
        return event.then(None, self.editor, self.strokes, js=layers, **_AT_ONCE)


def build_start(name: str, examples: Sequence[Path]) -> tuple[gr.Column, gr.File, gr.Dataset]:
    """Lay out where a photo is opened in the tab `name`: (the whole, file input, examples)."""
    with gr.Column(elem_id=f"{name}-start", elem_classes="start") as start:
        upload = gr.File(
            label="Drop, choose or paste a photo",
            file_types=list(SUFFIXES),
            height=180,
            elem_id=f"{name}-upload",
            elem_classes="photo-input",
        )
        gallery = gr.Dataset(
            components=[gr.Image(type="filepath", render=False)],
            samples=[[str(path)] for path in examples],
            type="index",
            label="Or try one of these",
            elem_id=f"{name}-examples",
            visible=bool(examples),
        )
    return start, upload, gallery


def build_workbench(
    name: str,
    start: tuple[gr.Column, gr.File, gr.Dataset],
    desk: gr.Row,
    limits: Limits,
    examples: Sequence[Path],
) -> Workbench:
    """Lay out the editor of the tab `name`, and wire it and what `build_start` returned.

    An opened photo hides the start and shows `desk`, the row that all the rest of the tab is in.
    """
    start_column, upload, gallery = start
    work = gr.State(None, time_to_live=limits.idle_seconds)
    strokes = gr.File(file_count="multiple", type="filepath", visible=False)
    editor = MaskEditor(
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

    def open_photo(path: str | Path, title: str) -> tuple[Any, ...]:
        try:
            photo = read_upload(path, limits)
        except ImageError as error:
            raise gr.Error(f"This file cannot be opened: {_reason(error)}.", print_exception=False) from None
        return (
            Work(title, photo),
            gr.Column(visible="hidden"),
            gr.Row(visible=True),
            gr.update(value=on_canvas(photo.pixels), brush=brush(*canvas_size(*photo.pixels.shape[:2]))),
            describe(photo),
        )

    def on_canvas(pixels: np.ndarray, mask: np.ndarray | None = None) -> dict[str, Any]:
        background = save_bytes_to_cache(png(canvas_copy(pixels)), "photo.png", editor.GRADIO_CACHE)
        layers = [] if mask is None else [mask_layer(shrink_mask(mask))]
        return {"background": background, "layers": layers, "composite": None}

    def open_upload(path: str | None) -> tuple[Any, ...]:
        if path is None:
            raise gr.Error("Choose a photo first.", print_exception=False)
        return (*open_photo(path, Path(path).stem), None)

    def open_example(index: int) -> tuple[Any, ...]:
        return open_photo(examples[index], examples[index].stem)

    def clear_strokes(current: Work | None) -> tuple[Any, Any]:
        if current is None:
            return gr.skip(), gr.skip()
        return dataclasses.replace(current, loaded_mask=None), on_canvas(current.photo.pixels)

    def read_mask_file(path: str | None, current: Work | None) -> tuple[Any, Any]:
        if path is None or current is None:
            raise gr.Error("Open a photo first, then its mask.", print_exception=False)
        height, width = current.photo.pixels.shape[:2]
        try:
            mask = read_mask(Path(path).read_bytes(), max_pixels=limits.pixels)
        except ImageError as error:
            raise gr.Error(f"This mask cannot be opened: {_reason(error)}.", print_exception=False) from None
        if mask.shape != (height, width):
            raise gr.Error(
                f"The mask is {mask.shape[1]} × {mask.shape[0]} pixels, the photo {width} × {height}; "
                "they must be of one size.",
                print_exception=False,
            )
        return dataclasses.replace(current, loaded_mask=mask), on_canvas(current.photo.pixels, mask)

    shown = [work, start_column, desk, editor, facts]
    opened = [
        upload.upload(open_upload, upload, [*shown, upload], show_progress_on=upload, **_QUIET),
        gallery.click(open_example, gallery, shown, show_progress_on=upload, **_QUIET),
    ]
    # A refused file leaves room for the next.
    opened[0].failure(lambda: None, None, upload, **_AT_ONCE)
    editor.clear(clear_strokes, work, [work, editor], show_progress_on=facts, **_QUIET)
    load_mask.upload(read_mask_file, [load_mask, work], [work, editor], show_progress_on=facts, **_QUIET)
    another.click(lambda: gr.Column(visible=True), None, start_column, **_QUIET)
    return Workbench(work, editor, strokes, opened, on_canvas)


def build_page(
    models: Sequence[str],
    load: Load,
    limits: Limits | None = None,
    examples: Sequence[Path] | None = None,
) -> gr.Blocks:
    """Build the page.

    Args:
        models: names to choose from; the first is chosen at the start.
        load: is called when a model is needed, also with the same arguments again.
        limits: what the page takes on.
        examples: photos to offer; by default those of scikit-image.
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
            _build_fill_tab(model, load, limits, examples)
        with gr.Tab("Evaluate", id="evaluate"):
            _build_evaluate_tab(model, load, limits, examples)
    page.queue(max_size=limits.queue, default_concurrency_limit=1)
    return page


def _build_fill_tab(model: gr.Dropdown, load: Load, limits: Limits, examples: Sequence[Path]) -> None:
    """Lay out and wire the tab where photos are filled."""
    outcome = gr.State(None, time_to_live=limits.idle_seconds)  # the `Outcome` of the last runs, or None
    start = build_start("fill", examples)
    with gr.Row(visible=False) as desk:
        with gr.Column(min_width=320):
            bench = build_workbench("fill", start, desk, limits, examples)
            run = gr.Button("Fill", variant="primary", elem_id="fill-run")
            with gr.Accordion("Edge and texture", open=False, elem_id="fill-settings"):
                grow = gr.Slider(
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
                texture = gr.Checkbox(
                    True,
                    label="Lay the photo's own texture over the fill",
                    info="Without it the fill is the network's alone: smoother, and only one of its kind.",
                    elem_id="fill-texture",
                )
        with gr.Column(min_width=320, elem_classes="outcome"):
            report = gr.Markdown(PAINT_FIRST, elem_id="fill-report", elem_classes="facts")
            slider = gr.ImageSlider(
                interactive=False,
                show_label=False,
                max_height=520,
                buttons=["fullscreen"],
                elem_id="fill-result",
                elem_classes="pictures",
                visible=False,
            )
            # All away while something is filled, so that nobody chooses or downloads what is about to change.
            with gr.Column(visible=False) as actions:
                with gr.Row(elem_classes="bar"):
                    strip = gr.Gallery(
                        columns=limits.fills,
                        allow_preview=False,
                        buttons=[],
                        show_label=False,
                        container=False,
                        interactive=False,
                        min_width=240,
                        elem_id="fill-strip",
                        elem_classes="strip",
                    )
                    other = gr.Button("Another fill", size="sm", scale=0, elem_id="fill-other", min_width=120)
                with gr.Row(elem_classes="bar"):
                    save = gr.DownloadButton("Download", size="sm", elem_id="fill-save", min_width=130)
                    save_png = gr.DownloadButton("PNG", size="sm", elem_id="fill-save-png", min_width=130)
                    save_mask = gr.DownloadButton("Mask", size="sm", elem_id="fill-save-mask", min_width=90)
                    again = gr.Button("Use as next input", size="sm", elem_id="fill-again", min_width=140)

    def fill(
        work: Work | None,
        layers: list[str] | None,
        before: Outcome | None,
        name: str,
        growth: int,
        textured: bool,
        bar: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way to ask for it)
    ) -> tuple[Any, ...]:
        return make_fill(work, layers, before, (name, growth, textured), bar)

    def fill_otherwise(
        work: Work | None,
        layers: list[str] | None,
        before: Outcome | None,
        name: str,
        growth: int,
        textured: bool,
        bar: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way to ask for it)
    ) -> tuple[Any, ...]:
        return make_fill(work, layers, before, (name, growth, textured), bar, another=True)

    def make_fill(
        work: Work | None,
        layers: list[str] | None,
        before: Outcome | None,
        chosen: tuple[str, int, bool],
        bar: gr.Progress,
        another: bool = False,
    ) -> tuple[Any, ...]:
        work, mask = _painted_photo(work, layers)
        name, growth, textured = chosen
        hole = grown(mask, growth)
        if hole.all():
            raise gr.Error(
                "Grown by so much, the mask covers everything: grow it less, to leave some of the photo.",
                print_exception=False,
            )
        if before is None or not before.is_of(work, mask):
            before = Outcome(work, mask)
        seed = before.next_seed() if another and textured else 0
        settings = Settings(name, "photo" if textured else "none", growth, seed)
        if another and any(kept.settings == settings for kept in before.fills):
            raise gr.Error(
                "Without the photo's own texture there is only one fill: tick it under Fill to have others.",
                print_exception=False,
            )
        bar(0, desc="Loading the model")
        inpainter = _load(load, name, settings.detail)
        start = time.perf_counter()
        pixels = inpainter(
            work.photo.pixels, hole, seed=seed, progress=lambda done: bar(done, desc="Filling")
        )
        seconds = time.perf_counter() - start
        facts = [f"Filled {100 * hole.mean():.1f} % of the photo with {html.escape(name)} in {seconds:.1f} s"]
        if growth:
            facts.append(f"grown by {growth} pixels")
        if textured:
            facts.append(f"seed {seed}")
        kept = KeptFill(settings, pixels[hole], thumbnail_of(pixels, mask), " · ".join(facts))
        done = before.with_fill(kept, limits.fills)
        return (done, *show(done, pixels))

    def show(done: Outcome, pixels: np.ndarray) -> tuple[Any, ...]:
        before_after = tuple(
            save_bytes_to_cache(png(canvas_copy(picture)), f"{title}.png", slider.GRADIO_CACHE)
            for title, picture in (("before", done.work.photo.pixels), ("after", pixels))
        )
        pictures = [kept.thumbnail for kept in done.fills]
        return (
            gr.ImageSlider(before_after, visible=True),
            gr.Gallery(pictures, selected_index=done.shown),
            done.report,
        )

    def choose(done: Outcome | None, event: gr.SelectData) -> tuple[Any, ...]:
        if done is None or event.index not in range(len(done.fills)):
            raise gr.Error("This fill is no longer kept.", print_exception=False)
        done = dataclasses.replace(done, shown=event.index)
        # At once, so that what is downloaded is what is shown.
        return (done, *show(done, done.pixels()), *files_of(done))

    def offer_downloads(done: Outcome) -> tuple[Any, ...]:
        return (*files_of(done), gr.Column(visible=True))

    def files_of(done: Outcome) -> tuple[gr.DownloadButton, ...]:
        buttons: list[gr.DownloadButton] = []
        for name, data in downloads(done.work.name, done.work.photo, done.pixels()):
            kind = Path(name).suffix.removeprefix(".").upper()
            title = f"{kind}, exact pixels" if buttons else f"Download {kind}"
            buttons.append(gr.DownloadButton(title, value=in_cache(data, name), visible=True))
        if len(buttons) == 1:
            buttons.append(gr.DownloadButton(value=None, visible=False))
        mask_file = in_cache(png(done.mask), f"{done.work.name}-mask.png")
        return (*buttons, gr.DownloadButton("Mask", value=mask_file))

    def in_cache(data: bytes, name: str) -> str:
        return save_bytes_to_cache(data, name, save.GRADIO_CACHE)

    def use_as_input(done: Outcome | None) -> tuple[Any, Any]:
        if done is None:
            raise gr.Error("There is no fill to go on from.", print_exception=False)
        pixels = done.pixels()
        photo = dataclasses.replace(done.work.photo, pixels=pixels)
        return Work(done.work.name, photo), bench.show(pixels)

    def start_over(work: Work) -> tuple[Any, ...]:
        growth = suggested_growth(*work.photo.pixels.shape[:2])
        return (
            None,
            PAINT_FIRST,
            gr.ImageSlider(None, visible=False),
            None,
            gr.Column(visible=False),
            growth,
        )

    def leave_on_offer(done: Outcome | None) -> tuple[Any, Any]:
        return PAINT_FIRST if done is None else done.report, gr.Column(visible=done is not None)

    for opened in bench.opened:
        opened.success(start_over, bench.work, [outcome, report, slider, strip, actions, grow], **_AT_ONCE)
    inputs = [bench.work, bench.strokes, outcome, model, grow, texture]
    shown = [outcome, slider, strip, report]
    files = [save, save_png, save_mask]
    for button, action in ((run, fill), (other, fill_otherwise)):
        started = button.click(
            lambda: (PREPARING, gr.Column(visible=False)), None, [report, actions], **_AT_ONCE
        )
        filling = bench.take_strokes(started).success(
            action, inputs, shown, show_progress_on=report, **_MODEL
        )
        filling.success(offer_downloads, outcome, [*files, actions], **_QUIET)
        # The last fill stays on offer.
        filling.failure(leave_on_offer, outcome, [report, actions], **_AT_ONCE)
    strip.select(
        choose, outcome, [*shown, *files], show_progress_on=report, trigger_mode="always_last", **_QUIET
    )
    again.click(use_as_input, outcome, [bench.work, bench.editor], show_progress_on=report, **_QUIET)


def _build_evaluate_tab(model: gr.Dropdown, load: Load, limits: Limits, examples: Sequence[Path]) -> None:
    """Lay out and wire the tab where a fill is compared with the truth under the hole."""
    gr.Markdown(
        "Paint a hole over a clean photo. The methods never see what you painted over; "
        "their fills are scored against it. The model fills what is painted and no more, without the photo's "
        "texture.",
        elem_classes="facts",
    )
    start = build_start("evaluate", examples)
    with gr.Row(visible=False) as desk:
        with gr.Column(min_width=320):
            bench = build_workbench("evaluate", start, desk, limits, examples)
            run = gr.Button("Compare", variant="primary", elem_id="evaluate-run")
        with gr.Column(min_width=320, elem_classes="outcome"):
            table = gr.Markdown(PAINT_FIRST, elem_id="evaluate-table", elem_classes="facts")
            with gr.Column(visible=False, elem_classes="pictures") as panel:
                pictures = []
                for in_row in (2, 1, 2):  # hole and truth, the model, the baselines
                    with gr.Row():
                        pictures += [
                            gr.Image(interactive=False, buttons=["fullscreen"], min_width=140, height=220)
                            for _ in range(in_row)
                        ]

    def compare(
        work: Work | None,
        layers: list[str] | None,
        name: str,
        bar: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way to ask for it)
    ) -> tuple[Any, ...]:
        from inpaint.evaluation.methods import harmonic, telea

        work, mask = _painted_photo(work, layers)
        # At the editor's size: to fill many megapixels by Telea and to score them would take minutes.
        truth, mask = canvas_copy(work.photo.pixels), shrink_mask(mask)
        bar(0, desc="Loading the model")
        # Scores are to tell what the model has learnt, and the texture over its fill is no part of that.
        inpainter = _load(load, name, "none")
        bar(0.2, desc="Filling and scoring")
        results = comparison(truth, mask, {name: inpainter, "Telea": telea, "Harmonic": harmonic})
        hole = truth.copy()
        hole[mask] = mask_layer(mask)[mask][:, :3]
        shown = {"Hole": hole, "Truth": truth} | {method: filled for method, (filled, _) in results.items()}
        images = [
            gr.Image(
                save_bytes_to_cache(png(picture), f"{number}.png", bench.editor.GRADIO_CACHE), label=title
            )
            for number, (title, picture) in enumerate(shown.items())
        ]
        height, width = mask.shape
        text = score_table({method: scores for method, (_, scores) in results.items()})
        text += f"\n\nThe hole is {100 * mask.mean():.1f} % of {width} × {height} pixels."
        return (text, gr.Column(visible=True), *images)

    for opened in bench.opened:
        opened.success(lambda: (PAINT_FIRST, gr.Column(visible=False)), None, [table, panel], **_AT_ONCE)
    started = run.click(lambda: (PREPARING, gr.Column(visible=False)), None, [table, panel], **_AT_ONCE)
    bench.take_strokes(started).success(
        compare,
        [bench.work, bench.strokes, model],
        [table, panel, *pictures],
        show_progress_on=table,
        **_MODEL,
    ).failure(lambda: PAINT_FIRST, None, table, **_AT_ONCE)


def _painted_photo(work: Work | None, layers: Sequence[str] | None) -> tuple[Work, np.ndarray]:
    """Return the tab's work and its mask at the photo's size, or say what is missing."""
    if work is None:
        raise gr.Error(
            "Open a photo first. (A photo left alone for hours is forgotten.)", print_exception=False
        )
    try:
        mask = photo_mask(work, read_strokes(layers))
    except CanvasError:
        raise gr.Error(
            "The photo was taken off the canvas. Press redo, or the bin to start it afresh.",
            print_exception=False,
        ) from None
    if not mask.any():
        raise gr.Error("Nothing is painted yet: brush over what should go, then fill.", print_exception=False)
    if mask.all():
        raise gr.Error(
            "Everything is painted over: leave some of the photo to fill from.", print_exception=False
        )
    return work, mask


def _reason(error: Exception) -> str:
    """Say why, for a message box: the boxes show HTML, and a visitor's file needs no name."""
    return html.escape(error.reason if isinstance(error, ImageError) else str(error))


def _load(load: Load, name: str, detail: Detail) -> Fill:
    """Load a model, or say why it cannot be had."""
    try:
        return load(name, detail)
    except WeightsError as error:
        raise gr.Error(f"The model cannot be loaded: {_reason(error)}.", print_exception=False) from None


# ----------------------------------------------------------------------------------------------------
# Serving

THEME = gr.themes.Base(
    primary_hue="teal",
    neutral_hue="slate",
    radius_size="md",
    font=["system-ui", "-apple-system", "Segoe UI", "sans-serif"],
    font_mono=["ui-monospace", "Consolas", "monospace"],
)

STYLE = """
.gradio-container { max-width: 1320px !important; width: 100%; margin: 0 auto; }
.head { align-items: center; }
.title h1 { margin: 0; font-size: 1.4rem; }
.title p, .facts p { color: var(--body-text-color-subdued); font-size: .9rem; margin: 0; }
.facts th, .facts td {
  padding: 6px 10px !important; font-size: .9rem; overflow-wrap: normal; word-break: normal;
}
.bar { align-items: center; gap: 8px; }
.strip .grid-wrap { height: auto; min-height: 0; padding: 0; overflow: visible; }
.strip .grid-container { display: flex; flex-wrap: wrap; gap: 6px; padding: 0; }
.strip .gallery-item { width: 68px; height: 68px; }
.strip .thumbnail-item.selected { border-width: 3px; }
/* One colour: a palette would only ask a question. */
.editor button[aria-label="Color"] { display: none; }
/* The message says it; a mark that stays on the drop zone would be in the way of the next file. */
.start [data-testid="status-tracker"]:has(.clear-status) { display: none; }
.facts:has([role="progressbar"]) { min-height: 80px; }
/* Where the outcome will be. */
.outcome:not(:has(.pictures))::after {
  content: ""; min-height: 320px;
  border: 1px dashed var(--border-color-primary); border-radius: var(--block-radius);
}
@media (max-width: 640px) {
  .head { flex-direction: column; align-items: stretch; }
  .outcome:not(:has(.pictures))::after { display: none; }
}
"""

PASTE = """
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
  if (!file) return;
  const panels = [...document.querySelectorAll("[role=tabpanel]")];
  const open = panels.find((panel) => panel.offsetParent !== null);
  const input = open?.querySelector(".photo-input input[type=file]");
  if (!input) return;
  event.preventDefault();
  const files = new DataTransfer();
  files.items.add(file);
  input.files = files.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});
"""


def serve(page: gr.Blocks, host: str = "127.0.0.1", port: int = 7860, limits: Limits | None = None) -> str:
    """Start serving the page in the background and return its address.

    Raises OSError where the port is taken or the host is not this machine's.
    """
    limits = limits or Limits()
    # Gradio tries the port on localhost only, and its own message advises variables that nobody set.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        prevent_thread_lock=True,
        quiet=True,
        theme=THEME,
        css=STYLE,
        js=PASTE,
        # It bounds what the editor sends, too; a photo's own limit is `read_upload`'s.
        max_file_size=max(limits.file_bytes, LARGEST_CANVAS_FILE),
        state_session_capacity=limits.sessions,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
    )
    return address


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until it is stopped. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Serve the page where photos are painted on and filled.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (default: %(default)s)")
    parser.add_argument(
        "--model",
        help=f"chosen at the start: an installed model, a folder or a hub id (default: {DEFAULT_MODEL})",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: %(default)s)")
    parser.add_argument(
        "--max-megapixels", type=float, default=40, help="largest photo (default: %(default)s)"
    )
    parser.add_argument("--max-megabytes", type=float, default=30, help="largest file (default: %(default)s)")
    parser.add_argument("--max-queue", type=int, default=16, help="runs that may wait (default: %(default)s)")
    options = parser.parse_args(argv)
    for name in ("max_megapixels", "max_megabytes", "max_queue"):
        value = getattr(options, name)
        if not (value > 0 and math.isfinite(value * 2**20)):  # a limit is a whole number of bytes or pixels
            parser.error(f"--{name.replace('_', '-')} must be above 0, and a number, got {value}")
    limits = Limits(
        file_bytes=round(options.max_megabytes * 2**20),
        pixels=round(options.max_megapixels * 1e6),
        queue=options.max_queue,
    )

    @functools.lru_cache(maxsize=2)
    def load_model(name: str) -> Inpainter:
        return Inpainter.from_pretrained(name, device=options.device)

    def load(name: str, detail: Detail) -> Fill:
        model = load_model(name)
        return Inpainter(model.network, model.device, detail)

    try:
        models = model_names(options.model)
        sys.stdout.write(f"Loading {models[0]} ...\n")
        load_model(models[0])
        page = build_page(models, load, limits)
        address = serve(page, options.host, options.port, limits)
    except (WeightsError, ValueError, RuntimeError) as error:
        sys.stderr.write(f"app.py: {error}\n")
        return 1
    except OSError as error:
        remedy = (
            "the port is taken; choose another with --port"
            if error.errno == errno.EADDRINUSE
            else error.strerror or error
        )
        sys.stderr.write(f"app.py: cannot listen on {options.host}:{options.port}: {remedy}\n")
        return 1
    sys.stdout.write(f"The page is at {address.rstrip('/')} (Ctrl-C stops it)\n")
    sys.stdout.flush()
    page.block_thread()
    return 0


def model_names(first: str | None) -> list[str]:
    """List the models to choose from: `first`, or else the default one, before the other installed ones.

    Raises `WeightsError` where there is none.
    """
    installed = [model.name for model in installed_models()]
    if first is None:
        first = DEFAULT_MODEL if DEFAULT_MODEL in installed or not installed else installed[0]
    find_model(first)
    return [first, *(name for name in installed if name != first)]


if __name__ == "__main__":
    sys.exit(main())