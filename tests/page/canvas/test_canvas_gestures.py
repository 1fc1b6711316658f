"""Zooming and moving by wheel, mouse and fingers; fingers that paint, and those that must not."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from canvas_driver import Painter

pytestmark = pytest.mark.browser

Place = tuple[float, float]


class Fingers:
    """Fingers on the screen, by the browser's own touch events."""

    def __init__(self, painter: Painter) -> None:
        self.session = painter.context.new_cdp_session(painter.page)

    def send(self, kind: str, *places: Place) -> None:
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def down(self, *places: Place) -> None:
        self.send("touchStart", *places)

    def move(self, *places: Place) -> None:
        self.send("touchMove", *places)

    def up(self, *places: Place) -> None:
        """Lift a finger; those that stay are given."""
        self.send("touchEnd", *places)


def view(painter: Painter) -> tuple[float, float, float]:
    """The scale and place of the photo, once the browser has passed on all moves, frame by frame."""
    painter.settle()
    scale, x, y = painter.run("const {scale, x, y} = canvas.view.viewport; return [scale, x, y]")
    return scale, x, y


@pytest.fixture
def phone(visit: Callable[..., Painter]) -> Painter:
    painter = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    painter.open(600, 800)
    return painter


def test_the_wheel_zooms_at_the_mouse(painter: Painter) -> None:
    x, y = painter.place(250, 60)
    painter.page.mouse.move(x, y)
    before = view(painter)[0]
    painter.page.mouse.wheel(0, -500)
    painter.settle()
    assert view(painter)[0] > 1.3 * before
    assert painter.place(250, 60) == pytest.approx((x, y), abs=0.5)
    painter.page.mouse.wheel(0, 5000)
    painter.page.mouse.wheel(0, 5000)
    painter.settle()
    painter.press("0")
    assert view(painter)[0] == pytest.approx(before)


def test_fit_actual_size_and_steps(visit: Callable[..., Painter]) -> None:
    painter = visit(device_scale_factor=2)
    painter.open(3000, 1000)
    box = painter.stage.bounding_box()
    assert box is not None
    assert view(painter)[0] == pytest.approx(box["width"] / 3000)
    painter.page.mouse.move(*painter.place(1500, 500))
    painter.press("1")
    assert painter.run("return canvas.view.viewport.zoom") == pytest.approx(1)
    assert view(painter)[0] == pytest.approx(0.5)
    painter.press("+")
    assert painter.run("return canvas.view.viewport.zoom") == pytest.approx(1.25)
    painter.press("0")
    assert view(painter)[0] == pytest.approx(box["width"] / 3000)
    zoom = painter.page.locator(".mc-zoom")
    zoom.click()
    assert zoom.inner_text() == "100 %"
    zoom.click()
    assert view(painter)[0] == pytest.approx(box["width"] / 3000)


@pytest.mark.parametrize("way", ["space", "middle"])
def test_the_photo_is_moved_without_painting(painter: Painter, way: str) -> None:
    painter.page.mouse.move(*painter.place(160, 120))
    painter.page.mouse.wheel(0, -800)
    painter.settle()
    _, x, y = view(painter)
    start = painter.place(160, 120)
    painter.page.mouse.move(*start)
    if way == "space":
        painter.run("canvas.focus()")
        painter.page.keyboard.down(" ")
    painter.page.mouse.down(button="left" if way == "space" else "middle")
    painter.page.mouse.move(start[0] + 70, start[1] - 40, steps=5)
    painter.page.mouse.up(button="left" if way == "space" else "middle")
    if way == "space":
        painter.page.keyboard.up(" ")
    assert view(painter)[1:] == pytest.approx((x + 70, y - 40))
    assert not painter.mask().any()
    painter.drag((160, 120))
    assert painter.mask()[120, 160]


def test_one_finger_paints_and_a_tap_is_a_dot(phone: Painter) -> None:
    phone.run("canvas.setBrush(30)")
    fingers = Fingers(phone)
    places = [phone.place(100 + 20 * i, 300) for i in range(15)]
    fingers.down(places[0])
    for place in places[1:]:
        fingers.move(place)
    fingers.up()
    mask = phone.mask()
    assert mask[300, 100:380].all()
    assert mask[:, 200].sum() == pytest.approx(30, abs=2)
    fingers.down(phone.place(300, 600))
    fingers.up()
    assert phone.mask()[600, 300]
    assert phone.count("strokeend") == 2
    phone.run("await canvas.undo(); await canvas.undo()")
    assert not phone.mask().any()


@pytest.mark.parametrize("moved", [0, 30])
def test_a_pinch_zooms_between_the_fingers_and_leaves_no_dot(phone: Painter, moved: int) -> None:
    fingers = Fingers(phone)
    scale = view(phone)[0]
    fingers.down((180 - moved, 400))
    if moved:  # the first finger already moved so far that it painted
        fingers.move((180, 400))
    fingers.down((180, 400), (220, 400))
    held = phone.run(
        "const box = canvas.view.stage.getBoundingClientRect();"
        "return canvas.view.viewport.toPhoto({x: 200 - box.left, y: 400 - box.top})"
    )
    for i in range(1, 11):
        fingers.move((180 - 5 * i, 400), (220 + 5 * i, 400))
    assert view(phone)[0] == pytest.approx(scale * 140 / 40, rel=0.02)
    assert phone.place(held["x"], held["y"]) == pytest.approx((200, 400), abs=3)
    # What is left of the pinch paints nothing.
    fingers.up((130, 400))
    fingers.move((100, 500))
    fingers.up()
    assert not phone.mask().any()
    assert not phone.run("return canvas.canUndo")
    fingers.down((200, 400))
    fingers.up()
    assert phone.mask().any()


def test_two_fingers_move_the_photo(phone: Painter) -> None:
    phone.run("canvas.zoomBy(3)")
    _, x, y = view(phone)
    fingers = Fingers(phone)
    fingers.down((150, 300))
    fingers.down((150, 300), (250, 300))
    for i in range(1, 11):
        fingers.move((150 + 4 * i, 300 - 6 * i), (250 + 4 * i, 300 - 6 * i))
    fingers.up()
    assert view(phone)[1:] == pytest.approx((x + 40, y - 60), abs=2)
    assert not phone.mask().any()


def test_a_long_stroke_stays_when_a_second_finger_comes(phone: Painter) -> None:
    fingers = Fingers(phone)
    fingers.down((60, 300))
    for i in range(1, 11):
        fingers.move((60 + 20 * i, 300))
    time.sleep(0.4)
    fingers.down((260, 300), (300, 500))
    fingers.up()
    assert phone.mask().any()
    assert phone.run("return canvas.editor.history.steps.length") == 1


def test_a_hand_beside_the_pen_paints_nothing(phone: Painter) -> None:
    send = (
        "const {type, id, place: [clientX, clientY]} = argument;"
        "const pointerType = id === 7 ? 'pen' : 'touch';"
        "const options = {bubbles: true, pointerId: id, pointerType, button: 0, clientX, clientY};"
        "canvas.view.stage.dispatchEvent(new PointerEvent(type, options))"
    )

    def point(type: str, id: int, x: float, y: float) -> None:
        phone.run(send, {"type": type, "id": id, "place": phone.place(x, y)})

    phone.run("canvas.setBrush(20)")
    point("pointerdown", 5, 500, 700)
    point("pointermove", 5, 520, 700)
    point("pointerdown", 7, 100, 100)
    point("pointerdown", 6, 400, 700)
    point("pointermove", 7, 200, 100)
    point("pointerup", 6, 400, 700)
    point("pointermove", 7, 300, 100)
    point("pointerup", 7, 300, 100)
    point("pointerup", 5, 520, 700)
    mask = phone.mask()
    assert mask[100, 100:300].all()
    assert not mask[200:].any()
    assert phone.run("return canvas.editor.history.steps.length") == 1


def test_the_photo_goes_on_filling_the_stage_and_keeps_its_mask(painter: Painter) -> None:
    painter.drag((100, 100))
    before = painter.mask()
    painter.page.set_viewport_size({"width": 500, "height": 800})
    painter.settle()
    box = painter.stage.bounding_box()
    assert box is not None
    assert view(painter)[0] == pytest.approx(box["width"] / 320)
    np.testing.assert_array_equal(painter.mask(), before)
    painter.run("canvas.setBrush(9); canvas.clear()")
    painter.drag((200, 50))
    mask = painter.mask()
    assert mask[50, 200]
    assert mask.sum() < 80


def test_the_end_of_a_stroke_tells_what_it_was(painter: Painter) -> None:
    def told() -> list[object]:
        end = painter.last("strokeend")
        return [end[key] for key in ("tool", "erases", "changed", "lifted")]

    painter.drag((100, 100), (150, 100))
    assert told() == ["brush", False, True, True]
    painter.drag((110, 100), (120, 100))
    assert told() == ["brush", False, False, True]
    painter.drag((110, 100), (120, 100), button="right")
    assert told() == ["brush", True, True, True]
    for tool, erases, left in (("rectangle", False, 90), ("lasso", False, 190), ("eraser", True, 90)):
        painter.run("canvas.setTool(argument)", tool)
        painter.drag((left, 90), (left, 150), (left + 70, 160))
        assert told() == [tool, erases, True, True]
    # A stroke that another tool, or the page's own work, cuts short was not lifted.
    painter.run("canvas.setTool('brush')")
    painter.page.mouse.move(*painter.place(200, 200))
    painter.page.mouse.down()
    painter.run("canvas.setTool('lasso')")
    assert told() == ["brush", False, True, False]
    painter.page.mouse.up()
    painter.run("canvas.setTool('brush')")
    painter.stage.focus()
    painter.press("p", "ArrowLeft", "p")
    assert told() == ["brush", False, True, True]


def test_a_long_stroke_that_becomes_a_pinch_was_not_lifted(phone: Painter) -> None:
    fingers = Fingers(phone)
    start, far = phone.place(100, 100), phone.place(500, 100)
    fingers.down(start)
    for step in range(1, 6):
        fingers.move((start[0] + (far[0] - start[0]) * step / 5, start[1]))
        time.sleep(0.1)
    fingers.down(far, phone.place(300, 500))
    fingers.up()
    end = phone.last("strokeend")
    assert [end["changed"], end["lifted"]] == [True, False]
    fingers.down(start)
    time.sleep(0.2)
    fingers.up()
    assert phone.last("strokeend")["lifted"]
