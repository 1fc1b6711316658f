"""What image files say of themselves, checked before a decoder believes it; a file for each format.

Decoders fill in what a file lacks without an error: rows that are missing from a PNG or a TIFF come out
black. Of two tags that contradict each other, one decoder believes the first and another the second. So
whole, sane files are told from others here.
"""

from .bmp import check_bmp
from .gif import check_gif
from .jpeg import MAX_SCANS, check_jpeg, with_more_data
from .png import check_png
from .tiff import TiffLayout, read_tiff_layout

__all__ = [
    "MAX_SCANS",
    "TiffLayout",
    "check_bmp",
    "check_gif",
    "check_jpeg",
    "check_png",
    "has_known_signature",
    "read_tiff_layout",
    "with_more_data",
]

_SIGNATURES = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
)


def has_known_signature(data: bytes) -> bool:
    """Return whether these bytes begin as one of the formats that are read, whatever follows."""
    return data.startswith(_SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
