"""What files carry beside their pixels: read, kept, and written again where a format can hold it."""

from .exif import describes_photo, exif_with_dpi, read_exif
from .kept import COMMENT, Metadata, Text, TiffTag
from .png import png_metadata_chunks
from .reading import read_metadata
from .tiff import describe_tags

__all__ = [
    "COMMENT",
    "Metadata",
    "Text",
    "TiffTag",
    "describe_tags",
    "describes_photo",
    "exif_with_dpi",
    "png_metadata_chunks",
    "read_exif",
    "read_metadata",
]
