"""The page in a real Chromium, used the way a visitor uses it: open, paint, fill, and fill again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from page_server import page_served
from page_visitor import GREEN, Visitor, box_of, changed_between, noise, pixels_of
from PIL import Image

from inpaint.inference.inpainter import grown
from inpaint.serving.app import FILLER

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("width", "height", "settings"),
    [
        (1500, 1000, {}),
        (640, 480, {"device_scale_factor": 2}),
        (1003, 601, {"viewport": {"width": 390, "height": 844}}),
    ],
    ids=["landscape", "fine-screen", "phone"],
)
def test_pixels_under_the_stroke_change_and_no_other(
    visit: Callable[..., Visitor], tmp_path: Path, width: int, height: int, settings: dict[str, Any]
) -> None:
    photo = noise(width, height)
    visitor = visit(**settings)
    visitor.open_pixels(photo, tmp_path)
    visitor.stroke((200, 300), (400, 300))
    visitor.fill()
    assert visitor.painted() == 0
    name, data = visitor.download("Download PNG")
    assert name == "garden-filled.png"
    result = pixels_of(data)
    changed = changed_between(photo, result)
    assert (result[changed] == GREEN).all()
    # The stroke with its round ends: 40 px wide, and grown by 0.4 % of the shorter side.
    growth = max(2, round(0.004 * height))
    top, bottom, left, right = box_of(changed)
    assert abs(top - (280 - growth)) <= 2 and abs(bottom - (320 + growth)) <= 2
    assert abs(left - (180 - growth)) <= 2 and abs(right - (420 + growth)) <= 2
    # The mask on offer is the painted one; what changed is a little more.
    name, data = visitor.download("Mask")
    assert name == "garden-mask.png"
    mask = pixels_of(data).astype(bool)
    assert (grown(mask, growth) == changed).all()


def test_the_result_is_the_canvas_and_undo_goes_back(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    photo = noise(600, 400)
    visitor = visit()
    visitor.open_pixels(photo, tmp_path)
    visitor.stroke((100, 100), (200, 100))
    before = visitor.painted()
    visitor.fill()
    first = visitor.picture()
    assert changed_between(photo, first).any()
    # On from there: the next fill is made from the first.
    visitor.stroke((100, 300), (200, 300))
    visitor.fill()
    both = visitor.picture()
    assert (both[:200] == first[:200]).all() and (both[200:] == GREEN).all(axis=2).any()

    for _ in range(2):  # the fill, the stroke
        visitor.button("Undo").click()
    assert (visitor.picture() == first).all()
    visitor.button("Undo").click()
    assert visitor.painted() == pytest.approx(before)
    assert (visitor.picture() == photo).all()
    for _ in range(3):
        visitor.button("Redo").click()
    assert (visitor.picture() == both).all()

    # Another photo has no steps of this one, nor its fills.
    visitor.open_pixels(noise(300, 200), tmp_path, "other.png")
    assert visitor.run("return [canvas.canUndo, canvas.canRedo]") == [False, False]
    assert visitor.tiles.count() == 0


def test_another_fill_and_back_to_the_first(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    photo = noise(500, 400)
    visitor = visit()
    visitor.open_pixels(photo, tmp_path)
    assert visitor.button("Another fill").get_attribute("aria-disabled") == "true"
    visitor.stroke((100, 100), (200, 100))
    visitor.fill()
    first = visitor.picture()
    hole = changed_between(photo, first)
    for number in (1, 2):
        visitor.fill("Another fill")
        other = visitor.picture()
        assert (changed_between(photo, other) == hole).all()
        assert (other[hole] == (0, 160 + 20 * number, 90)).all()
    assert visitor.tiles.count() == 3
    assert visitor.page.locator(".fl-fill-facts").inner_text().endswith("seed 2")

    visitor.button("Fill 1").click()
    visitor.page.locator(".fl-tile[aria-pressed=true][aria-label='Fill 1']").wait_for()
    assert (visitor.picture() == first).all()
    assert (pixels_of(visitor.download("Download PNG")[1]) == first).all()
    visitor.stroke((100, 300), (200, 300))
    visitor.fill()
    assert (visitor.picture()[:200] == first[:200]).all()
    assert visitor.tiles.count() == 4


def test_texture_and_growth_are_chosen(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    photo = noise(500, 400)
    visitor = visit()
    visitor.open_pixels(photo, tmp_path)
    visitor.stroke((100, 100), (200, 100))
    visitor.page.get_by_role("switch", name="texture").click()
    slider = visitor.page.get_by_role("slider", name="Grow the mask")
    slider.fill("0")
    assert visitor.page.locator(".fl-settings output").inner_text() == "0 px"
    visitor.fill()
    result = visitor.picture()
    changed = changed_between(photo, result)
    assert (result[changed] == (10, 160, 90)).all()
    mask = pixels_of(visitor.download("Mask")[1]).astype(bool)
    assert (changed == mask).all()
    visitor.button("Another fill").click()
    visitor.alert.get_by_text("only one fill").wait_for()
    visitor.page.get_by_role("switch", name="texture").click()
    visitor.fill("Another fill")
    assert visitor.tiles.count() == 2
    # Another photo gets the growth that suits it.
    visitor.open_pixels(noise(2000, 1000), tmp_path, "wide.png")
    assert slider.input_value() == "4"


def test_models_are_offered_by_what_they_do(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    options = visitor.page.get_by_label("Model", exact=True).first.locator("option").all_inner_texts()
    assert options[0] == "Standard" and len(options) > 1
    assert visitor.page.locator(".fl-settings .fl-hint").first.inner_text()


def test_what_cannot_be_filled_is_said(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    visitor = visit()
    assert visitor.button("Fill").get_attribute("aria-disabled") == "true"
    visitor.open_pixels(noise(300, 200), tmp_path)
    visitor.button("Fill").click()
    visitor.alert.get_by_text("Paint over what should go").wait_for()
    visitor.run("canvas.invert()")
    visitor.button("Fill").click()
    visitor.alert.get_by_text("Everything is painted over").wait_for()
    visitor.run("canvas.clear()")
    visitor.stroke((100, 100), (150, 100))
    visitor.grow(49)
    visitor.button("Fill").click()
    visitor.alert.get_by_text("not to the stand-in's taste").wait_for()
    assert visitor.painted() > 0
    visitor.grow(2)
    visitor.fill()
    assert visitor.alert.is_hidden()


def test_a_mask_file_is_used_exactly(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    photo = noise(2500, 900)
    mask = np.zeros((900, 2500), dtype=bool)
    mask[100:103, 7:2000:3] = True
    mask[500:733, 1201:1500] = True
    Image.fromarray(mask).save(tmp_path / "street-mask.png")
    visitor = visit()
    visitor.open_pixels(photo, tmp_path, "street.png")
    visitor.page.get_by_label("Mask file").set_input_files(tmp_path / "street-mask.png")
    visitor.page.wait_for_function("() => !inpaintPage.flow.canvas.mask.isEmpty()")
    # It can be saved before anything is filled.
    assert (pixels_of(visitor.download("Mask")[1]).astype(bool) == mask).all()
    visitor.grow(0)
    visitor.fill()
    assert (changed_between(photo, visitor.picture()) == mask).all()


def test_the_released_model(chromium: Browser, tmp_path: Path) -> None:
    from skimage.data import coffee

    context = chromium.new_context()
    context.set_default_timeout(120_000)
    with page_served(tmp_path / "service", filler=FILLER) as served:
        visitor = Visitor(context, served.address)
        visitor.button("Coffee").click()
        visitor.wait_for_photo()
        visitor.stroke((240, 200), (360, 200))
        visitor.fill()
        result = visitor.picture()
        mask = pixels_of(visitor.download("Mask")[1]).astype(bool)
    context.close()
    changed = changed_between(coffee(), result)
    assert not changed[~grown(mask, 2)].any()
    assert changed[mask].mean() > 0.9
    # No blotches: the fill stays within the colours around it.
    assert np.abs(result[mask].mean(axis=0) - coffee()[mask].mean(axis=0)).max() < 60


def test_the_mask_is_fitted_to_the_object(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    rows, columns = np.mgrid[:300, :400]
    disk = (rows - 150) ** 2 + (columns - 200) ** 2 < 50**2
    photo = np.where(disk[..., None], (190, 60, 50), (70, 130, 80))
    photo = (photo + np.random.default_rng(0).integers(-15, 16, photo.shape)).astype(np.uint8)
    visitor = visit()
    visitor.open_pixels(photo, tmp_path)
    fit = visitor.button("Fit the mask to the object")
    assert fit.get_attribute("aria-disabled") == "true"
    visitor.run("canvas.setTool('rectangle')")
    visitor.stroke((175, 130), (225, 170))
    rough = visitor.painted()
    fit.click()
    visitor.page.wait_for_function(
        "rough => inpaintPage.flow.canvas.mask.share() > 1.5 * rough && !inpaintPage.flow.isFitting",
        arg=rough,
    )
    assert visitor.painted() == pytest.approx(disk.mean(), rel=0.08)
    visitor.button("Undo").click()
    assert visitor.painted() == pytest.approx(rough)
    visitor.button("Redo").click()
    visitor.grow(0)
    visitor.fill()
    assert (changed_between(photo, visitor.picture()) & ~disk).sum() < 800
