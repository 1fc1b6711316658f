"""The page in a real Chromium, used the way a visitor uses it: open, paint, fill, compare, download."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from inpaint.inference.inpainter import grown

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page, Request

pytestmark = pytest.mark.browser

GREEN = np.array((0, 160, 90), dtype=np.uint8)
"""What the stand-in model fills with (see conftest.py)."""


class Visitor:
    """A tab of the page and what a visitor does there; `tab` is "fill" or "evaluate"."""

    def __init__(self, context: BrowserContext, address: str, tab: str = "fill") -> None:
        self.tab = tab
        self.uploads = 0
        self.page: Page = context.new_page()
        self.page.on("request", self.count_upload)
        self.page.goto(address)
        self.page.get_by_role("tab", name=tab.capitalize()).click()
        self.part("examples").locator("img").first.wait_for()

    def count_upload(self, request: Request) -> None:
        self.uploads += "/upload" in request.url and request.method == "POST"

    def part(self, name: str) -> Locator:
        return self.page.locator(f"#{self.tab}-{name}")

    def tool(self, name: str) -> Locator:
        return self.part("editor").get_by_role("button", name=name, exact=True)

    def upload(self, path: Path) -> None:
        self.part("upload").locator("input[type=file]").set_input_files(path)

    def load_mask(self, path: Path) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.part("load-mask").click()
        chooser.value.set_files(path)

    def wait_for_photo(self, width: int, height: int) -> None:
        self.part("facts").get_by_text(f"{width} × {height}").wait_for()
        self.tool("Undo").wait_for()
        self.settle()

    def open(self, path: Path) -> None:
        with Image.open(path) as image:
            width, height = ImageOps.exif_transpose(image).size
        self.upload(path)
        self.wait_for_photo(width, height)

    def settle(self) -> None:
        """Wait until the canvas has stopped changing."""
        editor, last = self.part("editor"), b""
        for _ in range(60):
            time.sleep(0.4)
            picture = editor.screenshot()
            if picture == last:
                return
            last = picture
        pytest.fail("the canvas never came to rest")

    def zoom(self) -> float:
        """Screen pixels per canvas pixel, as the editor says (rounded to 1 %)."""
        return int(re.search(r"(\d+)\s*%", self.part("editor").inner_text()).group(1)) / 100

    def stroke(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag the mouse between two points, given in screen pixels from the middle of the canvas."""
        canvas = self.part("editor").locator("canvas").first
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x + start[0], y + start[1])
        self.page.mouse.down()
        self.page.mouse.move(x + end[0], y + end[1], steps=8)
        self.page.mouse.up()
        # Away from the canvas, where the brush's outline would be in the picture.
        self.page.mouse.move(5, 5)
        self.settle()

    def run(self, button: str = "run") -> None:
        """Fill, or make another fill ("other"), and wait until the files can be downloaded.

        The pictures on the canvas are large: background, layer and composite go to the server once, not at
        every turn of the progress.
        """
        self.uploads = 0
        self.part(button).click()
        # What is said of an earlier fill goes before the canvas is sent.
        deadline = time.monotonic() + 60
        while self.uploads < 2 and time.monotonic() < deadline:
            self.page.wait_for_timeout(50)
        self.part("report").get_by_text("Filled").wait_for()
        self.part("save").wait_for()
        assert 2 <= self.uploads <= 3

    def growth(self) -> int:
        """By how many pixels the mask of the fill that is shown was grown."""
        return int(re.search(r"grown by (\d+) pixels", self.part("report").inner_text()).group(1))

    def download(self, name: str) -> tuple[str, bytes]:
        with self.page.expect_download() as download:
            self.part(name).click()
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


@pytest.mark.parametrize(
    ("width", "height", "settings"),
    [
        (1500, 1000, {}),
        (901, 1337, {}),
        (640, 480, {"device_scale_factor": 2}),
        (1003, 601, {"viewport": {"width": 390, "height": 844}}),
    ],
    ids=["landscape", "portrait", "fine-screen", "phone"],
)
def test_pixels_under_the_stroke_change_and_no_other(
    visit: Callable[..., BrowserContext],
    address: str,
    tmp_path: Path,
    width: int,
    height: int,
    settings: dict[str, Any],
) -> None:
    photo = noise(width, height)
    Image.fromarray(photo).save(tmp_path / "garden.png")
    visitor = Visitor(visit(**settings), address)
    visitor.open(tmp_path / "garden.png")
    visitor.stroke((-60, 30), (60, 30))
    visitor.run()
    name, data = visitor.download("save")

    assert name == "garden-filled.png"
    result = pixels_of(data)
    changed = changed_between(photo, result)
    assert (result[changed] == GREEN).all()
    # The stroke, in the photo's pixels: 120 screen pixels long and 30 below the middle, with round ends.
    zoom = visitor.zoom()
    top, bottom, left, right = box_of(changed)
    slack = 3 + 0.02 * width
    assert (left + right) / 2 == pytest.approx(width / 2, abs=slack)
    assert (top + bottom) / 2 == pytest.approx(height / 2 + 30 / zoom, abs=slack)
    assert (right - left) - (bottom - top) == pytest.approx(120 / zoom, abs=slack)
    assert changed[round((top + bottom) / 2), left : right + 1].all()

    # The mask on offer is the painted one; what changed is a little more.
    mask = pixels_of(visitor.download("save-mask")[1]).astype(bool)
    assert not (mask & ~changed).any() and (changed & ~mask).any()
    assert (grown(mask, visitor.growth()) == changed).all()


def test_a_large_jpeg_keeps_its_size_exif_and_profile(
    visit: Callable[..., BrowserContext], address: str, tmp_path: Path
) -> None:
    """12 megapixels, lying on its side: the canvas is smaller than the photo, the files are not."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn a quarter clockwise
    exif[0x010F] = "A camera maker"
    path = tmp_path / "hall.jpg"
    Image.fromarray(noise(4000, 3000, side=250)).save(path, quality=90, exif=exif, icc_profile=profile)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert upright.shape == (4000, 3000, 3)

    visitor = Visitor(visit(), address)
    visitor.open(path)
    visitor.stroke((0, -50), (0, 50))
    visitor.run()

    name, data = visitor.download("save-png")
    assert name == "hall-filled.png"
    exact = pixels_of(data)
    changed = changed_between(upright, exact)
    assert (exact[changed] == GREEN).all()
    top, bottom, left, right = box_of(changed)
    assert (top + bottom) / 2 == pytest.approx(2000, abs=60)
    assert (left + right) / 2 == pytest.approx(1500, abs=60)
    assert 0 < changed.mean() < 0.1

    name, data = visitor.download("save")
    assert name == "hall-filled.jpg"
    jpeg = Image.open(io.BytesIO(data))
    assert (jpeg.format, jpeg.size) == ("JPEG", (3000, 4000))
    assert jpeg.info["icc_profile"] == profile
    assert jpeg.getexif()[0x010F] == "A camera maker"
    assert jpeg.getexif().get(0x0112, 1) == 1
    assert np.abs(np.asarray(jpeg).astype(int) - exact).mean() < 2


def test_undo_eraser_and_bin(visit: Callable[..., BrowserContext], address: str, tmp_path: Path) -> None:
    photo = noise(600, 600)
    Image.fromarray(photo).save(tmp_path / "wall.png")
    visitor = Visitor(visit(), address)
    visitor.open(tmp_path / "wall.png")
    zoom = visitor.zoom()

    visitor.stroke((-100, -100), (100, -100))
    visitor.stroke((-100, 100), (100, 100))
    visitor.tool("Undo").click()
    visitor.settle()
    visitor.tool("Erase").click()
    visitor.stroke((20, -140), (20, -60))
    visitor.run()
    changed = changed_between(photo, pixels_of(visitor.download("save")[1]))
    row = round(300 - 100 / zoom)
    assert changed[row, 300 - 90 : 300 - 30].all()  # the first stroke
    assert not changed[row, round(300 + 20 / zoom)]  # but for what was erased
    assert not changed[330:].any()  # the second was undone

    visitor.tool("Clear canvas").click()
    visitor.settle()
    visitor.part("run").click()
    visitor.page.get_by_text("Nothing is painted yet").wait_for()

    visitor.stroke((-50, 0), (50, 0))
    visitor.run()
    changed = changed_between(photo, pixels_of(visitor.download("save")[1]))
    assert changed[300, 280:320].all()
    assert not changed[:200].any()


def test_another_fill_and_back_and_on_from_there(
    visit: Callable[..., BrowserContext], address: str, tmp_path: Path
) -> None:
    photo = noise(500, 400)
    Image.fromarray(photo).save(tmp_path / "beach.png")
    visitor = Visitor(visit(), address)
    visitor.open(tmp_path / "beach.png")
    visitor.stroke((-60, -70), (60, -70))
    visitor.run()
    first = pixels_of(visitor.download("save")[1])
    thumbnails = visitor.part("strip").get_by_role("button")

    visitor.run("other")
    second = pixels_of(visitor.download("save")[1])
    hole = changed_between(photo, first)
    assert (changed_between(photo, second) == hole).all() and hole.any()
    assert (second[hole] == (0, 180, 90)).all()
    assert thumbnails.count() == 2

    thumbnails.first.click()
    visitor.part("report").get_by_text("seed 0").wait_for()
    assert (pixels_of(visitor.download("save")[1]) == first).all()

    # The chosen one is the next input, and what is painted on it is another hole.
    visitor.part("again").click()
    visitor.settle()
    visitor.stroke((-60, 70), (60, 70))
    visitor.run("other")
    third = pixels_of(visitor.download("save")[1])
    assert (third[:200] == first[:200]).all()
    assert (third[200:] == GREEN).all(axis=2).any()
    assert thumbnails.count() == 1


def test_evaluate_an_example(visit: Callable[..., BrowserContext], address: str) -> None:
    visitor = Visitor(visit(), address, tab="evaluate")
    visitor.part("examples").locator("img").first.click()
    visitor.wait_for_photo(512, 512)
    visitor.stroke((-80, 0), (80, 0))
    visitor.part("run").click()
    table = visitor.part("table")
    table.get_by_role("cell", name="Harmonic").wait_for()
    rows = [row.inner_text().split("\t") for row in table.locator("tbody tr").all()]
    assert [row[0].strip() for row in rows] == ["green", "Telea", "Harmonic"]
    scores = {name.strip(): [float(value) for value in values] for name, *values in rows}
    for psnr, psnr_hole, ssim in scores.values():
        assert 5 < psnr_hole < psnr < 60
        assert 0.5 < ssim < 1
    # On a face and a suit a flat green hole is far off.
    for baseline in ("Telea", "Harmonic"):
        assert all(ours < theirs for ours, theirs in zip(scores["green"], scores[baseline], strict=True))
    for title in ("Hole", "Truth", "green", "Telea", "Harmonic"):
        visitor.page.locator("label", has_text=title).first.wait_for()


def test_a_mask_file_is_used_exactly(
    visit: Callable[..., BrowserContext], address: str, tmp_path: Path
) -> None:
    photo = noise(2500, 900)
    mask = np.zeros((900, 2500), dtype=bool)
    mask[100:103, 7:2000:3] = True  # finer than the canvas, which is 2048 pixels wide
    mask[500:733, 1201:1500] = True
    Image.fromarray(photo).save(tmp_path / "street.png")
    Image.fromarray(mask).save(tmp_path / "street-mask.png")
    Image.fromarray(mask[:, :-1]).save(tmp_path / "narrow.png")
    visitor = Visitor(visit(), address)
    visitor.open(tmp_path / "street.png")

    visitor.load_mask(tmp_path / "narrow.png")
    visitor.page.get_by_text("they must be of one size").wait_for()
    visitor.load_mask(tmp_path / "street-mask.png")
    visitor.settle()
    visitor.part("settings").get_by_role("button").first.click()
    visitor.part("grow").get_by_role("spinbutton").fill("0")
    visitor.run()
    assert (changed_between(photo, pixels_of(visitor.download("save")[1])) == mask).all()


def test_a_photo_is_pasted(visit: Callable[..., BrowserContext], address: str, tmp_path: Path) -> None:
    visitor = Visitor(visit(), address)
    visitor.page.evaluate(
        """async () => {
          const canvas = Object.assign(document.createElement("canvas"), { width: 321, height: 123 });
          const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
          const data = new DataTransfer();
          data.items.add(new File([blob], "image.png", { type: "image/png" }));
          document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
        }"""
    )
    visitor.wait_for_photo(321, 123)


def test_files_that_are_refused(visit: Callable[..., BrowserContext], address: str, tmp_path: Path) -> None:
    visitor = Visitor(visit(), address)

    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing of the kind")
    visitor.upload(tmp_path / "broken.png")
    visitor.page.get_by_text("This file cannot be opened").first.wait_for()

    Image.fromarray(noise(1200, 1200, side=1)).save(tmp_path / "heavy.png")
    assert (tmp_path / "heavy.png").stat().st_size > 3 * 2**20
    visitor.upload(tmp_path / "heavy.png")
    visitor.page.get_by_text("larger than 3 MB").wait_for()

    Image.new("L", (4000, 3300)).save(tmp_path / "wide.png")
    visitor.upload(tmp_path / "wide.png")
    visitor.page.get_by_text("13.2 megapixels").wait_for()

    (tmp_path / "huge.png").write_bytes(bytes(22 * 2**20))
    visitor.upload(tmp_path / "huge.png")
    visitor.page.get_by_text(re.compile("exceed", re.IGNORECASE)).first.wait_for()

    # And the page goes on.
    visitor.part("examples").locator("img").nth(1).click()
    visitor.wait_for_photo(600, 400)


def test_the_released_model(visit: Callable[..., BrowserContext], serve_page: Callable[..., str]) -> None:
    from inpaint import Inpainter

    address = serve_page(
        ["pconv-carafe"], lambda name, detail: Inpainter.from_pretrained(name, "cpu", detail)
    )
    visitor = Visitor(visit(), address)
    visitor.part("examples").locator("img").nth(1).click()
    visitor.wait_for_photo(600, 400)
    visitor.stroke((-60, 0), (60, 0))
    visitor.run()
    from skimage.data import coffee

    photo = coffee()
    result = pixels_of(visitor.download("save")[1])
    mask = pixels_of(visitor.download("save-mask")[1]).astype(bool)
    changed = changed_between(photo, result)
    assert not changed[~grown(mask, visitor.growth())].any()
    assert changed[mask].mean() > 0.9
    # No blotches: the fill stays within the colours around it.
    assert np.abs(result[mask].mean(axis=0) - photo[mask].mean(axis=0)).max() < 60
