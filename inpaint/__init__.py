"""Paint over anything in a photo and get a believable picture back.

`from inpaint import Inpainter` is the door most programs need. It is loaded on first use, so that
`import inpaint` alone stays quick: it does not import torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inpaint.inference import Inpainter

__version__ = "0.1.0"
__all__ = ["Inpainter", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Inpainter":
        from inpaint.inference import Inpainter

        return Inpainter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
