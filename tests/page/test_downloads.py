"""Fills as files: format, name, EXIF and colour profile."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage.data import chelsea
from stand_ins import photo_of

from inpaint.images import read_photo
from inpaint.page.downloads import downloads


def test_downloads_keep_format_exif_and_profile(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "A camera maker"
    path = tmp_path / "cat.jpg"
    Image.fromarray(chelsea()).save(path, exif=exif, icc_profile=profile)
    photo = read_photo(path)
    fill = photo.pixels.copy()
    fill[50:90, 60:200] = 0

    (name, jpeg), (exact_name, exact) = downloads("cat", photo, fill)
    assert (name, exact_name) == ("cat-filled.jpg", "cat-filled.png")
    with Image.open(io.BytesIO(jpeg)) as image:
        assert (image.format, image.size) == ("JPEG", (fill.shape[1], fill.shape[0]))
        assert image.getexif()[0x010F] == "A camera maker"
        assert image.info["icc_profile"] == profile
    assert (np.asarray(Image.open(io.BytesIO(exact))) == fill).all()


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "BMP"])
def test_a_lossless_photo_is_one_download(format: str) -> None:
    photo = photo_of(30, 40, format=format)
    ((name, data),) = downloads("photo", photo, photo.pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == format
        assert (np.asarray(image.convert("RGB")) == photo.pixels).all()
    assert name.startswith("photo-filled.")


def test_a_photo_its_format_cannot_hold_is_a_png() -> None:
    photo = photo_of(2, 70_000, format="JPEG")  # JPEG ends at 65 535 pixels a side
    assert [name for name, _ in downloads("strip", photo, photo.pixels)] == ["strip-filled.png"]
