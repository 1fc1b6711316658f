"""Photos that come onto the page, and files that are saved from it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from page_visitor import GREEN, Visitor, changed_between, noise, pixels_of
from PIL import Image, ImageCms, ImageOps

pytestmark = pytest.mark.browser


def test_a_large_jpeg_keeps_its_size_exif_and_profile(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    """12 megapixels, lying on its side, filled twice: the second starts from the first, without loss."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn a quarter clockwise
    exif[0x010F] = "A camera maker"
    path = tmp_path / "hall.jpg"
    Image.fromarray(noise(4000, 3000, side=250)).save(path, quality=90, exif=exif, icc_profile=profile)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert upright.shape == (4000, 3000, 3)
    visitor = visit()
    visitor.open(path)
    for row in (1000, 2000):
        visitor.stroke((1000, row), (2000, row))
        visitor.fill()
    name, data = visitor.download("PNG, exact pixels")
    assert name == "hall-filled.png"
    exact = pixels_of(data)
    changed = changed_between(upright, exact)
    assert (exact[changed] == GREEN).all()
    assert changed[1000, 1000:2000].all() and changed[2000, 1000:2000].all() and changed.mean() < 0.1

    name, data = visitor.download("Download JPEG")
    assert name == "hall-filled.jpg"
    jpeg = Image.open(io.BytesIO(data))
    assert (jpeg.format, jpeg.size) == ("JPEG", (3000, 4000))
    assert jpeg.info["icc_profile"] == profile
    assert jpeg.getexif()[0x010F] == "A camera maker"
    assert jpeg.getexif().get(0x0112, 1) == 1
    assert np.abs(np.asarray(jpeg).astype(int) - exact).mean() < 2


def test_a_tiff_that_browsers_do_not_open_keeps_its_16_bits(
    visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    wide = np.random.default_rng(0).integers(5000, 65535, (200, 300, 3), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "scan.tif", wide, photometric="rgb")
    visitor = visit()
    visitor.open(tmp_path / "scan.tif")
    visitor.grow(0)
    visitor.stroke((100, 100), (150, 100))
    visitor.fill()
    mask = pixels_of(visitor.download("Mask")[1]).astype(bool)
    name, data = visitor.download("Download TIFF")
    assert name == "scan-filled.tif"
    result = tifffile.imread(io.BytesIO(data))
    assert result.dtype == np.uint16
    assert (result[~mask] == wide[~mask]).all()
    assert (result[mask] == GREEN.astype(np.uint16) * 257).all()


def test_a_photo_is_pasted_and_dropped(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    for way in ("paste", "drop"):
        visitor.run("window.before = canvas.id")
        visitor.page.evaluate(
            """async (way) => {
              const canvas = Object.assign(document.createElement("canvas"), { width: 321, height: 123 });
              const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
              const data = new DataTransfer();
              data.items.add(new File([blob], "image.png", { type: "image/png" }));
              const settings = { bubbles: true, cancelable: true };
              if (way === "paste")
                document.body.dispatchEvent(
                  new ClipboardEvent("paste", { clipboardData: data, ...settings }));
              else
                document.querySelector(".fl-start, .mc-stage")
                  .dispatchEvent(new DragEvent("drop", { dataTransfer: data, ...settings }));
            }""",
            way,
        )
        visitor.wait_for_photo()
        assert visitor.run("return [canvas.photo.width, canvas.photo.height]") == [321, 123]


def test_files_that_are_refused(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    visitor = visit()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing of the kind")
    visitor.choose(tmp_path / "broken.png")
    visitor.alert.get_by_text("is not a photo").wait_for()
    (tmp_path / "broken.tif").write_bytes(b"II*\0" + bytes(40))
    visitor.choose(tmp_path / "broken.tif")
    visitor.alert.get_by_text("The photo cannot be read").wait_for()
    (tmp_path / "heavy.png").write_bytes(bytes(42_000_000))
    visitor.choose(tmp_path / "heavy.png")
    visitor.alert.get_by_text("The file has 42 MB; this server takes 40 MB").wait_for()
    Image.new("L", (4000, 3300)).save(tmp_path / "wide.png")
    visitor.choose(tmp_path / "wide.png")
    visitor.alert.get_by_text("13.2 megapixels; at most 13").wait_for()
    # And the page goes on, with what is there to try.
    visitor.button("Coffee").click()
    visitor.wait_for_photo()
    assert visitor.alert.is_hidden()
    assert visitor.run("return [canvas.photo.width, canvas.photo.height]") == [600, 400]
    # A refused file leaves the open photo as it is.
    visitor.stroke((100, 100), (150, 100))
    visitor.choose(tmp_path / "broken.png")
    visitor.alert.get_by_text("is not a photo").wait_for()
    assert visitor.painted() > 0
    visitor.fill()
