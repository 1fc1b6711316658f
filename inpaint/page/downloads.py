"""Fills as files to download."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from PIL import Image

from inpaint.images import LOSSY_FORMATS, SUFFIXES, ImageError, Photo, encode_photo


def downloads(name: str, photo: Photo) -> list[tuple[str, bytes]]:
    """Encode a filled photo in its own format and, where that is lossy, as PNG too.

    Args:
        name: what the files' names begin with.
        photo: the photo with its fill, see `Photo.filled`.

    Returns:
        Each file's name and bytes. Only the PNG where the photo's format cannot hold the fill.
    """
    files = []
    if photo.format != "PNG":
        suffix = next(suffix for suffix, known in SUFFIXES.items() if known == photo.format)
        with contextlib.suppress(ImageError):
            files.append((f"{name}-filled{suffix}", encode_photo(photo, photo.format)))
    if photo.format in LOSSY_FORMATS or not files:
        files.append((f"{name}-filled.png", encode_photo(photo, "PNG")))
    return files


def png(pixels: np.ndarray) -> bytes:
    """Encode an array that Pillow knows as a PNG, quickly rather than small."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()
