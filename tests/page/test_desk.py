"""What the page's own process does: photos shown, finished files written, objects found."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage.data import chelsea

from inpaint.images import Photo, encode_photo, read_photo
from inpaint.page import desk
from inpaint.page.pictures import png
from inpaint.serving.errors import ServiceError

MAX_PIXELS = 2_000_000


def put(folder: Path, **files: bytes | np.ndarray) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data if isinstance(data, bytes) else png(data))


def do(folder: Path, task: str, **order: object) -> dict:
    return desk.work({"max_pixels": MAX_PIXELS})(folder, {"do": task, **order}, lambda fraction: None)


def filled(pixels: np.ndarray) -> np.ndarray:
    result = pixels.copy()
    result[50:90, 60:200] = 7
    return result


def test_a_jpeg_is_saved_with_all_that_it_has(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "A camera maker"
    stream = io.BytesIO()
    Image.fromarray(chelsea()).save(stream, "JPEG", exif=exif, icc_profile=profile)
    photo = read_photo(stream.getvalue())
    put(tmp_path, photo=stream.getvalue(), fill=filled(photo.pixels))
    told = do(tmp_path, "save")
    assert (told["media"], told["suffix"]) == ("image/jpeg", ".jpg")
    with Image.open(tmp_path / "result") as image:
        assert (image.format, image.size) == ("JPEG", (photo.pixels.shape[1], photo.pixels.shape[0]))
        assert image.getexif()[0x010F] == "A camera maker"
        assert image.info["icc_profile"] == profile
        assert np.abs(np.asarray(image).astype(int) - filled(photo.pixels)).mean() < 2


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "BMP"])
def test_a_lossless_photo_is_saved_to_the_bit(tmp_path: Path, format: str) -> None:
    pixels = chelsea()
    put(tmp_path, photo=encode_photo(Photo(pixels), format), fill=filled(pixels))
    do(tmp_path, "save")
    result = read_photo((tmp_path / "result").read_bytes())
    assert result.format == format
    assert (result.pixels == filled(pixels)).all()


def test_a_fill_of_another_photo_is_refused(tmp_path: Path) -> None:
    put(tmp_path, photo=chelsea(), fill=chelsea()[:-1])
    with pytest.raises(ServiceError, match="another size"):
        do(tmp_path, "save")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    put(tmp_path, photo=b"no photo")
    with pytest.raises(ServiceError) as refused:
        do(tmp_path, "show")
    assert refused.value.status_code == 415
    put(tmp_path, photo=np.zeros((1000, 2001), np.uint8))
    with pytest.raises(ServiceError) as refused:
        do(tmp_path, "show")
    assert refused.value.status_code == 413


def test_a_tiff_is_shown_as_a_png(tmp_path: Path) -> None:
    put(tmp_path, photo=encode_photo(Photo(chelsea()), "TIFF"))
    assert do(tmp_path, "show")["media"] == "image/png"
    with Image.open(tmp_path / "result") as image:
        assert image.format == "PNG" and (np.asarray(image) == chelsea()).all()
