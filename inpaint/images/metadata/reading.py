"""Metadata of an open file of any format."""

from __future__ import annotations

import math
from typing import Any

from ..errors import DECODER_ERRORS
from .exif import exif_dpi
from .kept import COMMENT, Metadata, Text
from .png import read_png_metadata
from .tiff import read_kept_tags
from .xmp import clean_xmp

_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_IPTC_RESOURCE = 0x0404  # of Photoshop's resources in a JPEG
_IPTC_TAG, _XMP_TAG = 33723, 700  # of a TIFF
_MOST_DPI = 65_535  # what JPEG can hold; no photo has more


def read_metadata(
    image: Any, data: bytes, format: str, orientation: int, exif: bytes, notes: list[str]
) -> Metadata:
    """Read what a file carries beside its pixels, EXIF and colour profile.

    Args:
        image: the file, opened by Pillow at its first picture.
        data: the file's bytes.
        format: one of `FORMATS`.
        orientation: how its pixels lie, by its EXIF.
        exif: its EXIF block.
        notes: gets a sentence for everything that is left out.
    """
    if format == "PNG":
        found = read_png_metadata(data, notes)
    elif format == "JPEG":
        found = _read_jpeg(image, notes)
    elif format == "TIFF":
        found = _read_tiff(image, orientation, notes)
    elif format == "BMP":
        found = Metadata(dpi=image.info.get("dpi"))
    elif format == "WEBP":
        found = Metadata(xmp=clean_xmp(image.info.get("xmp", b""), notes))
    else:
        found = Metadata(texts=_comments([image.info.get("comment", b"")]))
    dpi = _sane(found.dpi)
    if dpi is None and exif:
        try:
            dpi = _sane(exif_dpi(exif))
        except DECODER_ERRORS:
            dpi = None
    if dpi is not None and orientation >= 5:  # lies on its side
        dpi = dpi[1], dpi[0]
    return Metadata(dpi, found.xmp, found.texts, found.png_colour, found.tiff_tags)


def _read_jpeg(image: Any, notes: list[str]) -> Metadata:
    info = image.info
    # Not `info["dpi"]`, which is 72 where the file does not say.
    unit = {1: 1.0, 2: 2.54}.get(info.get("jfif_unit"))
    dpi = None if unit is None else tuple(density * unit for density in info["jfif_density"])
    if image.format == "MPO" or "mp" in info:
        notes.append("has further pictures behind its first (a preview, a depth or gain map), not read")
    if any(kind == "APP1" and body.startswith(_EXTENDED_XMP) for kind, body in image.applist):
        notes.append("the second part of its XMP was left out")
    if _IPTC_RESOURCE in info.get("photoshop", {}):
        notes.append("its IPTC record was left out")
    comments = [body for kind, body in image.applist if kind == "COM"]
    return Metadata(dpi=dpi, xmp=clean_xmp(info.get("xmp", b""), notes), texts=_comments(comments))


def _read_tiff(image: Any, orientation: int, notes: list[str]) -> Metadata:
    tags = image.tag_v2
    xmp = tags.get(_XMP_TAG, b"")
    if _IPTC_TAG in tags:
        notes.append("its IPTC record was left out")
    return Metadata(
        xmp=clean_xmp(xmp if isinstance(xmp, bytes) else b"", notes),
        tiff_tags=read_kept_tags(tags, orientation, notes),
    )


def _comments(bodies: list[bytes]) -> tuple[Text, ...]:
    return tuple(Text(COMMENT, body.decode("utf-8", "surrogateescape")) for body in bodies if body)


def _sane(dpi: tuple[float, float] | None) -> tuple[float, float] | None:
    if dpi is None or len(dpi) != 2:
        return None
    across, down = float(dpi[0]), float(dpi[1])
    if not all(math.isfinite(side) and 1 <= side <= _MOST_DPI for side in (across, down)):
        return None
    return across, down
