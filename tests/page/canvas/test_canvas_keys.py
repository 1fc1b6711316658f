"""Everything without a mouse."""

from __future__ import annotations

import numpy as np
import pytest
from canvas_driver import Painter

pytestmark = pytest.mark.browser


def hold(painter: Painter, key: str, *moves: str) -> None:
    painter.page.keyboard.down(key)
    painter.press(*moves)
    painter.page.keyboard.up(key)


@pytest.fixture
def keys(painter: Painter) -> Painter:
    """The page with its focus on the canvas and the photo at twice its size; the cursor is in its middle."""
    painter.run("canvas.view.move((viewport) => viewport.zoomTo(2)); canvas.setBrush(5); canvas.focus()")
    return painter


def test_keys_choose_tools_and_sizes(painter: Painter) -> None:
    painter.run("canvas.focus()")
    for key, name in [("e", "Eraser"), ("r", "Rectangle"), ("l", "Lasso"), ("b", "Brush")]:
        painter.press(key)
        assert painter.run("return canvas.tool") == name.lower()
        assert painter.tool(name).get_attribute("aria-pressed") == "true"
    assert painter.run("return canvas.brush") == 40
    painter.press("]")
    assert painter.run("return canvas.brush") == 45
    painter.press("[", "[")
    assert painter.run("return canvas.brush") == 35
    assert painter.last("status")["text"] == "brush 35 px"


def test_space_paints_a_dot_at_the_keyboards_cursor(keys: Painter) -> None:
    keys.press("ArrowRight", " ")
    mask = keys.mask()
    y, x = np.nonzero(mask)
    assert mask.sum() == 21  # a disc of 5
    assert (x.mean(), y.mean()) == (165, 120)


def test_held_space_paints_the_way(keys: Painter) -> None:
    hold(keys, " ", "ArrowRight", "ArrowRight", "Shift+ArrowDown", "Control+ArrowLeft")
    mask = keys.mask()
    assert mask[120, 160:171].all()
    assert mask[120:146, 170].all()
    assert mask[145, 169]
    assert mask.any(axis=0).sum() == 15
    assert keys.count("strokeend") == 1
    keys.press("Control+z")
    assert not keys.mask().any()


def test_p_puts_the_brush_down_and_lifts_it(keys: Painter) -> None:
    keys.press("p", "ArrowUp", "ArrowUp", "p", "ArrowLeft")
    mask = keys.mask()
    assert mask[110:121, 160].all()
    assert mask.any(axis=0).sum() == 5
    keys.press("p", "ArrowLeft", "Escape", "ArrowLeft")
    np.testing.assert_array_equal(keys.mask(), mask)


def test_shapes_by_keyboard(keys: Painter) -> None:
    keys.press("r")
    hold(keys, " ", "Shift+ArrowRight", "Shift+ArrowDown")
    wanted = np.zeros((240, 320), bool)
    wanted[120:146, 160:186] = True
    np.testing.assert_array_equal(keys.mask(), wanted)
    keys.press("Delete", "l")
    hold(keys, " ", *["Shift+ArrowUp"] * 2, *["Shift+ArrowLeft"] * 2, *["Shift+ArrowDown"] * 2)
    assert keys.mask()[100:140, 140:180].all()


def test_the_cursor_stays_in_the_photo_and_in_sight(keys: Painter) -> None:
    keys.run("canvas.view.move((viewport) => viewport.zoomTo(8))")
    for _ in range(40):
        keys.press("Shift+ArrowLeft")
    keys.press(" ")
    assert keys.mask()[120, 0]
    box = keys.stage.bounding_box()
    x, y = keys.place(0, 120)
    assert box is not None
    assert box["x"] <= x <= box["x"] + box["width"]
    assert box["y"] <= y <= box["y"] + box["height"]


def test_the_cursor_says_where_it_is(keys: Painter) -> None:
    keys.press(" ", "Control+ArrowLeft")
    keys.page.wait_for_function("events.at(-1).text?.includes('from the left')")
    assert keys.last("status")["text"] == "50 % from the left, 50 % from the top, painted"
    assert keys.page.get_by_role("status").inner_text() == keys.last("status")["text"]


def test_the_status_says_how_much_is_painted(keys: Painter) -> None:
    keys.press("r")
    hold(keys, " ", *["Shift+ArrowRight"] * 2, "ArrowDown")
    assert keys.last("status")["text"] == "0.4 % of the photo painted"
    keys.press("Delete")
    assert keys.last("status")["text"] == "nothing is painted"
    keys.press("i")
    assert keys.last("status")["text"] == "100 % of the photo painted"
    keys.press("Control+z")
    assert keys.last("status")["text"] == "taken back: invert; nothing is painted"


def test_letters_are_left_alone_elsewhere(painter: Painter) -> None:
    painter.page.mouse.move(1, 1)
    painter.page.get_by_label("Note").focus()
    painter.press("e", "[", "Delete")
    assert painter.run("return [canvas.tool, canvas.brush]") == ["brush", 40]
    painter.run("document.activeElement.blur()")
    painter.press("e")
    assert painter.run("return canvas.tool") == "brush"
    painter.page.mouse.move(*painter.place(100, 100))  # over the canvas they work
    painter.press("e")
    assert painter.run("return canvas.tool") == "eraser"


def test_undo_works_from_anywhere_but_a_text_field(painter: Painter) -> None:
    painter.drag((100, 100))
    painter.page.get_by_label("Note").focus()
    painter.press("Control+z")
    assert painter.mask().any()
    painter.page.mouse.move(1, 1)
    painter.page.get_by_role("button", name="Fill", exact=True).focus()
    painter.press("Control+z")
    assert not painter.mask().any()


def test_keys_of_other_keyboards(painter: Painter) -> None:
    painter.run("canvas.focus()")
    send = "canvas.view.stage.dispatchEvent(new KeyboardEvent('keydown', {bubbles: true, ...argument}))"
    painter.run(send, {"key": "у", "code": "KeyE"})  # Cyrillic
    assert painter.run("return canvas.tool") == "eraser"
    painter.run(send, {"key": "ü", "code": "BracketLeft"})  # German
    assert painter.run("return canvas.brush") == 35
    painter.run(send, {"key": "z", "code": "KeyY", "ctrlKey": True})
    assert painter.last("status")["text"] == "nothing to take back"


def test_tab_goes_through_and_out_of_the_canvas(painter: Painter) -> None:
    names = []
    painter.page.get_by_role("button", name="Fill", exact=True).focus()
    for _ in range(6):
        painter.press("Tab")
        names.append(
            painter.run("const e = document.activeElement; return e.getAttribute('aria-label') ?? e.tagName")
        )
    assert names[:3] == ["Brush", "Brush size", "Mask over the photo"]
    assert names[3] == "BODY"


def test_arrows_walk_along_the_toolbar(painter: Painter) -> None:
    painter.tool("Brush").focus()
    painter.press("ArrowRight", "ArrowRight", "Enter")
    assert painter.run("return canvas.tool") == "rectangle"
    painter.press("End")
    assert painter.run("return document.activeElement.ariaLabel") == "Zoom in"
    painter.press("ArrowRight")
    assert painter.run("return document.activeElement.ariaLabel") == "Brush"
