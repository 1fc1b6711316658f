"""What image files say of themselves, checked before a decoder believes it.

Decoders fill in what a file lacks, without a word: rows that are missing from a PNG or a TIFF come out black.
And each believes another of two tags that contradict. So whole files are told from others here.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MAX_SCANS = 64
"""Most scans of a JPEG. Encoders write about ten; each takes as long as the whole picture, in no bytes."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# Adam7: where each pass begins, and how far apart its pixels are.
_PNG_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_INFLATED = 1 << 20  # bytes at a time

# Neither a stuffed byte nor a restart: the markers between which the coded data lie.
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_JPEG_WITHOUT_LENGTH = (0x01, 0xD8)
_JPEG_PROGRESSIVE, _JPEG_SCAN, _JPEG_END = 0xC2, 0xDA, 0xD9
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

_GIF_EXTENSION, _GIF_PICTURE = 0x21, 0x2C
_OS2_HEADER = 12  # bytes of the oldest of BMP's headers
_BMP_RUNS, _BMP_RUNS_OF_4_BITS = 1, 2

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIPS, _SAMPLES, _STRIP_ROWS, _STRIP_BYTES, _PLANES = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _DEPTH, _TILE_DEPTH = 322, 323, 324, 325, 32997, 32998
_ORIENTATION, _FILL_ORDER, _PREDICTOR, _PALETTE, _EXTRA, _KIND = 274, 266, 317, 320, 338, 339
# The tags that decide what the pixels are; of each there is one, or two readers see two pictures.
_TIFF_NAMES = {
    _WIDTH: "ImageWidth",
    _HEIGHT: "ImageLength",
    _BITS: "BitsPerSample",
    _COMPRESSION: "Compression",
    _PHOTOMETRIC: "PhotometricInterpretation",
    _FILL_ORDER: "FillOrder",
    _STRIPS: "StripOffsets",
    _ORIENTATION: "Orientation",
    _SAMPLES: "SamplesPerPixel",
    _STRIP_ROWS: "RowsPerStrip",
    _STRIP_BYTES: "StripByteCounts",
    _PLANES: "PlanarConfiguration",
    _PREDICTOR: "Predictor",
    _PALETTE: "ColorMap",
    _TILE_WIDTH: "TileWidth",
    _TILE_HEIGHT: "TileLength",
    _TILES: "TileOffsets",
    _TILE_BYTES: "TileByteCounts",
    _EXTRA: "ExtraSamples",
    _KIND: "SampleFormat",
    _DEPTH: "ImageDepth",
    _TILE_DEPTH: "TileDepth",
}
_TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# By the number of the type. Bytes are none of these tags' types, and readers that take them at all differ.
_TIFF_INTEGERS = {3: "H", 4: "I", 16: "Q"}
_NOT_COMPRESSED, _FAX, _JPEG, _YCBCR, _SEPARATE, _SIGNED = 1, (2, 3, 4), 7, 6, 2, 2
_LARGEST_SMALL_TILE = 1 << 24  # pixels: a tile may be larger than a small picture
_MOST_PIECES = 1 << 18  # more than tiles of 16×16 in the largest photo; readers take a while for each


class ImageError(ValueError):
    """An image file that cannot be read or written; the message names the file, the reason and the remedy."""


def has_known_head(data: bytes) -> bool:
    """Whether these bytes begin as one of the formats that are read, whatever follows."""
    return data.startswith((_PNG_SIGNATURE, b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", *_TIFF_HEADS)) or (
        data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    )


def check_png(data: bytes) -> None:
    """Raise :class:`ImageError` for a PNG that is not whole: its checksums, its end, its number of rows."""
    width = height = bits = colour = interlaced = 0
    needed = found = 0
    inflate = zlib.decompressobj()
    try:
        for name, body in _png_chunks(data):
            if name == b"IHDR":
                width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
                needed = _png_bytes(width, height, bits * _PNG_CHANNELS[colour], interlaced)
            elif name == b"IDAT":
                rest: bytes | memoryview = body
                while found < needed:
                    rows = inflate.decompress(rest, _INFLATED)
                    rest = inflate.unconsumed_tail
                    found += len(rows)
                    if not rows and not rest:
                        break
    except (struct.error, KeyError, zlib.error) as error:
        raise ImageError(f"the file is damaged; get a whole copy ({error})") from error
    if not needed or found < needed:
        raise ImageError("the file is damaged: some of its rows are missing; get a whole copy")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield each chunk's name and body, the last one included."""
    view, position, name = memoryview(data), len(_PNG_SIGNATURE), b""
    while name != b"IEND":
        if position + 12 > len(data):
            raise ImageError("the file is cut short; get a whole copy")
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise ImageError("the file is cut short; get a whole copy")
        if zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise ImageError("the file is damaged: a checksum is wrong; get a whole copy")
        yield name, view[position + 8 : end]
        position = end + 4


def _png_bytes(width: int, height: int, bits: int, interlaced: int) -> int:
    """Bytes of all rows, the filter's byte of each included."""
    passes = _PNG_PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


def check_jpeg(data: bytes) -> None:
    """Raise :class:`ImageError` for a JPEG that asks for too much work, or lacks a part of its scans.

    More than :data:`MAX_SCANS` scans take too long. A progressive one that was cut between two scans and
    given an end is a blurred picture without an error; the scans tell whether all coefficients are there.
    """
    scans = 0
    unfinished: dict[int, set[int]] = {}  # of a progressive one: component -> coefficients not yet exact
    for kind, position in _jpeg_markers(data):
        body = position + 4  # behind the marker and the length
        if kind == _JPEG_PROGRESSIVE:
            number = data[body + 5]
            unfinished = {one: set(range(64)) for one in data[body + 6 : body + 6 + 3 * number : 3]}
        if kind != _JPEG_SCAN:
            continue
        scans += 1
        if scans > MAX_SCANS:
            raise ImageError(
                f"more than {MAX_SCANS} scans, which take too long; save it anew as a plain JPEG"
            )
        number = data[body]
        components = data[body + 1 : body + 1 + 2 * number : 2]
        first, last, precision = data[body + 1 + 2 * number : body + 4 + 2 * number]
        if precision % 16 == 0:  # bits that are still to come
            for component in components:
                unfinished.get(component, set()).difference_update(range(first, last + 1))
    if any(unfinished.values()):
        raise ImageError("the file is cut short: some of its scans are missing; get a whole copy")


def with_more_data(jpeg: bytes) -> bytes | None:
    """Return a JPEG with a few coded bytes more before its end; None where it has no end.

    A whole picture does not change by them. Of one that was cut and given an end, they become pixels.
    """
    for kind, position in _jpeg_markers(jpeg):
        if kind == _JPEG_END:
            return jpeg[:position] + bytes(range(1, 255)) * 16 + jpeg[position:]
    return None


def _jpeg_markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the kind and place of each marker but restarts, up to the end of the first picture."""
    position = 2
    while marker := _JPEG_MARKER.search(data, position):
        kind, position = marker[1][0], marker.end()
        yield kind, marker.start()
        if kind == _JPEG_END:
            return
        if kind not in _JPEG_WITHOUT_LENGTH:
            position += int.from_bytes(data[position : position + 2], "big")


def check_gif(data: bytes) -> None:
    """Raise :class:`ImageError` for a GIF in which anything but blocks stands before its first picture.

    Pillow passes over such bytes until one looks like a picture's first.
    """
    try:
        position = 13 + _gif_table(data[10])
        while data[position] != _GIF_PICTURE:
            if data[position] != _GIF_EXTENSION:
                raise ImageError(
                    "the file is damaged: its blocks do not follow one another; get a whole copy"
                )
            position += 2
            while data[position]:
                position += 1 + data[position]
            position += 1
    except IndexError:
        raise ImageError("the file is cut short; get a whole copy") from None


def _gif_table(flags: int) -> int:
    """Bytes of the table of colours that these flags announce."""
    return 3 << (flags % 8 + 1) if flags & 0x80 else 0


def check_bmp(data: bytes) -> None:
    """Raise :class:`ImageError` for a BMP that readers make different pictures of.

    That is one without room for its table of colours before its pixels, one whose rows are not all there, and
    one whose runs of pixels do not make up its rows. Runs of 4-bit pixels are not read at all: Pillow
    misreads those of odd length.
    """
    try:
        start, header = struct.unpack_from("<II", data, 10)
        if header == _OS2_HEADER:
            (bits,) = struct.unpack_from("<H", data, 24)
            compression, used, entry = 0, 0, 3
        else:
            bits, compression = struct.unpack_from("<HI", data, 28)
            (used,) = struct.unpack_from("<I", data, 46)
            entry = 4
        if bits <= 8 and 14 + header + (used or 1 << bits) * entry > start:
            raise ImageError("the file is damaged: its colours and its pixels overlap; get a whole copy")
        if compression == _BMP_RUNS_OF_4_BITS:
            raise ImageError("runs of 4-bit pixels are not read; save it as PNG")
        if compression == _BMP_RUNS:
            _check_bmp_runs(data, start, *struct.unpack_from("<ii", data, 18))
        else:
            width, height = struct.unpack_from("<HH" if header == _OS2_HEADER else "<ii", data, 18)
            # Pillow does without what fills the last row up, and so takes pixels from a wrong place.
            if start + (width * bits + 31) // 32 * 4 * abs(height) > len(data):
                raise ImageError("the file is cut short; get a whole copy")
    except (struct.error, IndexError) as error:
        raise ImageError("the file is cut short; get a whole copy") from error


def _check_bmp_runs(data: bytes, position: int, width: int, height: int) -> None:
    """Follow the runs of a run-length coded BMP, row by row."""
    is_sound = position % 2 == 0  # runs are padded to an even number of bytes
    x = y = 0
    while is_sound and y < height:
        count, value = data[position], data[position + 1]
        position += 2
        if count:
            x += count
        elif value > 2:  # so many pixels one by one
            x += value
            position += value + value % 2
        elif value == 0:  # the end of a row; Pillow passes over one that has no pixels at all
            is_sound = x > 0
            x, y = 0, y + 1
        else:  # the end of the picture, or a gap in it
            is_sound = value == 1 and y == height - 1 and x == width
            break
        is_sound = is_sound and x <= width
    if not is_sound:
        raise ImageError("the file is damaged: its runs do not make up its rows; get a whole copy")


@dataclass(frozen=True)
class TiffLayout:
    """How the pixels of a TIFF's first picture lie, by its tags, none of which contradicts another."""

    width: int
    height: int
    samples: int
    bits: int
    is_fax: bool
    orientation: int

    @property
    def values(self) -> int:
        """Number of values of all pixels."""
        return self.width * self.height * self.samples

    @property
    def nbytes(self) -> int:
        """Bytes that decoding them takes."""
        return self.values * -(-self.bits // 8)


def read_tiff_layout(data: bytes) -> TiffLayout:
    """Read what the tags of a TIFF's first picture say, or raise :class:`ImageError`.

    An error is a tag that stands twice, a volume of several layers, and strips or tiles that do not make up
    the picture: fewer or more than it takes, larger than it by far, or, not compressed, with too few bytes.
    """
    try:
        tags = _tiff_tags(data)
        layout = TiffLayout(
            _tiff_number(tags, _WIDTH, 0),
            _tiff_number(tags, _HEIGHT, 0),
            _tiff_number(tags, _SAMPLES, 1),
            max(_tiff_values(tags, _BITS, (1,))),
            _tiff_number(tags, _COMPRESSION, _NOT_COMPRESSED) in _FAX,
            _tiff_values(tags, _ORIENTATION, (1,))[0],
        )
        _check_tiff(tags, layout)
    except struct.error as error:
        raise ImageError(f"the file is damaged or cut short; get a whole copy ({error})") from error
    return layout


@dataclass(frozen=True)
class _Tag:
    """Integers in a TIFF; they are read when they are asked for, there may be millions."""

    data: bytes
    form: str
    count: int
    offset: int

    def values(self) -> tuple[int, ...]:
        return struct.unpack_from(f"{self.form[0]}{self.count}{self.form[1]}", self.data, self.offset)


def _tiff_tags(data: bytes) -> dict[int, _Tag]:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    number, entry = ("Q", "HHQ") if big else ("I", "HHI")
    (start,) = struct.unpack_from(order + number, data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    start += 8 if big else 2
    room = 8 if big else 4
    step = struct.calcsize(order + entry) + room
    if start + count * step > len(data):
        raise ImageError("the file is cut short; get a whole copy")
    tags: dict[int, _Tag] = {}
    for position in range(start, start + count * step, step):
        code, kind, length = struct.unpack_from(order + entry, data, position)
        if code not in _TIFF_NAMES:
            continue
        if code in tags:
            raise ImageError(f"its tag {_TIFF_NAMES[code]} stands twice; save it anew with another program")
        if kind not in _TIFF_INTEGERS:
            raise ImageError(f"its tag {_TIFF_NAMES[code]} is of a wrong type; get a whole copy")
        form = order + _TIFF_INTEGERS[kind]
        offset = position + step - room
        if length * struct.calcsize(form) > room:
            (offset,) = struct.unpack_from(order + number, data, offset)
        if offset + length * struct.calcsize(form) > len(data):
            raise ImageError("the file is cut short; get a whole copy")
        tags[code] = _Tag(data, form, length, offset)
    return tags


def _tiff_values(tags: Mapping[int, _Tag], code: int, default: tuple[int, ...]) -> tuple[int, ...]:
    values = tags[code].values() if code in tags else default
    if not values:
        raise ImageError(f"its tag {_TIFF_NAMES[code]} is empty; get a whole copy")
    return values


def _tiff_number(tags: Mapping[int, _Tag], code: int, default: int) -> int:
    values = _tiff_values(tags, code, (default,))
    if len(values) != 1 or values[0] < 1:
        raise ImageError(f"its tag {_TIFF_NAMES[code]} makes no sense; get a whole copy")
    return values[0]


def _check_tiff(tags: Mapping[int, _Tag], layout: TiffLayout) -> None:
    if (
        _PHOTOMETRIC not in tags or tags[_PHOTOMETRIC].count != 1
    ):  # readers guess, and one's black is the other's white
        raise ImageError("it lacks the tag PhotometricInterpretation; save it anew with another program")
    if _tiff_number(tags, _DEPTH, 1) != 1 or _tiff_number(tags, _TILE_DEPTH, 1) != 1:
        raise ImageError("is a volume of several layers; save one of them")
    if _SIGNED in _tiff_values(tags, _KIND, (1,)):  # some readers take the bits for those of other values
        raise ImageError("its values have signs; save it as 8-bit or 16-bit RGB")
    if _BITS in tags and tags[_BITS].count not in (1, layout.samples):
        raise ImageError("its tags BitsPerSample and SamplesPerPixel contradict each other")
    is_tiled = _TILES in tags or _TILE_WIDTH in tags
    if is_tiled and _STRIPS in tags and _TILES in tags:
        raise ImageError("it has both strips and tiles, which contradict each other")
    if is_tiled:
        across, down = _tiff_number(tags, _TILE_WIDTH, 0), _tiff_number(tags, _TILE_HEIGHT, 0)
        if across * down > max(4 * layout.width * layout.height, _LARGEST_SMALL_TILE):
            raise ImageError(f"its tiles of {across}×{down} are larger than the picture")
    else:
        across, down = layout.width, min(_tiff_number(tags, _STRIP_ROWS, layout.height), layout.height)
    planes = _tiff_number(tags, _PLANES, 1)
    if planes not in (1, _SEPARATE):
        raise ImageError("its tag PlanarConfiguration makes no sense; get a whole copy")
    is_separate = planes == _SEPARATE
    pieces = -(-layout.width // across) * -(-layout.height // down) * (layout.samples if is_separate else 1)
    # Some writers call the places of tiles those of strips.
    places = tags.get(_TILES) or tags.get(_STRIPS)
    sizes = tags.get(_TILE_BYTES) or tags.get(_STRIP_BYTES)
    if places is None or places.count != pieces or (sizes is not None and sizes.count != pieces):
        told = 0 if places is None else places.count
        raise ImageError(f"its pixels lie in {pieces} pieces, but its tags tell {told}; get a whole copy")
    if pieces > _MOST_PIECES:
        raise ImageError(f"its pixels lie in {pieces} pieces, which take too long; save it in larger strips")
    if sizes is None:
        return
    if any(
        place + size > len(places.data) for place, size in zip(places.values(), sizes.values(), strict=True)
    ):
        raise ImageError("the file is cut short; get a whole copy")
    compression = _tiff_number(tags, _COMPRESSION, _NOT_COMPRESSED)
    if compression == _JPEG and not is_separate:  # planes of colours may have fewer pixels
        for number, (place, size) in enumerate(zip(places.values(), sizes.values(), strict=True)):
            rows = down if is_tiled else min(down, layout.height - number * down)
            _check_jpeg_piece(places.data[place : place + size], across, rows)
    if compression != _NOT_COMPRESSED:
        return
    if _tiff_values(tags, _PHOTOMETRIC, ())[0] == _YCBCR:
        return  # colours may be stored for several pixels at a time
    row = (across * layout.bits * (1 if is_separate else layout.samples) + 7) // 8
    per_plane = -(-layout.height // down)
    for number, size in enumerate(sizes.values()):
        needed = row * (down if is_tiled else min(down, layout.height - number % per_plane * down))
        # Where no tag says that nothing is compressed, the bytes have to.
        if size < needed or (size > needed and _COMPRESSION not in tags):
            raise ImageError("the file is damaged: some of its rows are missing; get a whole copy")


def _check_jpeg_piece(data: bytes, width: int, height: int) -> None:
    """Raise :class:`ImageError` for a JPEG in a TIFF that is smaller than its strip or tile.

    What Pillow decodes with leaves the rest as it finds it in memory.
    """
    for kind, position in _jpeg_markers(data):
        if kind in _JPEG_FRAMES:
            rows, columns = struct.unpack_from(">HH", data, position + 5)
            if rows < height or columns < width:
                raise ImageError("the file is damaged: some of its rows are missing; get a whole copy")
            return
