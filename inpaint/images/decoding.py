"""A file's bytes to an upright photo of 8 bits a channel.

Pixels are decoded whole before anything else looks at the file.
"""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import nullcontext

import numpy as np
from PIL import ExifTags, Image, ImageCms

from .beyond_pillow import TURN, check_fax, decode_wide, has_associated_alpha
from .containers import (
    TiffLayout,
    check_bmp,
    check_gif,
    check_jpeg,
    check_png,
    has_known_signature,
    read_tiff_layout,
    with_more_data,
)
from .errors import ImageError, LimitError
from .photo import FORMATS, PROFILE_SPACE, Photo

# What decoders raise for a broken file: Pillow's decoders have no exception class of their own.
DECODER_ERRORS = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError),
    *(struct.error, zlib.error),
)

_BYTES_PER_PIXEL = 8
"""Most that one pixel may take decoded: four channels of 16 bits. The limit of pixels so bounds bytes too."""

_ROWS_COMPARED = 256
"""Rows of two pictures that are compared at a time."""

_COLOUR_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"})
_WIDE_MODES = frozenset({"I;16", "I;16B", "LA", "RGB", "RGBA"})
_GREY_MODES = frozenset({"1", "L", "LA"})
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


def decode(data: bytes, max_pixels: int) -> Photo:
    """Decode a file's bytes to a photo; its first picture where it has several.

    Raises:
        LimitError: it has more pixels, or takes more bytes decoded, than `max_pixels` allow.
        ImageError: it is not one of `FORMATS`, or its container's checks fail.
        Exception: what Pillow and the codecs raise where a file is broken: `DECODER_ERRORS`.
    """
    with _opened(data) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise LimitError(
                f"{width}×{height} is {width * height / 1e6:.1f} megapixels, more than the limit of "
                f"{max_pixels / 1e6:.1f}; make it smaller first",
                "max_pixels",
            )
        # A JPEG with a preview or a depth map behind it calls itself MPO.
        format = "JPEG" if image.format == "MPO" else str(image.format)
        bits, layout = 8, None
        if format == "PNG":
            check_png(data)
            bits = data[24]  # signature 8, chunk length and name 8, width and height 8, then the bit depth
        elif format == "JPEG":
            check_jpeg(data)
        elif format == "GIF":
            check_gif(data)
        elif format == "BMP":
            check_bmp(data)
        elif format == "TIFF":
            layout = _checked_layout(data, image, max_pixels)
            bits = layout.bits
        # CMYK and colours that are multiplied by their alpha are left to Pillow.
        if bits > 8 and image.mode in _WIDE_MODES and not has_associated_alpha(image):
            eight_bit = decode_wide(image, data, bits, layout)
        elif image.mode in _COLOUR_MODES:
            image.load()
            eight_bit = image
            if format == "JPEG":
                _check_last_pixels(image, data)
            elif layout is not None and layout.is_fax:
                check_fax(image, data, layout.orientation)
        else:
            raise ImageError(f"pixels of kind {image.mode!r} are not read; save it as 8-bit or 16-bit RGB")

        notes: list[str] = []
        # To read a TIFF's EXIF or a GIF's second picture, Pillow seeks away from the first picture and cannot
        # go back, so the file is opened a second time. A PNG's EXIF may lie behind its pixels.
        with _opened(data) if format in ("TIFF", "GIF") else nullcontext(image) as described:
            if format != "JPEG" and getattr(described, "is_animated", False):
                notes.append("has several pictures; only the first was read")
            orientation, exif = _read_exif(described, notes)
            icc = described.info.get("icc_profile") or b""
        if eight_bit is image and format == "TIFF":
            orientation = 1  # Pillow turns a TIFF upright while it loads
        if bits > 8:
            notes.append(f"{bits}-bit pixels were read as 8-bit")

        if eight_bit.mode == "CMYK":
            eight_bit = _cmyk_to_rgb(eight_bit, icc, notes)
            icc = b""
        grey = eight_bit.mode in _GREY_MODES
        has_alpha = "transparency" in eight_bit.info or eight_bit.mode in ("LA", "PA", "RGBA", "RGBa")
        # From here on the file's metadata has been read: nothing below may act on it a second time.
        upright = eight_bit.convert("RGBA" if has_alpha else "RGB")
        if orientation in TURN:
            upright = upright.transpose(TURN[orientation])
        channels = np.array(upright)
    if icc and icc[16:20] != PROFILE_SPACE["L" if grey else "RGB"]:
        notes.append("the colour profile does not fit its pixels and was left out")
        icc = b""
    return Photo(
        pixels=np.ascontiguousarray(channels[..., :3]),
        alpha=np.ascontiguousarray(channels[..., 3]) if has_alpha else None,
        grey=grey,
        exif=exif,
        icc=icc,
        format=format,
        notes=notes,
    )


def _opened(data: bytes) -> Image.Image:
    """Open a file by its header; `Image.UnidentifiedImageError` is told as what it is."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        damaged = ", or a damaged one" if has_known_signature(data) else ""
        known = ", ".join(FORMATS)
        raise ImageError(
            f"not an image this program reads{damaged}; save it as one of {known}, 8 or 16 bits a channel"
        ) from error


def _checked_layout(data: bytes, image: Image.Image, max_pixels: int) -> TiffLayout:
    layout = read_tiff_layout(data)
    if sorted((layout.width, layout.height)) != sorted(image.size):
        raise ImageError("its tags contradict each other about its size; save it anew with another program")
    if layout.nbytes > max_pixels * _BYTES_PER_PIXEL:
        raise LimitError(
            f"its {layout.samples} channels take {layout.nbytes / 1e6:.1f} MB, more than the limit of "
            f"{max_pixels * _BYTES_PER_PIXEL / 1e6:.1f}; make it smaller first",
            "max_pixels",
        )
    return layout


def _check_last_pixels(image: Image.Image, data: bytes) -> None:
    """Raise `ImageError` for a JPEG that was cut and given an end: its rest is grey, without an error.

    Whether the last pixels are that grey, or this is a photo with a grey corner, more coded data tell.
    """
    width, height = image.size
    box = (max(width - 8, 0), max(height - 8, 0), width, height)
    if image.mode not in ("L", "RGB") or (np.asarray(image.crop(box)) != 128).any():
        return
    longer = with_more_data(data)
    if longer is None:
        return
    with _opened(longer) as other:
        other.load()
        for top in range(0, height, _ROWS_COMPARED):  # in strips, to save memory
            rows = (0, top, width, min(top + _ROWS_COMPARED, height))
            if other.crop(rows).tobytes() != image.crop(rows).tobytes():
                raise ImageError(
                    "the file is damaged or cut short: its last rows are missing; get a whole copy"
                )


def _read_exif(image: Image.Image, notes: list[str]) -> tuple[int, bytes]:
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


def _cmyk_to_rgb(image: Image.Image, icc: bytes, notes: list[str]) -> Image.Image:
    """Convert inks to sRGB, with the file's own profile where it has a usable one."""
    if icc:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(
                image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (OSError, ImageCms.PyCMSError):
            converted = None
        if converted is not None:
            notes.append("CMYK was converted to sRGB with the file's colour profile")
            return converted
    notes.append("CMYK was converted to RGB without a colour profile, so colours are approximate")
    return image.convert("RGB")
