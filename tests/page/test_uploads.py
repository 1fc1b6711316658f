"""Photos that are opened on the page, and those that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from skimage.data import chelsea
from stand_ins import photo_of

from inpaint.images import ImageError, read_photo
from inpaint.page import Limits
from inpaint.page.uploads import describe, example_photos, read_upload


def test_uploads_beyond_a_limit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(chelsea()).save(path)
    height, width = chelsea().shape[:2]
    assert read_upload(path, Limits()).pixels.shape == (height, width, 3)
    with pytest.raises(ImageError, match="larger than 0 MB"):
        read_upload(path, Limits(file_bytes=1000))
    with pytest.raises(ImageError):
        read_upload(path, Limits(pixels=height * width - 1))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ImageError) as error:
        read_upload(path, Limits())
    assert str(tmp_path) not in str(error.value)


def test_the_examples_are_installed() -> None:
    photos = example_photos()
    assert len(photos) >= 4
    for path in photos:
        assert min(read_photo(path).pixels.shape[:2]) >= 256


def test_what_was_opened_is_described_without_markup() -> None:
    text = describe(photo_of(3000, 4000, format="JPEG", notes=["<b>bold</b>"]))
    assert text.startswith("4000 × 3000 · JPEG")
    assert "full size" in text
    assert "<b>" not in text
    assert "full size" not in describe(photo_of(30, 40))
