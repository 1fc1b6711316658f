"""Work that is kept in the browser: what a reload brings back, and that tabs do not share it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from page_visitor import Visitor, noise, pixels_of

pytestmark = pytest.mark.browser

RESTORED = "Your photo and strokes were restored."


def reload(visitor: Visitor) -> None:
    visitor.keep()
    visitor.reload()
    visitor.page.get_by_text(RESTORED).wait_for()


def press_tile(visitor: Visitor, name: str) -> None:
    visitor.button(name).click()
    visitor.page.locator(f".fl-tile[aria-pressed=true][aria-label='{name}']").wait_for()


def strip(visitor: Visitor) -> list[list[str | None]]:
    """Each fill's name and facts, and whether it is shown."""
    names = ("aria-label", "title", "aria-pressed")
    return [[tile.get_attribute(name) for name in names] for tile in visitor.tiles.all()]


def test_two_tabs_keep_two_photos(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    first = visit()
    first.open_pixels(noise(500, 400), tmp_path, "one.png")
    first.stroke((100, 100), (200, 100))
    first.keep()
    second = Visitor(first.context, first.page.url)
    assert second.page.get_by_text(RESTORED).is_hidden()
    second.open_pixels(noise(300, 200), tmp_path, "two.png")
    second.stroke((50, 50), (90, 50))
    second.keep()
    name = "return [canvas.name, canvas.photo.width]"
    for _ in range(2):
        reload(first)
        reload(second)
        assert first.run(name) == ["one.png", 500] and second.run(name) == ["two.png", 300]
        assert first.painted() > 0 and second.painted() > 0
    # A new tab goes on with the work of a closed one, and a further one begins with nothing.
    second.page.close()
    third = Visitor(first.context, first.page.url)
    third.page.get_by_text(RESTORED).wait_for()
    assert third.run(name) == ["two.png", 300]
    fourth = Visitor(first.context, first.page.url)
    assert fourth.run("return canvas.isOpen") is False
    # To start over forgets this tab's work alone.
    third.button("Start over").click()
    third.button("Coffee").wait_for()
    third.reload()
    assert third.run("return canvas.isOpen") is False
    reload(first)
    assert first.run(name) == ["one.png", 500]


def test_the_fills_are_the_same_after_a_reload(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    photo = noise(500, 400)
    visitor = visit()
    visitor.open_pixels(photo, tmp_path)
    visitor.grow(3)
    visitor.stroke((100, 100), (200, 100))
    visitor.fill()
    first = visitor.picture()
    visitor.fill("Another fill")
    visitor.fill("Another fill")
    # On from the first: the others are no step of the canvas any more.
    press_tile(visitor, "Fill 1")
    for _ in range(3):
        visitor.button("Undo").click()
    press_tile(visitor, "Fill 1")
    visitor.page.get_by_role("switch", name="texture").click()
    visitor.stroke((100, 300), (200, 300))
    visitor.fill()
    press_tile(visitor, "Fill 1")
    before = strip(visitor)
    assert [facts for _, facts, _ in before] == [
        *(f"Standard · mask grown by 3 px · seed {seed}" for seed in range(3)),
        "Standard · mask grown by 3 px · without texture",
    ]
    assert [shown for *_, shown in before] == ["true", "false", "false", "false"]
    reload(visitor)
    assert strip(visitor) == before
    assert (visitor.picture() == first).all()
    assert visitor.page.locator(".fl-fill-facts").inner_text() == before[0][1]
    # How to fill is as it was chosen, and the next fill has a seed and a number of its own.
    assert not visitor.page.get_by_role("switch", name="texture").is_checked()
    assert visitor.page.get_by_role("slider", name="Grow the mask").input_value() == "3"
    visitor.page.get_by_role("switch", name="texture").click()
    visitor.fill("Another fill")
    hole = (first != photo).any(axis=2)
    assert (visitor.picture()[hole] == (0, 160 + 20 * 3, 90)).all()
    assert strip(visitor)[-1][:2] == ["Fill 5", "Standard · mask grown by 3 px · seed 3"]
    # The second one, which no step of the canvas leads to, is there with its pixels.
    press_tile(visitor, "Fill 2")
    assert (visitor.picture()[hole] == (0, 180, 90)).all()
    reload(visitor)
    assert [shown for *_, shown in strip(visitor)] == ["false", "true", "false", "false", "false"]


def test_a_tiff_is_one_after_a_reload(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    wide = np.random.default_rng(0).integers(5000, 65535, (201, 303, 3), dtype=np.uint16)
    tifffile.imwrite(
        *(tmp_path / "scan.tif", wide),
        photometric="rgb",
        resolution=(300, 300),
        extratags=[(271, "s", 0, "A scanner maker", True)],
    )
    visitor = visit()
    visitor.open(tmp_path / "scan.tif")
    visitor.stroke((100, 100), (150, 100))
    visitor.fill()
    facts = visitor.page.locator(".fl-photo .fl-facts")
    before, told = visitor.download("Download TIFF"), facts.inner_text()
    reload(visitor)
    visitor.button("Download TIFF").wait_for()
    assert facts.inner_text() == told
    assert visitor.download("Download TIFF") == before
    with tifffile.TiffFile(io.BytesIO(before[1])) as file:
        tags = file.pages[0].tags
        assert (tags["Make"].value, tags["XResolution"].value) == ("A scanner maker", (300, 1))
        result = file.asarray()
    assert result.dtype == np.uint16
    mask = pixels_of(visitor.download("Mask")[1]).astype(bool)
    assert (result[150:] == wide[150:]).all() and (result[mask] != wide[mask]).any()
    # And the next fill starts from the file, not from what was shown of it.
    for _ in range(2):
        visitor.button("Undo").click()
    assert visitor.run("return flow.hole() === null")
    visitor.stroke((100, 160), (150, 160))
    assert visitor.run("return [flow.hole().input === flow.original, flow.original.name]") == [
        True,
        "scan.tif",
    ]


def test_fills_for_which_there_was_no_room(visit: Callable[..., Visitor]) -> None:
    """The last ones are left out; a picture that was filled is stood in for by its fill."""
    visitor = visit()
    restored = visitor.run(
        "const {Fills} = await import(new URL('page/flow/fills.js', location.href).href);"
        "const blobs = ['a', 'b', 'c'].map((text) => new Blob([text]));"
        "const runs = {width: 1, height: 1, runs: [0, 1]};"
        "const fill = (number, blob) =>"
        "  ({blob, input: null, runs, settings: null, seed: number - 5, number});"
        "const all = [fill(8, blobs[2]), fill(7, blobs[1]), fill(6, null), fill(5, blobs[0])];"
        "const fills = Fills.restored({count: 9, all});"
        "const seed = fills.nextSeed(fills.all[0]);"
        "fills.add({blob: new Blob(), input: blobs[0], runs, settings: null, seed});"
        "return fills.all.map(({number, seed, input}) => [number, seed, input === blobs[0]])"
    )
    assert restored == [[5, 0, True], [7, 2, True], [8, 3, True], [10, 4, True]]
