"""Tags of a TIFF that are kept from TIFF to TIFF."""

from __future__ import annotations

from typing import Any

from ..errors import DECODER_ERRORS
from .kept import TiffTag

# Where on Earth each pixel lies: true as long as no pixel moves.
_PLACE_TAGS = frozenset({33550, 33922, 34264, 34735, 34736, 34737, 50844})
_OTHER_TAGS = {
    269: "DocumentName",
    285: "PageName",
    316: "HostComputer",
    318: "WhitePoint",
    319: "PrimaryChromaticities",
    42112: "GDAL_METADATA",
    42113: "GDAL_NODATA",
}
_ASCII = 2


def read_kept_tags(tags: Any, orientation: int, notes: list[str]) -> tuple[TiffTag, ...]:
    """Read the tags to keep of a TIFF's first picture (Pillow's `tag_v2`)."""
    kept, damaged, turned = [], [], False
    for code in sorted(_PLACE_TAGS | set(_OTHER_TAGS)):
        if code not in tags:
            continue
        if code in _PLACE_TAGS and orientation != 1:
            turned = True
            continue
        try:
            values = tags[code]
        except DECODER_ERRORS:
            damaged.append(str(code))
            continue
        kind = tags.tagtype[code]
        # Pillow reads text as Latin-1 and writes it as ASCII; as bytes it stays what it is.
        kept.append(TiffTag(code, kind, values.encode("latin-1") if kind == _ASCII else values))
    if turned:
        notes.append("its georeference was left out, because the pixels were turned upright")
    if damaged:
        notes.append(f"its TIFF tags {', '.join(damaged)} are damaged and were left out")
    return tuple(kept)


def describe_tags(tags: tuple[TiffTag, ...]) -> list[str]:
    """Return names for tags, for a note about their loss."""
    names = [_OTHER_TAGS[tag.code] for tag in tags if tag.code in _OTHER_TAGS]
    place = ["the georeference"] if any(tag.code in _PLACE_TAGS for tag in tags) else []
    return [*place, *([f"TIFF tags ({', '.join(names)})"] if names else [])]
