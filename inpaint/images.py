"""Photos and masks as files: bytes of unknown origin in, upright 8-bit RGB out, and back again.

Files are not trusted. Only the formats of :data:`FORMATS` are tried, the size is checked in the header
before any pixel is decoded, and a file that is cut short or broken is an :class:`ImageError`, never a
half-grey photo.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

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


class ImageError(ValueError):
    """An image file that cannot be read or written; the message names the file, the reason and the remedy."""


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


def read_photo(source: Path | str | bytes, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photo from a file or from a file's bytes.

    Grey, palette, 1-bit and CMYK files come out as RGB, 16-bit ones as 8-bit; `Photo.notes` says what was
    lost. Of an animation or a file of several pages the first picture is read. Raises :class:`ImageError`.
    """
    with _opened(source) as (stream, name):
        try:
            return _decode(stream, max_pixels)
        except ImageError as error:
            raise ImageError(f"{name}: {error}") from None
        except Image.DecompressionBombError as error:
            raise ImageError(f"{name}: too many pixels; make it smaller first ({error})") from None
        except Image.UnidentifiedImageError:
            known = ", ".join(FORMATS)
            raise ImageError(
                f"{name}: not an image this program reads; save it as one of {known}, 8 or 16 bits a channel"
            ) from None
        except Exception as error:
            # Decoders meet broken files with every kind of exception: OSError, SyntaxError, struct.error...
            raise ImageError(
                f"{name}: the file is damaged or cut short; get a whole copy ({error})"
            ) from error


def read_mask(source: Path | str | bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a mask: bool H×W, True (hole) where the luminance is above 127.

    A mask is read as a photo is: turned upright where its file says so, alpha left out. Raises
    :class:`ImageError`.
    """
    photo = read_photo(source, max_pixels=max_pixels)
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


def format_for(path: Path) -> str:
    """Name the format that a path's suffix stands for. Raises :class:`ImageError` for an unknown suffix."""
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        known = ", ".join(SUFFIXES)
        raise ImageError(f"unknown suffix {path.suffix!r}; name the file with one of {known}") from None


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that `path` holds either what it held before or all of `data`, whatever happens."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as stream:
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


@contextmanager
def _opened(source: Path | str | bytes) -> Iterator[tuple[IO[bytes], str]]:
    """Yield a stream of the source, and the name it goes by in messages."""
    if isinstance(source, bytes):
        yield io.BytesIO(source), "image"
        return
    path = Path(source)
    if not path.is_file():
        raise ImageError(f"{path}: {'is not a file' if path.exists() else 'there is no such file'}")
    try:
        stream = path.open("rb")
    except OSError as error:
        raise ImageError(f"{path}: cannot be opened ({error.strerror})") from error
    with stream:
        yield stream, str(path)


def _decode(stream: IO[bytes], max_pixels: int) -> Photo:
    with Image.open(stream, formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(
                f"{width}×{height} is {width * height / 1e6:.1f} megapixels, more than the limit of "
                f"{max_pixels / 1e6:.1f}; make it smaller first, or raise max_pixels"
            )
        notes: list[str] = []
        # A JPEG with a preview or a depth map behind it calls itself MPO.
        format = "JPEG" if image.format == "MPO" else str(image.format)
        if format != "JPEG" and getattr(image, "is_animated", False):
            notes.append("has several pictures; only the first was read")
        orientation, exif = _read_exif(image, notes)
        icc = image.info.get("icc_profile") or b""

        bits = _bits_per_channel(image, stream)
        # Pillow knows better what to do with inks and with colours that are multiplied by their alpha.
        if bits > 8 and image.mode in _WIDE_MODES and not _has_associated_alpha(image):
            eight_bit = _decode_wide(image, stream, bits)
        elif image.mode in _COLOUR_MODES:
            image.load()
            eight_bit = image
            if format == "TIFF":
                orientation = 1  # Pillow turns a TIFF upright while it loads
        else:
            raise ImageError(f"pixels of kind {image.mode!r} are not read; save it as 8-bit or 16-bit RGB")
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
    except Exception:
        # A photo with broken EXIF is still a photo.
        notes.append("its EXIF is damaged and was left out")
        return 1, b""


def _bits_per_channel(image: Image.Image, stream: IO[bytes]) -> int:
    if image.format == "PNG":
        stream.seek(24)  # signature 8, chunk length and name 8, width and height 8, then the bit depth
        return stream.read(1)[0]
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (1,)))  # type: ignore[attr-defined]
    return 8


def _has_associated_alpha(image: Image.Image) -> bool:
    return image.format == "TIFF" and 1 in image.tag_v2.get(338, ())  # type: ignore[attr-defined]


def _decode_wide(image: Image.Image, stream: IO[bytes], bits: int) -> Image.Image:
    """Decode more than 8 bits per channel (PNG, TIFF) to an 8-bit picture, as the file lies.

    Pillow has no mode for 16-bit colours and drops their low byte; here each value is rounded.
    """
    # Only the few files that need these libraries pay for their import.
    import imagecodecs
    import tifffile

    peak = (1 << bits) - 1
    stream.seek(0)
    if image.format == "PNG":
        values = imagecodecs.png_decode(stream.read())
    else:
        page = tifffile.TiffFile(stream).pages.first
        if page.tilewidth * page.tilelength > MAX_PIXELS:
            raise ImageError("its tiles are larger than the picture")
        values = page.asarray(maxworkers=1)
        if values.ndim == 3 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            values = np.moveaxis(values, 0, -1)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            values = peak - values
    values = np.atleast_3d(values)[..., : len(image.getbands())]  # a fourth channel may be no alpha
    eight_bit = ((np.arange(peak + 1) * 255 + peak // 2) // peak).astype(np.uint8)[values]
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
