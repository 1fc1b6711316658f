"""The models that the page offers, and how they are loaded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol

import numpy as np

from inpaint.inference import Inpainter
from inpaint.inference.inpainter import Detail
from inpaint.page.messages import reason, refusal
from inpaint.weights import WeightsError, find_model, installed_models

DEFAULT_MODEL = "pconv-carafe"
"""Chosen at the start where it is installed and no other is named."""

MODELS_IN_MEMORY = 2
"""Most models that are kept loaded; the one unused for longest goes first."""


class Fill(Protocol):
    """What the page needs of an `Inpainter`."""

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        *,
        seed: int = 0,
        progress: Callable[[float], None] | None = None,
    ) -> np.ndarray:
        """Fill the hole: uint8 H×W×3 and bool H×W in, uint8 H×W×3 out."""
        ...


Load = Callable[[str, Detail], Fill]
"""Turns a model's name into an `Inpainter`, or a stand-in, with the photo's texture or without."""


def model_names(first: str | None) -> list[str]:
    """List the models to choose from, the one that is chosen at the start before the other installed ones.

    Args:
        first: an installed model, a folder or a hub id; None for the default one.

    Raises:
        WeightsError: there is no such model, or none at all.
    """
    installed = [model.name for model in installed_models()]
    if first is None:
        first = DEFAULT_MODEL if DEFAULT_MODEL in installed or not installed else installed[0]
    find_model(first)
    return [first, *(name for name in installed if name != first)]


def loader(device: str) -> Load:
    """Return a function that loads models on a device; the last ones stay in memory."""

    @functools.lru_cache(maxsize=MODELS_IN_MEMORY)
    def load_network(name: str) -> Inpainter:
        return Inpainter.from_pretrained(name, device=device)

    def load(name: str, detail: Detail) -> Fill:
        model = load_network(name)
        return Inpainter(model.network, model.device, detail)

    return load


def load_or_refuse(load: Load, name: str, detail: Detail) -> Fill:
    """Load a model, or raise the error that tells the visitor why it cannot be had."""
    try:
        return load(name, detail)
    except WeightsError as error:
        raise refusal(f"The model cannot be loaded: {reason(error)}.") from None
