"""Shapes painted until a wanted share of the picture is covered."""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np

from .shapes import Ratio, Shape, Strokes

# Beyond this many strokes a wanted coverage is being approached too slowly (thin strokes over a nearly
# covered picture); the hole is then grown evenly for the rest.
_MOST_STROKES = 1000
_BISECTIONS = 7


def compose(
    rng: np.random.Generator,
    height: int,
    width: int,
    strokes: Strokes,
    count: tuple[int, int],
    ratio: Ratio | None,
) -> np.ndarray:
    """Paint `count` strokes, or as many as the wanted ratio takes."""
    canvas = np.zeros((height, width), np.uint8)
    if ratio is None:
        number = int(rng.integers(count[0], count[1], endpoint=True))
        for shape in itertools.chain.from_iterable(itertools.islice(strokes, number)):
            shape.paint(canvas)
        return canvas.view(bool)

    low, high = pixel_range(ratio, height * width)
    target = draw_target(rng, ratio, low, high, height * width)
    return cover(canvas, strokes, target, low, high)


def cover(canvas: np.ndarray, strokes: Strokes, target: int, low: int, high: int) -> np.ndarray:
    """Paint strokes on an empty canvas until about `target` pixels, `low` to `high`, are covered."""
    if target == 0:
        return canvas.view(bool)
    for shape in itertools.chain.from_iterable(itertools.islice(strokes, _MOST_STROKES)):
        before = canvas.copy()
        shape.paint(canvas)
        covered = cv2.countNonZero(canvas)
        if covered > target:
            canvas = _shrink_to(target, shape, before)
        if covered >= target:
            break
    return settle(canvas, low, high).view(bool)


def pixel_range(ratio: Ratio, pixels: int) -> tuple[int, int]:
    """Return the pixel counts whose share of `pixels` lies in `ratio`; else the one count nearest to it."""
    low, high = ratio
    if not 0 <= low <= high <= 1:
        raise ValueError(f"hole ratio {low}-{high}: it must be 0 <= low <= high <= 1, such as 0.1-0.5")
    # A rounded product can miss by one; what counts is the quotient that a caller will compute.
    fewest = math.ceil(low * pixels)
    fewest += (fewest / pixels < low) - (fewest > 0 and (fewest - 1) / pixels >= low)
    most = math.floor(high * pixels)
    most += (most < pixels and (most + 1) / pixels <= high) - (most / pixels > high)
    if fewest <= most:
        return fewest, most
    below, above = most, fewest
    nearest = below if low - below / pixels <= above / pixels - high else above
    return nearest, nearest


def draw_target(rng: np.random.Generator, ratio: Ratio, low: int, high: int, pixels: int) -> int:
    """Draw how many pixels to cover: uniformly from `ratio`, within `low` to `high`."""
    return min(max(round(rng.uniform(*ratio) * pixels), low), high)


def _shrink_to(target: int, shape: Shape, before: np.ndarray) -> np.ndarray:
    """Paint `shape` over `before`, scaled down so that about `target` pixels are covered, not more.

    A scale of zero still paints a pixel; where even that is too much, it is left to `settle`.
    """
    best = before.copy()
    shape.paint(best, 0.0)
    small, large = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (small + large) / 2
        trial = before.copy()
        shape.paint(trial, middle)
        if cv2.countNonZero(trial) <= target:
            small, best = middle, trial
        else:
            large = middle
    return best


def settle(canvas: np.ndarray, low: int, high: int) -> np.ndarray:
    """Grow or peel the hole along its rim until it covers between `low` and `high` pixels."""
    covered = cv2.countNonZero(canvas)
    if low <= covered <= high:
        return canvas
    grow = covered < low
    candidates = (1 - canvas) if grow else canvas
    distance = cv2.distanceTransform(candidates, cv2.DIST_L2, 3)
    places = np.flatnonzero(candidates)
    wanted = low - covered if grow else covered - high
    nearest = np.argsort(distance.ravel()[places], kind="stable")[:wanted]
    canvas.ravel()[places[nearest]] = 1 if grow else 0
    return canvas
