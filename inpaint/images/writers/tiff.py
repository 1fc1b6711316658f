"""TIFF: the tags by Pillow, the pixels behind them as they are, because Pillow has no 16-bit colours.

Not compressed: Pillow's compressed TIFFs cannot hold the camera's and GPS parts of EXIF.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ..losses import fitting_profile
from ..photo import Photo
from .pixels import as_image, as_wide

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIPS, _SAMPLES, _STRIP_ROWS, _STRIP_BYTES, _PLANES, _EXTRA = 273, 277, 278, 279, 284, 338
_ACROSS, _DOWN, _UNIT, _XMP, _ICC = 282, 283, 296, 700, 34675
_INCHES, _ALPHA = 2, 2
_MOST_BYTES = (1 << 32) - (1 << 24)  # places in the file have 32 bits; the tags take some


def write_tiff(photo: Photo) -> bytes:
    """Encode a photo as TIFF, of 16 bits a channel where the photo has them.

    Raises:
        ValueError: it has more bytes than a TIFF can hold.
    """
    wide = as_wide(photo)
    if wide is not None and wide.ndim == 3 and wide.shape[2] == 2:
        wide = photo.wide  # 16-bit grey with alpha is read by few programs, and not by this one
    pixels = np.asarray(as_image(photo, True)) if wide is None else wide.astype("<u2", copy=False)
    if pixels.nbytes > _MOST_BYTES:
        raise ValueError("it takes more than 4 GB")
    tags = ImageFileDirectory_v2(prefix=b"II")
    _set_descriptions(tags, photo)
    _set_layout(tags, pixels)
    stream = io.BytesIO()
    tags.save(stream)
    stream.write(np.ascontiguousarray(pixels).data)
    return stream.getvalue()


def _set_layout(tags: Any, pixels: np.ndarray) -> None:
    height, width = pixels.shape[:2]
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    tags[_WIDTH], tags[_HEIGHT] = width, height
    tags[_BITS] = (8 * pixels.itemsize,) * samples
    tags[_COMPRESSION], tags[_PLANES] = 1, 1
    tags[_PHOTOMETRIC] = 1 if samples < 3 else 2
    tags[_SAMPLES] = samples
    if samples in (2, 4):
        tags[_EXTRA] = _ALPHA
    # One strip, which begins right behind the tags; Pillow adds their length.
    tags[_STRIP_ROWS], tags[_STRIPS], tags[_STRIP_BYTES] = height, 0, pixels.nbytes
    for code in (_STRIPS, _STRIP_BYTES):
        tags.tagtype[code] = TiffTags.LONG


def _set_descriptions(tags: Any, photo: Photo) -> None:
    if photo.exif:
        exif = Image.Exif()
        exif.load(photo.exif)
        for code in exif:
            tags[code] = exif.get_ifd(code) if code in TiffTags.TAGS_V2_GROUPS else exif.get(code)
    for tag in photo.metadata.tiff_tags:
        _set(tags, tag.code, tag.kind, tag.values)
    if photo.metadata.dpi is not None:
        tags[_ACROSS], tags[_DOWN] = photo.metadata.dpi
        tags[_UNIT] = _INCHES
    if photo.metadata.xmp:
        _set(tags, _XMP, TiffTags.BYTE, photo.metadata.xmp)
    icc = fitting_profile(photo, "TIFF")
    if icc:
        _set(tags, _ICC, TiffTags.UNDEFINED, icc)


def _set(tags: Any, code: int, kind: int, values: Any) -> None:
    tags.tagtype[code] = kind
    tags[code] = values
