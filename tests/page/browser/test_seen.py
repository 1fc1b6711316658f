"""What is seen: on a desktop and a phone, in light and dark, by fingers and by screen readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_visitor import Visitor, noise

pytestmark = pytest.mark.browser

AXE = Path(__file__).resolve().parent.parent / "axe.min.js"
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(
    visit: Callable[..., Visitor], window: dict[str, Any], theme: str, tmp_path: Path
) -> None:
    visitor = visit(color_scheme=theme, **window)
    visitor.page.add_script_tag(path=AXE)
    check = (
        "const {violations} = await axe.run({include: [['#flow'], ['[role=tablist]']]});"
        "return violations.map(({id, nodes}) => [id, nodes.map(({html}) => html.slice(0, 200))])"
    )
    ground = visitor.page.evaluate("getComputedStyle(document.querySelector('.fl-start')).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (theme == "light")
    assert visitor.run(check) == []
    visitor.open_pixels(noise(400, 300), tmp_path)
    visitor.stroke((100, 100), (150, 100))
    visitor.fill()
    visitor.button("Fill").click()
    visitor.alert.wait_for()
    visitor.run("flow.notices.showRestored(true); flow.notices.showWork({text: 'Filling', progress: 0.4})")
    assert visitor.run(check) == []


@pytest.mark.parametrize(("window", "share"), [(DESKTOP, 0.7), (PHONE, 0.7)], ids=["desktop", "phone"])
def test_the_photo_is_as_large_as_the_window_allows(
    visit: Callable[..., Visitor], window: dict[str, Any], share: float, tmp_path: Path
) -> None:
    visitor = visit(**window)
    width, height = window["viewport"]["width"], window["viewport"]["height"]
    visitor.open_pixels(noise(1800, 1200), tmp_path)
    visitor.page.wait_for_timeout(300)
    box = visitor.stage.bounding_box()
    assert box["width"] * box["height"] > share * width * height
    assert box["width"] >= (width - 30 if window is PHONE else width - 300)
    assert visitor.run("return document.documentElement.scrollWidth <= innerWidth")
    scale = visitor.run("return canvas.view.viewport.scale")
    assert scale == pytest.approx(min(box["width"] / 1800, box["height"] / 1200), rel=1e-3)
    # The first button is in view, and on a desktop nothing has to be scrolled to.
    fill = visitor.button("Fill").bounding_box()
    assert fill["y"] + fill["height"] <= height
    if window is DESKTOP:
        assert visitor.run("return document.documentElement.scrollHeight <= innerHeight")


def test_one_finger_paints_two_zoom_and_the_result_is_in_view(
    visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    visitor = visit(**PHONE)
    visitor.open_pixels(noise(800, 600), tmp_path)
    touch = visitor.context.new_cdp_session(visitor.page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    start, end = visitor.place(200, 300), visitor.place(500, 300)
    send("touchStart", start)
    for step in range(1, 6):
        send("touchMove", (start[0] + (end[0] - start[0]) * step / 5, start[1]))
    send("touchEnd")
    assert visitor.run("return canvas.mask.get(350, 300)")
    painted = visitor.painted()
    zoom = visitor.run("return canvas.view.viewport.zoom")
    middle = visitor.place(400, 300)
    for step in range(6):
        kind = "touchStart" if step == 0 else "touchMove"
        send(kind, (middle[0] - 30 - 10 * step, middle[1]), (middle[0] + 30 + 10 * step, middle[1]))
    send("touchEnd")
    assert visitor.run("return canvas.view.viewport.zoom") > 1.5 * zoom
    assert visitor.painted() == painted
    visitor.run("canvas.fit()")
    visitor.run("window.before = canvas.picture")
    visitor.button("Fill").tap()
    visitor.wait_for_fill()
    assert visitor.run("return scrollY") == 0
    box = visitor.stage.bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] <= 844


def test_buttons_are_large_enough_for_fingers(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    visitor = visit(**PHONE)
    small = (
        "const all = '#flow button, #flow select, #flow input[type=range], .fl-switch';"
        "return [...document.querySelectorAll(all)]"
        "  .filter((one) => one.checkVisibility())"
        "  .map((one) => [one.getBoundingClientRect(), one])"
        "  .filter(([box]) => box.height < 44 || box.width < 44).map(([, one]) => one.outerHTML)"
    )
    assert visitor.run(small) == []
    visitor.open_pixels(noise(400, 300), tmp_path)
    visitor.stroke((100, 100), (150, 100))
    visitor.fill()
    visitor.button("Fill").click()
    visitor.alert.wait_for()
    visitor.run("flow.notices.showWork({text: 'Filling', progress: 0.4})")
    assert visitor.run(small) == []


def test_the_tab_is_whole_after_a_look_at_the_other(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    visitor = visit()
    visitor.open_pixels(noise(400, 300), tmp_path)
    visitor.stroke((100, 100), (150, 100))
    visitor.page.get_by_role("tab", name="Evaluate").click()
    visitor.page.get_by_role("button", name="Compare").wait_for()
    visitor.page.get_by_role("tab", name="Fill").click()
    visitor.stage.wait_for()
    visitor.stroke((100, 200), (150, 200))
    visitor.fill()
