"""The switch by which a stroke's end starts the fill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from page_fakes import SLOW
from page_server import Served
from page_visitor import Visitor, noise
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.browser


def switch(visitor: Visitor) -> Locator:
    return visitor.page.get_by_role("switch", name="Fill as soon as a stroke ends")


def test_a_stroke_fills_when_it_ends(visit: Callable[..., Visitor], served: Served, tmp_path: Path) -> None:
    visitor = visit()
    visitor.open_pixels(noise(500, 400), tmp_path)
    expect(switch(visitor)).not_to_be_checked()
    visitor.stroke((100, 100), (200, 100))
    assert visitor.run("return flow.isFilling") is False
    switch(visitor).click()
    # The stroke before, and an eraser's in each of its ways, start nothing.
    visitor.run("canvas.setTool('eraser')")
    visitor.stroke((100, 100), (120, 100))
    visitor.run("canvas.setTool('brush')")
    visitor.page.keyboard.down("Alt")
    visitor.stroke((140, 100), (150, 100))
    visitor.page.keyboard.up("Alt")
    visitor.page.wait_for_timeout(200)
    assert visitor.run("return flow.isFilling") is False and visitor.tiles.count() == 0
    for number, tool in enumerate(("brush", "rectangle", "lasso"), 1):
        visitor.run("canvas.setTool(argument); window.before = canvas.picture", tool)
        visitor.stroke((100, 100 * number), (150, 100 * number + 10), (150, 100 * number + 50))
        visitor.wait_for_fill()
        assert visitor.tiles.count() == number and visitor.painted() == 0
        assert visitor.page.evaluate("scrollY") == 0
    # A click that draws no area asks for nothing.
    visitor.run("canvas.setTool('rectangle')")
    visitor.run("canvas.setTool('lasso')")
    visitor.page.mouse.click(*visitor.place(300, 350))
    assert visitor.alert.is_hidden()
    # Escape stops the fill, and no stroke is begun meanwhile.
    visitor.run("canvas.setTool('brush'); await canvas.undo()")
    visitor.run("canvas.clear()")
    visitor.grow(SLOW)
    visitor.stroke((300, 100), (400, 100))
    served.wait_for(lambda: "running" in served.jobs())
    jobs = len(served.jobs())
    painted = visitor.painted()
    visitor.stroke((300, 300), (400, 300))
    visitor.page.keyboard.press("Escape")
    visitor.work.wait_for(state="hidden")
    served.wait_for(lambda: "cancelled" in served.jobs() and "running" not in served.jobs())
    assert visitor.painted() == painted > 0 and len(served.jobs()) == jobs
    # Escape at once, before there is a job at all.
    visitor.run(
        "const run = flow.fill();"
        "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'})); await run"
    )
    assert visitor.run("return [flow.isFilling, canvas.isLocked]") == [False, False]
    assert len(served.jobs()) == jobs
    # It is remembered, and forgotten.
    visitor.reload()
    expect(switch(visitor)).to_be_checked()
    switch(visitor).click()
    visitor.reload()
    expect(switch(visitor)).not_to_be_checked()


def test_a_finger_fills_and_a_pinch_does_not(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    visitor = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    visitor.open_pixels(noise(800, 600), tmp_path)
    switch(visitor).tap()
    visitor.run("scrollTo(0, 0)")
    touch = visitor.context.new_cdp_session(visitor.page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    start, end = visitor.place(100, 300), visitor.place(700, 300)
    # A long stroke that becomes a pinch is kept and does not fill.
    send("touchStart", start)
    for step in range(1, 6):
        send("touchMove", (start[0] + (end[0] - start[0]) * step / 5, start[1]))
        visitor.page.wait_for_timeout(100)
    other = visitor.place(400, 500)
    send("touchStart", end, other)
    send("touchMove", (end[0] + 10, end[1]), (other[0], other[1] + 10))
    send("touchEnd")
    assert visitor.painted() > 0
    visitor.page.wait_for_timeout(200)
    assert visitor.run("return flow.isFilling") is False and visitor.tiles.count() == 0
    visitor.run("canvas.fit(); canvas.clear(); window.before = canvas.picture")
    start, end = visitor.place(200, 300), visitor.place(500, 300)
    send("touchStart", start)
    for step in range(1, 6):
        send("touchMove", (start[0] + (end[0] - start[0]) * step / 5, start[1]))
    send("touchEnd")
    visitor.wait_for_fill()
    assert visitor.tiles.count() == 1


def test_a_browser_without_storage(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    visitor = visit()
    visitor.context.add_init_script(
        "for (const name of ['localStorage', 'sessionStorage'])"
        "  Object.defineProperty(window, name, {get() { throw new DOMException('no', 'SecurityError') }})"
    )
    visitor.reload()
    visitor.open_pixels(noise(300, 200), tmp_path)
    switch(visitor).click()
    visitor.run("window.before = canvas.picture")
    visitor.stroke((100, 100), (150, 100))
    visitor.wait_for_fill()
