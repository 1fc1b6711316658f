"""Metadata in the chunks of a PNG, in both directions."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

from ..containers import png_chunks
from .kept import Metadata, Text
from .xmp import clean_xmp

COLOUR_CHUNKS = frozenset({b"cICP", b"mDCV", b"cLLI", b"gAMA", b"cHRM", b"sRGB"})
"""Chunks that say what a PNG's colours mean, beside the colour profile."""

_XMP = "XML:com.adobe.xmp"
# ImageMagick's way to keep EXIF and the like in a text. Pillow has read the EXIF.
_PROFILE = "Raw profile type "
_READ_PROFILES = frozenset({f"{_PROFILE}{kind}" for kind in ("exif", "APP1", "icc", "icm")})
_MOST_INFLATED = 1 << 20  # bytes of one text
_PER_INCH = 0.0254  # metres


def read_png_metadata(data: bytes, notes: list[str]) -> Metadata:
    """Read the metadata of a PNG whose chunks have been checked."""
    dpi, xmp = None, b""
    texts: list[Text] = []
    colour: dict[bytes, bytes] = {}  # the first of each name counts
    for name, view in png_chunks(data, checked=True):
        body = bytes(view) if name in _READERS or name in COLOUR_CHUNKS or name == b"pHYs" else b""
        if name in COLOUR_CHUNKS:
            colour.setdefault(name, body)
        elif name == b"pHYs":
            across, down, unit = struct.unpack(">IIB", body) if len(body) == 9 else (0, 0, 0)
            if across and down and unit == 1:  # pixels a metre
                dpi = across * _PER_INCH, down * _PER_INCH
        elif name in _READERS:
            try:
                text = _READERS[name](body)
            except (ValueError, IndexError, zlib.error):
                notes.append("a text in it is damaged or too long and was left out")
                continue
            if text.keyword == _XMP:
                xmp = clean_xmp(text.text.encode("utf-8", "surrogateescape"), notes)
            elif not text.keyword.startswith(_PROFILE):
                texts.append(text)
            elif text.keyword not in _READ_PROFILES:
                notes.append(f"its text {text.keyword!r} is not read and was left out")
    return Metadata(dpi=dpi, xmp=xmp, texts=tuple(texts), png_colour=tuple(colour.items()))


def png_metadata_chunks(metadata: Metadata, exif: bytes, icc: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks (name, body) that keep a photo's metadata; they go before the pixels."""
    for name, body in metadata.png_colour:
        if not (icc and name == b"sRGB"):  # PNG allows only one of the two
            yield name, body
    if icc:
        yield b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc)
    if metadata.dpi is not None:
        yield b"pHYs", struct.pack(">IIB", *(round(side / _PER_INCH) for side in metadata.dpi), 1)
    if exif:
        yield b"eXIf", exif.removeprefix(b"Exif\0\0")
    if metadata.xmp:
        yield b"iTXt", _XMP.encode() + b"\0\0\0\0\0" + metadata.xmp
    for text in metadata.texts:
        yield _write_text(text)


def _write_text(text: Text) -> tuple[bytes, bytes]:
    keyword = text.keyword.encode("latin-1")
    if not (text.language or text.translated):
        try:
            return b"tEXt", keyword + b"\0" + text.text.encode("latin-1")
        except UnicodeEncodeError:
            pass
    words = text.text.encode("utf-8", "surrogateescape")
    try:
        words.decode()
    except UnicodeDecodeError:  # bytes of an unknown encoding
        return b"tEXt", keyword + b"\0" + words
    language, translated = text.language.encode("ascii"), text.translated.encode()
    return b"iTXt", keyword + b"\0\0\0" + language + b"\0" + translated + b"\0" + words


def _read_text(body: bytes) -> Text:
    keyword, _, text = body.partition(b"\0")
    return Text(_keyword(keyword), text.decode("latin-1"))


def _read_compressed(body: bytes) -> Text:
    keyword, _, rest = body.partition(b"\0")
    if rest[0] != 0:
        raise ValueError("an unknown compression")
    return Text(_keyword(keyword), _inflated(rest[1:]).decode("latin-1"))


def _read_international(body: bytes) -> Text:
    keyword, _, rest = body.partition(b"\0")
    compressed, method = rest[0], rest[1]
    language, translated, text = rest[2:].split(b"\0", 2)
    if compressed:
        if method != 0:
            raise ValueError("an unknown compression")
        text = _inflated(text)
    return Text(_keyword(keyword), text.decode(), language.decode("ascii"), translated.decode())


_READERS: dict[bytes, Callable[[bytes], Text]] = {
    b"tEXt": _read_text,
    b"zTXt": _read_compressed,
    b"iTXt": _read_international,
}


def _keyword(keyword: bytes) -> str:
    if not 1 <= len(keyword) <= 79:
        raise ValueError("a keyword has 1 to 79 bytes")
    return keyword.decode("latin-1")


def _inflated(data: bytes) -> bytes:
    inflate = zlib.decompressobj()
    text = inflate.decompress(data, _MOST_INFLATED)
    if not inflate.eof:
        raise ValueError("too long, or cut short")
    return text
