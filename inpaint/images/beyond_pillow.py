"""What Pillow does not decode exactly: more than 8 bits a channel, and fax codings with errors."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from PIL import Image

from .containers import TiffLayout
from .errors import ImageError

TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings pixels that lie as an EXIF orientation says (2 to 8) upright."""


def check_fax(image: Image.Image, data: bytes, orientation: int) -> None:
    """Raise `ImageError` where another decoder sees other pixels in a fax-coded TIFF.

    The coding has no checksum, and what Pillow decodes with goes on after an error with rows it makes up.
    """
    import tifffile

    page = tifffile.TiffFile(io.BytesIO(data)).pages.first
    try:
        other = Image.fromarray(page.asarray(maxworkers=1).astype(np.uint8))
    except RuntimeError as error:  # the errors of imagecodecs' decoders are of this kind
        raise ImageError(f"the file is damaged or cut short; get a whole copy ({error})") from error
    if orientation in TURN:
        other = other.transpose(TURN[orientation])
    differ = np.asarray(other).astype(bool) != np.asarray(image.convert("L")).astype(bool)
    if differ.any() and not differ.all():  # all differ: the decoders disagree about which value is white
        raise ImageError(
            "the file is damaged: its fax coding has errors; get a whole copy, or save it as PNG"
        )


def has_associated_alpha(image: Image.Image) -> bool:
    """Return whether the colours of this TIFF are multiplied by their alpha."""
    return image.format == "TIFF" and 1 in image.tag_v2.get(338, ())  # type: ignore[attr-defined]


def decode_wide(image: Image.Image, data: bytes, bits: int, layout: TiffLayout | None) -> Image.Image:
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
            if math.prod(page.shaped) != layout.values:  # private tags of some makers change the shape
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
    for row in range(len(values)):  # row by row: NumPy would convert the whole picture to 64-bit indices
        eight_bit[row] = table[values[row]]
    transparent = image.info.get("transparency")  # in PNG without alpha, a value that stands for transparency
    if transparent is not None and values.shape[-1] in (1, 3):
        opaque = (values != np.array(transparent)).any(axis=-1, keepdims=True)
        eight_bit = np.concatenate([eight_bit, opaque.astype(np.uint8) * 255], axis=-1)
    return Image.fromarray(eight_bit[..., 0] if eight_bit.shape[-1] == 1 else eight_bit)
