"""The operators: CARAFE (`carafe`, `carafe_fused`, `carafe_downsample`), and the passes around convolutions.

Nothing is compiled by the import: see `inpaint.ops.library`.
"""

from . import library
from .functional import NORMALIZERS, carafe, carafe_downsample, carafe_fused, implementation
from .fused import channel_norm, concatenate_known, membrane_raised, renormalize

__all__ = [
    "NORMALIZERS",
    "carafe",
    "carafe_downsample",
    "carafe_fused",
    "channel_norm",
    "concatenate_known",
    "implementation",
    "membrane_raised",
    "renormalize",
]

library.load_what_is_ready()
