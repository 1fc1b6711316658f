"""Photos and masks as files: bytes of unknown origin in, upright 8-bit RGB out, and back again.

Files are not trusted. Only the formats of :data:`FORMATS` are tried, the size is checked in the header
before any pixel is decoded, and a file that is cut short or broken is an :class:`ImageError`, never a
half-grey photo. Pixels are decoded whole before anything else looks at the file.
"""

from __future__ import annotations

import errno
import io
import math
import os
import struct
import tempfile
import zlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

from inpaint.containers import (
    ImageError,
    TiffLayout,
    check_bmp,
    check_gif,
    check_jpeg,
    check_png,
    has_known_head,
    read_tiff_layout,
    with_more_data,
)
from inpaint.files import NotRegularError, lock, open_regular, partial_path

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""What is read and written; everything else Pillow knows (FITS, EPS, ...) is left out on purpose."""

SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".gif": "GIF",
}
"""File suffix (lower case) -> format."""

LOSSY_FORMATS = frozenset({"JPEG", "GIF"})
"""Formats whose files do not give back every pixel exactly as it was written."""

ALPHA_FORMATS = frozenset({"PNG", "WEBP", "TIFF", "GIF"})
"""Formats that are written with a photo's alpha channel."""

MAX_PIXELS = 50_000_000
"""Largest width × height that is decoded unless the caller says otherwise. Pillow's own limit of
178 956 970 pixels stays above any value given here."""

MAX_FILE_BYTES = 512_000_000
"""Largest file that is read unless the caller says otherwise: more than `MAX_PIXELS` take uncompressed."""

MAX_SQUARE = math.isqrt(MAX_PIXELS)
"""Side of the largest square that photos are cut to: it has the pixels of the largest photo."""

_BYTES_PER_PIXEL = 8
"""Most that one pixel may take decoded: four channels of 16 bits. The limit of pixels so bounds bytes too."""

_ROWS_COMPARED = 256
"""Rows of two pictures that are compared at a time."""

_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "PNG": {"compress_level": 4},
    # `exact` keeps the colours under transparent pixels, which are known pixels like any other.
    "WEBP": {"lossless": True, "exact": True},
    "BMP": {},
    # Not compressed: Pillow's compressed TIFFs cannot hold the camera's and GPS parts of EXIF.
    "TIFF": {},
    "GIF": {},
}

_MAX_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "GIF": 65_535}

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_COLOUR_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"})
_WIDE_MODES = frozenset({"I;16", "I;16B", "LA", "RGB", "RGBA"})
_GREY_MODES = frozenset({"1", "L", "LA"})
_PROFILE_SPACE = {"L": b"GRAY", "LA": b"GRAY", "RGB": b"RGB ", "RGBA": b"RGB "}

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


# What decoders raise where a file is broken; Pillow's have no error of their own.
_DECODER_ERRORS = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError),
    *(struct.error, zlib.error),
)


class LimitError(ImageError):
    """A file that is larger than it may be.

    Attributes:
        reason: what is too large, and the limit.
        limit: the argument that sets the limit, `max_pixels` or `max_file_bytes`; doors with other words for
            it put theirs in its place by :meth:`naming`.
    """

    def __init__(self, reason: str, limit: str) -> None:
        super().__init__(f"{reason}; make it smaller first, or raise {limit}")
        self.reason, self.limit = reason, limit

    def naming(self, words: Mapping[str, str] | None = None) -> str:
        """Return the message with this door's words for its limits; without any, nothing is to be raised."""
        return f"{self.reason}; make it smaller first" + (f", or raise {words[self.limit]}" if words else "")


@dataclass
class Photo:
    """One photo with everything of its file that is worth keeping.

    Attributes:
        pixels: uint8 H×W×3, RGB, upright, C-contiguous.
        alpha: uint8 H×W, or None where the file has none.
        grey: the file has no colours; it is written as a grey file again.
        exif: EXIF block with the orientation reset, without the thumbnail (it would still show what was
            painted over); empty where the file has none.
        icc: colour profile that fits `pixels`; empty where the file has none.
        format: one of :data:`FORMATS`.
        notes: what was changed in reading, as sentences for people.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    exif: bytes = b""
    icc: bytes = b""
    format: str = "PNG"
    notes: list[str] = field(default_factory=list)


def decode_rgb(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image file's bytes to upright uint8 H×W×3 RGB, C-contiguous.

    Alpha is left out. Raises :class:`ImageError` with the reason for anything but a whole, sane image.
    """
    return read_photo(data, max_pixels=max_pixels).pixels


def read_photo(
    source: Path | str | bytes, *, max_pixels: int = MAX_PIXELS, max_file_bytes: int = MAX_FILE_BYTES
) -> Photo:
    """Read a photo from a file or from a file's bytes.

    Grey, palette, 1-bit and CMYK files come out as RGB, 16-bit ones as 8-bit; `Photo.notes` says what was
    lost. Of an animation or a file of several pages the first picture is read. Raises :class:`ImageError`,
    and of its kinds :class:`LimitError` where width × height is above `max_pixels`, where decoding takes more
    than 8 bytes for each of these, or where the file (not bytes, which are in memory already) is larger than
    `max_file_bytes`.
    """
    name = "image" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else read_file(source, max_bytes=max_file_bytes)
        return _decode(data, max_pixels)
    except LimitError as error:
        raise LimitError(f"{name}: {error.reason}", error.limit) from None
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: too many pixels; make it smaller first ({error})") from None
    except MemoryError as error:
        raise ImageError(f"{name}: there is not memory enough to read it; make it smaller first") from error
    except _DECODER_ERRORS as error:
        raise ImageError(f"{name}: the file is damaged or cut short; get a whole copy ({error})") from error


def read_file(path: Path | str, *, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return a file's bytes, all of them.

    Raises :class:`ImageError`, whose message does not name the file, for what is missing, cannot be read or
    is no regular file, and :class:`LimitError` for more than `max_bytes`, of which then none are read.
    """
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            # One more: it may be growing.
            data = stream.read(max_bytes + 1) if size <= max_bytes else b""
    except FileNotFoundError:
        raise ImageError("there is no such file") from None
    except NotRegularError as error:
        raise ImageError(str(error)) from None
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})") from error
    size = max(size, len(data))
    if size > max_bytes:
        raise LimitError(
            f"the file has {size / 1e6:.1f} MB, more than the limit of {max_bytes / 1e6:.1f}",
            "max_file_bytes",
        )
    return data


def read_mask(
    source: Path | str | bytes, *, max_pixels: int = MAX_PIXELS, max_file_bytes: int = MAX_FILE_BYTES
) -> np.ndarray:
    """Read a mask: bool H×W, True (hole) where the luminance is above 127.

    A mask is read as a photo is: turned upright where its file says so, alpha left out. Raises what
    :func:`read_photo` does.
    """
    photo = read_photo(source, max_pixels=max_pixels, max_file_bytes=max_file_bytes)
    return np.asarray(Image.fromarray(photo.pixels).convert("L")) > 127


def encode_photo(photo: Photo, format: str) -> bytes:
    """Encode a photo as a file of `format` (one of :data:`FORMATS`).

    PNG, WebP, TIFF and BMP are lossless, JPEG has quality 95 without chroma subsampling, GIF has 256 colours.
    Alpha, EXIF and the colour profile are kept where the format can hold them. Raises :class:`ImageError`.
    """
    if format not in FORMATS:
        raise ImageError(f"cannot write {format!r}; the formats are {', '.join(FORMATS)}")
    image = Image.fromarray(photo.pixels)
    if photo.grey:
        image = image.convert("L")
    if photo.alpha is not None and format in ALPHA_FORMATS:
        image.putalpha(Image.fromarray(photo.alpha))
    options = dict(_SAVE_OPTIONS[format])
    if photo.exif and format not in ("BMP", "GIF"):
        options["exif"] = photo.exif
    # WebP has no grey pixels, so a grey profile does not fit there.
    mode = "RGB" if format == "WEBP" else image.mode
    if photo.icc and photo.icc[16:20] == _PROFILE_SPACE[mode] and format not in ("BMP", "GIF"):
        options["icc_profile"] = photo.icc
    stream = io.BytesIO()
    try:
        image.save(stream, format=format, **options)
    except (OSError, ValueError) as error:
        # JPEG's and WebP's largest side, JPEG's 64 kB of EXIF.
        raise ImageError(f"{format} cannot hold this photo ({error}); write a PNG") from error
    return stream.getvalue()


def write_photo(path: Path | str, photo: Photo) -> None:
    """Write a photo in the format its path's suffix names, all or nothing (see :func:`write_atomically`).

    Raises :class:`ImageError` for an unknown suffix or a photo the format cannot hold, and OSError where the
    disk says no.
    """
    path = Path(path)
    try:
        data = encode_photo(photo, format_for(path))
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    write_atomically(path, data)


def check_can_hold(format: str, width: int, height: int) -> None:
    """Raise :class:`ImageError` where a format of :data:`FORMATS` has no pictures of that size."""
    most = _MAX_SIDE.get(format)
    if most is not None and max(width, height) > most:
        raise ImageError(f"{format} holds at most {most} pixels a side, not {width}×{height}; write a PNG")


def format_for(path: Path) -> str:
    """Name the format that a path's suffix stands for. Raises :class:`ImageError` for an unknown suffix."""
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        known = ", ".join(SUFFIXES)
        raise ImageError(f"unknown suffix {path.suffix!r}; name the file with one of {known}") from None


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that `path` holds either what it held before or all of `data`, whatever happens."""
    partial = partial_path(path)
    try:
        with partial.open("xb") as stream:
            lock(stream)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def prepare_folder(folder: Path) -> None:
    """Make a folder and try to write there, before work whose results would be lost to it; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"can this be written?")


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk: a renamed file can be lost in a power cut until then."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # Windows opens no folders, and a folder may be one that can be written and not listed
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)


def _decode(data: bytes, max_pixels: int) -> Photo:
    with _opened(data) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise LimitError(
                f"{width}×{height} is {width * height / 1e6:.1f} megapixels, more than the limit of "
                f"{max_pixels / 1e6:.1f}",
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
        # Pillow knows better what to do with inks and with colours that are multiplied by their alpha.
        if bits > 8 and image.mode in _WIDE_MODES and not _has_associated_alpha(image):
            eight_bit = _decode_wide(image, data, bits, layout)
        elif image.mode in _COLOUR_MODES:
            image.load()
            eight_bit = image
            if format == "JPEG":
                _check_last_pixels(image, data)
            elif layout is not None and layout.is_fax:
                _check_fax(image, data, layout.orientation)
        else:
            raise ImageError(f"pixels of kind {image.mode!r} are not read; save it as 8-bit or 16-bit RGB")

        notes: list[str] = []
        # A TIFF's EXIF and a GIF's second picture lie elsewhere in the file, where reading the first one has
        # no way back from; a PNG's EXIF may lie behind its pixels.
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
        if orientation in _TURN:
            upright = upright.transpose(_TURN[orientation])
        channels = np.array(upright)
    if icc and icc[16:20] != _PROFILE_SPACE["L" if grey else "RGB"]:
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
        reason = "not an image this program reads" + (", or a damaged one" if has_known_head(data) else "")
        known = ", ".join(FORMATS)
        raise ImageError(f"{reason}; save it as one of {known}, 8 or 16 bits a channel") from error


def _checked_layout(data: bytes, image: Image.Image, max_pixels: int) -> TiffLayout:
    layout = read_tiff_layout(data)
    if sorted((layout.width, layout.height)) != sorted(image.size):
        raise ImageError("its tags contradict each other about its size; save it anew with another program")
    if layout.nbytes > max_pixels * _BYTES_PER_PIXEL:
        raise LimitError(
            f"its {layout.samples} channels take {layout.nbytes / 1e6:.1f} MB, more than the limit of "
            f"{max_pixels * _BYTES_PER_PIXEL / 1e6:.1f}",
            "max_pixels",
        )
    return layout


def _check_last_pixels(image: Image.Image, data: bytes) -> None:
    """Raise :class:`ImageError` for a JPEG that was cut and given an end: its rest is grey, without an error.

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
        for top in range(0, height, _ROWS_COMPARED):  # both as bytes at once would take as much once more
            rows = (0, top, width, min(top + _ROWS_COMPARED, height))
            if other.crop(rows).tobytes() != image.crop(rows).tobytes():
                raise ImageError(
                    "the file is damaged or cut short: its last rows are missing; get a whole copy"
                )


def _check_fax(image: Image.Image, data: bytes, orientation: int) -> None:
    """Raise :class:`ImageError` where another decoder sees other pixels in a fax-coded TIFF.

    The coding has no checksum, and what Pillow decodes with goes on after an error with rows it makes up.
    """
    import tifffile

    page = tifffile.TiffFile(io.BytesIO(data)).pages.first
    try:
        other = Image.fromarray(page.asarray(maxworkers=1).astype(np.uint8))
    except RuntimeError as error:  # the errors of imagecodecs' decoders are of this kind
        raise ImageError(f"the file is damaged or cut short; get a whole copy ({error})") from error
    if orientation in _TURN:
        other = other.transpose(_TURN[orientation])
    differ = np.asarray(other).astype(bool) != np.asarray(image.convert("L")).astype(bool)
    if differ.any() and not differ.all():  # one of them may call white what the other calls black
        raise ImageError(
            "the file is damaged: its fax coding has errors; get a whole copy, or save it as PNG"
        )


def _read_exif(image: Image.Image, notes: list[str]) -> tuple[int, bytes]:
    """Return how the pixels lie (1 to 8, 1 = upright) and the EXIF block to write later."""
    try:
        if not len(image.getexif()):
            return 1, b""
        # A copy: Pillow looks into its own once more when it loads a TIFF.
        exif = Image.Exif()
        exif.load(image.getexif().tobytes())
        orientation = int(exif.get(ExifTags.Base.Orientation, 1))
        if ExifTags.Base.Orientation in exif:
            exif[ExifTags.Base.Orientation] = 1
        if image.format == "TIFF":
            for tag in set(exif) - _DESCRIPTIVE_TIFF_TAGS:
                del exif[tag]
        return orientation, exif.tobytes() if len(exif) else b""
    except _DECODER_ERRORS:
        # A photo with broken EXIF is still a photo: its pixels have been decoded.
        notes.append("its EXIF is damaged and was left out")
        return 1, b""


def _has_associated_alpha(image: Image.Image) -> bool:
    return image.format == "TIFF" and 1 in image.tag_v2.get(338, ())  # type: ignore[attr-defined]


def _decode_wide(image: Image.Image, data: bytes, bits: int, layout: TiffLayout | None) -> Image.Image:
    """Decode more than 8 bits a channel (PNG, or TIFF of that layout) to an 8-bit picture, as the file lies.

    Pillow has no mode for 16-bit colours and drops their low byte; here each value is rounded.
    """
    # Only the few files that need these libraries pay for their import.
    import imagecodecs
    import tifffile

    peak = (1 << bits) - 1
    try:
        if layout is None:
            values: Any = imagecodecs.png_decode(data)
        else:
            page = tifffile.TiffFile(io.BytesIO(data)).pages.first
            if math.prod(page.shaped) != layout.values:  # some makers' own tags change it
                raise ImageError("its tags contradict each other about its size")
            values = page.asarray(maxworkers=1)
            if values.ndim == 3 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
                values = np.moveaxis(values, 0, -1)
            if values.shape[:2] != (layout.height, layout.width):
                raise ImageError("its tags contradict each other about its size")
            if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
                np.subtract(peak, values, out=values)
    except RuntimeError as error:  # the errors of imagecodecs' decoders are of this kind
        raise ImageError(f"the file is damaged or cut short; get a whole copy ({error})") from error
    if values.ndim == 2:
        values = values[..., None]
    values = values[..., : len(image.getbands())]  # a fourth channel may be no alpha
    table = ((np.arange(peak + 1) * 255 + peak // 2) // peak).astype(np.uint8)
    eight_bit = np.empty(values.shape, np.uint8)
    for row in range(len(values)):  # the whole picture at once would be looked up by numbers of 64 bits
        eight_bit[row] = table[values[row]]
    transparent = image.info.get("transparency")  # in PNG without alpha, a value that stands for transparency
    if transparent is not None and values.shape[-1] in (1, 3):
        opaque = (values != np.array(transparent)).any(axis=-1, keepdims=True)
        eight_bit = np.concatenate([eight_bit, opaque.astype(np.uint8) * 255], axis=-1)
    return Image.fromarray(eight_bit[..., 0] if eight_bit.shape[-1] == 1 else eight_bit)


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
