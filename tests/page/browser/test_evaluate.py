"""The Evaluate tab: methods beside each other, their scores, and the files that can be had of them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_server import Served
from page_visitor import GREEN, Visitor, noise
from PIL import Image
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.browser

AXE = Path(__file__).resolve().parent.parent / "axe.min.js"
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def tab(visitor: Visitor) -> Locator:
    visitor.page.get_by_role("tab", name="Evaluate").click()
    return visitor.page.locator("#evaluate")


def rows(evaluate: Locator) -> dict[str, list[str]]:
    """The table's cells by the method's title."""
    found = {}
    for row in evaluate.locator("tbody tr").all():
        found[row.locator("th").inner_text()] = [cell.inner_text() for cell in row.locator("td").all()]
    return found


def save(visitor: Visitor, evaluate: Locator, button: str) -> tuple[str, Path]:
    with visitor.page.expect_download() as download:
        evaluate.get_by_role("button", name=button).click()
    return download.value.suggested_filename, Path(download.value.path())


@pytest.mark.parametrize(("window", "theme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_every_method_is_seen_scored_and_can_be_had(
    visit: Callable[..., Visitor], window: dict[str, Any], theme: str, tmp_path: Path
) -> None:
    visitor = visit(color_scheme=theme, **window)
    photo = noise(300, 200)
    visitor.open_pixels(photo, tmp_path)
    visitor.stroke((100, 100), (180, 100))
    evaluate = tab(visitor)
    evaluate.get_by_role("button", name="Compare").click()
    evaluate.get_by_text("methods compared.").wait_for()
    table = rows(evaluate)
    titles = {"Standard, network alone", "Standard + texture", "Membrane", "Telea", "Navier–Stokes"}
    assert titles <= set(table)
    heads = evaluate.locator("thead th").all_inner_texts()[1:]
    assert all(len(cells) == len(heads) for cells in table.values())
    hole, whole, ssim = (heads.index(name) for name in ("PSNR in the hole, dB", "PSNR, whole, dB", "SSIM"))
    for cells in table.values():
        assert 3 < float(cells[hole]) < float(cells[whole]) < 60 and 0.1 < float(cells[ssim]) < 1
    best = max(table, key=lambda title: float(table[title][hole]))
    marked = evaluate.locator(f"tbody tr:has(td:nth-of-type({hole + 1}).fl-best) th").all_inner_texts()
    assert best in marked
    # Every score that is shown is explained.
    evaluate.get_by_text("What the scores mean").wait_for()
    assert evaluate.locator("dt").count() == len(heads)
    # Pictures: the hole, the truth, one of each method; the pressed one is shown large.
    tiles = evaluate.get_by_role("group", name="Pictures").get_by_role("button")
    assert tiles.all_inner_texts() == ["Hole", "Truth", *table]
    tiles.nth(2).click()
    expect(evaluate.locator("figcaption")).to_have_text("Standard, network alone")
    tiles.nth(2).press("ArrowRight")
    expect(evaluate.locator("figcaption")).to_have_text("Standard + texture")
    expect(tiles.nth(3)).to_be_focused()
    name, path = save(visitor, evaluate, "Download this picture")
    assert name == "garden-pconv-carafe+photo.png"
    picture = np.asarray(Image.open(path))
    filled = (picture != photo).any(axis=2)
    assert filled.any() and (picture[filled] == GREEN).all()
    name, path = save(visitor, evaluate, "Download the table")
    assert name == "garden-scores.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        written = {row["title"]: row for row in csv.DictReader(stream)}
    assert list(written) == list(table)
    for title, cells in table.items():
        assert float(written[title]["psnr_hole"]) == pytest.approx(float(cells[hole]), abs=0.006)
    name, path = save(visitor, evaluate, "Download the sheet")
    assert name == "garden-sheet.png"
    assert Image.open(path).width > (len(table) + 3) * 300
    # Seen and used by all, on every window.
    visitor.page.screenshot(path=tmp_path / "evaluate.png", full_page=True)
    assert visitor.run("return document.documentElement.scrollWidth <= innerWidth")
    ground = "return getComputedStyle(document.querySelector('.fl-methods')).backgroundColor"
    assert (visitor.run(ground) == "rgb(255, 255, 255)") == (theme == "light")
    visitor.page.add_script_tag(path=AXE)
    assert (
        visitor.run(
            "return (await axe.run('#evaluate')).violations.map(({id, nodes}) => [id, nodes[0].html])"
        )
        == []
    )


def test_only_what_is_chosen_is_compared_and_it_can_be_stopped(
    visit: Callable[..., Visitor], served: Served, tmp_path: Path
) -> None:
    visitor = visit()
    evaluate = tab(visitor)
    compare = evaluate.get_by_role("button", name="Compare")
    compare.click()
    evaluate.get_by_text("Open a clean photo on the Fill tab and paint a hole").wait_for()
    visitor.page.get_by_role("tab", name="Fill").click()
    visitor.open_pixels(noise(300, 200), tmp_path)
    visitor.stroke((100, 100), (180, 100))
    evaluate = tab(visitor)
    for box in evaluate.locator(".fl-methods").get_by_role("checkbox").all():
        if box.evaluate("(box) => box.parentElement.textContent") != "Telea":
            box.uncheck()
    compare.click()
    evaluate.get_by_text("1 method compared.").wait_for()
    assert list(rows(evaluate)) == ["Telea"]
    evaluate.get_by_role("checkbox", name="Telea").uncheck()
    assert compare.get_attribute("aria-disabled") == "true"
    # A job of somebody else holds the queue up: stopping takes the comparison's own job back.
    visitor.page.get_by_role("tab", name="Fill").click()
    visitor.grow(50)
    visitor.button("Fill").click()
    served.wait_for(lambda: served.jobs() == ["running"])
    evaluate = tab(visitor)
    evaluate.get_by_role("checkbox", name="Standard + texture").check()
    compare.click()
    evaluate.get_by_text("place 1 in the queue").wait_for()
    evaluate.get_by_role("button", name="Stop").click()
    evaluate.get_by_text("Stopped.").wait_for()
    served.wait_for(lambda: served.jobs() == ["running"])
