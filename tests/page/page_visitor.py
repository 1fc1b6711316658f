"""A visitor of the page, and pictures to bring along."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

GREEN = np.array((0, 160, 90), dtype=np.uint8)
"""What the stand-in fills with (see page_fakes.py)."""


class Visitor:
    """A tab of the page, and what a visitor does there."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.context = context
        self.page: Page = context.new_page()
        self.page.goto(address)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        self.page.locator("#flow[data-ready]").wait_for()
        self.page.wait_for_function("document.querySelector('#flow select').value")

    def reload(self) -> None:
        self.page.reload()
        self.wait_until_ready()

    def keep(self) -> None:
        """Wait until the work is kept in the browser, which takes place a moment after each change."""
        self.run(
            "const kept = new Promise((done) => canvas.addEventListener('draft', done, {once: true}));"
            "canvas.emit('change', {reason: 'test'}); await kept"
        )

    def run(self, script: str, argument: Any = None) -> Any:
        """Run the body of an async function with `flow`, `canvas` and `argument`."""
        return self.page.evaluate(
            f"async (argument) => {{ const {{ flow }} = inpaintPage; const {{ canvas }} = flow; {script} }}",
            argument,
        )

    def button(self, name: str) -> Locator:
        return self.page.locator("#flow").get_by_role("button", name=name, exact=True)

    @property
    def stage(self) -> Locator:
        return self.page.get_by_role("application", name="Mask over the photo")

    @property
    def tiles(self) -> Locator:
        return self.page.locator(".fl-tile")

    @property
    def alert(self) -> Locator:
        return self.page.locator(".fl-alert")

    @property
    def work(self) -> Locator:
        return self.page.locator(".fl-work")

    def choose(self, path: Path) -> None:
        self.page.locator(".fl-photo input[type=file]").set_input_files(path)

    def open(self, path: Path) -> None:
        self.run("window.before = canvas.id")
        self.choose(path)
        self.wait_for_photo()

    def wait_for_photo(self) -> None:
        self.page.wait_for_function(
            "() => { const {flow} = inpaintPage;"
            " return flow.canvas.id && flow.canvas.id !== window.before && flow.original }"
        )

    def open_pixels(self, pixels: np.ndarray, folder: Path, name: str = "garden.png") -> None:
        Image.fromarray(pixels).save(folder / name)
        self.open(folder / name)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the photo is in the window."""
        left, top = self.run(
            "const {left, top} = canvas.view.stage.getBoundingClientRect();"
            "const at = canvas.view.viewport.toScreen({x: argument[0], y: argument[1]});"
            "return [left + at.x, top + at.y];",
            [x, y],
        )
        return left, top

    def stroke(self, *points: tuple[float, float]) -> None:
        """Drag the mouse along points of the photo."""
        places = [self.place(*point) for point in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=5)
        self.page.mouse.up()

    def grow(self, pixels: int) -> None:
        self.run("flow.panel.setGrowth(argument)", pixels)

    def painted(self) -> float:
        return self.run("return canvas.mask.share()")

    def fill(self, button: str = "Fill") -> None:
        """Fill, and wait until the fill is the picture."""
        self.run("window.before = canvas.picture")
        self.button(button).click()
        self.wait_for_fill()

    def wait_for_fill(self) -> None:
        self.page.wait_for_function(
            "() => { const {flow} = inpaintPage;"
            " return !flow.job && flow.current && flow.canvas.picture !== window.before }"
        )

    def picture(self) -> np.ndarray:
        """The pixels of what is shown."""
        data = self.run(
            "const blob = await canvas.picture.toBlob();return [...new Uint8Array(await blob.arrayBuffer())];"
        )
        return pixels_of(bytes(data))

    def download(self, button: str) -> tuple[str, bytes]:
        with self.page.expect_download() as download:
            self.button(button).click()
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def noise(width: int, height: int, side: int = 5) -> np.ndarray:
    """A photo that no fill resembles: random blocks, none of them green; the red channel is never 0."""
    rows, columns = -(-height // side), -(-width // side)
    blocks = np.random.default_rng(1).integers(20, 255, (rows, columns, 3), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(side, 0).repeat(side, 1)[:height, :width])


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def changed_between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    assert after.shape == before.shape
    return (after != before).any(axis=2)


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First row, last row, first column, last column of what is True."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
