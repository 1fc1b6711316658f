"""A photo to a file's bytes: a writer for each format."""

from .pillow import write_bmp, write_gif, write_jpeg, write_webp
from .png import write_png
from .tiff import write_tiff

WRITERS = {
    "JPEG": write_jpeg,
    "PNG": write_png,
    "WEBP": write_webp,
    "BMP": write_bmp,
    "TIFF": write_tiff,
    "GIF": write_gif,
}
"""Format -> its writer, which takes a `Photo`."""

__all__ = ["WRITERS"]
