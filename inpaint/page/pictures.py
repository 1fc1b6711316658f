"""Reading and writing the pictures of a piece of work; what cannot be read is told as the API tells it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inpaint.images import ImageError, Photo, read_mask, read_photo
from inpaint.serving.errors import unreadable


def png(pixels: np.ndarray) -> bytes:
    """Encode an array that Pillow knows as a PNG, quickly rather than small."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def photo_of(path: Path, what: str, max_pixels: int) -> Photo:
    """Read a picture.

    Args:
        path: the file.
        what: what messages call it.
        max_pixels: most pixels that it may have.

    Raises:
        ServiceError: 413 (too large) or 415 (unreadable).
    """
    return _checked(lambda: read_photo(path.read_bytes(), max_pixels=max_pixels), what)


def mask_of(path: Path, max_pixels: int) -> np.ndarray:
    """Read a mask, bool H×W; raises what `photo_of` raises."""
    return _checked(lambda: read_mask(path.read_bytes(), max_pixels=max_pixels), "mask")


def _checked(read: Callable[[], Any], what: str) -> Any:
    try:
        return read()
    except ImageError as error:
        raise unreadable(error, what) from error
