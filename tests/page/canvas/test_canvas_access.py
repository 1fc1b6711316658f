"""The canvas for everyone: axe-core in light and dark, sizes for fingers, names, a still layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from canvas_driver import Painter

pytestmark = pytest.mark.browser

AXE = Path(__file__).resolve().parent.parent / "axe.min.js"
DESKTOP = {"viewport": {"width": 1440, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(visit: Callable[..., Painter], window: dict, theme: str) -> None:
    painter = visit(color_scheme=theme, **window)
    painter.page.add_script_tag(path=AXE)
    check = (
        "const {violations} = await axe.run();"
        "return violations.map(({id, nodes}) => [id, nodes.map(({html}) => html.slice(0, 200))])"
    )
    assert painter.run(check) == []
    painter.open(320, 240)
    painter.page.locator("summary").click()
    painter.run("canvas.invert(); await canvas.showFill(canvas.photo.blob); canvas.invert()")
    assert painter.run(check) == []


def test_buttons_are_large_enough_for_fingers(visit: Callable[..., Painter]) -> None:
    painter = visit(**PHONE)
    painter.open(320, 240)
    painter.page.locator("summary").click()
    sizes = painter.run(
        "return [...document.querySelectorAll('.mc-button, .mc-toolbar input[type=range]')]"
        "  .map((one) => [one.getBoundingClientRect(), one])"
        "  .filter(([box]) => box.height < 44 || box.width < 44).map(([, one]) => one.outerHTML)"
    )
    assert sizes == []


@pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_photo_is_as_large_as_the_window_allows_and_nothing_moves(
    visit: Callable[..., Painter], window: dict
) -> None:
    painter = visit(**window)
    empty = painter.stage.bounding_box()
    painter.open(400, 300)
    painter.run(
        "canvas.setBrush(200); canvas.invert(); await canvas.showFill(canvas.photo.blob); canvas.invert()"
    )
    assert painter.stage.bounding_box() == empty
    assert empty is not None
    width, height = window["viewport"]["width"], window["viewport"]["height"]
    assert empty["width"] > 0.95 * width
    assert empty["height"] > 0.75 * height
    assert painter.run("return document.documentElement.scrollWidth <= innerWidth")
    scale = painter.run("return canvas.view.viewport.scale")
    assert scale == pytest.approx(min(empty["width"] / 400, empty["height"] / 300, 4), rel=1e-3)


def test_every_button_has_a_name_and_tells_its_key(painter: Painter) -> None:
    painter.page.locator("summary").click()
    told = painter.run(
        "return [...document.querySelectorAll('.mc-toolbar button')]"
        "  .map((one) => [one.ariaLabel ?? one.innerText, one.title])"
    )
    titles = [title for _, title in told if title]
    assert all(name for name, _ in told)
    wanted = [
        "Brush (B)",
        "Undo (Ctrl+Z)",
        "Redo (Ctrl+Shift+Z)",
        "Compare (hold C)",
        "Zoom out (−)",
        "Zoom in (+)",
    ]
    assert set(wanted) <= set(titles)
    assert {"Grow (G)", "Shrink (Shift+G)", "Clear (Del)", "Invert (I)"} <= set(titles)


def test_the_slider_sets_every_size(painter: Painter) -> None:
    slider = painter.page.get_by_role("slider", name="Brush size")
    slider.focus()
    painter.press("Home")
    assert painter.run("return canvas.brush") == 1
    sizes = [1]
    while sizes[-1] < 200:
        painter.press("ArrowRight")
        sizes.append(painter.run("return canvas.brush"))
        assert sizes[-1] > sizes[-2]
    assert set(range(1, 15)) <= set(sizes)
    assert slider.get_attribute("aria-valuetext") == "200 px"
    painter.press("ArrowLeft")
    assert painter.run("return canvas.brush") < 200


def test_reduced_motion_is_respected(visit: Callable[..., Painter]) -> None:
    painter = visit(reduced_motion="reduce")
    assert (
        painter.run("return getComputedStyle(document.querySelector('.mc-button')).transitionDuration")
        == "0s"
    )
    assert painter.run("return document.getAnimations().length") == 0


def test_the_canvas_needs_no_server_but_files(painter: Painter) -> None:
    hosts = painter.run(
        "return [...new Set(performance.getEntriesByType('resource').map(({name}) => new URL(name).origin))]"
    )
    assert hosts == [painter.run("return location.origin")]
