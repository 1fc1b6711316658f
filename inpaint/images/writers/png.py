"""PNG: the pixels by an encoder, the chunks around them by hand, because Pillow has no 16-bit colours."""

from __future__ import annotations

import io
import struct
import zlib

from ..losses import fitting_profile
from ..metadata import png_metadata_chunks
from ..photo import Photo
from .pixels import as_image, as_wide

_COMPRESSION = 4
_HEADER = 33  # bytes of the signature and the first chunk


def write_png(photo: Photo) -> bytes:
    """Encode a photo as PNG, of 16 bits a channel where the photo has them."""
    plain = _encode_pixels(photo)
    chunks = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in png_metadata_chunks(photo.metadata, photo.exif, fitting_profile(photo, "PNG"))
    )
    return b"".join([memoryview(plain)[:_HEADER], chunks, memoryview(plain)[_HEADER:]])


def _encode_pixels(photo: Photo) -> bytes:
    wide = as_wide(photo)
    if wide is not None:
        # Only the few photos that need this library pay for its import.
        import imagecodecs

        return bytes(imagecodecs.png_encode(wide, level=_COMPRESSION))
    stream = io.BytesIO()
    as_image(photo, True).save(stream, "PNG", compress_level=_COMPRESSION)
    return stream.getvalue()
