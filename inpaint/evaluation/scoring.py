"""What a method is, and how its fill of one case becomes numbers.

A method is given the crop with its hole painted over. Its fill is put back among the photo's own known
pixels, and that composite, uint8, is scored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from inpaint.evaluation.cases import Case
from inpaint.metrics import score

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Fills a hole: (uint8 H×W×3 RGB, bool H×W, True = hole) -> uint8 H×W×3. The hole's pixels hold HOLE_GREY."""

PictureMetric = Callable[[np.ndarray, np.ndarray], float | None]
"""Compares (truth, composite), as `inpaint.metrics.LpipsAlex` does; None where it cannot."""

HoleMetric = Callable[[np.ndarray, np.ndarray, np.ndarray], float | None]
"""Compares (truth, composite, mask), as `inpaint.metrics.FeatureDistance` does; None where it cannot."""


class ReadyFills(Protocol):
    """A method whose fills exist already, such as a folder of another program's results."""

    def read(self, name: str) -> np.ndarray:
        """Return the fill of the photo of that name, uint8 H×W×3."""
        ...


class MethodError(RuntimeError):
    """A method failed, or returned something that cannot be scored; the message names method and image."""


def compare(
    case: Case,
    methods: Mapping[str, Method | ReadyFills],
    *,
    lpips: PictureMetric | None = None,
    feature_distance: HoleMetric | None = None,
) -> dict[str, tuple[np.ndarray, dict[str, float | None]]]:
    """Let each method fill one case, and score the fills.

    Args:
        case: what is filled.
        methods: by name.
        lpips: a metric such as `LpipsAlex`, or None to leave it out.
        feature_distance: a metric such as `FeatureDistance`, or None to leave it out.

    Returns:
        By the methods' names, in their order, what `score_method` returns.

    Raises:
        MethodError: a method fails, or returns something that cannot be scored.

    >>> image, mask = np.full((4, 4, 3), 138, np.uint8), np.eye(4, dtype=bool)
    >>> fills = compare(Case("flat.png", image, mask), {"keep": lambda image, mask: image})
    >>> fill, scores = fills["keep"]
    >>> fill[0, :2].tolist(), round(scores["l1_hole"], 2)
    ([[128, 128, 128], [138, 138, 138]], 3.92)
    """
    return {
        name: score_method(name, method, case, lpips=lpips, feature_distance=feature_distance)
        for name, method in methods.items()
    }


def score_method(
    name: str,
    method: Method | ReadyFills,
    case: Case,
    *,
    lpips: PictureMetric | None = None,
    feature_distance: HoleMetric | None = None,
) -> tuple[np.ndarray, dict[str, float | None]]:
    """Let one method fill one case, put the known pixels back, and score the result.

    Args:
        name: the method's name, for messages.
        method: is given a copy of the destroyed image and of the mask.
        case: what is filled.
        lpips: a metric such as `LpipsAlex`, or None to leave it out.
        feature_distance: a metric such as `FeatureDistance`, or None to leave it out.

    Returns:
        The composite, uint8 H×W×3, and its scores by the names of METRICS.

    Raises:
        MethodError: the method fails, or returns something that cannot be scored.
    """
    fill, seconds = fill_case(name, method, case)
    composite = np.where(case.mask[..., None], fill, case.image)
    scores = {
        **score(case.image, composite, case.mask),
        "feature_distance": (
            feature_distance(case.image, composite, case.mask) if feature_distance is not None else None
        ),
        "lpips": lpips(case.image, composite) if lpips is not None else None,
        "seconds": seconds,
    }
    return composite, scores


def fill_case(name: str, method: Method | ReadyFills, case: Case) -> tuple[np.ndarray, float | None]:
    """Let one method fill one case.

    Args:
        name: the method's name, for messages.
        method: is given a copy of the destroyed image and of the mask.
        case: what is filled.

    Returns:
        The method's fill as it is, uint8 H×W×3, and its seconds; None for fills that were ready.

    Raises:
        MethodError: the method fails, or returns something that cannot be scored.
    """
    image, mask = case.destroyed(), case.mask.copy()
    started = time.perf_counter()
    try:
        fill = method(image, mask) if callable(method) else method.read(case.name)
    except Exception as error:
        raise MethodError(f"{name} failed on {case.name}: {error}") from error
    seconds = time.perf_counter() - started if callable(method) else None
    if fill.dtype != np.uint8 or fill.shape != case.image.shape:
        raise MethodError(
            f"{name} on {case.name}: expected a uint8 picture of shape {case.image.shape}, "
            f"got {fill.dtype} of shape {fill.shape}"
        )
    return fill, seconds
