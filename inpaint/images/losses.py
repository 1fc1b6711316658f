"""What a photo loses in a file of some format."""

from __future__ import annotations

from .metadata import COMMENT, Metadata, describe_tags, describes_photo
from .photo import ALPHA_FORMATS, PROFILE_SPACE, Photo

WIDE_FORMATS = frozenset({"PNG", "TIFF"})
"""Formats that are written with 16 bits a channel."""

DESCRIBED_FORMATS = frozenset({"JPEG", "PNG", "WEBP", "TIFF"})
"""Formats that are written with EXIF, a colour profile and XMP."""

LARGEST_JPEG_PART = 65_533 - len(b"http://ns.adobe.com/xap/1.0/\0")
"""Most bytes of XMP, or of a comment, in a JPEG."""

_SRGB_GAMMA = (45_455).to_bytes(4, "big")
_SRGB_CHROMATICITIES = b"".join(
    value.to_bytes(4, "big") for value in (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
)


def losses(photo: Photo, format: str) -> list[str]:
    """Return what a file of `format` cannot hold of a photo, as sentences for people.

    >>> import numpy as np
    >>> losses(Photo(np.zeros((1, 1, 3), np.uint8), alpha=np.zeros((1, 1), np.uint8)), "JPEG")
    ['left out, because JPEG cannot hold it: transparency']
    """
    lost = [*_lost_pixels(photo, format), *_lost_descriptions(photo, format)]
    sentences = [f"left out, because {format} cannot hold it: {', '.join(lost)}"] if lost else []
    if photo.wide is not None and format not in WIDE_FORMATS:
        sentences.insert(0, f"16 bits a channel were rounded to the 8 of {format}")
    return sentences


def fitting_profile(photo: Photo, format: str) -> bytes:
    """Return the colour profile that goes into a file of `format`; empty where there is none."""
    # WebP has no grey pixels, so a grey profile does not fit there.
    space = PROFILE_SPACE["L" if photo.grey and format != "WEBP" else "RGB"]
    return photo.icc if format in DESCRIBED_FORMATS and photo.icc[16:20] == space else b""


def fitting_xmp(photo: Photo, format: str) -> bytes:
    """Return the XMP that goes into a file of `format`; empty where there is none."""
    xmp = photo.metadata.xmp
    is_too_long = format == "JPEG" and len(xmp) > LARGEST_JPEG_PART
    return b"" if format not in DESCRIBED_FORMATS or is_too_long else xmp


def fitting_comments(photo: Photo, format: str) -> list[bytes]:
    """Return the texts that go into a file of `format` as its comments."""
    if format not in ("JPEG", "GIF"):
        return []
    comments = [text.text for text in photo.metadata.texts if text.keyword == COMMENT]
    bodies = [comment.encode("utf-8", "surrogateescape") for comment in comments]
    return [body for body in bodies if len(body) <= LARGEST_JPEG_PART]


def _lost_pixels(photo: Photo, format: str) -> list[str]:
    lost = []
    if photo.alpha is not None and format not in ALPHA_FORMATS:
        lost.append("transparency")
    if photo.icc and not fitting_profile(photo, format):
        lost.append("the colour profile")
    if format != "PNG" and not photo.icc and not _is_srgb(photo.metadata):
        names = ", ".join(name.decode() for name, _ in photo.metadata.png_colour)
        lost.append(f"PNG's meaning of the colours ({names})")
    return lost


def _lost_descriptions(photo: Photo, format: str) -> list[str]:
    metadata, lost = photo.metadata, []
    if format not in DESCRIBED_FORMATS and photo.exif and describes_photo(photo.exif):
        lost.append("EXIF")
    if metadata.xmp and not fitting_xmp(photo, format):
        lost.append("XMP")
    if metadata.dpi is not None and format == "GIF":
        lost.append(f"the resolution of {metadata.dpi[0]:.0f} dpi")
    if format != "TIFF":
        lost += describe_tags(metadata.tiff_tags)
    if format != "PNG":
        kept = len(fitting_comments(photo, format))
        texts = [text.keyword for text in metadata.texts]
        if kept == texts.count(COMMENT):
            texts = [keyword for keyword in texts if keyword != COMMENT or not kept]
        if texts:
            lost.append(f"texts ({', '.join(dict.fromkeys(texts))})")
    return lost


def _is_srgb(metadata: Metadata) -> bool:
    """Whether what a PNG says of its colours is what readers take for granted anyway."""
    chunks = dict(metadata.png_colour)
    if b"cICP" in chunks:
        return False
    return b"sRGB" in chunks or (
        chunks.get(b"gAMA", _SRGB_GAMMA) == _SRGB_GAMMA
        and chunks.get(b"cHRM", _SRGB_CHROMATICITIES) == _SRGB_CHROMATICITIES
    )
