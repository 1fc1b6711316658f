"""Loss terms that plug-ins add: a function of prediction, image and mask each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class CustomTerm:
    """A loss term of a plug-in.

    Attributes:
        function: is given the prediction [N, 3, H, W], the image [N, 3, H, W] and the mask [N, 1, H, W],
            1 = hole, all float32, and returns a scalar.
        help: one line about it.
        weight: where none is given.
    """

    function: Callable[[Tensor, Tensor, Tensor], Tensor]
    help: str
    weight: float = 0.0


CUSTOM_TERMS: dict[str, CustomTerm] = {}
"""The terms that plug-ins have added (`inpaint.plugins`), by name."""


def custom_term(name: str, prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Return the value of a plug-in's term.

    Raises:
        ValueError: what the plug-in returns is no scalar.
    """
    value = CUSTOM_TERMS[name].function(prediction, image, mask)
    if not isinstance(value, Tensor) or value.dim() != 0:
        got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"the loss term {name} must return a scalar tensor, got {got}")
    return value.float()
