"""A rough stroke over a thing to the mask of the thing, by colours and edges, or by a method of a plug-in.

The method `grabcut` is GrabCut (Rother, Kolmogorov and Blake, SIGGRAPH 2004) as OpenCV has it. It knows
nothing of what things are: it separates colours, and follows edges. Things that look like what is around them
are not found. Other packages offer methods that know more, under the entry points of `GROUP`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

import cv2
import numpy as np

Selector = Callable[[np.ndarray, np.ndarray], np.ndarray | None]
"""Finds the thing that a stroke lies on: arguments and result are those of `fit_to_object`."""

GROUP = "inpaint.selectors"
"""The group of entry points under which packages offer methods. Each names a `Selector`."""

DEFAULT = "grabcut"

_ROUNDS = 5
_WORKING_SIDE = 480  # longest side of what is looked at, in pixels
_AROUND = 1.0  # how far beyond the stroke is looked, in its longer sides
_LEAST_AROUND = 0.25  # of the shorter side of the photo
_CORE = 0.5  # of a stroke's half width: what is nearer to its middle surely belongs to the thing
_SMOOTHING = 4.0  # pixels, before colours are compared with those of the middle
_ALIKE = 18.0  # in CIELAB, as OpenCV scales it to bytes
_LEAST_SHARE = 0.2  # of the stroke: with less than this of it nothing was found


def methods() -> list[str]:
    """Return the names of the methods that are installed, the default first. Nothing of them is imported.

    >>> methods()[0]
    'grabcut'
    """
    return [DEFAULT, *sorted({point.name for point in entry_points(group=GROUP)} - {DEFAULT})]


def find_method(name: str) -> Selector:
    """Return a method by name; that of another package is imported now.

    Raises:
        LookupError: none of this name is installed; the message lists those that are.
        ImportError: its package cannot be imported, or has no such function.

    >>> find_method("sam")
    Traceback (most recent call last):
        ...
    LookupError: no method sam is installed; there are: grabcut
    """
    if name == DEFAULT:
        return fit_to_object
    for point in entry_points(group=GROUP):
        if point.name == name:
            try:
                return point.load()
            except AttributeError as error:
                raise ImportError(f"{point.value}: {error}") from error
    raise LookupError(f"no method {name} is installed; there are: {', '.join(methods())}")


def fit_to_object(image: np.ndarray, stroke: np.ndarray) -> np.ndarray | None:
    """Find the thing that a stroke lies on.

    Args:
        image: uint8 H×W×3 RGB; not changed.
        stroke: bool H×W, painted roughly over the thing: its middle belongs to the thing, its rim may not.

    Returns:
        bool H×W, the thing; None where none was found. Equal inputs give equal results.

    Raises:
        ValueError: nothing is painted, or the sizes differ.

    >>> image = np.full((60, 80, 3), 200, np.uint8)
    >>> image[20:40, 30:60] = (180, 20, 20)
    >>> stroke = np.zeros((60, 80), bool)
    >>> stroke[28:34, 36:50] = True
    >>> found = fit_to_object(image, stroke)
    >>> bool(found[22:38, 32:58].all()), int(found.sum())
    (True, 600)
    """
    if image.shape[:2] != stroke.shape:
        raise ValueError(
            f"the stroke is {stroke.shape}, the image {image.shape[:2]}: they must be of one size"
        )
    if not stroke.any():
        raise ValueError("nothing is painted: paint over the thing first")
    rows, columns = (np.flatnonzero(stroke.any(axis=axis)) for axis in (1, 0))
    reach = round(max(_LEAST_AROUND * min(stroke.shape), _AROUND * max(np.ptp(rows), np.ptp(columns)), 16))
    top, bottom = max(rows[0] - reach, 0), min(rows[-1] + reach + 1, stroke.shape[0])
    left, right = max(columns[0] - reach, 0), min(columns[-1] + reach + 1, stroke.shape[1])
    near = slice(top, bottom), slice(left, right)
    found = _grab(image[near], stroke[near])
    if np.count_nonzero(found & stroke[near]) < _LEAST_SHARE * np.count_nonzero(stroke):
        return None
    result = np.zeros_like(stroke)
    result[near] = found
    return result


def _grab(image: np.ndarray, stroke: np.ndarray) -> np.ndarray:
    """Run GrabCut on a part of a photo, at a size that takes a second at most."""
    height, width = stroke.shape
    scale = min(1.0, _WORKING_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(stroke.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    painted = share >= min(0.5, float(share.max()))
    depth = cv2.distanceTransform(np.pad(painted, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    core = depth >= max(1.0, _CORE * float(depth.max()))

    labels = np.full(painted.shape, cv2.GC_PR_BGD, np.uint8)
    likely = painted | _alike(small, core & painted)
    labels[likely] = cv2.GC_PR_FGD
    labels[core & painted] = cv2.GC_FGD
    # The rim of what is looked at: the thing ends before it, or it would not have been painted so small.
    for edge in (np.s_[:2], np.s_[-2:], np.s_[:, :2], np.s_[:, -2:]):
        labels[edge][~likely[edge]] = cv2.GC_BGD
    if not (labels == cv2.GC_BGD).any():
        return stroke
    cv2.setRNGSeed(0)  # GrabCut begins with clusters of colours that are drawn at random
    models = np.zeros((1, 65)), np.zeros((1, 65))
    unused = (0, 0, 0, 0)
    cv2.grabCut(
        np.ascontiguousarray(small[..., ::-1]), labels, unused, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK
    )
    thing = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    thing = _touching(thing, core & painted)
    larger = cv2.resize(thing.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return larger >= 0.5


def _alike(image: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Return what looks like the stroke's middle and is connected to it: a click shows little of a thing."""
    smooth = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), _SMOOTHING), cv2.COLOR_RGB2LAB).astype(np.float32)
    distance = np.linalg.norm(smooth - np.median(smooth[core], axis=0), axis=2)
    return _touching(distance < _ALIKE, core)


def _touching(thing: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Return the pieces of a mask that hold some of the stroke's middle, with their holes filled."""
    _, pieces = cv2.connectedComponents(thing.astype(np.uint8), connectivity=4)
    wanted = np.unique(pieces[core & thing])
    kept = np.isin(pieces, wanted[wanted > 0])
    outlines, _ = cv2.findContours(kept.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(kept.shape, np.uint8)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return filled.astype(bool)
