"""Fills as files to download."""

from __future__ import annotations

import contextlib
import dataclasses
import io

import numpy as np
from PIL import Image

from inpaint.images import LOSSY_FORMATS, SUFFIXES, ImageError, Photo, encode_photo


def downloads(name: str, photo: Photo, fill: np.ndarray) -> list[tuple[str, bytes]]:
    """Encode a fill in the photo's own format and, where that is lossy, as PNG too.

    Args:
        name: what the files' names begin with.
        photo: gives the files their EXIF and colour profile.
        fill: uint8 H×W×3.

    Returns:
        Each file's name and bytes. Only the PNG where the photo's format cannot hold the fill.
    """
    result = dataclasses.replace(photo, pixels=fill)
    files = []
    if photo.format != "PNG":
        suffix = next(suffix for suffix, known in SUFFIXES.items() if known == photo.format)
        with contextlib.suppress(ImageError):
            files.append((f"{name}-filled{suffix}", encode_photo(result, photo.format)))
    if photo.format in LOSSY_FORMATS or not files:
        files.append((f"{name}-filled.png", encode_photo(result, "PNG")))
    return files


def png(pixels: np.ndarray) -> bytes:
    """Encode an array that Pillow knows as a PNG, quickly rather than small."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()
