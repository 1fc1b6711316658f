"""Photo + mask -> photo, at any size: the network's fill (`inpainter`, `plan`, `scales`)."""

from inpaint.inference.inpainter import Inpainter

__all__ = ["Inpainter"]
