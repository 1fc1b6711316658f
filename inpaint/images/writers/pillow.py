"""Writers of the formats that Pillow writes whole."""

from __future__ import annotations

import io
import struct
from typing import Any

from PIL import Image

from ..losses import fitting_comments, fitting_profile, fitting_xmp
from ..metadata import exif_with_dpi
from ..photo import Photo
from .pixels import as_image

_JPEG_COMMENT = b"\xff\xfe"


def write_jpeg(photo: Photo) -> bytes:
    """Encode a photo as JPEG of quality 95 without chroma subsampling."""
    comments = b"".join(
        _JPEG_COMMENT + struct.pack(">H", len(body) + 2) + body for body in fitting_comments(photo, "JPEG")
    )
    options: dict[str, Any] = {"quality": 95, "subsampling": "4:4:4", "exif": photo.exif, "extra": comments}
    if photo.metadata.dpi is not None:
        options["dpi"] = photo.metadata.dpi
    return _saved(as_image(photo, False), "JPEG", **options, **_descriptions(photo, "JPEG"))


def write_webp(photo: Photo) -> bytes:
    """Encode a photo as lossless WebP."""
    exif, dpi = photo.exif, photo.metadata.dpi
    if dpi is not None:  # WebP has no other place for it
        exif = exif_with_dpi(exif, dpi)
    # `exact` keeps the colours under transparent pixels, which are known pixels like any other.
    options = {"lossless": True, "exact": True, "exif": exif}
    return _saved(as_image(photo, True), "WEBP", **options, **_descriptions(photo, "WEBP"))


def write_bmp(photo: Photo) -> bytes:
    """Encode a photo as BMP."""
    return _saved(as_image(photo, False), "BMP", dpi=photo.metadata.dpi or (0, 0))


def write_gif(photo: Photo) -> bytes:
    """Encode a photo as GIF of 256 colours."""
    comment = b"\n".join(fitting_comments(photo, "GIF"))
    return _saved(as_image(photo, True), "GIF", **({"comment": comment} if comment else {}))


def _descriptions(photo: Photo, format: str) -> dict[str, bytes]:
    options = {"icc_profile": fitting_profile(photo, format), "xmp": fitting_xmp(photo, format)}
    return {name: value for name, value in options.items() if value}


def _saved(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()
