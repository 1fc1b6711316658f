"""The canvas's demo page, and what a person does there."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator

GREEN = (0, 160, 90)
DARK = (60, 20, 30)


def encoded(pixels: np.ndarray, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


def dark_photo(width: int, height: int) -> np.ndarray:
    """A photo of dark colours without green, on which the stand-in's fill is told apart."""
    return np.full((height, width, 3), DARK, np.uint8)


class Painter:
    """A tab of the demo page."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.context = context
        self.page = context.new_page()
        self.page.goto(address)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        self.page.locator("html[data-ready]").wait_for()

    @property
    def stage(self) -> Locator:
        return self.page.get_by_role("application", name="Mask over the photo")

    def tool(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def run(self, script: str, argument: Any = None) -> Any:
        """Run the body of an async function with `canvas`, `Draft`, `events` and `argument`."""
        return self.page.evaluate(f"async (argument) => {{ {script} }}", argument)

    def open(self, width: int, height: int) -> None:
        self.open_bytes(encoded(dark_photo(width, height)))

    def open_bytes(self, file: bytes, name: str = "photo.png", mime: str = "image/png") -> None:
        count = self.count("open")
        self.page.get_by_label("Photo", exact=True).set_input_files(
            {"name": name, "mimeType": mime, "buffer": file}
        )
        self.page.wait_for_function(
            "count => events.filter((event) => event.event === 'open').length > count", arg=count
        )

    def count(self, event: str) -> int:
        return self.run("return events.filter((event) => event.event === argument).length", event)

    def last(self, event: str) -> dict[str, Any]:
        return self.run("return events.filter((event) => event.event === argument).at(-1)", event)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the photo is in the window."""
        at = self.run(
            "const {left, top} = canvas.view.stage.getBoundingClientRect();"
            "const {x, y} = canvas.view.viewport.toScreen({x: argument[0], y: argument[1]});"
            "return [left + x, top + y];",
            [x, y],
        )
        return at[0], at[1]

    def drag(self, *points: tuple[float, float], button: Any = "left") -> None:
        """Press the mouse at the first of some points of the photo, move it to the others and let it go."""
        places = [self.place(*point) for point in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down(button=button)
        for place in places[1:]:
            self.page.mouse.move(*place, steps=4)
        self.page.mouse.up(button=button)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def download(self, expression: str) -> bytes:
        """The bytes of a Blob that an expression gives."""
        text = self.run(
            f"const blob = await {expression};"
            "return new Promise((resolve) => { const reader = new FileReader();"
            "reader.onload = () => resolve(reader.result); reader.readAsDataURL(blob); });"
        )
        return base64.b64decode(text.split(",", 1)[1])

    def mask(self) -> np.ndarray:
        """The mask that the page exports, as Pillow reads it: bool H×W."""
        with Image.open(io.BytesIO(self.download("canvas.mask.toPNG()"))) as image:
            assert image.mode == "1"
            return np.asarray(image)

    def picture(self) -> np.ndarray:
        """The picture that is the canvas, as Pillow reads it."""
        with Image.open(io.BytesIO(self.download("canvas.picture.toBlob('image/png')"))) as image:
            return np.asarray(image.convert("RGB"))

    def seen(self, x: float, y: float) -> tuple[int, int, int]:
        """The colour on the screen at a point of the photo."""
        self.page.mouse.move(1, 1)
        self.settle()
        left, top = self.place(x, y)
        shot = self.page.screenshot(clip={"x": round(left) - 1, "y": round(top) - 1, "width": 3, "height": 3})
        with Image.open(io.BytesIO(shot)) as image:
            return image.convert("RGB").getpixel((1, 1))

    def settle(self) -> None:
        """Let two frames be drawn."""
        self.run("for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);")

    def add_mask(self, mask: np.ndarray) -> Any:
        """Load a mask by the toolbar's menu, as a file of 8 bits."""
        self.page.get_by_label("Mask file").set_input_files(
            {"name": "mask.png", "mimeType": "image/png", "buffer": encoded(mask.astype(np.uint8) * 255)}
        )
        return None

    def set_runs(self, mask: np.ndarray) -> None:
        """Make a mask the canvas's, as one step."""
        flat = np.concatenate([[0], mask.ravel().astype(np.int8), [0]])
        edges = np.flatnonzero(np.diff(flat))
        runs = np.diff(np.concatenate([[0], edges, [mask.size]]))
        self.run(
            "const {addRuns} = await import('/inpaint/page/static/canvas/runlength.js');"
            "canvas.edit('load', (mask) => addRuns(mask, argument));",
            {"width": mask.shape[1], "height": mask.shape[0], "runs": runs.tolist()},
        )


def save_screenshot(painter: Painter, path: Path) -> None:
    painter.settle()
    painter.page.screenshot(path=path)
