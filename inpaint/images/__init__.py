"""Photos and masks as files: bytes of unknown origin in, upright 8-bit RGB out, and back again.

Files are not trusted. Only the formats of `FORMATS` are tried, the size is checked in the header before any
pixel is decoded, and a file that is cut short or broken is an `ImageError`, never a half-grey photo.
"""

from .encoding import check_can_hold, encode_photo, format_for, write_photo
from .errors import ImageError, LimitError
from .photo import (
    ALPHA_FORMATS,
    FORMATS,
    LOSSY_FORMATS,
    MAX_FILE_BYTES,
    MAX_PIXELS,
    MAX_SQUARE,
    SUFFIXES,
    Photo,
)
from .reading import decode_rgb, read_file, read_mask, read_photo

__all__ = [
    "ALPHA_FORMATS",
    "FORMATS",
    "LOSSY_FORMATS",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "MAX_SQUARE",
    "SUFFIXES",
    "ImageError",
    "LimitError",
    "Photo",
    "check_can_hold",
    "decode_rgb",
    "encode_photo",
    "format_for",
    "read_file",
    "read_mask",
    "read_photo",
    "write_photo",
]
