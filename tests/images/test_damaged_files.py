"""Files that are not what they say: damaged, cut, contradictory, or made to take for ever.

Each is refused by name, or gives the picture that a decoder that has nothing to do with Pillow gives.
"""

import random
import struct
import subprocess
import sys
import zlib

import cv2
import imagecodecs
import numpy as np
import pytest
from hostile.corpus import (
    FILES,
    PIXELS,
    WIDE,
    WRONG_TAGS,
    bmp_of_runs,
    damage,
    decoded_elsewhere,
    encoded,
    make_sparse_file,
    place_of_tag,
    png_of,
    tags_of,
    tiff,
    with_scans,
)
from PIL import Image

from inpaint.datasets import TrainingBatches, open_photos
from inpaint.images import MAX_PIXELS, ImageError, LimitError, containers, decode_rgb, read_mask, read_photo
from inpaint.images.containers import png

# Pillow warns of much of what is then refused.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def quiet_opencv():
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    yield
    cv2.utils.logging.setLogLevel(level)


@pytest.mark.parametrize("name", FILES)
def test_the_whole_file_is_read_as_another_decoder_reads_it(name):
    np.testing.assert_array_equal(decode_rgb(FILES[name]), decoded_elsewhere(name, FILES[name]))


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_refused_or_read_as_another_decoder_reads_it(name):
    """Formats without a checksum cannot tell a changed pixel; a picture of Pillow's own making is wrong."""
    rng = random.Random(name)
    whole = decode_rgb(FILES[name])
    for _ in range(100):
        data = bytearray(FILES[name])
        at = rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
        try:
            pixels = decode_rgb(bytes(data))
        except ImageError:
            continue
        assert damage(pixels, name, bytes(data), whole) is None, f"byte {at}"


@pytest.mark.parametrize("name", ["png", "png-grey", "png-bits", "png-wide"])
def test_every_flipped_bit_in_the_data_of_a_png_is_refused(name):
    rng = random.Random(name)
    whole = FILES[name]
    first = whole.index(b"IDAT") + 4
    last = first + struct.unpack_from(">I", whole, first - 8)[0]
    for _ in range(200):
        data = bytearray(whole)
        data[rng.randrange(first, last)] ^= 1 << rng.randrange(8)
        with pytest.raises(ImageError, match="damaged"):
            read_photo(bytes(data))
        with pytest.raises(ImageError, match="damaged"):
            read_mask(bytes(data))


def test_in_training_a_damaged_photo_counts_as_broken(tmp_path):
    damaged = bytearray(FILES["png"])
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(damaged)
    (tmp_path / "b.jpg").write_bytes(with_scans(700))
    (tmp_path / "c.tif").write_bytes(tags_of(t256=[40000, 8]))
    (tmp_path / "d.png").write_bytes(FILES["png"])
    batches = TrainingBatches(open_photos(tmp_path), "box:0.1-0.3", size=16, batch_size=4)
    assert batches.batch(0).image.shape == (4, 3, 16, 16)
    assert sorted(batches.broken) == ["a.png", "b.jpg", "c.tif"]
    assert "a checksum is wrong" in batches.broken["a.png"]


@pytest.mark.parametrize("name", FILES)
def test_truncations_are_refused(name):
    whole = FILES[name]
    lengths = {len(whole) * part // 40 for part in range(40)} | {len(whole) - part for part in (1, 2, 5, 20)}
    pixels = decode_rgb(whole)
    for length in sorted(lengths):
        for read in (read_photo, read_mask):
            try:
                found = read(whole[:length])
            except ImageError:
                continue
            # What is missing may lie behind the pixels, such as a TIFF's table or a GIF's end.
            assert length > len(whole) - 30, length
            if read is read_photo:
                np.testing.assert_array_equal(found.pixels, pixels)


def test_a_png_with_too_few_rows_is_refused():
    rows = b"".join(b"\0" + row.tobytes() for row in PIXELS)
    np.testing.assert_array_equal(decode_rgb(png_of(rows)), PIXELS)
    for short in (rows[:-1], rows[: len(rows) // 2], b""):
        with pytest.raises(ImageError, match="rows are missing"):
            decode_rgb(png_of(short))


def test_interlaced_pngs_are_counted_pass_by_pass():
    for height, width in ((1, 1), (3, 2), (5, 9), (50, 70)):
        pixels = PIXELS[:height, :width]
        rows = b""
        for left, top, across, down in png._PNG_PASSES:
            part = pixels[top::down, left::across]
            rows += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
        assert png._png_bytes(width, height, 24, 1) == len(rows)
    np.testing.assert_array_equal(decode_rgb(png_of(rows, interlaced=1)), PIXELS)
    with pytest.raises(ImageError, match="rows are missing"):
        decode_rgb(png_of(rows[:-1], interlaced=1))


@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive"])
def test_a_jpeg_that_was_cut_and_given_an_end_is_refused(name):
    whole = FILES[name]
    start = whole.index(b"\xff\xda") + 20
    for part in range(8):
        cut = start + (len(whole) - start) * part // 10
        if cut < max(whole.rindex(b"\xff\xda"), start + 1) or name == "jpeg":
            with pytest.raises(ImageError, match=r"missing|cut short"):
                decode_rgb(whole[:cut] + b"\xff\xd9")


def test_a_photo_with_a_grey_corner_is_whole():
    for mode in ("L", "RGB"):
        grey = np.asarray(Image.new(mode, (50, 37), "#808080"))
        assert (decode_rgb(encoded(grey, "JPEG")) == 128).all()


def test_a_bmp_of_runs_is_read_as_elsewhere_or_refused():
    rows = [bytes([5, row, 0, 7, *range(7), 0, 4, 9, 0, 0]) for row in range(16)]  # 5 + 7 + 4 pixels
    end = b"\0\1"
    short = bytes([4, 7, 0, 0])  # the rest of the row has the first colour
    for runs in (
        b"".join(rows) + end,
        b"".join(rows),
        b"".join(rows)[:-2] + end,
        b"".join(rows[:-1]) + short,
    ):
        data = bmp_of_runs(runs)
        np.testing.assert_array_equal(decode_rgb(data), decoded_elsewhere("bmp", data))
    for runs in (
        b"".join(rows[:8]) + end,  # rows are missing
        b"".join(rows[:-1]) + rows[-1][:2] + end,
        rows[0][:-2] + b"\1\1" + b"".join(rows),  # a row is too long
        b"\0\2\5\5" + b"".join(rows),  # a gap
        b"".join(rows[:8]) + b"\0\0" + b"".join(rows[8:]),  # a row without pixels
        b"".join(rows)[:-20],
    ):
        with pytest.raises(ImageError, match=r"damaged|cut short"):
            decode_rgb(bmp_of_runs(runs))
    with pytest.raises(ImageError, match="4-bit"):
        decode_rgb(bmp_of_runs(b"".join(rows), bits=4, compression=2))


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_bmp_without_room_for_its_colours_is_refused(bits):
    rows = bytes(range(200)) * 4
    header = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, bits, 0, 0, 0, 0, 0, 0)

    def bmp(table):
        return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + len(table)) + header + table + rows

    colours = np.random.default_rng(0).integers(0, 256, (1 << bits, 4), dtype=np.uint8)
    whole = bmp(colours.tobytes())
    np.testing.assert_array_equal(decode_rgb(whole), decoded_elsewhere("bmp", whole))
    with pytest.raises(ImageError, match="overlap"):
        decode_rgb(bmp(colours[1:].tobytes()))


def test_a_gif_whose_table_of_colours_has_another_size_is_refused():
    data = bytearray(FILES["gif"])
    for size in range(8):
        data[10] = (data[10] & 0xF8) | size
        if bytes(data) == FILES["gif"]:
            continue
        with pytest.raises(ImageError, match=r"damaged|cut short"):
            decode_rgb(bytes(data))


def test_the_tiff_that_the_next_ones_change_is_whole():
    wanted = np.rint(np.arange(64) * 1024 / 257).astype(np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(decode_rgb(tags_of())[..., 0], wanted)


@pytest.mark.parametrize("changes, reason", WRONG_TAGS)
def test_contradictory_and_absurd_tags_are_refused(changes, reason):
    with pytest.raises(ImageError, match=reason):
        read_photo(tags_of(**changes))


def test_a_tag_of_a_wrong_type_is_refused():
    """One library took the order of the colours for another than the one that looked at it first."""
    data = bytearray(FILES["tiff-wide"])
    data[place_of_tag(data, 284) + 2] = 1
    with pytest.raises(ImageError, match="PlanarConfiguration is of a wrong type"):
        decode_rgb(bytes(data))


def test_a_tag_that_is_empty_is_refused():
    data = bytearray(FILES["tiff-fax"])
    data[place_of_tag(data, 262) + 4] = 0
    with pytest.raises(ImageError, match="PhotometricInterpretation"):
        decode_rgb(bytes(data))


@pytest.mark.parametrize("taller, wider", [(1, 0), (0, 1), (10, 60)])
def test_a_jpeg_in_a_tiff_that_does_not_fill_its_strip_is_refused(taller, wider):
    """The rest of the picture was whatever lay in memory."""
    data = bytearray(FILES["tiff-jpeg"])
    for code, more in ((256, wider), (257, taller), (278, taller)):
        place = place_of_tag(data, code)
        kind, _, number = struct.unpack_from("<HIH", data, place + 2)
        assert kind == 3 and number in (50, 70)
        struct.pack_into("<H", data, place + 8, number + more)
    with pytest.raises(ImageError, match="rows are missing"):
        decode_rgb(bytes(data))


@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_jpegs_that_fill_their_strips_or_tiles_are_read(tile):
    options = {"tile": tile} if tile else {"rowsperstrip": 16}
    data = tiff(PIXELS, photometric="ycbcr", compression="jpeg", **options)
    np.testing.assert_array_equal(decode_rgb(data), decoded_elsewhere("tiff", data))


def test_a_bmp_whose_pixels_begin_a_byte_too_late_is_refused():
    for shift in (1, 2, 3):
        data = bytearray(FILES["bmp"])
        data[10] += shift
        with pytest.raises(ImageError, match="cut short"):
            decode_rgb(bytes(data))


def test_values_with_a_sign_are_not_taken_for_others():
    for values in (PIXELS[..., 0].view(np.int8), PIXELS.view(np.int8)):
        with pytest.raises(ImageError, match=r"signs|not an image"):
            read_photo(tiff(values, photometric="rgb" if values.ndim == 3 else "minisblack"))


MEASURE = """
import resource, sys
import imagecodecs, tifffile
from inpaint.images import ImageError, read_photo
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        told = read_photo(path).pixels.shape
    except ImageError as error:
        told = str(error)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(after - before, told)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told in other units elsewhere")
def test_memory_is_that_of_the_picture_and_no_more(tmp_path):
    (tmp_path / "tiny.tif").write_bytes(tags_of(t256=[40000, 8], t257=[40000, 8]))
    (tmp_path / "deep.tif").write_bytes(tags_of(t32997=30000))
    with (tmp_path / "sparse.webp").open("wb") as file:
        file.truncate(3_000_000_000)
    side = 2500
    wide = imagecodecs.png_encode(np.zeros((side, side, 4), np.uint16))
    (tmp_path / "wide.png").write_bytes(wide)
    paths = [str(tmp_path / name) for name in ("tiny.tif", "deep.tif", "sparse.webp", "wide.png")]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, check=True, timeout=120
    )
    *refused, decoded = done.stdout.splitlines()
    for line, reason in zip(refused, ("stands twice", "several layers", "3000.0 MB"), strict=True):
        assert reason in line and int(line.split()[0]) < 30_000  # kilobytes
    assert "(2500, 2500, 3)" in decoded
    assert int(decoded.split()[0]) * 1024 < 4 * side * side * 8


def test_many_channels_count_as_much_as_many_pixels(monkeypatch):
    data = tiff(np.zeros((20, 20, 40), np.uint8), photometric="minisblack", planarconfig="contig")
    with pytest.raises(ImageError):
        read_photo(data)
    layout = containers.read_tiff_layout(data)
    assert (layout.width, layout.height, layout.samples, layout.nbytes) == (20, 20, 40, 16000)
    data = tiff(WIDE, photometric="rgb")
    read_photo(data, max_pixels=50 * 70)
    monkeypatch.setattr("inpaint.images.decoding._BYTES_PER_PIXEL", 5)
    with pytest.raises(LimitError, match="3 channels take") as caught:
        read_photo(data, max_pixels=50 * 70)
    assert caught.value.limit == "max_pixels"


def test_a_strip_that_inflates_to_much_more_is_refused():
    bomb = zlib.compress(bytes(1 << 28), 1)
    data = tags_of(t259=8, t279=len(bomb))[:1000] + bomb
    with pytest.raises(ImageError, match="damaged"):
        read_photo(data)


def test_a_jpeg_of_hundreds_of_scans_is_refused_before_any_is_decoded(monkeypatch):
    assert decode_rgb(with_scans(20)).shape == (256, 256, 3)
    hundreds = with_scans(700)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("pixels were decoded"))
    # Bytes between the segments, and fill bytes, hide none.
    for data in (hundreds, hundreds.replace(b"\xff\xda", b"\x00\x12\xff\xff\xff\xda")):
        with pytest.raises(ImageError, match="more than 64 scans"):
            read_photo(data)


def test_the_size_of_a_file_is_limited_before_it_is_read(tmp_path):
    path = tmp_path / "sparse.webp"
    make_sparse_file(path)
    with pytest.raises(
        LimitError, match=r"sparse\.webp: the file has 3000\.0 MB, more than the limit of 512\.0"
    ):
        read_photo(path)
    path = tmp_path / "photo.png"
    path.write_bytes(FILES["png"])
    read_photo(path, max_file_bytes=len(FILES["png"]))
    with pytest.raises(LimitError) as caught:
        read_mask(path, max_file_bytes=len(FILES["png"]) - 1)
    assert caught.value.limit == "max_file_bytes"


def test_a_limit_is_named_as_the_door_calls_it():
    with pytest.raises(LimitError, match="or raise max_pixels") as caught:
        read_photo(FILES["png"], max_pixels=10)
    assert caught.value.explain({"max_pixels": "--lots"}).endswith("make it smaller first, or raise --lots")
    assert caught.value.reason.endswith("make it smaller first")


def test_the_largest_photo_of_all_bits_fits_the_limits():
    from inpaint.images import MAX_FILE_BYTES
    from inpaint.images.decoding import _BYTES_PER_PIXEL

    assert MAX_PIXELS * _BYTES_PER_PIXEL < MAX_FILE_BYTES
