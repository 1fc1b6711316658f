"""Photo + mask -> photo, at any size.

The network's fill is in `inpainter`, `plan` and `scales`, the photo's texture in `detail` and `synthesis`.
"""

from inpaint.inference.inpainter import Inpainter

__all__ = ["Inpainter"]
