"""Masks as files and run lengths, and masks that grow and shrink, against SciPy."""

from __future__ import annotations

import io

import numpy as np
import pytest
from canvas_driver import Painter, dark_photo, encoded
from PIL import Image
from scipy.ndimage import distance_transform_edt

pytestmark = pytest.mark.browser


def blobs(height: int, width: int, seed: int = 3) -> np.ndarray:
    """Random lines, discs and single pixels, some at the rim."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    y, x = np.mgrid[:height, :width]
    for _ in range(6):
        cy, cx, r = rng.integers(0, height), rng.integers(0, width), rng.integers(2, 30)
        mask |= (y - cy) ** 2 + (x - cx) ** 2 < r * r
    mask[rng.integers(0, height, 20), rng.integers(0, width, 20)] = True
    mask[height // 2] = True
    mask[0, 0] = mask[-1, -1] = True
    return mask


def of_runs(text: dict) -> np.ndarray:
    assert sum(text["runs"]) == text["width"] * text["height"]
    values = np.arange(len(text["runs"])) % 2 == 1
    return np.repeat(values, text["runs"]).reshape(text["height"], text["width"])


@pytest.mark.parametrize("size", [(320, 240), (321, 97), (7, 5), (1, 1), (8, 3)])
def test_png_and_run_length_hold_the_same_mask(painter: Painter, size: tuple[int, int]) -> None:
    painter.open(*size)
    mask = blobs(size[1], size[0])
    painter.set_runs(mask)
    np.testing.assert_array_equal(painter.mask(), mask)
    np.testing.assert_array_equal(of_runs(painter.run("return canvas.mask.toRunLength()")), mask)
    assert painter.run("return canvas.mask.count()") == mask.sum()


def test_run_lengths_of_another_size_are_refused(painter: Painter) -> None:
    text = painter.run(
        "const {addRuns} = await import('/inpaint/page/static/canvas/runlength.js');"
        "const told = [];"
        "for (const runs of [{width: 3, height: 2, runs: [6]}, {width: 320, height: 240, runs: [9]}])"
        "  try { addRuns(canvas.mask, runs); } catch (error) { told.push(error.message); } return told"
    )
    assert text == ["a mask of 3 × 2 for a photo of 320 × 240", "the runs do not add up to 320 × 240 pixels"]


@pytest.mark.parametrize("kind", ["L", "1", "RGB", "JPEG"])
def test_a_loaded_mask_is_added_as_one_step(painter: Painter, kind: str) -> None:
    painter.drag((250, 200))
    before = painter.mask()
    grey = np.tile(np.linspace(0, 255, 320).round().astype(np.uint8), (240, 1))
    grey[:, 200:] = 0
    image = Image.fromarray(grey)
    file = io.BytesIO()
    if kind == "JPEG":
        image.save(file, "JPEG", quality=95)
    else:
        image.convert(kind, dither=Image.Dither.NONE).save(file, "PNG")
    painter.page.get_by_label("Mask file").set_input_files(
        {"name": "mask.png", "mimeType": "image/png", "buffer": file.getvalue()}
    )
    painter.page.wait_for_function("canvas.mask.get(199, 0)")
    with Image.open(file) as saved:
        loaded = np.asarray(saved.convert("L")) > 127
    np.testing.assert_array_equal(painter.mask(), before | loaded)
    painter.press("Control+z")
    np.testing.assert_array_equal(painter.mask(), before)


def test_a_mask_of_another_size_is_refused(painter: Painter) -> None:
    painter.add_mask(np.ones((200, 300), bool))
    painter.page.get_by_role("alert").get_by_text("mask").wait_for()
    assert painter.page.get_by_role("alert").inner_text() == (
        "The mask is 300 × 200 pixels and the photo 320 × 240. A mask must have the photo's size."
    )
    assert not painter.mask().any()
    assert not painter.run("return canvas.canUndo")


def test_a_file_that_is_no_mask_is_refused(painter: Painter) -> None:
    painter.page.get_by_label("Mask file").set_input_files(
        {"name": "mask.png", "mimeType": "image/png", "buffer": b"no picture"}
    )
    painter.page.get_by_role("alert").get_by_text("mask.png").wait_for()
    assert (
        painter.page.get_by_role("alert").inner_text()
        == "“mask.png” is not a photo that this browser can open."
    )


def test_the_mask_is_saved_from_the_menu(painter: Painter) -> None:
    painter.drag((100, 100), (200, 50))
    painter.page.get_by_label("Mask", exact=True).and_(painter.page.locator("summary")).click()
    with painter.page.expect_download() as download:
        painter.page.get_by_role("button", name="Save mask").click()
    assert download.value.suggested_filename == "photo-mask.png"
    with Image.open(download.value.path()) as image:
        assert (image.mode, image.size) == ("1", (320, 240))
        np.testing.assert_array_equal(np.asarray(image), painter.mask())


def test_the_mask_of_12_megapixels_is_exported_without_large_buffers(painter: Painter) -> None:
    painter.open(4000, 3001)
    mask = np.zeros((3001, 4000), bool)
    mask[1000:2000, 1503:2501] = True
    mask[-1, -1] = True
    painter.set_runs(mask)
    file = painter.download("canvas.mask.toPNG()")
    assert len(file) < 20_000
    with Image.open(io.BytesIO(file)) as image:
        assert image.mode == "1"
        np.testing.assert_array_equal(np.asarray(image), mask)
    # Everything that is held for the mask: itself, its last finished state and the levels for drawing.
    held = painter.run(
        "const {editor, mask} = canvas; const levels = editor.pyramid.levels.slice(1);"
        "return mask.bits.byteLength + editor.ledger.finished.byteLength + editor.history.bytes"
        "  + levels.reduce((sum, {bits}) => sum + bits.byteLength, 0)"
    )
    assert held < 4000 * 3001 / 8 * 2.5
    # The photo's own pixels are given up for a copy of 2048, until one zooms in to them.
    assert painter.run("return [canvas.photo.full, canvas.photo.copy.width]") == [None, 2048]
    painter.run("canvas.actualSize()")
    painter.page.wait_for_function("canvas.photo.full?.width === 4000")
    painter.run("canvas.fit()")
    painter.settle()
    assert painter.run("return canvas.photo.full") is None
    # Nor does a fill that is taken back leave anything behind.
    painter.run("await canvas.showFill(canvas.photo.blob); window.fill = canvas.picture; await canvas.undo()")
    assert painter.run("return [canvas.photo.full, fill.full, fill.copy]") == [None, None, None]
    painter.run("await canvas.redo()")
    assert painter.run("return [canvas.picture === fill, fill.copy.width]") == [True, 2048]


@pytest.mark.parametrize("pixels", [1, 2, 7, 40])
@pytest.mark.parametrize("size", [(301, 561), (64, 37)])
def test_growing_takes_all_pixels_within_the_distance(
    painter: Painter, pixels: int, size: tuple[int, int]
) -> None:
    width, height = size
    painter.open(width, height)
    mask = blobs(height, width)
    mask[height // 2] = False
    painter.set_runs(mask)
    painter.run("canvas.grow(argument)", pixels)
    grown = distance_transform_edt(~mask) <= pixels
    np.testing.assert_array_equal(painter.mask(), grown)
    painter.press("Control+z")
    np.testing.assert_array_equal(painter.mask(), mask)
    # Shrinking: the photo's rim takes nothing away.
    painter.set_runs(grown)
    now = painter.mask()
    painter.run("canvas.shrink(argument)", pixels)
    outside = np.inf if now.all() else distance_transform_edt(now)
    np.testing.assert_array_equal(painter.mask(), now & (outside > pixels))


def test_the_menu_grows_by_its_number(painter: Painter) -> None:
    painter.run("canvas.setBrush(1)")
    painter.drag((100.5, 100.5))
    painter.page.locator("summary").click()
    painter.page.get_by_label("Grow or shrink by, in pixels").fill("3")
    painter.page.get_by_role("button", name="Grow").click()
    assert painter.mask().sum() == 29  # a disc of radius 3
    painter.page.get_by_role("button", name="Shrink").click()
    assert painter.mask().sum() == 1
    painter.press("Escape")
    assert painter.page.get_by_role("button", name="Grow").is_hidden()


def test_fifty_megapixels(painter: Painter) -> None:
    file = encoded(dark_photo(8660, 5780), "JPEG")
    painter.open_bytes(file, "large.jpg", "image/jpeg")
    painter.run(
        "canvas.setBrush(200); canvas.painter.begin({x: 100, y: 100});"
        "canvas.painter.move([{x: 8500, y: 5700}]); canvas.painter.end(); canvas.grow(5)"
    )
    share = painter.run("return canvas.mask.share()")
    assert share == pytest.approx(np.hypot(8400, 5600) * 210 / (8660 * 5780), rel=0.02)
    painter.run("canvas.invert()")
    with Image.open(io.BytesIO(painter.download("canvas.mask.toPNG()"))) as image:
        assert (image.mode, image.size) == ("1", (8660, 5780))
        assert np.asarray(image).mean() == pytest.approx(1 - share, abs=1e-6)
    assert painter.run("return canvas.editor.history.bytes") < 1_000_000
    painter.run("await canvas.undo(); await canvas.undo(); await canvas.undo()")
    assert painter.run("return canvas.mask.isEmpty()")
