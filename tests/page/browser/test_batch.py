"""The Batch tab: several photos with their masks, errors of single files, and a ZIP of what was filled."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from page_server import Served
from page_visitor import GREEN, Visitor, changed_between, noise, pixels_of
from PIL import Image

pytestmark = pytest.mark.browser

AXE = Path(__file__).resolve().parent.parent / "axe.min.js"


def begin(visitor: Visitor, photos: list[Path], masks: list[Path]) -> None:
    visitor.page.get_by_role("tab", name="Batch").click()
    visitor.page.get_by_label("Photos", exact=True).set_input_files(photos)
    visitor.page.get_by_label("Masks", exact=True).set_input_files(masks)
    visitor.page.get_by_role("button", name="Fill all").click()


def saved(visitor: Visitor) -> zipfile.ZipFile:
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("button", name="Download all as ZIP").click()
    assert download.value.suggested_filename == "filled.zip"
    return zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((120, 160), bool)
    mask[40:60, 50:90] = True
    return mask


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_photos_are_filled_by_the_masks_of_their_names(
    visit: Callable[..., Visitor], tmp_path: Path, mask: np.ndarray, theme: str
) -> None:
    photo = noise(160, 120)
    names = ["beach.png", "Straße.jpg", "broken.png", "alone.png"]
    for name in names:
        Image.fromarray(photo).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"no photo")
    (tmp_path / "masks").mkdir()
    masks = [tmp_path / "masks" / name for name in ("beach-mask.png", "Straße.png", "broken.png")]
    for path in masks:
        Image.fromarray(mask).save(path)
    visitor = visit(color_scheme=theme)
    begin(visitor, [tmp_path / name for name in names], masks)
    visitor.page.get_by_text("2 of 4 photos filled.").wait_for()
    rows = visitor.page.locator(".fl-batch-list li").all_inner_texts()
    assert "filled: beach-filled.png" in rows[0] and "filled: Straße-filled.jpg" in rows[1]
    assert "The photo cannot be read" in rows[2] and "no mask of this name" in rows[3]
    with saved(visitor) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["beach-filled.png", "Straße-filled.jpg"]
        result = pixels_of(archive.read("beach-filled.png"))
        assert (changed_between(photo, result) == mask).all() and (result[mask] == GREEN).all()
        assert Image.open(io.BytesIO(archive.read("Straße-filled.jpg"))).format == "JPEG"
    ground = "return getComputedStyle(document.getElementById('batch-photos')).backgroundColor"
    assert (visitor.run(ground) == "rgb(255, 255, 255)") == (theme == "light")
    visitor.page.add_script_tag(path=AXE)
    assert visitor.run("return (await axe.run('#batch')).violations.map(({id}) => id)") == []


def test_one_mask_for_all(visit: Callable[..., Visitor], tmp_path: Path, mask: np.ndarray) -> None:
    (tmp_path / "again").mkdir()
    photos = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "again" / "a.png"]
    for path in photos:
        Image.fromarray(noise(160, 120)).save(path)
    Image.fromarray(mask).save(tmp_path / "hole.png")
    visitor = visit()
    begin(visitor, photos, [tmp_path / "hole.png"])
    visitor.page.get_by_text("3 of 3 photos filled.").wait_for()
    with saved(visitor) as archive:
        assert sorted(archive.namelist()) == ["a-filled-2.png", "a-filled.png", "b-filled.png"]


def test_a_batch_is_stopped(
    visit: Callable[..., Visitor], served: Served, tmp_path: Path, mask: np.ndarray
) -> None:
    photos = [tmp_path / f"{number}.png" for number in range(30)]
    for path in photos:
        Image.fromarray(noise(160, 120)).save(path)
    Image.fromarray(mask).save(tmp_path / "hole.png")
    visitor = visit()
    begin(visitor, photos, [tmp_path / "hole.png"])
    visitor.page.get_by_text(re.compile(r"Photo \d+ of 30")).wait_for()
    visitor.page.locator("#batch").get_by_role("button", name="Stop").click()
    visitor.page.get_by_text("of 30 photos filled.").wait_for()
    served.wait_for(lambda: not {"waiting", "running"} & set(served.jobs()))
    assert visitor.page.locator(".fl-batch-list li").last.inner_text().endswith("stopped")
