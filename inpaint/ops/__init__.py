"""Content-aware reassembly of features: `carafe` and `carafe_fused`. Knows nothing of inpainting."""

from .functional import NORMALIZERS, carafe, carafe_fused, implementation
from .fused import channel_norm, concatenate_known, membrane_raised, renormalize

__all__ = [
    "NORMALIZERS",
    "carafe",
    "carafe_fused",
    "channel_norm",
    "concatenate_known",
    "implementation",
    "membrane_raised",
    "renormalize",
]
