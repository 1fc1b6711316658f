"""Photos that come in by file, clipboard and mouse, and those that cannot be opened."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from canvas_driver import Painter, dark_photo, encoded
from PIL import Image

pytestmark = pytest.mark.browser


def send(painter: Painter, kind: str, files: list[tuple[str, str, bytes]]) -> None:
    """Paste files into the page, or drop them on the canvas."""
    painter.run(
        "const data = new DataTransfer();"
        "for (const [name, type, bytes] of argument.files)"
        "  data.items.add(new File([Uint8Array.from(bytes)], name, {type}));"
        "const event = argument.kind === 'paste'"
        "  ? new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true})"
        "  : new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true});"
        "(argument.kind === 'paste' ? document.body : canvas.view.stage).dispatchEvent(event);",
        {"kind": kind, "files": [(name, mime, list(data)) for name, mime, data in files]},
    )


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_pictures_are_pasted_and_dropped(painter: Painter, kind: str) -> None:
    file = encoded(dark_photo(90, 60))
    send(painter, kind, [("one.png", "image/png", file), ("two.png", "image/png", file)])
    painter.page.wait_for_function("canvas.photo.width === 90")
    assert painter.run(
        "const {files, via} = events.find((e) => e.event === 'photofile'); return [files.length, via]"
    )
    assert painter.run("return canvas.name") == "one.png"


def test_a_file_that_is_no_picture_is_told(painter: Painter) -> None:
    send(painter, "drop", [("notes.pdf", "application/pdf", b"%PDF")])
    assert painter.last("message")["text"] == "“notes.pdf” is not a photo."
    assert painter.count("photofile") == 0
    send(painter, "drop", [("broken.jpg", "image/jpeg", b"\xff\xd8\xff nothing")])
    painter.page.get_by_role("alert").get_by_text("broken").wait_for()
    assert painter.last("message")["text"] == "“broken.jpg” is not a photo that this browser can open."
    assert painter.run("return canvas.photo.width") == 320  # and the photo stays


def test_heic_is_told_with_the_way_out(painter: Painter) -> None:
    send(painter, "paste", [("IMG_1.HEIC", "", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")])
    painter.page.get_by_role("alert").get_by_text("HEIC").wait_for()
    assert painter.last("message")["text"].startswith(
        "This browser cannot open HEIC photos. Save the photo as JPEG"
    )


def test_too_many_pixels_are_refused(painter: Painter) -> None:
    painter.run("canvas.options.maxPixels = 10000")
    send(painter, "drop", [("big.png", "image/png", encoded(dark_photo(400, 300)))])
    painter.page.get_by_role("alert").get_by_text("megapixels").wait_for()
    assert painter.run("return canvas.photo.width") == 320


def test_photos_are_upright(painter: Painter) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    painter.open_bytes(encoded(dark_photo(200, 100), "JPEG", exif=exif), "turned.jpg", "image/jpeg")
    assert painter.run("return [canvas.photo.width, canvas.mask.height]") == [100, 200]


def test_the_last_photo_opened_is_the_one_that_stays(painter: Painter) -> None:
    opened = painter.run(
        "const [large, small] = argument.map((bytes) => new Blob([Uint8Array.from(bytes)]));"
        "const both = [canvas.openPhoto(large, {id: 'large'}), canvas.openPhoto(small, {id: 'small'})];"
        "return [...await Promise.all(both), canvas.id, canvas.photo.width]",
        [list(encoded(dark_photo(3000, 2000))), list(encoded(dark_photo(50, 40)))],
    )
    assert opened == [False, True, "small", 50]


def test_a_bitmap_is_a_photo_too(painter: Painter) -> None:
    painter.run(
        "const bitmap = () => createImageBitmap(new ImageData(70, 30));"
        "await canvas.openPhoto(await bitmap(), {id: 'mine'});"
        "canvas.invert(); await canvas.showFill(await bitmap(), {id: 'mine'});"
    )
    assert painter.run("return [canvas.id, canvas.photo.width, canvas.mask.isEmpty()]") == ["mine", 70, True]
    painter.run("await canvas.undo()")
    assert painter.mask().all()


def test_the_picture_is_copied_as_png(visit: Callable[..., Painter]) -> None:
    painter = visit(permissions=["clipboard-read", "clipboard-write"])
    painter.open(50, 40)
    painter.press("Control+c")
    painter.page.wait_for_function("events.at(-1).text === 'picture copied'")
    painter.run(
        "const [item] = await navigator.clipboard.read(); window.copied = await item.getType('image/png')"
    )
    assert painter.run("const {width, height} = await createImageBitmap(copied); return [width, height]") == [
        50,
        40,
    ]
