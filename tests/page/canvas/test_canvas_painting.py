"""Painting with every tool: the exported mask, pixel by pixel."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from canvas_driver import Painter, encoded
from PIL import Image

pytestmark = pytest.mark.browser

Point = tuple[float, float]


def line(shape: tuple[int, int], a: Point, b: Point, size: int) -> np.ndarray:
    """The pixels whose centres lie within half a brush's size of a line between two snapped points."""

    def snap(point: Point) -> np.ndarray:
        return np.floor(point) + 0.5 if size % 2 else np.round(point)

    a, b = snap(a), snap(b)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    way = b - a
    along = ((x - a[0]) * way[0] + (y - a[1]) * way[1]) / max(way @ way, 1e-9)
    along = np.clip(along, 0, 1)
    return np.hypot(x - a[0] - along * way[0], y - a[1] - along * way[1]) <= size / 2 + 1e-6


def test_a_click_sets_a_round_dot_of_the_brushs_size(painter: Painter) -> None:
    for size in (1, 2, 3, 40, 200):
        painter.run("canvas.setBrush(argument)", size)
        painter.drag((150.3, 120.3))
        np.testing.assert_array_equal(
            painter.mask(), line((240, 320), (150.3, 120.3), (150.3, 120.3), size), err_msg=f"size {size}"
        )
        painter.run("canvas.clear()")


def test_brush_sizes_stay_within_1_and_200(painter: Painter) -> None:
    painter.run("canvas.setBrush(0)")
    assert painter.run("return canvas.brush") == 1
    painter.run("canvas.setBrush(900)")
    assert painter.run("return canvas.brush") == 200


def test_a_stroke_is_round_at_its_ends_and_without_gaps(painter: Painter) -> None:
    painter.run("canvas.setBrush(15)")
    a, b = (40.5, 60.5), (260.5, 171.5)
    painter.drag(a, b)
    mask, wanted = painter.mask(), line((240, 320), a, b, 15)
    # The way between is made of short lines whose ends are whole pixels, so its rim may differ by one.
    assert (mask ^ wanted).sum() < 0.05 * wanted.sum()
    assert not (mask & ~line((240, 320), a, b, 18)).any()
    assert not (line((240, 320), a, b, 12) & ~mask).any()


def test_lines_of_every_direction_are_exact(painter: Painter) -> None:
    ends = [
        (70, 60),
        (10.2, 90.7),
        (60, 5),
        (61, 100),
        (12, 50),
        (200, 58),
        (40.4, 40.4),
        (-30, 60),
        (330, 300),
    ]
    for size in (1, 8, 31):
        for end in ends:
            runs = painter.run(
                "const {Mask} = await import('/inpaint/page/static/canvas/mask.js');"
                "const {paintLine} = await import('/inpaint/page/static/canvas/raster.js');"
                "const mask = new Mask(101, 80), [x, y, size] = argument;"
                "paintLine(mask, {x: 60, y: 50}, {x, y}, size, 1); return mask.toRunLength().runs",
                [*end, size],
            )
            mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(80, 101)
            np.testing.assert_array_equal(mask, line((80, 101), (60, 50), end, size), err_msg=f"{size} {end}")


def test_eraser_and_right_button_take_away(painter: Painter) -> None:
    painter.run("canvas.setBrush(60)")
    painter.drag((100, 100))
    painter.run("canvas.setBrush(20)")
    painter.press("e")
    painter.drag((100, 100))
    dot = line((240, 320), (100, 100), (100, 100), 60)
    hole = line((240, 320), (100, 100), (100, 100), 20)
    np.testing.assert_array_equal(painter.mask(), dot & ~hole)
    painter.press("b")
    painter.drag((110, 100), button="right")
    np.testing.assert_array_equal(painter.mask(), dot & ~hole & ~np.roll(hole, 10, axis=1))


def test_rectangle_holds_the_pixels_from_corner_to_corner(painter: Painter) -> None:
    painter.press("r")
    painter.drag((200.5, 100.5), (50.5, 30.5))
    wanted = np.zeros((240, 320), bool)
    wanted[30:101, 50:201] = True
    np.testing.assert_array_equal(painter.mask(), wanted)
    painter.drag((5, 5))  # a click is no rectangle
    np.testing.assert_array_equal(painter.mask(), wanted)


def test_lasso_holds_what_it_goes_around(painter: Painter) -> None:
    painter.press("l")
    corners = [(40, 30), (240, 50), (120, 200)]
    painter.drag(*corners)
    y, x = np.mgrid[:240, :320] + 0.5
    sides = zip(corners, [*corners[1:], corners[0]], strict=True)
    wanted = np.all([(bx - ax) * (y - ay) > (by - ay) * (x - ax) for (ax, ay), (bx, by) in sides], axis=0)
    assert (painter.mask() ^ wanted).sum() <= 30  # places on the screen are whole pixels
    painter.run("canvas.clear()")
    # Twice around is as much as once.
    square = [(50, 50), (150, 50), (150, 150), (50, 150)]
    painter.drag(*square, *square)
    assert painter.mask()[60:140, 60:140].all()


def test_clear_and_invert(painter: Painter) -> None:
    painter.open(323, 201)  # rows that do not end with a byte
    painter.run("canvas.setBrush(50)")
    painter.drag((100, 100))
    mask = painter.mask()
    painter.press("i")
    np.testing.assert_array_equal(painter.mask(), ~mask)
    assert painter.run("return canvas.mask.count()") == (~mask).sum()
    painter.press("Delete")
    assert not painter.mask().any()
    assert painter.run("return canvas.mask.isEmpty()")
    painter.press("i")
    assert painter.run("return canvas.mask.share()") == 1


def test_what_lies_outside_of_the_photo_is_cut_off(painter: Painter) -> None:
    painter.run("canvas.setBrush(30)")
    painter.drag((-6, 100), (330, 100))
    mask = painter.mask()
    assert mask[100].all()
    assert mask.sum(axis=0).max() <= 31


def test_strokes_stay_when_tool_or_size_change(painter: Painter) -> None:
    painter.drag((60, 60), (120, 60))
    before = painter.mask()
    painter.press("e", "]", "]", "r", "l", "b", "[")
    painter.run("canvas.setBrush(7)")
    np.testing.assert_array_equal(painter.mask(), before)
    # Also while one is drawn: it keeps the size that it began with.
    painter.page.mouse.move(*painter.place(200, 150))
    painter.page.mouse.down()
    painter.run("canvas.setBrush(150)")
    painter.page.mouse.move(*painter.place(220, 150))
    painter.page.mouse.up()
    assert painter.mask()[:, 210].sum() == 7


def test_the_mask_is_seen_over_the_photo(painter: Painter) -> None:
    assert painter.seen(100, 100) == (60, 20, 30)
    painter.drag((100, 100))
    red, green, blue = painter.seen(100, 100)
    assert red > 180 and green < 70 and blue < 110
    assert painter.seen(200, 200) == (60, 20, 30)


def test_a_line_of_one_pixel_on_a_large_photo_is_seen(painter: Painter) -> None:
    painter.open(4000, 3000)
    painter.run("canvas.setBrush(1)")
    painter.run(
        "canvas.painter.begin({x: 0, y: 1501});"
        "canvas.painter.move([{x: 4000, y: 1501}]); canvas.painter.end()"
    )
    painter.page.mouse.move(1, 1)
    painter.settle()
    with Image.open(io.BytesIO(painter.stage.screenshot())) as image:
        red = np.asarray(image.convert("RGB"))[..., 0]
    assert (red.max(axis=0) > 90).mean() > 0.8  # without gaps wherever the photo is


def test_ring_and_number_show_the_brushs_size(painter: Painter) -> None:
    painter.run("canvas.setBrush(50)")
    painter.page.mouse.move(*painter.place(100, 100))
    ring = painter.stage.locator(".mc-ring").bounding_box()
    scale = painter.run("return canvas.view.viewport.scale")
    assert ring is not None
    assert ring["width"] == pytest.approx(50 * scale, abs=0.5)
    x, y = painter.place(100, 100)
    assert ring["x"] + ring["width"] / 2 == pytest.approx(x, abs=1)
    assert ring["y"] + ring["height"] / 2 == pytest.approx(y, abs=1)
    assert painter.stage.locator(".mc-size").inner_text() == "50 px"
    painter.page.mouse.wheel(0, -300)
    painter.settle()
    grown = painter.stage.locator(".mc-ring").bounding_box()
    assert grown is not None
    assert grown["width"] == pytest.approx(50 * painter.run("return canvas.view.viewport.scale"), abs=0.5)
    painter.page.mouse.move(1, 1)
    assert painter.stage.locator(".mc-cursor").is_hidden()


def test_strokes_when_zoomed_land_on_the_pixels_under_the_mouse(visit: Callable[..., Painter]) -> None:
    photo = np.full((600, 900, 3), 30, np.uint8)
    photo[400:410, 700:710] = (0, 0, 250)
    painter = visit(device_scale_factor=2)
    painter.open_bytes(encoded(photo))

    def block() -> tuple[float, float]:
        """Where the blue block is in the window, by what is seen."""
        painter.settle()
        with Image.open(io.BytesIO(painter.page.screenshot())) as image:
            pixels = np.asarray(image.convert("RGB")).astype(int)
        y, x = np.nonzero((pixels[..., 2] > 200) & (pixels[..., 0] < 80) & (pixels[..., 1] < 40))
        return (x.mean() + 0.5) / 2, (y.mean() + 0.5) / 2

    painter.page.mouse.move(*block())
    before = block()
    painter.page.mouse.wheel(0, -1000)
    after = block()
    assert np.hypot(*np.subtract(before, after)) < 6
    painter.page.mouse.move(*after)
    painter.page.mouse.wheel(0, -400)
    painter.run("canvas.setBrush(4)")
    x, y = block()
    painter.page.mouse.move(x, y)
    painter.page.mouse.down()
    painter.page.mouse.up()
    mask = painter.mask()
    assert mask.shape == (600, 900)
    assert mask.sum() == 12
    assert mask[402:408, 702:708].sum() == 12
