"""Files of unknown origin, made from seeds: damaged, cut, contradictory, too large, or no files at all.

Each says what becomes of it: it is refused, or it is read, and then to pixels that are known without Pillow.
"""

from __future__ import annotations

import io
import os
import random
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import skimage.data
import tifffile
from PIL import ExifTags, Image

PIXELS = np.ascontiguousarray(skimage.data.astronaut()[100:150, 150:220])
WIDE = PIXELS.astype(np.uint16) * 257
GREY = PIXELS[..., 1].copy()
BITS = GREY > 127
ALPHA = np.arange(GREY.size, dtype=np.uint32).astype(np.uint8).reshape(GREY.shape)


def encoded(pixels, format, **options):
    """These pixels as Pillow writes them."""
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(stream, format, **options)
    return stream.getvalue()


def tiff(values, **options):
    """These values as tifffile writes them."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, metadata=None, **options)
    return stream.getvalue()


FILES = {
    "png": encoded(PIXELS, "PNG"),
    "png-grey": encoded(PIXELS[..., 0], "PNG"),
    "png-bits": encoded(BITS, "PNG"),
    "png-wide": imagecodecs.png_encode(WIDE),
    "jpeg": encoded(PIXELS, "JPEG", quality=90),
    "jpeg-progressive": encoded(PIXELS, "JPEG", progressive=True),
    "webp": encoded(PIXELS, "WEBP", quality=80),
    "webp-lossless": encoded(PIXELS, "WEBP", lossless=True),
    "bmp": encoded(PIXELS, "BMP"),
    "gif": encoded(PIXELS, "GIF"),
    "tiff": encoded(PIXELS, "TIFF"),
    "tiff-lzw": encoded(PIXELS, "TIFF", compression="tiff_lzw"),
    "tiff-jpeg": encoded(PIXELS, "TIFF", compression="jpeg"),
    "tiff-fax": encoded(BITS, "TIFF", compression="group4"),
    "tiff-strips": tiff(PIXELS, photometric="rgb", rowsperstrip=7),
    "tiff-tiles": tiff(PIXELS, photometric="rgb", tile=(32, 32), compression="zlib"),
    "tiff-planes": tiff(np.moveaxis(PIXELS, -1, 0), photometric="rgb", planarconfig="separate"),
    "tiff-wide": tiff(WIDE, photometric="rgb"),
    "tiff-wide-lzw": tiff(WIDE, photometric="rgb", compression="lzw", predictor=True),
    "tiff-big": tiff(PIXELS, photometric="rgb", bigtiff=True),
}

_SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "bmp": ".bmp", "gif": ".gif", "tiff": ".tif"}


def suffix_of(name):
    """The suffix of the format that a name such as tiff-lzw begins with."""
    return _SUFFIXES[name.partition("-")[0]]


def decoded_elsewhere(name, data):
    """uint8 H×W×3 RGB by OpenCV, libwebp or giflib; None where that refuses the file too."""
    try:
        if name.startswith("gif"):
            values = imagecodecs.gif_decode(data)
        elif name.startswith("webp"):
            values = imagecodecs.webp_decode(data)
        else:
            values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            values = values if values is None or values.ndim == 2 else values[..., [2, 1, 0]]
    except (RuntimeError, ValueError, cv2.error):
        return None
    if values is None:
        return None
    if values.dtype == np.uint16:
        values = np.rint(values / 257).astype(np.uint8)
    return np.repeat(values[..., None], 3, axis=-1) if values.ndim == 2 else values[..., :3]


def damage(pixels, name, data, whole):
    """Say in which way pixels that were read from a damaged file are wrong; None where they are not.

    Formats without a checksum cannot tell a changed pixel, but then other decoders see the same.
    """
    if name == "gif" and pixels.shape != whole.shape:
        return None  # what no frame paints has no colour that readers agree on
    other = decoded_elsewhere(name, data)
    # Another decoder refuses what does not touch the pixels, too.
    return difference(pixels, whole if other is None else other)


def difference(pixels, wanted):
    """Say how two pictures differ; None where they do not."""
    if pixels.shape != wanted.shape:
        return f"the shape is {pixels.shape} and not {wanted.shape}"
    wrong = (pixels != wanted).any(axis=-1).mean()
    return f"{wrong:.1%} of the pixels are wrong" if wrong else None


# ---------------------------------------------------------------------------------------------------------
# Files by hand


def png_of(rows, interlaced=0, height=50, width=70, more=()):
    """A PNG whose checksums are right, with these rows, and more chunks before them."""
    return png_with(zlib.compress(rows), interlaced, height, width, more)


def png_with(compressed, interlaced=0, height=50, width=70, more=()):
    """A PNG whose checksums are right, with these compressed rows."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlaced)
    chunks = ((b"IHDR", header), *more, (b"IDAT", compressed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def bmp_of_runs(runs, bits=8, compression=1):
    """A BMP of 16×16 whose pixels are these runs."""
    table = np.random.default_rng(0).integers(0, 256, (1 << bits, 4), dtype=np.uint8).tobytes()
    header = struct.pack("<IiiHHIIiiII", 40, 16, 16, 1, bits, compression, len(runs), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + len(table)) + header + table + runs


def tags_of(**changes):
    """A 16-bit grey TIFF of 8×8 with these tags (t256=9) for its right ones; a list puts one in twice."""
    tags = {256: 8, 257: 8, 258: 16, 259: 1, 262: 1, 273: 1000, 277: 1, 278: 8, 279: 128}
    tags |= {int(code.removeprefix("t")): value for code, value in changes.items()}
    entries = [
        struct.pack("<HHII", code, 4, 1, value)
        for code, values in sorted(tags.items())
        for value in (values if isinstance(values, list) else [values])
    ]
    table = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    return table.ljust(1000, b"\0") + (np.arange(64, dtype=np.uint16) * 1024).tobytes()


RUNS = b"".join(bytes([16, row, 0, 0]) for row in range(16))
"""Runs for `bmp_of_runs`, a row each."""

WRONG_TAGS = [
    ({"t256": [40000, 8], "t257": [40000, 8]}, "ImageWidth stands twice"),
    ({"t257": [8, 40000]}, "ImageLength stands twice"),
    ({"t258": [16, 8]}, "BitsPerSample stands twice"),
    ({"t32997": 30000}, "several layers"),
    ({"t322": 16, "t323": 16, "t324": 1000, "t32998": 40000}, "several layers"),
    ({"t322": 16, "t323": 16, "t324": 1000}, "both strips and tiles"),
    ({"t278": 4}, "2 pieces, but its tags tell 1"),
    ({"t278": 0}, "RowsPerStrip makes no sense"),
    ({"t284": 7}, "PlanarConfiguration"),
    ({"t339": 2}, "values have signs"),
    ({"t262": []}, "lacks the tag PhotometricInterpretation"),
    ({"t257": 300_000, "t278": 1}, "300000 pieces"),
    ({"t279": 127}, "rows are missing"),
    ({"t279": 0}, "rows are missing"),
    ({"t279": 4_000_000_000}, "cut short"),
    ({"t273": 4_000_000_000}, "cut short"),
    ({"t277": 3_000_000_000}, r"MB|damaged"),
    ({"t256": 3_000_000_000, "t257": 3_000_000_000}, "pixels"),
]
"""Changes of tags for `tags_of`, and what is said of each."""


def place_of_tag(data, code):
    """Where a tag stands in the first table of a little-endian TIFF."""
    (start,) = struct.unpack_from("<I", data, 4)
    places = range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12)
    return next(place for place in places if struct.unpack_from("<H", data, place)[0] == code)


def with_scans(number):
    """A progressive JPEG of 256×256 whose last scan stands there `number` times."""
    data = encoded(np.zeros((256, 256, 3), np.uint8), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * number + data[-2:]


def zeros_compressed(megabytes):
    """So many megabytes of zeros as zlib compresses them, in no time."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = squeeze.compress(bytes(1 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    checksum = ((megabytes << 20) % 65521) << 16 | 1
    return b"\x78\xda" + piece * megabytes + b"\x03\0" + struct.pack(">I", checksum)


# ---------------------------------------------------------------------------------------------------------
# What is no file


def make_pipe(path):
    """A pipe that nobody writes into."""
    os.mkfifo(path)


def make_link_to_pipe(path):
    """A link to one."""
    os.mkfifo(path.with_suffix(".pipe"))
    path.symlink_to(path.with_suffix(".pipe").name)


def make_link_to_device(path):
    """A link to a device that never ends."""
    path.symlink_to("/dev/zero")


def make_socket(path):
    """A socket."""
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path has 108 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def make_sparse_file(path):
    """A file that takes no room on the disk and 3 GB in memory."""
    with path.open("wb") as file:
        file.write(b"RIFF\xf0\xff\xff\xffWEBPVP8L")
        file.truncate(3_000_000_000)


SPECIAL = {
    "a pipe": make_pipe,
    "a  pipe": make_link_to_pipe,
    "a device": make_link_to_device,
    "a socket": make_socket,
    "a folder": Path.mkdir,
}
"""What it is (spaces tell two apart) -> what makes it."""


# ---------------------------------------------------------------------------------------------------------
# The corpus


@dataclass(frozen=True)
class Hostile:
    """One input. Without `pixels` it has to be refused.

    Attributes:
        name: of the file; no two of a corpus have one stem.
        kind: what was done to it.
        data: its bytes.
        pixels: uint8 H×W×3, what it shows if it is read.
        is_whole: it has to be read.
        decoder: the name for `decoded_elsewhere`, whose pixels count before `pixels`.
        make: makes what is no file, or too large a one, instead of `data`.
    """

    name: str
    kind: str
    data: bytes = b""
    pixels: np.ndarray | None = None
    is_whole: bool = False
    decoder: str = ""
    make: Callable[[Path], None] | None = None

    def write(self, folder: Path) -> Path:
        """Make it in a folder."""
        path = folder / self.name
        if self.make:
            self.make(path)
        else:
            path.write_bytes(self.data)
        return path

    def objection(self, pixels: np.ndarray | None) -> str | None:
        """Say what is wrong about what was read from it (None: it was refused), or None."""
        if pixels is None:
            return "a whole file was refused" if self.is_whole else None
        if self.pixels is None:
            return "was read, which no one can"
        if self.decoder:
            return damage(pixels, self.decoder, self.data, self.pixels)
        return difference(pixels, self.pixels)


def corpus() -> list[Hostile]:
    """All inputs, the same in every run."""
    parts = (whole, coloured, turned, cut, flipped, spoiled, extended, bombs, tags, foreign, misnamed)
    return [one for part in (*parts, special, names) for one in part()]


def whole() -> Iterator[Hostile]:
    """Every format as it should be."""
    for name, data in FILES.items():
        yield Hostile(
            f"whole-{name}{suffix_of(name)}", "whole", data, decoded_elsewhere(name, data), is_whole=True
        )


def coloured() -> Iterator[Hostile]:
    """Colour spaces and bit depths, those that are read and those that are not."""
    flat = np.repeat(GREY[..., None], 3, axis=-1)
    black = np.repeat(BITS[..., None], 3, axis=-1).astype(np.uint8) * 255
    with_alpha = np.dstack([PIXELS, ALPHA])
    palette = Image.fromarray(PIXELS).quantize(200)
    inks = Image.fromarray(np.dstack([PIXELS, ALPHA]), "CMYK")
    ink, key = np.asarray(inks)[..., :3].astype(int), np.asarray(inks)[..., 3:].astype(int)
    mixed = np.clip(255 - key - (2 * ink * (255 - key) + 255) // 510, 0, 255).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in PIXELS)
    read = {
        "png-alpha": (encoded(with_alpha, "PNG"), PIXELS),
        "png-grey-alpha": (encoded(np.dstack([GREY, ALPHA]), "PNG"), flat),
        "png-wide-alpha": (imagecodecs.png_encode(with_alpha.astype(np.uint16) * 257), PIXELS),
        "png-wide-grey": (imagecodecs.png_encode(GREY.astype(np.uint16) * 257), flat),
        "png-key": (encoded(PIXELS, "PNG", transparency=tuple(PIXELS[3, 3].tolist())), PIXELS),
        "png-gamma": (png_of(rows, more=[(b"gAMA", struct.pack(">I", 100_000))]), PIXELS),
        **{
            f"png-{bits}-bit-palette": (encoded(Image.fromarray(PIXELS).quantize(1 << bits), "PNG"), None)
            for bits in (1, 2, 4, 8)
        },
        "jpeg-grey": (encoded(GREY, "JPEG"), None),
        "jpeg-full-chroma": (encoded(PIXELS, "JPEG", subsampling="4:4:4"), None),
        "jpeg-rgb": (encoded(PIXELS, "JPEG", keep_rgb=True), None),
        "webp-alpha": (encoded(with_alpha, "WEBP", lossless=True, exact=True), PIXELS),
        "bmp-palette": (encoded(palette, "BMP"), None),
        "bmp-grey": (encoded(GREY, "BMP"), flat),
        "bmp-bits": (encoded(BITS, "BMP"), black),
        "bmp-runs": (bmp_of_runs(RUNS + b"\0\1"), None),
        "gif-bits": (encoded(BITS, "GIF"), black),
        "gif-grey": (encoded(GREY, "GIF"), flat),
        "tiff-grey": (encoded(GREY, "TIFF"), flat),
        "tiff-bits": (encoded(BITS, "TIFF"), black),
        "tiff-alpha": (tiff(with_alpha, photometric="rgb", extrasamples=["unassalpha"]), PIXELS),
        "tiff-palette": (encoded(palette, "TIFF"), np.asarray(palette.convert("RGB"))),
        "tiff-inks": (encoded(inks, "TIFF"), mixed),
        "tiff-white": (tiff(255 - GREY, photometric="miniswhite"), flat),
        "tiff-wide-white": (tiff(65535 - GREY.astype(np.uint16) * 257, photometric="miniswhite"), flat),
        "tiff-wide-grey": (tiff(GREY.astype(np.uint16) * 257), flat),
        "tiff-other-order": (tiff(WIDE, photometric="rgb", byteorder=">"), PIXELS),
        "tiff-packed": (encoded(PIXELS, "TIFF", compression="packbits"), PIXELS),
        "tiff-deflate": (encoded(PIXELS, "TIFF", compression="tiff_adobe_deflate"), PIXELS),
    }
    for name, (data, pixels) in read.items():
        pixels = decoded_elsewhere(name, data) if pixels is None else pixels
        yield Hostile(f"colour-{name}{suffix_of(name)}", "colours", data, pixels, is_whole=True)
    refused = {
        "float": tiff(PIXELS.astype(np.float32), photometric="rgb"),
        "double": tiff(GREY.astype(np.float64)),
        "long": tiff(WIDE.astype(np.uint32), photometric="rgb"),
        "signed": tiff(PIXELS.view(np.int8), photometric="rgb"),
        "signed-grey": tiff(GREY.astype(np.int16)),
        "complex": tiff(GREY.astype(np.complex64)),
        "lab": encoded(Image.new("LAB", (70, 50)), "TIFF"),
        "whole-numbers": encoded(Image.fromarray(GREY.astype(np.int32)), "TIFF"),
        "channels": tiff(np.zeros((50, 70, 40), np.uint8), photometric="minisblack", planarconfig="contig"),
    }
    for name, data in refused.items():
        yield Hostile(f"colour-{name}.tif", "colours", data)


def turned() -> Iterator[Hostile]:
    """Pictures that lie on a side or are mirrored, by their EXIF."""
    upright = {
        2: PIXELS[:, ::-1],
        3: PIXELS[::-1, ::-1],
        4: PIXELS[::-1],
        5: PIXELS.swapaxes(0, 1),
        6: PIXELS.swapaxes(0, 1)[:, ::-1],
        7: PIXELS.swapaxes(0, 1)[::-1, ::-1],
        8: PIXELS.swapaxes(0, 1)[::-1],
    }
    exif = Image.Exif()
    for number, pixels in upright.items():
        exif[ExifTags.Base.Orientation] = number
        for format, options in (("png", {}), ("webp", {"lossless": True}), ("tiff", {})):
            data = encoded(PIXELS, format, exif=exif, **options)
            yield Hostile(f"turned-{number}-{format}{suffix_of(format)}", "turned", data, pixels, True)


def cut() -> Iterator[Hostile]:
    """Beginnings of files. What is missing may lie behind the pixels, such as a GIF's end."""
    for name, data in FILES.items():
        pixels = decoded_elsewhere(name, data)
        rng = random.Random(f"cut {name}")
        for length in (rng.randrange(1, 60), rng.randrange(60, len(data) // 2), len(data) * 9 // 10):
            yield Hostile(f"cut-{name}-{length}{suffix_of(name)}", "cut", data[:length])
        yield Hostile(f"cut-{name}-end{suffix_of(name)}", "cut", data[:-1], pixels)
    # Cut, and made to look whole again.
    for name in ("jpeg", "jpeg-progressive"):
        start = FILES[name].index(b"\xff\xda") + 20
        for part in (2, 5):
            data = FILES[name][: start + (len(FILES[name]) - start) * part // 10] + b"\xff\xd9"
            yield Hostile(f"ended-{name}-{part}.jpg", "cut", data)
    rows = b"".join(b"\0" + row.tobytes() for row in PIXELS)
    for short in (rows[:-1], rows[: len(rows) // 2], b""):
        yield Hostile(f"ended-{len(short)}.png", "cut", png_of(short))
    for number in (1, 8, 15):
        yield Hostile(f"ended-{number}.bmp", "cut", bmp_of_runs(RUNS[: 4 * number] + b"\0\1"))


def flipped() -> Iterator[Hostile]:
    """One bit of a file changed; every other time among its first bytes, where its header is."""
    more = {
        "png-alpha": encoded(np.dstack([PIXELS, ALPHA]), "PNG"),
        "png-palette": encoded(Image.fromarray(PIXELS).quantize(16), "PNG"),
        "jpeg-grey": encoded(GREY, "JPEG"),
        "webp-alpha": encoded(np.dstack([PIXELS, ALPHA]), "WEBP", lossless=True, exact=True),
        "bmp-palette": encoded(Image.fromarray(PIXELS).quantize(200), "BMP"),
        "bmp-bits": encoded(BITS, "BMP"),
        "bmp-runs": bmp_of_runs(RUNS + b"\0\1"),
    }
    for name, data in (FILES | more).items():
        pixels = decoded_elsewhere(name, data)
        rng = random.Random(f"flip {name}")
        for number in range(6):
            changed = bytearray(data)
            changed[rng.randrange(len(data) if number % 2 else 100)] ^= 1 << rng.randrange(8)
            yield Hostile(
                f"flip-{name}-{number}{suffix_of(name)}", "flipped", bytes(changed), pixels, decoder=name
            )


def spoiled() -> Iterator[Hostile]:
    """A sector of a file zeroed, or full of noise."""
    for name, data in FILES.items():
        rng = random.Random(f"spoil {name}")
        for kind in ("zeros", "noise"):
            start, size = rng.randrange(len(data) - 40), rng.randrange(8, 40)
            middle = bytes(size) if kind == "zeros" else rng.randbytes(size)
            changed = data[:start] + middle + data[start + size :]
            pixels = decoded_elsewhere(name, data)
            yield Hostile(f"{kind}-{name}{suffix_of(name)}", "spoiled", changed, pixels, decoder=name)


def extended() -> Iterator[Hostile]:
    """Something before a file, and something behind it."""
    for name in ("png", "jpeg", "webp-lossless", "bmp", "gif", "tiff"):
        data, pixels = FILES[name], decoded_elsewhere(name, FILES[name])
        yield Hostile(f"behind-{name}{suffix_of(name)}", "extended", data + b"PK\3\4" * 300, pixels)
        yield Hostile(f"doubled-{name}{suffix_of(name)}", "extended", data + data, pixels)
        yield Hostile(f"before-{name}{suffix_of(name)}", "extended", b"\n" + data)


def bombs() -> Iterator[Hostile]:
    """Little that asks for much: memory by declared sizes and by compression, time by repetition."""
    jpeg, gif = bytearray(FILES["jpeg"]), bytearray(FILES["gif"])
    frame = jpeg.index(b"\xff\xc0") + 5  # height, width
    for height, width in ((65500, 65500), (7000, 7000), (0, 70)):
        jpeg[frame : frame + 4] = struct.pack(">HH", height, width)
        yield Hostile(f"bomb-jpg-{height}x{width}.jpg", "bomb", bytes(jpeg))
    for height, width in ((60000, 60000), (7000, 7000), (1, 2**31 - 1), (0, 0)):
        yield Hostile(f"bomb-png-{height}x{width}.png", "bomb", png_of(bytes(9), height=height, width=width))
    for height, width in ((65535, 65535), (7000, 7000)):
        gif[6:10] = struct.pack("<HH", width, height)
        place = gif.index(b",", 13 + 3 * 256)  # behind the colours; the picture is as large
        changed = gif[: place + 5] + struct.pack("<HH", width, height) + gif[place + 9 :]
        yield Hostile(f"bomb-gif-{height}x{width}.gif", "bomb", bytes(changed))
    for height, width in ((30000, 30000), (7000, 7000), (-7000, 7000), (50, -70), (2**31 - 1, 1)):
        header = FILES["bmp"][:18] + struct.pack("<ii", width, height) + FILES["bmp"][26:]
        yield Hostile(f"bomb-bmp-{height}x{width}.bmp", "bomb", header)
    for side in (16384, 7000):
        lossless = b"VP8L" + struct.pack("<IBI", 9, 0x2F, side - 1 | (side - 1) << 14) + bytes(5)
        body = b"WEBP" + lossless.ljust(40, b"\0")
        yield Hostile(f"bomb-webp-{side}.webp", "bomb", b"RIFF" + struct.pack("<I", len(body)) + body)
    canvas = b"WEBPVP8X" + struct.pack("<II", 10, 0) + (16383).to_bytes(3, "little") * 2
    data = b"RIFF" + struct.pack("<I", len(canvas) + len(FILES["webp"]) - 12) + canvas + FILES["webp"][12:]
    yield Hostile("bomb-canvas.webp", "bomb", data)
    for side in (30000, 7000):
        data = tags_of(t256=side, t257=side, t278=side)
        yield Hostile(f"bomb-tif-{side}.tif", "bomb", data)

    gigabyte = zeros_compressed(1024)
    rows = b"".join(b"\0" + row.tobytes() for row in PIXELS)
    yield Hostile("bomb-rows.png", "bomb", png_with(gigabyte), np.zeros_like(PIXELS))
    for chunk, body in ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0")):
        data = png_of(rows, more=[(chunk, body + gigabyte)])
        yield Hostile(f"bomb-{chunk.decode()}.png", "bomb", data, PIXELS)
    data = tags_of(t259=8, t279=len(gigabyte))[:1000] + gigabyte
    yield Hostile("bomb-strip.tif", "bomb", data)
    yield Hostile("bomb-file.webp", "bomb", make=make_sparse_file)
    yield Hostile("bomb-chunks.png", "bomb", png_of(rows, more=[(b"tEXt", b"a\0b")] * 100_000), PIXELS)
    yield Hostile("bomb-scans.jpg", "bomb", with_scans(700))
    comments = FILES["jpeg"][:2] + b"\xff\xfe\0\3x" * 300_000 + FILES["jpeg"][2:]
    yield Hostile("bomb-comments.jpg", "bomb", comments, decoded_elsewhere("jpeg", comments))
    ending = FILES["gif"].rindex(b";")
    picture = FILES["gif"][FILES["gif"].index(b",", 13 + 3 * 256) : ending]
    data = FILES["gif"][:ending] + picture * 300 + b";"
    yield Hostile("bomb-frames.gif", "bomb", data, decoded_elsewhere("gif", FILES["gif"]))
    # A table that is its own successor.
    data = bytearray(FILES["tiff-strips"])
    start = struct.unpack_from("<I", data, 4)[0]
    after = start + 2 + 12 * struct.unpack_from("<H", data, start)[0]
    data[after : after + 4] = struct.pack("<I", start)
    yield Hostile("bomb-circle.tif", "bomb", bytes(data), PIXELS)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 0x8769, 4, 1, 8)
    exif += struct.pack("<HHII", 0x010E, 2, 2**31, 8) + struct.pack("<I", 8)
    data = FILES["jpeg"][:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + FILES["jpeg"][2:]
    yield Hostile("bomb-exif.jpg", "bomb", data, decoded_elsewhere("jpeg", data))


def tags() -> Iterator[Hostile]:
    """Tags of TIFFs that contradict each other or make no sense."""
    for number, (changes, _) in enumerate(WRONG_TAGS):
        yield Hostile(f"tags-{number}.tif", "tags", tags_of(**changes))
    for name, code, offset, value in (
        ("tiff-wide", 284, 2, 1),  # its type: bytes
        ("tiff-fax", 262, 4, 0),  # its count
        ("tiff-jpeg", 257, 8, 60),
        ("tiff-jpeg", 256, 8, 90),
    ):
        data = bytearray(FILES[name])
        data[place_of_tag(data, code) + offset] = value
        if code == 257:  # one strip
            data[place_of_tag(data, 278) + offset] = value
        yield Hostile(f"tags-{name}-{code}.tif", "tags", bytes(data))


def foreign() -> Iterator[Hostile]:
    """What is no picture, or one of another kind, by a name that is read."""
    rng = random.Random("foreign")
    contents = {
        format.lower(): encoded(PIXELS, format)
        for format in ("PPM", "ICO", "TGA", "PCX", "SGI", "DDS", "IM", "EPS", "JPEG2000", "ICNS")
    }
    contents |= {
        "pdf": encoded(PIXELS, "PDF", creationDate=time.gmtime(0), modDate=time.gmtime(0)),
        "empty": b"",
        "zeros": bytes(5000),
        "noise": rng.randbytes(5000),
        "text": b"not a photo\n" * 50,
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "zip": b"PK\5\6" + bytes(18),
        **{f"head-{suffix[1:]}": FILES[name][:12] for name, suffix in _SUFFIXES.items()},
    }
    for number, (name, data) in enumerate(contents.items()):
        yield Hostile(f"foreign-{name}{list(_SUFFIXES.values())[number % 6]}", "foreign", data)


def misnamed() -> Iterator[Hostile]:
    """Formats by the suffix of another. The contents count."""
    suffixes = list(_SUFFIXES.values())
    for number, name in enumerate(("png", "jpeg", "webp-lossless", "bmp", "gif", "tiff", "png-wide")):
        pixels = decoded_elsewhere(name, FILES[name])
        suffix = suffixes[(number + 2) % 6]
        yield Hostile(f"misnamed-{name}{suffix}", "misnamed", FILES[name], pixels, is_whole=True)


def special() -> Iterator[Hostile]:
    """What is no file, and links that lead nowhere."""
    for number, make in enumerate(SPECIAL.values()):
        yield Hostile(f"special-{number}.png", "special", make=make)
    yield Hostile("special-gone.png", "special", make=lambda path: path.symlink_to("gone"))
    yield Hostile("special-circle.png", "special", make=lambda path: path.symlink_to(path.name))


def names() -> Iterator[Hostile]:
    """Names that steer terminals, look like options, or are as long as can be; of good files and of bad."""
    stems = ["\x1b[31mred", "new\nline", "return\rback", "\u202egnp", "-rf", "--help", " space ", "%s%n{0}"]
    stems += ["$(id)", "`id`", "quote'\"", "*?[a]", "two.dots", "~", "back\\slash", "not utf-8 \udcff", "ü"]
    stems += ["a" * 250, "漢" * 83]
    for stem in stems:
        yield Hostile(f"{stem}.png", "names", FILES["png"], PIXELS, is_whole=True)
        yield Hostile(f"{stem}!.png", "names", FILES["png"][:300])
    yield Hostile("UPPER.PNG", "names", FILES["png"], PIXELS, is_whole=True)
