"""Files and bytes of unknown origin to photos and masks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from inpaint.files import NotRegularError, open_regular

from .decoding import DECODER_ERRORS, decode
from .errors import ImageError, LimitError
from .photo import MAX_FILE_BYTES, MAX_PIXELS, Photo


def decode_rgb(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image file's bytes to upright uint8 H×W×3 RGB, C-contiguous.

    Alpha is left out.

    Raises:
        ImageError: it is anything but a whole, sane image file.
    """
    return read_photo(data, max_pixels=max_pixels).pixels


def read_photo(
    source: Path | str | bytes, *, max_pixels: int = MAX_PIXELS, max_file_bytes: int = MAX_FILE_BYTES
) -> Photo:
    """Read a photo from a file or from a file's bytes.

    Grey, palette, 1-bit and CMYK files come out as RGB, 16-bit ones as 8-bit; `Photo.notes` says what was
    lost. Of an animation or a file of several pages the first picture is read.

    Raises:
        LimitError: width × height is above `max_pixels`, decoding takes more than 8 bytes for each of these,
            or the file (not bytes, which are in memory already) is larger than `max_file_bytes`.
        ImageError: it is no whole, sane image file of `FORMATS`. It has the file's path as its name; bytes
            have none.
    """
    name = "" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else read_file(source, max_bytes=max_file_bytes)
        return decode(data, max_pixels)
    except ImageError as error:
        raise error.named(name) from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"too many pixels; make it smaller first ({error})", name) from None
    except MemoryError as error:
        raise ImageError("there is not memory enough to read it; make it smaller first", name) from error
    except DECODER_ERRORS as error:
        raise ImageError(f"the file is damaged or cut short; get a whole copy ({error})", name) from error


def read_file(path: Path | str, *, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return a file's bytes, all of them.

    Raises:
        LimitError: there are more than `max_bytes`, of which then none are read.
        ImageError: it is missing, cannot be read, or is no regular file. The error has no name.
    """
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            # One byte more than allowed, because the file may be growing.
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
            f"the file has {size / 1e6:.1f} MB, more than the limit of {max_bytes / 1e6:.1f}; "
            "make it smaller first",
            "max_file_bytes",
        )
    return data


def read_mask(
    source: Path | str | bytes, *, max_pixels: int = MAX_PIXELS, max_file_bytes: int = MAX_FILE_BYTES
) -> np.ndarray:
    """Read a mask: bool H×W, True (hole) where the luminance is above 127.

    A mask is read as a photo is: turned upright where its file says so, alpha left out. Errors are those of
    `read_photo`.
    """
    photo = read_photo(source, max_pixels=max_pixels, max_file_bytes=max_file_bytes)
    return np.asarray(Image.fromarray(photo.pixels).convert("L")) > 127
