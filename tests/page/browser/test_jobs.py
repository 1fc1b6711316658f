"""Fills as jobs of the server's queue: seen, stopped, and ended with the photo or the tab they belong to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from page_fakes import SLOW
from page_server import Served, page_served
from page_visitor import Visitor, noise

from inpaint.serving.limits import Limits

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def start_slow(visitor: Visitor, folder: Path, name: str = "garden.png") -> None:
    """Open a photo, paint, and start a fill that takes a minute."""
    visitor.open_pixels(noise(500, 400), folder, name)
    visitor.stroke((100, 100), (200, 100))
    visitor.grow(SLOW)
    visitor.button("Fill").click()
    visitor.work.wait_for()


def test_enter_fills_and_escape_stops(visit: Callable[..., Visitor], served: Served, tmp_path: Path) -> None:
    visitor = visit()
    visitor.open_pixels(noise(500, 400), tmp_path)
    visitor.stroke((100, 100), (200, 100))
    painted = visitor.painted()
    visitor.grow(SLOW)
    visitor.page.keyboard.press("Enter")
    served.wait_for(lambda: served.jobs() == ["running"])
    # How far it is, and an estimate.
    visitor.work.get_by_text("Filling, about").wait_for()
    visitor.page.wait_for_function("document.querySelector('.fl-work progress').value > 0.01")
    # Nothing is painted meanwhile.
    visitor.stroke((100, 300), (200, 300))
    assert visitor.painted() == painted
    visitor.page.keyboard.press("Escape")
    visitor.work.wait_for(state="hidden")
    served.wait_for(lambda: served.jobs() == ["cancelled"])
    assert visitor.painted() == painted and visitor.tiles.count() == 0
    # And on.
    visitor.stroke((100, 300), (200, 300))
    assert visitor.painted() > painted
    visitor.grow(2)
    visitor.run("window.before = canvas.picture")
    visitor.page.keyboard.press("Enter")
    visitor.wait_for_fill()


def test_the_place_in_the_queue_is_shown_and_a_button_stops(
    visit: Callable[..., Visitor], served: Served, tmp_path: Path
) -> None:
    first, second = visit(), visit()
    start_slow(first, tmp_path)
    served.wait_for(lambda: served.jobs() == ["running"])
    start_slow(second, tmp_path, "other.png")
    second.work.get_by_text("Place 1 in the queue, done in about").wait_for()
    second.button("Stop").click()
    served.wait_for(lambda: sorted(served.jobs()) == ["cancelled", "running"])
    first.button("Stop").click()
    served.wait_for(lambda: served.jobs() == ["cancelled"] * 2)


def test_another_photo_ends_the_job_and_gets_no_result_of_it(
    visit: Callable[..., Visitor], served: Served, tmp_path: Path
) -> None:
    visitor = visit()
    start_slow(visitor, tmp_path)
    served.wait_for(lambda: served.jobs() == ["running"])
    other = noise(300, 200, side=7)
    visitor.open_pixels(other, tmp_path, "other.png")
    served.wait_for(lambda: served.jobs() == ["cancelled"])
    assert visitor.work.is_hidden() and visitor.tiles.count() == 0
    assert (visitor.picture() == other).all()
    visitor.stroke((50, 50), (90, 50))
    visitor.fill()
    assert visitor.picture().shape == other.shape


def test_a_closed_tab_ends_its_job(visit: Callable[..., Visitor], served: Served, tmp_path: Path) -> None:
    visitor = visit()
    start_slow(visitor, tmp_path)
    served.wait_for(lambda: served.jobs() == ["running"])
    visitor.page.close(run_before_unload=False)
    served.wait_for(lambda: "running" not in served.jobs())


def test_a_reload_loses_nothing(visit: Callable[..., Visitor], served: Served, tmp_path: Path) -> None:
    photo = noise(500, 400)
    visitor = visit()
    visitor.open_pixels(photo, tmp_path)
    visitor.stroke((100, 100), (200, 100))
    visitor.fill()
    filled = visitor.picture()
    visitor.stroke((100, 300), (200, 300))
    painted = visitor.painted()
    visitor.keep()
    visitor.reload()
    visitor.page.get_by_text("Your photo and strokes were restored.").wait_for()
    assert visitor.painted() == painted
    assert (visitor.picture() == filled).all()
    assert visitor.tiles.count() == 1
    assert visitor.run("return canvas.name") == "garden.png"
    visitor.fill()
    assert (visitor.picture()[:200] == filled[:200]).all()
    assert visitor.download("Download PNG")[0] == "garden-filled.png"
    # Another fill of the hole before the reload.
    visitor.button("Fill 1").click()
    visitor.page.locator(".fl-tile[aria-pressed=true][aria-label='Fill 1']").wait_for()
    visitor.fill("Another fill")
    hole = (filled != photo).any(axis=2)
    assert (visitor.picture()[hole] == (0, 180, 90)).all()

    visitor.keep()
    visitor.reload()
    visitor.button("Start over").click()
    visitor.button("Coffee").wait_for()
    assert visitor.run("return canvas.isOpen") is False
    visitor.reload()
    visitor.button("Coffee").wait_for()
    assert visitor.page.get_by_text("were restored").is_hidden()


def test_a_restart_of_the_server_loses_nothing(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    context = chromium.new_context()
    context.set_default_timeout(60_000)
    with page_served(tmp_path / "service") as served:
        visitor = Visitor(context, served.address)
        start_slow(visitor, tmp_path)
        served.wait_for(lambda: served.jobs() == ["running"])
        painted = visitor.painted()
    visitor.alert.get_by_text("The server ended the fill").wait_for()
    assert visitor.painted() == painted
    with page_served(tmp_path / "service", port=served.port):
        visitor.grow(2)
        visitor.fill()  # without a reload
        visitor.run("await canvas.undo()")
        visitor.keep()
        visitor.reload()
        assert visitor.painted() == painted
        visitor.fill()
    context.close()


def test_a_server_that_is_away_is_said(chromium: Browser, tmp_path: Path, served: Served) -> None:
    context = chromium.new_context()
    context.set_default_timeout(60_000)
    visitor = Visitor(context, served.address)
    visitor.open_pixels(noise(300, 200), tmp_path)
    visitor.stroke((100, 100), (150, 100))
    painted = visitor.painted()
    context.set_offline(True)
    visitor.button("Fill").click()
    visitor.alert.get_by_text("cannot be reached").wait_for()
    assert visitor.painted() == painted
    context.set_offline(False)
    visitor.fill()
    context.close()


def test_the_page_works_under_the_path_of_a_proxy(
    visit: Callable[..., Visitor], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with page_served(tmp_path_factory.mktemp("page"), Limits(root_path="/inpaint")) as served:
        visitor = visit(served.address)
        visitor.button("Coffee").click()
        visitor.wait_for_photo()
        visitor.stroke((100, 100), (200, 100))
        visitor.fill()
        assert visitor.download("Download PNG")[0] == "coffee-filled.png"
        visitor.page.get_by_role("tab", name="Evaluate").click()
        visitor.page.get_by_role("button", name="Compare").click()
        visitor.page.get_by_text("methods compared.").wait_for()
