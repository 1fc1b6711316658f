"""Reading and writing photos: orientation, kinds of pixels, metadata, broken and hostile files."""

import dataclasses
import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, ImageOps

from inpaint.images import ImageError, Photo, decode_rgb, encode_photo, read_mask, read_photo, write_photo

LOSSLESS = ("PNG", "WEBP", "TIFF", "BMP")


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (23, 37, 3), dtype=np.uint8)


def encoded(image, format, **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def srgb_profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile_of(space):
    """A profile that claims another colour space; only its header is ever looked at."""
    profile = bytearray(srgb_profile())
    profile[16:20] = space
    return bytes(profile)


@pytest.mark.parametrize("format", LOSSLESS)
def test_decode_rgb_gives_the_pixels(pixels, format):
    options = {"lossless": True} if format == "WEBP" else {}
    result = decode_rgb(encoded(Image.fromarray(pixels), format, **options))
    assert result.dtype == np.uint8 and result.flags.c_contiguous
    np.testing.assert_array_equal(result, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_photos_come_out_upright(pixels, format, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Artist] = "somebody"
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(Image.fromarray(pixels), format, exif=exif, **options)
    with Image.open(io.BytesIO(data)) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    photo = read_photo(data)
    np.testing.assert_array_equal(photo.pixels, wanted)
    assert photo.pixels.shape[:2] == ((37, 23) if orientation >= 5 else (23, 37))

    with Image.open(io.BytesIO(encode_photo(photo, format))) as written:
        kept = written.getexif()
        assert kept[ExifTags.Base.Artist] == "somebody"
        assert kept.get(ExifTags.Base.Orientation, 1) == 1
    np.testing.assert_array_equal(decode_rgb(encode_photo(photo, "PNG")), wanted)


def wide_png(values, orientation=1):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    block = exif.tobytes()[6:]
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + block))
    png = imagecodecs.png_encode(values)
    return png[:33] + chunk + png[33:]  # after the signature and the header


def wide_tiff(values, orientation=1, **options):
    stream = io.BytesIO()
    tag = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(stream, values, extratags=tag, metadata=None, **options)
    return stream.getvalue()


@pytest.mark.parametrize("orientation", [1, 6, 7])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("write", [wide_png, wide_tiff])
def test_sixteen_bits_are_rounded_to_eight_and_said_so(write, channels, orientation):
    values = np.random.default_rng(1).integers(0, 65536, (19, 31, channels), dtype=np.uint16)
    values[0, :4] = np.array([0, 65535, 128, 129])[:, None]  # 128 and 129 lie on either side of a half
    extra = {"photometric": "minisblack" if channels == 1 else "rgb"} if write is wide_tiff else {}
    if write is wide_tiff and channels == 4:
        extra["extrasamples"] = ["unassalpha"]
    photo = read_photo(write(values.squeeze(), orientation, **extra))
    assert photo.notes == ["16-bit pixels were read as 8-bit"]
    wanted = np.rint(values / 65535 * 255).astype(np.uint8)
    turned = {1: wanted, 6: np.rot90(wanted, -1), 7: np.rot90(wanted.swapaxes(0, 1), 2)}[orientation]
    np.testing.assert_array_equal(photo.pixels, np.broadcast_to(turned[..., :3], (*turned.shape[:2], 3)))
    assert photo.grey == (channels == 1)
    if channels == 4:
        np.testing.assert_array_equal(photo.alpha, turned[..., 3])
    else:
        assert photo.alpha is None


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_sixteen_bit_tiff_layouts(compression, planes, byteorder):
    values = np.random.default_rng(2).integers(0, 65536, (40, 50, 3), dtype=np.uint16)
    stored = values if planes == "contig" else np.moveaxis(values, -1, 0)
    data = wide_tiff(
        stored, photometric="rgb", planarconfig=planes, compression=compression, byteorder=byteorder
    )
    np.testing.assert_array_equal(decode_rgb(data), np.rint(values / 257).astype(np.uint8))


def test_sixteen_bit_grey_with_white_as_zero():
    values = np.arange(0, 65536, 128, dtype=np.uint16).reshape(16, 32)
    wanted = np.rint((65535 - values) / 257).astype(np.uint8)
    np.testing.assert_array_equal(decode_rgb(wide_tiff(values, photometric="miniswhite"))[..., 1], wanted)


def test_sixteen_bit_grey_and_alpha_png():
    values = np.random.default_rng(3).integers(0, 65536, (9, 8, 2), dtype=np.uint16)
    photo = read_photo(wide_png(values))
    wanted = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(photo.pixels, np.repeat(wanted[..., :1], 3, axis=-1))
    np.testing.assert_array_equal(photo.alpha, wanted[..., 1])


def test_grey_stays_grey_with_its_profile(pixels):
    grey = Image.fromarray(pixels[..., 0])
    profile = profile_of(b"GRAY")
    photo = read_photo(encoded(grey, "PNG", icc_profile=profile))
    assert photo.grey and photo.notes == []
    np.testing.assert_array_equal(photo.pixels, np.repeat(pixels[..., :1], 3, axis=-1))
    with Image.open(io.BytesIO(encode_photo(photo, "PNG"))) as written:
        assert written.mode == "L" and written.info["icc_profile"] == profile
        np.testing.assert_array_equal(np.asarray(written), pixels[..., 0])
    with Image.open(io.BytesIO(encode_photo(photo, "WEBP"))) as written:
        assert (
            "icc_profile" not in written.info
        )  # WebP pixels are RGB, which a grey profile does not describe


def test_one_bit_grey_with_alpha_and_palette(pixels):
    bits = pixels[..., 0] > 127
    np.testing.assert_array_equal(decode_rgb(encoded(Image.fromarray(bits), "PNG"))[..., 2], bits * 255)

    grey_alpha = Image.fromarray(pixels[..., :2].copy(), "LA")
    photo = read_photo(encoded(grey_alpha, "PNG"))
    np.testing.assert_array_equal(photo.pixels[..., 1], pixels[..., 0])
    np.testing.assert_array_equal(photo.alpha, pixels[..., 1])
    assert photo.grey

    palette = Image.fromarray(pixels).quantize(16)
    photo = read_photo(encoded(palette, "PNG", transparency=3))
    np.testing.assert_array_equal(photo.pixels, np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(photo.alpha, np.where(np.asarray(palette) == 3, 0, 255))
    assert not photo.grey


def test_cmyk_becomes_rgb_and_its_profile_goes(pixels):
    inks = Image.fromarray(pixels).convert("CMYK")
    photo = read_photo(encoded(inks, "TIFF"))
    np.testing.assert_array_equal(photo.pixels, np.asarray(inks.convert("RGB")))
    assert any("CMYK" in note for note in photo.notes)
    photo = read_photo(encoded(inks, "TIFF", icc_profile=profile_of(b"CMYK")))  # a profile that is no use
    np.testing.assert_array_equal(photo.pixels, np.asarray(inks.convert("RGB")))
    assert photo.icc == b""


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_alpha_exif_and_profile_survive_exactly(pixels, format):
    alpha = np.random.default_rng(4).integers(0, 256, pixels.shape[:2], dtype=np.uint8)
    alpha[:5] = 0  # colours under transparent pixels are known pixels too
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "maker"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] = "50 mm"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    image = Image.fromarray(np.dstack([pixels, alpha]))
    profile = srgb_profile()
    first = read_photo(encoded(image, "PNG", exif=exif, icc_profile=profile))
    photo = read_photo(encode_photo(first, format))
    np.testing.assert_array_equal(photo.pixels, pixels)
    np.testing.assert_array_equal(photo.alpha, alpha)
    assert photo.icc == profile and photo.format == format
    kept = Image.Exif()
    kept.load(photo.exif)
    assert kept[ExifTags.Base.Make] == "maker"
    assert kept.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] == "50 mm"
    assert kept.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


def test_the_thumbnail_does_not_survive(pixels):
    """An EXIF thumbnail would still show what was painted over."""
    thumbnail = encoded(Image.fromarray(pixels[:8, :8]), "JPEG")
    body = b"II*\0" + struct.pack("<I", 8)
    first = struct.pack("<HHHII", 1, 0x0112, 3, 1, 1) + struct.pack("<I", 8 + 2 + 12 + 4)
    start = 8 + len(first) + 2 + 24 + 4
    second = struct.pack("<HHHIIHHII", 2, 0x0201, 4, 1, start, 0x0202, 4, 1, len(thumbnail))
    block = b"Exif\0\0" + body + first + second + struct.pack("<I", 0) + thumbnail
    data = encoded(Image.fromarray(pixels), "JPEG", exif=block)
    assert thumbnail in data
    assert thumbnail not in encode_photo(read_photo(data), "JPEG")


def test_tiff_layout_does_not_leak_into_other_files(pixels):
    photo = read_photo(encoded(Image.fromarray(pixels), "TIFF", compression="tiff_lzw", artist="somebody"))
    with Image.open(io.BytesIO(encode_photo(photo, "JPEG"))) as written:
        assert dict(written.getexif()) == {ExifTags.Base.Artist: "somebody"}


def test_damaged_exif_does_not_cost_the_photo(pixels):
    data = encoded(Image.fromarray(pixels), "PNG", exif=b"Exif\0\0no TIFF header here")
    photo = read_photo(data)
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert photo.exif == b"" and any("EXIF" in note for note in photo.notes)


def test_jpeg_is_written_without_chroma_subsampling(pixels):
    with Image.open(io.BytesIO(encode_photo(Photo(pixels), "JPEG"))) as written:
        assert [layer[1:3] for layer in written.layer] == [(1, 1)] * 3
        assert np.abs(np.asarray(written).astype(int) - pixels).mean() < 4


def test_only_the_first_picture_of_an_animation_is_read(pixels):
    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    for format in ("GIF", "TIFF", "PNG", "WEBP"):
        options = {"lossless": True} if format == "WEBP" else {}
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
        photo = read_photo(data)
        assert any("first" in note for note in photo.notes), format
        if format != "GIF":  # 256 colours
            np.testing.assert_array_equal(photo.pixels, pixels)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_truncated_files_are_errors(format, kept):
    photo = np.random.default_rng(5).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(photo), format)
    with pytest.raises(ImageError):
        decode_rgb(data[: int(len(data) * kept)])


@pytest.mark.parametrize("write", [wide_png, wide_tiff])
def test_truncated_wide_files_are_errors(write):
    values = np.random.default_rng(6).integers(0, 65536, (100, 100, 3), dtype=np.uint16)
    extra = {"photometric": "rgb"} if write is wide_tiff else {}
    data = write(values, **extra)
    with pytest.raises(ImageError):
        decode_rgb(data[: len(data) // 2])


@pytest.mark.parametrize("width, height", [(60_000, 60_000), (10_000, 5_001), (200_000, 300)])
def test_the_pixel_limit_is_checked_before_decoding(width, height, monkeypatch):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")):
        bomb += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("pixels were decoded"))
    with pytest.raises(ImageError, match="pixels"):
        decode_rgb(bomb)


def test_the_pixel_limit_can_be_set(pixels):
    data = encoded(Image.fromarray(pixels), "PNG")
    decode_rgb(data, max_pixels=23 * 37)
    with pytest.raises(ImageError, match=r"37×23.*limit"):
        decode_rgb(data, max_pixels=23 * 37 - 1)


def test_a_wide_tiff_cannot_hide_huge_tiles():
    values = np.zeros((16, 16, 3), np.uint16)
    data = bytearray(wide_tiff(values, photometric="rgb", tile=(16, 16)))
    for tag in (322, 323):
        at = data.index(struct.pack("<HHI", tag, 4, 1))
        data[at + 8 : at + 12] = struct.pack("<I", 65520)
    with pytest.raises(ImageError, match="tiles"):
        decode_rgb(bytes(data))


def test_other_formats_and_other_things_are_refused(pixels, tmp_path):
    for format in ("PPM", "TGA", "ICO"):
        with pytest.raises(ImageError, match="save it as"):
            decode_rgb(encoded(Image.fromarray(pixels), format))
    for data in (b"", b"not an image"):
        with pytest.raises(ImageError):
            decode_rgb(data)
    floats = encoded(Image.fromarray(pixels[..., 0].astype(np.float32)), "TIFF")
    with pytest.raises(ImageError, match="'F'"):
        decode_rgb(floats)
    with pytest.raises(ImageError, match="no such file"):
        read_photo(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="not a file"):
        read_photo(tmp_path)


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        read_photo(path)
    with pytest.raises(ImageError, match=r"result\.xyz.*\.png"):
        write_photo(tmp_path / "result.xyz", Photo(np.zeros((2, 2, 3), np.uint8)))


def test_a_photo_that_a_format_cannot_hold_names_the_remedy():
    wide = Photo(np.zeros((1, 20_000, 3), np.uint8))
    with pytest.raises(ImageError, match="PNG"):
        encode_photo(wide, "WEBP")


def test_mask_threshold_colour_and_orientation(pixels, tmp_path):
    values = np.array([[0, 127, 128], [255, 100, 200]], np.uint8)
    path = tmp_path / "mask.png"
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(read_mask(path), values > 127)
    np.testing.assert_array_equal(read_mask(path.read_bytes()), values > 127)

    luminance = pixels @ np.array([0.299, 0.587, 0.114])
    clear = np.abs(luminance - 127.5) > 1
    mask = read_mask(encoded(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(mask[clear], (luminance > 127.5)[clear])

    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    turned = read_mask(encoded(Image.fromarray(values), "PNG", exif=exif))
    np.testing.assert_array_equal(turned, np.rot90(values, -1) > 127)


@pytest.mark.parametrize("name", ["a.png", "a.WEBP", "a.tif", "a.bmp"])
def test_write_photo_is_lossless_where_the_format_is(pixels, tmp_path, name):
    photo = Photo(pixels)
    write_photo(tmp_path / name, photo)
    again = read_photo(tmp_path / name)
    np.testing.assert_array_equal(again.pixels, pixels)
    assert again == dataclasses.replace(again, notes=[])


def test_extreme_shapes():
    for shape in ((1, 1, 3), (1, 3000, 3), (3000, 1, 3)):
        photo = Photo(np.full(shape, 77, np.uint8))
        np.testing.assert_array_equal(decode_rgb(encode_photo(photo, "PNG")), photo.pixels)
