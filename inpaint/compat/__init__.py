"""Drop-in replacements for other libraries' operators and layers, and CARAFE in networks made elsewhere.

`mmcv` has the operator under mmcv's names; `use_carafe` changes a network's upsampling. It is loaded on first
use, as it imports torchvision, which mmcv's names do not need.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inpaint.compat.replacing import Replaced, use_carafe

__all__ = ["Replaced", "use_carafe"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from inpaint.compat import replacing

        return getattr(replacing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
