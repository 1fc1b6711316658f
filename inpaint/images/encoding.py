"""Photos to files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from inpaint.files import write_atomically

from .errors import ImageError
from .photo import ALPHA_FORMATS, FORMATS, PROFILE_SPACE, SUFFIXES, Photo

_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "PNG": {"compress_level": 4},
    # `exact` keeps the colours under transparent pixels, which are known pixels like any other.
    "WEBP": {"lossless": True, "exact": True},
    "BMP": {},
    # Not compressed: Pillow's compressed TIFFs cannot hold the camera's and GPS parts of EXIF.
    "TIFF": {},
    "GIF": {},
}
_MAX_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "GIF": 65_535}


def encode_photo(photo: Photo, format: str) -> bytes:
    """Encode a photo as a file of `format` (one of `FORMATS`).

    PNG, WebP, TIFF and BMP are lossless, JPEG has quality 95 without chroma subsampling, GIF has 256 colours.
    Alpha, EXIF and the colour profile are kept where the format can hold them. Raises `ImageError`.
    """
    if format not in FORMATS:
        raise ImageError(f"cannot write {format!r}; the formats are {', '.join(FORMATS)}")
    image = Image.fromarray(photo.pixels)
    if photo.grey:
        image = image.convert("L")
    if photo.alpha is not None and format in ALPHA_FORMATS:
        image.putalpha(Image.fromarray(photo.alpha))
    options = dict(_SAVE_OPTIONS[format])
    if photo.exif and format not in ("BMP", "GIF"):
        options["exif"] = photo.exif
    # WebP has no grey pixels, so a grey profile does not fit there.
    mode = "RGB" if format == "WEBP" else image.mode
    if photo.icc and photo.icc[16:20] == PROFILE_SPACE[mode] and format not in ("BMP", "GIF"):
        options["icc_profile"] = photo.icc
    stream = io.BytesIO()
    try:
        image.save(stream, format=format, **options)
    except (OSError, ValueError) as error:
        # JPEG's and WebP's largest side, JPEG's 64 kB of EXIF.
        raise ImageError(f"{format} cannot hold this photo ({error}); write a PNG") from error
    return stream.getvalue()


def write_photo(path: Path | str, photo: Photo) -> None:
    """Write a photo in the format its path's suffix names, all or nothing (see `write_atomically`).

    Raises `ImageError` for an unknown suffix or a photo the format cannot hold, and OSError where the
    disk says no.
    """
    path = Path(path)
    try:
        data = encode_photo(photo, format_for(path))
    except ImageError as error:
        raise error.named(str(path)) from None
    write_atomically(path, data)


def check_can_hold(format: str, width: int, height: int) -> None:
    """Raise `ImageError` where a format of `FORMATS` has no pictures of that size."""
    most = _MAX_SIDE.get(format)
    if most is not None and max(width, height) > most:
        raise ImageError(f"{format} holds at most {most} pixels a side, not {width}×{height}; write a PNG")


def format_for(path: Path) -> str:
    """Name the format that a path's suffix stands for. Raises `ImageError` for an unknown suffix."""
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        known = ", ".join(SUFFIXES)
        raise ImageError(f"unknown suffix {path.suffix!r}; name the file with one of {known}") from None
