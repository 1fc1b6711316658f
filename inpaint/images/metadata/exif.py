"""EXIF of a photo that has been turned upright."""

from __future__ import annotations

from PIL import ExifTags, Image

from ..errors import DECODER_ERRORS

# A TIFF keeps its EXIF among the tags that describe how its own pixels lie in the file. Those would be false
# in any other file, so only the tags that describe the photo are taken over.
_DESCRIPTIVE_TIFF_TAGS = frozenset(
    {
        ExifTags.Base.ImageDescription,
        ExifTags.Base.Make,
        ExifTags.Base.Model,
        ExifTags.Base.Orientation,
        ExifTags.Base.XResolution,
        ExifTags.Base.YResolution,
        ExifTags.Base.ResolutionUnit,
        ExifTags.Base.Software,
        ExifTags.Base.DateTime,
        ExifTags.Base.Artist,
        ExifTags.Base.Copyright,
        ExifTags.IFD.Exif,
        ExifTags.IFD.GPSInfo,
    }
)

_LAYOUT_TAGS = frozenset(
    {
        ExifTags.Base.Orientation,
        ExifTags.Base.XResolution,
        ExifTags.Base.YResolution,
        ExifTags.Base.ResolutionUnit,
    }
)


def read_exif(image: Image.Image, notes: list[str]) -> tuple[int, bytes]:
    """Return how the pixels lie (1 to 8, 1 = upright) and the EXIF block to write later."""
    try:
        if not len(image.getexif()):
            return 1, b""
        # A copy, because Pillow reads its own again when it loads a TIFF.
        exif = Image.Exif()
        exif.load(image.getexif().tobytes())
        orientation = int(exif.get(ExifTags.Base.Orientation, 1))
        if ExifTags.Base.Orientation in exif:
            exif[ExifTags.Base.Orientation] = 1
        if image.format == "TIFF":
            for tag in set(exif) - _DESCRIPTIVE_TIFF_TAGS:
                del exif[tag]
        return orientation, exif.tobytes() if len(exif) else b""
    except DECODER_ERRORS:
        # A photo with broken EXIF is still a photo: its pixels have been decoded.
        notes.append("its EXIF is damaged and was left out")
        return 1, b""


def exif_with_dpi(block: bytes, dpi: tuple[float, float]) -> bytes:
    """Return an EXIF block that holds a resolution, too; its own where it has one."""
    exif = Image.Exif()
    if block:
        exif.load(block)
    if ExifTags.Base.XResolution not in exif:
        exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = dpi
        exif[ExifTags.Base.ResolutionUnit] = 2  # inches
    return exif.tobytes()


def exif_dpi(block: bytes) -> tuple[float, float] | None:
    """Return the resolution that an EXIF block tells."""
    exif = Image.Exif()
    exif.load(block)
    across, down = exif.get(ExifTags.Base.XResolution), exif.get(ExifTags.Base.YResolution)
    unit = {2: 1.0, 3: 2.54}.get(exif.get(ExifTags.Base.ResolutionUnit, 2))
    if across is None or down is None or unit is None:
        return None
    return float(across) * unit, float(down) * unit


def describes_photo(block: bytes) -> bool:
    """Return whether an EXIF block says more than how the pixels lie and their resolution."""
    exif = Image.Exif()
    exif.load(block)
    return bool(set(exif) - _LAYOUT_TAGS)
