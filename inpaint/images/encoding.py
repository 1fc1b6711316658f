"""Photos to files."""

from __future__ import annotations

from pathlib import Path

from inpaint.files import write_atomically

from .errors import ImageError
from .photo import FORMATS, SUFFIXES, Photo
from .writers import WRITERS

_MAX_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "GIF": 65_535}


def encode_photo(photo: Photo, format: str) -> bytes:
    """Encode a photo as a file of `format` (one of `FORMATS`).

    PNG, WebP, TIFF and BMP are lossless, PNG and TIFF with 16 bits a channel too; JPEG has quality 95 without
    chroma subsampling, GIF has 256 colours. What else a photo carries is kept where the format can hold it;
    `losses` names what it cannot hold.

    Raises:
        ImageError: there is no such format, or it cannot hold the photo at all.
    """
    if format not in FORMATS:
        raise ImageError(f"cannot write {format!r}; the formats are {', '.join(FORMATS)}")
    try:
        return WRITERS[format](photo)
    except (OSError, ValueError) as error:
        # JPEG's and WebP's largest side, JPEG's 64 kB of EXIF.
        raise ImageError(f"{format} cannot hold this photo ({error}); write a PNG") from error


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
