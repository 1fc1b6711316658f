"""Content-aware reassembly of features: `carafe` and `carafe_fused`. Knows nothing of inpainting."""

from .functional import NORMALIZERS, carafe, carafe_fused, implementation

__all__ = ["NORMALIZERS", "carafe", "carafe_fused", "implementation"]
