"""A fill in a photo: known pixels to the bit, also of 16 bits, and what becomes of transparency."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile

from inpaint.images import Photo, encode_photo, losses, read_photo

RNG = np.random.default_rng(7)
MASK = np.zeros((11, 13), bool)
MASK[3:7, 4:9] = True
FILL = RNG.integers(0, 256, (11, 13, 3), dtype=np.uint8)
COLOURS = RNG.integers(0, 65536, (11, 13, 3), dtype=np.uint16)


def as_png(values):
    return imagecodecs.png_encode(np.ascontiguousarray(values))


def as_tiff(values):
    stream = io.BytesIO()
    kind = "minisblack" if values.ndim == 2 or values.shape[2] == 2 else "rgb"
    extra = {"extrasamples": ["unassalpha"]} if values.ndim == 3 and values.shape[2] % 2 == 0 else {}
    tifffile.imwrite(stream, values, metadata=None, photometric=kind, planarconfig="contig", **extra)
    return stream.getvalue()


def decoded(data, format):
    return imagecodecs.png_decode(data) if format == "PNG" else tifffile.imread(io.BytesIO(data))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    "read, channels",
    [(as_png, 1), (as_png, 2), (as_png, 3), (as_png, 4), (as_tiff, 1), (as_tiff, 3), (as_tiff, 4)],
)
def test_known_pixels_of_16_bits_stay_to_the_bit(read, format, channels):
    values = RNG.integers(0, 65535, (11, 13, channels), dtype=np.uint16)  # nowhere opaque
    if channels == 1:
        values = values[..., 0]
    result = read_photo(read(values)).filled(FILL, MASK)
    written = decoded(encode_photo(result, format), format)
    if (format, channels) == ("TIFF", 2):  # a kind of TIFF that few programs read is written in colours
        np.testing.assert_array_equal(written[..., 0], written[..., 2])
        written = written[..., 2:]
    assert written.dtype == np.uint16 and written.shape == values.shape
    np.testing.assert_array_equal(written[~MASK], values[~MASK])
    if channels >= 3:
        np.testing.assert_array_equal(written[MASK][:, :3], FILL[MASK].astype(np.uint16) * 257)
    if channels in (2, 4):
        assert (written[MASK][:, -1] == 65535).all()
    assert "what was filled has 8 bits a channel, scaled to the 16 of the photo" in result.notes
    assert losses(result, format) == []


def test_a_grey_fill_of_16_bits_is_the_grey_one_of_8_bits():
    result = read_photo(as_png(COLOURS[..., 0])).filled(FILL, MASK)
    wide = decoded(encode_photo(result, "PNG"), "PNG")
    eight = decoded(encode_photo(Photo(result.pixels, grey=True), "PNG"), "PNG")
    np.testing.assert_array_equal(wide[MASK], eight[MASK].astype(np.uint16) * 257)


def test_sixteen_bits_are_rounded_for_other_formats_and_said_so():
    photo = read_photo(as_png(COLOURS))
    assert losses(photo, "WEBP") == ["16 bits a channel were rounded to the 8 of WEBP"]
    np.testing.assert_array_equal(read_photo(encode_photo(photo, "WEBP")).pixels, photo.pixels)


def test_other_wide_pixels_are_read_as_8_bit_and_said_so():
    stream = io.BytesIO()
    values = np.dstack([COLOURS, COLOURS[..., :1]])
    tifffile.imwrite(stream, values, metadata=None, photometric="rgb", extrasamples=["assocalpha"])
    photo = read_photo(stream.getvalue())
    assert photo.wide is None and photo.notes == ["16-bit pixels were read as 8-bit"]


def test_a_transparent_value_of_a_16_bit_png_becomes_alpha():
    png = as_png(COLOURS)
    chunk = b"tRNS" + struct.pack(">3H", *COLOURS[0, 0])
    png = png[:33] + struct.pack(">I", 6) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]
    photo = read_photo(png)
    assert photo.wide[0, 0, 3] == 0 and photo.alpha[0, 0] == 0
    assert (photo.wide[1:, :, 3] == 65535).all()
    np.testing.assert_array_equal(photo.wide[..., :3], COLOURS)


def test_what_is_filled_is_opaque_and_known_pixels_keep_their_alpha():
    alpha = RNG.integers(0, 255, MASK.shape, dtype=np.uint8)
    pixels = RNG.integers(0, 256, FILL.shape, dtype=np.uint8)
    before = pixels.copy(), alpha.copy()
    result = Photo(pixels, alpha=alpha).filled(FILL, MASK)
    assert (result.alpha[MASK] == 255).all()
    np.testing.assert_array_equal(result.alpha[~MASK], alpha[~MASK])
    np.testing.assert_array_equal(result.pixels, np.where(MASK[..., None], FILL, pixels))
    assert result.notes == ["what was filled is opaque; the rest keeps its transparency"]
    np.testing.assert_array_equal(pixels, before[0])
    np.testing.assert_array_equal(alpha, before[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_photo_that_is_transparent_in_the_hole_alone_has_no_alpha_any_more(dtype):
    most = np.iinfo(dtype).max
    alpha = np.where(MASK, 0, most).astype(dtype)
    values = np.dstack([COLOURS.astype(dtype), alpha])
    photo = read_photo(as_png(values))
    result = photo.filled(FILL, MASK)
    assert result.alpha is None and not any("transparen" in note for note in result.notes)
    written = decoded(encode_photo(result, "PNG"), "PNG")
    assert written.shape == (11, 13, 3) and written.dtype == dtype
    np.testing.assert_array_equal(written[~MASK], values[~MASK][:, :3])


def test_an_opaque_alpha_channel_stays():
    alpha = np.full(MASK.shape, 255, np.uint8)
    result = Photo(FILL, alpha=alpha).filled(FILL, MASK)
    np.testing.assert_array_equal(result.alpha, alpha)
    assert result.notes == []
