"""The limit of pixels is the caller's; Pillow's own neither warns nor refuses."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from inpaint.images import LimitError, read_photo


def png(width, height, value=200, rows=None):
    """A PNG of one grey value; `rows` is how many it holds, where that is not what it says."""
    row = b"\0" + bytes([value]) * width
    deflate = zlib.compressobj(1)
    body = b"".join(deflate.compress(row * 100) for _ in range((rows or height) // 100)) + deflate.flush()
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", body),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def test_pillow_does_not_warn_and_its_limit_does_not_count(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000)  # warns above, refuses above the double
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for height in (100, 200):
            photo = read_photo(png(70, height))
            assert photo.pixels.shape == (height, 70, 3) and (photo.pixels == 200).all()


@pytest.mark.parametrize("height", [9_840, 20_000])  # Pillow warns of the first and refuses the second
def test_what_is_over_the_limit_is_refused_by_the_limit(height):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LimitError, match=f"10000×{height} is .* more than the limit of 50.0"):
            read_photo(png(10_000, height, rows=100))


def test_a_gif_whose_first_picture_stands_out_is_measured_by_it():
    stream = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(stream, "GIF")
    data = bytearray(stream.getvalue())
    data[6:10] = struct.pack("<HH", 2, 2)
    assert read_photo(bytes(data)).pixels.shape == (4, 4, 3)
    place = data.index(b",\0\0\0\0\4\0\4\0")
    data[place + 5 : place + 9] = struct.pack("<HH", 60_000, 60_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LimitError, match="60000×60000"):
            read_photo(bytes(data))
