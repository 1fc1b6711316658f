"""What files carry beside their pixels: kept where a format can hold it, else named."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, PngImagePlugin

from inpaint.images import Metadata, Photo, Text, encode_photo, losses, read_photo

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)
XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmp:Rating="4"%s>%s</rdf:Description></rdf:RDF></x:xmpmeta>'
    b'<?xpacket end="w"?>'
)
PLAIN_XMP = XMP % (b"", b"")


def encoded(image, format, **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def png_with(*chunks):
    png = encoded(PICTURE, "PNG")
    added = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    return png[:33] + added + png[33:]


def info_of(data):
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return dict(image.info)


@pytest.mark.parametrize("source", ["JPEG", "PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("target", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_the_resolution_is_kept(source, target):
    photo = read_photo(encoded(PICTURE, source, dpi=(300, 200)))
    assert photo.metadata.dpi == pytest.approx((300, 200), abs=0.01)
    data = encode_photo(photo, target)
    if target != "WEBP":
        assert info_of(data)["dpi"] == pytest.approx((300, 200), abs=0.01)
    assert read_photo(data).metadata.dpi == pytest.approx((300, 200), abs=0.01)
    assert losses(photo, target) == []


def test_a_resolution_in_png_and_bmp_is_kept_to_the_bit():
    for format in ("PNG", "BMP"):
        data = encoded(PICTURE, format, dpi=(299.9994, 72.009))
        assert info_of(encode_photo(read_photo(data), format))["dpi"] == info_of(data)["dpi"]


def test_no_resolution_is_made_up():
    for format in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"):
        data = encode_photo(Photo(PIXELS), format)
        assert read_photo(data).metadata == Metadata()
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"  # without a resolution; Pillow then says 72
    assert read_photo(encoded(PICTURE, "JPEG", exif=exif)).metadata.dpi is None


def test_the_resolution_turns_with_the_pixels():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo = read_photo(encoded(PICTURE, "PNG", dpi=(300, 200), exif=exif))
    assert photo.metadata.dpi == pytest.approx((200, 300), abs=0.01)


def test_a_gif_cannot_hold_a_resolution_and_it_is_said():
    photo = read_photo(encoded(PICTURE, "PNG", dpi=(300, 300)))
    assert losses(photo, "GIF") == ["left out, because GIF cannot hold it: the resolution of 300 dpi"]


def with_xmp(xmp, format):
    if format == "TIFF":
        return encoded(PICTURE, "TIFF", tiffinfo={700: xmp})
    if format == "PNG":
        return png_with((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    return encoded(PICTURE, format, xmp=xmp, **({"lossless": True} if format == "WEBP" else {}))


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("target", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_xmp_is_kept(source, target):
    photo = read_photo(with_xmp(PLAIN_XMP, source))
    assert photo.metadata.xmp == PLAIN_XMP and photo.notes == []
    written = info_of(encode_photo(photo, target))["xmp"]
    assert (written.encode() if isinstance(written, str) else written) == PLAIN_XMP
    assert losses(photo, "BMP") == ["left out, because BMP cannot hold it: XMP"]


def test_xmp_that_is_too_long_for_a_jpeg_is_left_out_and_said():
    photo = Photo(PIXELS, metadata=Metadata(xmp=XMP % (b"", b" " * 70_000)))
    assert losses(photo, "JPEG") == ["left out, because JPEG cannot hold it: XMP"]
    assert "xmp" not in info_of(encode_photo(photo, "JPEG"))


def test_orientation_and_pictures_in_xmp_do_not_survive():
    thumbnails = (
        b'<xmp:Thumbnails><rdf:Alt><rdf:li xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/" '
        b'xmpGImg:image="c2VjcmV0"/></rdf:Alt></xmp:Thumbnails><tiff:Orientation>8</tiff:Orientation>'
    )
    original = (
        b' tiff:Orientation="6" xmlns:GImage="http://ns.google.com/photos/1.0/image/" GImage:Data="c2VjcmV0"'
    )
    photo = read_photo(with_xmp(XMP % (original, thumbnails), "JPEG"))
    xmp = photo.metadata.xmp
    assert b"c2VjcmV0" not in xmp and b"Thumbnails" not in xmp
    assert b'tiff:Orientation="1"' in xmp and b"<tiff:Orientation>1</tiff:Orientation>" in xmp
    assert b'xmp:Rating="4"' in xmp and xmp.startswith(b"<?xpacket begin=") and photo.notes == []


@pytest.mark.parametrize(
    "xmp",
    [
        b"<x:xmpmeta",
        b"\xff\xfe<\0",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"<a>" * 5000 + b"</a>" * 5000,
    ],
)
def test_damaged_or_hostile_xmp_does_not_cost_the_photo(xmp):
    photo = read_photo(with_xmp(xmp, "JPEG"))
    np.testing.assert_array_equal(photo.pixels, np.asarray(Image.open(io.BytesIO(with_xmp(xmp, "JPEG")))))
    assert photo.metadata.xmp == b"" and photo.notes == ["its XMP is damaged and was left out"]


def test_texts_of_a_png_are_kept():
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "Café")
    info.add_text("Description", "long " * 400, zip=True)
    info.add_itxt("Comment", "犬", lang="ja", tkey="注")
    photo = read_photo(encoded(PICTURE, "PNG", pnginfo=info))
    assert photo.metadata.texts == (
        Text("Title", "Café"),
        Text("Description", "long " * 400),
        Text("Comment", "犬", "ja", "注"),
    )
    again = read_photo(encode_photo(photo, "PNG"))
    assert again.metadata == photo.metadata
    with Image.open(io.BytesIO(encode_photo(photo, "PNG"))) as image:
        assert image.text["Title"] == "Café" and image.text["Comment"].lang == "ja"
    assert losses(photo, "PNG") == []
    assert info_of(encode_photo(photo, "JPEG"))["comment"] == "犬".encode()
    assert losses(photo, "JPEG") == ["left out, because JPEG cannot hold it: texts (Title, Description)"]


def test_comments_of_jpeg_and_gif_are_kept():
    for body in (b"plain", "Straße".encode(), b"caf\xe9"):  # the last is no UTF-8
        photo = read_photo(encoded(PICTURE, "JPEG", comment=body))
        for target in ("JPEG", "GIF"):
            assert info_of(encode_photo(photo, target))["comment"] == body
        text = info_of(encode_photo(photo, "PNG"))["Comment"]
        assert text == (body.decode("latin-1") if body == b"caf\xe9" else body.decode())
        assert losses(photo, "WEBP") == ["left out, because WEBP cannot hold it: texts (Comment)"]
    photo = read_photo(encoded(PICTURE, "GIF", comment=b"a GIF's"))
    assert info_of(encode_photo(photo, "JPEG"))["comment"] == b"a GIF's"


def test_a_text_that_inflates_to_much_is_left_out_and_said():
    photo = read_photo(png_with((b"tEXt", b"\0no keyword"), (b"tEXt", b"Title\0kept")))
    assert photo.metadata.texts == (Text("Title", "kept"),)
    assert photo.notes == ["a text in it is damaged or too long and was left out"]


def test_colour_chunks_of_a_png_are_kept():
    chunks = (
        (b"gAMA", struct.pack(">I", 100_000)),
        (b"cHRM", struct.pack(">8I", 31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600)),
        (b"cICP", bytes((9, 16, 0, 1))),
    )
    photo = read_photo(png_with(*chunks))
    data = encode_photo(photo, "PNG")
    for name, body in chunks:
        assert data.count(name + body) == 1
    assert losses(photo, "PNG") == []
    assert losses(photo, "JPEG") == [
        "left out, because JPEG cannot hold it: PNG's meaning of the colours (gAMA, cHRM, cICP)"
    ]
    usual = read_photo(png_with((b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45455))))
    assert losses(usual, "JPEG") == [] and b"sRGB" in encode_photo(usual, "PNG")


GEOREFERENCE = [
    (33550, "d", 3, (0.5, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 440720.0, 100000.0, 0.0), True),
    (34735, "H", 4, (1, 1, 0, 0), True),
    (34736, "d", 2, (6378137.0, 298.257223563), True),
    (34737, "s", 0, "WGS 84 / Zürich|".encode(), True),
    (42113, "s", 0, "-9999", True),
]


def geotiff(values, *more, **options):
    stream = io.BytesIO()
    tags = [*GEOREFERENCE, *more]
    tifffile.imwrite(stream, values, extratags=tags, metadata=None, photometric="rgb", **options)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_georeference_is_kept_from_tiff_to_tiff(dtype):
    data = geotiff(PIXELS.astype(dtype))
    photo = read_photo(data)
    assert photo.notes == []
    tags = [tifffile.TiffFile(io.BytesIO(file)).pages[0].tags for file in (data, encode_photo(photo, "TIFF"))]
    for code, *_ in GEOREFERENCE:
        before, after = (of_one[code] for of_one in tags)
        assert (after.value, after.dtype) == (before.value, before.dtype)
    assert losses(photo, "TIFF") == []
    assert "the georeference, TIFF tags (GDAL_NODATA)" in losses(photo, "PNG")[-1]


def test_the_georeference_of_a_turned_photo_is_left_out_and_said():
    photo = read_photo(geotiff(PIXELS, (274, "H", 1, 6, True)))
    assert photo.notes == ["its georeference was left out, because the pixels were turned upright"]
    with tifffile.TiffFile(io.BytesIO(encode_photo(photo, "TIFF"))) as after:
        assert 33550 not in after.pages[0].tags and 42113 in after.pages[0].tags


def test_further_pictures_and_records_of_a_jpeg_are_named():
    photo = read_photo(encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE]))
    assert photo.format == "JPEG" and ["further pictures" in note for note in photo.notes] == [True]
    record = b"Photoshop 3.0\0008BIM\x04\x04\0\0\0\0\0\x02ab"
    segment = b"\xff\xed" + struct.pack(">H", len(record) + 2) + record
    assert read_photo(encoded(PICTURE, "JPEG", extra=segment)).notes == ["its IPTC record was left out"]


def test_exif_and_profile_that_a_format_cannot_hold_are_named():
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    photo = read_photo(encoded(PICTURE, "PNG", exif=exif))
    assert losses(photo, "BMP") == ["left out, because BMP cannot hold it: EXIF"]
    assert [losses(photo, format) for format in ("JPEG", "PNG", "WEBP", "TIFF")] == [[]] * 4
