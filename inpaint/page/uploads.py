"""Photos that are opened on the page: uploaded files, and the examples."""

from __future__ import annotations

import html
from pathlib import Path

from inpaint.images import ImageError, Photo, read_photo
from inpaint.page.canvas import canvas_size
from inpaint.page.limits import Limits

EXAMPLES = ("astronaut.png", "coffee.png", "chelsea.png", "motorcycle_left.png", "rocket.jpg")
"""Photos that scikit-image installs with itself."""


def read_upload(path: str | Path, limits: Limits) -> Photo:
    """Read an uploaded photo.

    Raises:
        ImageError: the file is too large, or cannot be read; the message is meant for the visitor.
    """
    path = Path(path)
    if path.stat().st_size > limits.file_bytes:
        raise ImageError(f"the file is larger than {limits.file_bytes / 2**20:.0f} MB; save a smaller copy")
    # As bytes, so that no message names the path: it is one of this machine's cache.
    return read_photo(path.read_bytes(), max_pixels=limits.pixels)


def example_photos() -> list[Path]:
    """Find the example photos; those that this version of scikit-image does not have are left out."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return [folder / name for name in EXAMPLES if (folder / name).is_file()]


def describe(photo: Photo) -> str:
    """Say in a line of Markdown what was opened."""
    height, width = photo.pixels.shape[:2]
    line = f"{width} × {height} · {photo.format}"
    if canvas_size(height, width) != (height, width):
        line += " · shown smaller here, filled at full size"
    return " · ".join([line, *(html.escape(note) for note in photo.notes)])
