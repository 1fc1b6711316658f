"""Checks of TIFF files: whether their tags agree with one another and with the bytes that are there."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ImageError
from .jpeg import check_jpeg_piece

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIPS, _SAMPLES, _STRIP_ROWS, _STRIP_BYTES, _PLANES = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _DEPTH, _TILE_DEPTH = 322, 323, 324, 325, 32997, 32998
_ORIENTATION, _FILL_ORDER, _PREDICTOR, _PALETTE, _EXTRA, _KIND = 274, 266, 317, 320, 338, 339
# The tags that decide what the pixels are. If one stands twice, two readers see two pictures.
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
# Type number -> struct format. Bytes are not allowed for these tags, and readers treat them differently.
_TIFF_INTEGERS = {3: "H", 4: "I", 16: "Q"}
_NOT_COMPRESSED, _FAX, _JPEG, _YCBCR, _SEPARATE, _SIGNED = 1, (2, 3, 4), 7, 6, 2, 2
_LARGEST_SMALL_TILE = 1 << 24  # pixels: a tile may be larger than a small picture
_MOST_PIECES = 1 << 18  # more than tiles of 16×16 in the largest photo; readers take a while for each


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
    """Read what the tags of a TIFF's first picture say, or raise `ImageError`.

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
    ):  # readers then guess whether 0 is black or white
        raise ImageError("it lacks the tag PhotometricInterpretation; save it anew with another program")
    if _tiff_number(tags, _DEPTH, 1) != 1 or _tiff_number(tags, _TILE_DEPTH, 1) != 1:
        raise ImageError("is a volume of several layers; save one of them")
    if _SIGNED in _tiff_values(tags, _KIND, (1,)):  # some readers read them as unsigned
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
            check_jpeg_piece(places.data[place : place + size], across, rows)
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
