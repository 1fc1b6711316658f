"""Undo and redo, cancelled strokes, fills that become the picture, and comparing."""

from __future__ import annotations

import numpy as np
import pytest
from canvas_driver import DARK, GREEN, Painter, dark_photo, encoded

pytestmark = pytest.mark.browser


def fill(painter: Painter) -> None:
    count = painter.count("change")
    painter.page.get_by_role("button", name="Fill", exact=True).click()
    painter.page.wait_for_function(
        "count => events.filter((event) => event.event === 'change').length > count", arg=count
    )
    painter.settle()


def test_every_change_is_a_step(painter: Painter) -> None:
    masks = [painter.mask()]
    loaded = np.zeros((240, 320), bool)
    loaded[:20, :20] = True
    steps = [
        lambda: painter.drag((100, 100), (150, 120)),
        lambda: (painter.press("e"), painter.drag((120, 110))),
        lambda: (painter.press("r"), painter.drag((200, 20), (300, 90))),
        lambda: (painter.press("l"), painter.drag((20, 200), (120, 210), (60, 150))),
        lambda: painter.press("g"),
        lambda: painter.press("Shift+g"),
        lambda: (painter.add_mask(loaded), painter.page.wait_for_function("canvas.mask.get(0, 0)")),
        lambda: painter.press("i"),
        lambda: painter.press("Delete"),
    ]
    for step in steps:
        step()
        masks.append(painter.mask())
        assert (masks[-1] != masks[-2]).any()
    for mask in reversed(masks[:-1]):
        painter.press("Control+z")
        np.testing.assert_array_equal(painter.mask(), mask)
    assert not painter.run("return canvas.canUndo")
    painter.press("Control+z")
    assert painter.last("status")["text"] == "nothing to take back"
    for key, mask in zip(["Control+Shift+z", "Control+y"] * 5, masks[1:], strict=False):
        painter.press(key)
        np.testing.assert_array_equal(painter.mask(), mask)
    assert not painter.run("return canvas.canRedo")


def test_a_new_step_forgets_those_taken_back(painter: Painter) -> None:
    painter.drag((100, 100))
    painter.drag((200, 100))
    painter.press("Control+z")
    painter.drag((60, 200))
    assert not painter.run("return canvas.canRedo")
    painter.press("Control+z", "Control+z")
    assert not painter.mask().any()


def test_a_step_that_changes_nothing_is_none(painter: Painter) -> None:
    painter.press("Delete", "g", "Shift+g")
    painter.press("e")
    painter.drag((100, 100))
    assert not painter.run("return canvas.canUndo")


def test_undo_never_leaves_the_photo(painter: Painter) -> None:
    painter.drag((100, 100))
    painter.open(200, 100)
    assert not painter.run("return canvas.canUndo")
    painter.press("Control+z")
    assert painter.run("return [canvas.photo.width, canvas.mask.width]") == [200, 200]
    assert not painter.mask().any()


def test_history_stays_within_its_memory(painter: Painter) -> None:
    held = painter.run(
        "canvas.editor.history.limit = 4000; canvas.setBrush(30);"
        "for (let i = 0; i < 60; i++) {"
        "  canvas.painter.begin({x: 5 * i, y: 60});"
        "  canvas.painter.move([{x: 5 * i, y: 180}]); canvas.painter.end();"
        "} const {bytes, steps} = canvas.editor.history; return [bytes, steps.length]"
    )
    assert held[0] <= 4000
    assert 3 < held[1] < 60
    after = painter.mask()
    for _ in range(held[1]):
        painter.run("await canvas.undo()")
    assert not painter.run("return canvas.canUndo")
    for _ in range(held[1]):
        painter.run("await canvas.redo()")
    np.testing.assert_array_equal(painter.mask(), after)


def test_packing_gives_back_what_went_in(painter: Painter) -> None:
    assert painter.run(
        "const {pack, unpack} = await import('/inpaint/page/static/canvas/difference.js');"
        "const bytes = new Uint8Array(100000); let state = 1;"
        "const random = () => (state = (state * 48271) % 2147483647);"
        "for (let at = 0; at < bytes.length; ) {"
        "  const end = at + random() % 700, kind = random() % 3, value = random() % 256;"
        "  for (; at < end && at < bytes.length; at++) bytes[at] = [0, value, random() % 256][kind];"
        "} const packed = pack(bytes), back = unpack(packed, bytes.length);"
        "return packed.length < 60000 && back.every((byte, i) => byte === bytes[i])"
        "  && pack(new Uint8Array(6e6)).length < 10 && pack(new Uint8Array(0)).length === 0"
    )


def test_escape_cancels_the_stroke_and_then_the_page(painter: Painter) -> None:
    painter.drag((60, 60))
    before = painter.mask()
    painter.page.mouse.move(*painter.place(100, 100))
    painter.page.mouse.down()
    painter.page.mouse.move(*painter.place(200, 200))
    painter.press("Escape")
    np.testing.assert_array_equal(painter.mask(), before)
    assert painter.count("cancel") == 0
    painter.page.mouse.move(*painter.place(250, 200))  # the button is still down
    painter.page.mouse.up()
    np.testing.assert_array_equal(painter.mask(), before)
    painter.press("Escape")
    assert painter.count("cancel") == 1
    painter.drag((200, 60))  # and painting goes on
    assert painter.mask().sum() > before.sum()


def test_a_fill_is_the_canvas_and_undo_goes_back_to_the_photo_with_its_mask(painter: Painter) -> None:
    painter.drag((100, 100), (200, 100))
    mask = painter.mask()
    fill(painter)
    assert not painter.mask().any()
    green = tuple(np.add(DARK, GREEN))
    assert tuple(painter.picture()[100, 150]) == green
    assert painter.seen(150, 100) == green
    painter.press("Control+z")
    painter.settle()
    np.testing.assert_array_equal(painter.mask(), mask)
    np.testing.assert_array_equal(painter.picture(), dark_photo(320, 240))
    painter.press("Control+y")
    painter.settle()
    assert not painter.mask().any()
    assert painter.seen(150, 100) == green
    # A second fill on top, and all the way back and forth.
    painter.drag((60, 200))
    fill(painter)
    painter.press("Control+z", "Control+z")
    painter.settle()
    assert tuple(painter.picture()[100, 150]) == green
    assert tuple(painter.picture()[200, 60]) == DARK
    painter.press("Control+z")
    painter.settle()
    np.testing.assert_array_equal(painter.mask(), mask)
    assert painter.seen(200, 200) == DARK
    painter.press("Control+y", "Control+y", "Control+y")
    painter.settle()
    assert tuple(painter.picture()[200, 60]) == green
    assert painter.seen(60, 200) == green


def test_a_fill_of_another_photo_or_size_is_refused(painter: Painter) -> None:
    painter.run("window.other = new Blob([Uint8Array.from(argument)])", list(encoded(dark_photo(100, 50))))
    assert painter.run("return canvas.showFill(other, {id: 'gone'})") is False
    text = painter.run("return canvas.showFill(other, {id: canvas.id}).catch((error) => error.message)")
    assert text == "The fill is 100 × 50 pixels and the photo 320 × 240."
    assert painter.last("message")["text"] == text
    assert not painter.run("return canvas.canUndo")


def test_fill_is_asked_for_by_enter(painter: Painter) -> None:
    painter.drag((100, 100))
    painter.run(
        "canvas.addEventListener('fill', (event) => event.stopImmediatePropagation(), {capture: true})"
    )
    painter.press("Enter")
    assert painter.count("fill") == 1
    painter.press("Shift+Enter")
    assert painter.count("fill") == 2
    assert painter.last("fill")["id"] == painter.run("return canvas.id")


def test_nothing_changes_while_the_canvas_is_locked(painter: Painter) -> None:
    painter.drag((100, 100))
    before = painter.mask()
    painter.run("canvas.setLocked(true)")
    painter.drag((200, 100))
    painter.press("Control+z", "i", "Delete", "Enter")
    np.testing.assert_array_equal(painter.mask(), before)
    assert painter.count("fill") == 0
    assert painter.tool("Undo").is_disabled()
    painter.run("canvas.setLocked(false)")
    painter.press("Control+z")
    assert not painter.mask().any()


def test_compare_shows_the_photo_before_as_long_as_it_is_held(painter: Painter) -> None:
    painter.drag((100, 100))
    fill(painter)
    painter.drag((200, 100))
    green = tuple(np.add(DARK, GREEN))
    state = painter.stage.locator(".mc-state")
    assert state.inner_text() == "After"
    painter.page.keyboard.down("c")
    painter.settle()
    assert state.inner_text() == "Before"
    assert painter.seen(100, 100) == DARK
    assert painter.seen(200, 100) == DARK  # no mask either
    painter.page.keyboard.up("c")
    assert state.inner_text() == "After"
    assert painter.seen(100, 100) == green
    painter.tool("Compare").hover()
    painter.page.mouse.down()
    assert state.inner_text() == "Before"
    assert painter.tool("Compare").get_attribute("aria-pressed") == "true"
    painter.page.mouse.up()
    assert state.inner_text() == "After"
    painter.tool("Compare").focus()
    painter.page.keyboard.down(" ")
    assert state.inner_text() == "Before"
    painter.page.keyboard.up(" ")
    assert state.inner_text() == "After"
