"""Which hole pixels are filled together, at which scale, and in which windows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

WORKING_SIZE = 512
"""Largest side, in pixels, of the window that a network is shown."""

SURROUNDINGS = 64
"""Pixels around a hole that a window must hold at least, at the network's scale, where the photo has them."""

SMALLEST_WINDOW = 256
"""A window is no smaller than this where the photo is not: a speck, too, is filled from a piece of photo."""

OVERLAP = 32
"""Pixels over which neighbouring windows along one hole are blended."""

_CORE = WORKING_SIZE - 2 * SURROUNDINGS
_SPECK = 64


@dataclass(frozen=True)
class Box:
    """Rows top..bottom and columns left..right, ends excluded.

    >>> Box(2, 3, 6, 9).grown(3, height=8, width=10)
    Box(top=0, left=0, bottom=8, right=10)
    """

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """What of an array lies in the box."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, margin: int, height: int, width: int) -> Box:
        """Return the box with `margin` more on each side, as far as a picture of that size has it."""
        return Box(
            max(self.top - margin, 0),
            max(self.left - margin, 0),
            min(self.bottom + margin, height),
            min(self.right + margin, width),
        )

    def moved(self, down: int, right: int) -> Box:
        """Return the box moved by so many pixels."""
        return Box(self.top + down, self.left + right, self.bottom + down, self.right + right)


@dataclass(frozen=True)
class Job:
    """Hole pixels that are filled together.

    Attributes:
        group: their number in the map that `plan` returns.
        box: holds all of them.
        scale: size of the copy that they are filled in, over the photo's; 1 at most.
    """

    group: int
    box: Box
    scale: float


def plan(mask: np.ndarray) -> tuple[list[Job], np.ndarray]:
    """Decide which hole pixels are filled together, and at which scale.

    Args:
        mask: bool H×W, True = hole.

    Returns:
        The jobs, and the group of every pixel, H×W integers, 0 = known.

    >>> mask = np.zeros((1000, 1000), bool)
    >>> mask[10:30, 10:30] = mask[200:900, 200:900] = True
    >>> jobs, groups = plan(mask)
    >>> [(job.box, round(job.scale, 2)) for job in jobs]
    [(Box(top=10, left=10, bottom=30, right=30), 1.0), (Box(top=200, left=200, bottom=900, right=900), 0.56)]
    >>> int(groups[20, 20]), int(groups[500, 500])
    (1, 2)
    """
    height, width = mask.shape
    if not mask.any():
        return [], mask.view(np.uint8)
    if max(height, width) <= WORKING_SIZE:
        # One window holds everything, and no two need be paid for.
        return [Job(1, bounding_box(mask), 1.0)], mask.view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    stats = stats[1:].astype(np.int64)
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    boxes = np.stack(
        [top, left, top + stats[:, cv2.CC_STAT_HEIGHT], left + stats[:, cv2.CC_STAT_WIDTH]], axis=1
    )
    fitting = _largest_scale(boxes, height, width) >= 1

    group_of = np.zeros(count, labels.dtype)
    members, merged = _merge(boxes[fitting], height, width)
    group_of[1:][fitting] = members + 1
    jobs = [Job(number, Box(*box), 1.0) for number, box in enumerate(merged.tolist(), start=1)]

    large = np.flatnonzero(~fitting)
    if len(large):
        distance = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, 5)
        for index in large.tolist():
            box = Box(*boxes[index].tolist())
            depth = float(distance[box.slices][labels[box.slices] == index + 1].max())
            scale = max(float(_largest_scale(boxes[index], height, width)), SURROUNDINGS / depth)
            jobs.append(Job(len(jobs) + 1, box, min(scale, 1.0)))
            group_of[index + 1] = len(jobs)
    return jobs, group_of[labels]


def _largest_scale(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the largest scale at which a hole and its surroundings fit in a window.

    `boxes` is [..., 4] (top, left, bottom, right). At scale s an axis of the hole takes s·(stop − start)
    pixels plus the surroundings on either side, or up to the photo's edge where that is nearer.
    """
    scales = []
    for axis, size in ((0, height), (1, width)):
        start, stop = boxes[..., axis], boxes[..., axis + 2]
        both_sides = _CORE / (stop - start)
        to_the_start = (WORKING_SIZE - SURROUNDINGS) / stop
        to_the_end = (WORKING_SIZE - SURROUNDINGS) / (size - start)
        whole = np.full_like(both_sides, WORKING_SIZE / size)
        scales.append(np.maximum.reduce([both_sides, to_the_start, to_the_end, whole]))
    return np.minimum(*scales)


def _merge(boxes: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Let small holes share windows where that is no more work.

    `boxes` is [N, 4]. Returns the merged box that each hole belongs to, [N], and the merged boxes, [M, 4].
    """
    if len(boxes) == 0:
        return np.empty(0, np.int64), boxes
    # Specks in one cell of a grid first, all at once: a million of them take no longer than a thousand.
    centres = (boxes[:, :2] + boxes[:, 2:]) // 2 // _SPECK
    cell = centres[:, 0] * (width // _SPECK + 1) + centres[:, 1]
    large = (boxes[:, 2:] - boxes[:, :2] > _SPECK).any(axis=1)
    cell[large] = -1 - np.arange(large.sum())
    _, first, members = np.unique(cell, return_index=True, return_inverse=True)
    cells = boxes[first]
    np.minimum.at(cells[:, :2], members, boxes[:, :2])
    np.maximum.at(cells[:, 2:], members, boxes[:, 2:])

    merged = np.empty_like(cells)
    belongs = np.empty(len(cells), np.int64)
    count = 0
    for index in np.lexsort((cells[:, 1], cells[:, 0])):
        box = cells[index]
        others = merged[:count]
        union = np.concatenate(
            [np.minimum(others[:, :2], box[:2]), np.maximum(others[:, 2:], box[2:])], axis=1
        )
        saved = _work(others) + _work(box) - _work(union)
        saved[_largest_scale(union, height, width) < 1] = -1
        if count and saved.max() >= 0:
            belongs[index] = saved.argmax()
            merged[belongs[index]] = union[belongs[index]]
        else:
            belongs[index] = count
            merged[count] = box
            count += 1
    return belongs[members], merged[:count]


def _work(boxes: np.ndarray) -> np.ndarray:
    """Return how many pixels the windows of boxes [..., 4] hold."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return _window_sides(sides).prod(axis=-1)


def _window_sides(sides: np.ndarray) -> np.ndarray:
    """Return the wanted sides [..., 2] of windows for holes of these sides: half a hole on either side."""
    margin = np.maximum(sides.max(axis=-1, keepdims=True) // 2, SURROUNDINGS)
    return np.clip(sides + 2 * margin, SMALLEST_WINDOW, WORKING_SIZE)


def window_around(box: Box, height: int, width: int, stride: int) -> Box:
    """Place a window around a hole's box, inside the photo and in multiples of `stride` where that fits."""
    wanted = _window_sides(np.array([box.bottom - box.top, box.right - box.left]))
    spans = []
    for side, start, stop, size in zip(
        wanted.tolist(), (box.top, box.left), (box.bottom, box.right), (height, width), strict=True
    ):
        length = min(-(-side // stride) * stride, size)
        first = min(max((start + stop - length) // 2, 0), size - length)
        spans.append((first, first + length))
    (top, bottom), (left, right) = spans
    return Box(top, left, bottom, right)


def cells(start: int, stop: int, size: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Cut one axis of a hole into cells that each fit in a window with their surroundings.

    Args:
        start: first row or column of the hole.
        stop: the one behind its last.
        size: of the photo along this axis.

    Yields:
        Each cell as a slice relative to `start`, and the weights of its pixels. Neighbours overlap by
        `OVERLAP`, where their weights cross over and sum to 1.
    """
    length = stop - start
    needed = min(stop + SURROUNDINGS, size) - max(start - SURROUNDINGS, 0)
    count = 1 if needed <= WORKING_SIZE else -(-(length - OVERLAP) // (_CORE - OVERLAP))
    ramp = (np.arange(OVERLAP, dtype=np.float32) + 0.5) / OVERLAP
    for index in range(count):
        first = round(index * (length - OVERLAP) / count)
        last = length if index == count - 1 else round((index + 1) * (length - OVERLAP) / count) + OVERLAP
        weights = np.ones(last - first, np.float32)
        if index > 0:
            weights[:OVERLAP] = ramp
        if index < count - 1:
            weights[-OVERLAP:] = ramp[::-1]
        yield slice(first, last), weights


@dataclass(frozen=True)
class Piece:
    """A piece of a hole that one window of the network fills.

    Attributes:
        place: rows and columns of the piece's cell within the hole's box.
        weights: [rows, columns] of the cell; neighbouring cells overlap, and their weights sum to 1.
        target: the smallest box in the photo around the piece's pixels.
        window: what the network sees.
    """

    place: tuple[slice, slice]
    weights: np.ndarray
    target: Box
    window: Box


def pieces(own: np.ndarray, box: Box, height: int, width: int, stride: int) -> list[Piece]:
    """Cut a hole into pieces that each fit in a window with their surroundings.

    Args:
        own: bool, of the box's shape: the pixels to fill.
        box: where they lie in the photo.
        height: of the photo.
        width: of the photo.
        stride: windows are multiples of it where that fits.
    """
    found = []
    grid = itertools.product(cells(box.top, box.bottom, height), cells(box.left, box.right, width))
    for (rows, row_weights), (columns, column_weights) in grid:
        own_here = own[rows, columns]
        if own_here.any():
            target = bounding_box(own_here).moved(box.top + rows.start, box.left + columns.start)
            window = window_around(target, height, width, stride)
            weights = np.outer(row_weights, column_weights)
            found.append(Piece((rows, columns), weights, target, window))
    return found


def bounding_box(selection: np.ndarray) -> Box:
    """Return the smallest box that holds all True pixels of bool H×W; there is at least one.

    >>> bounding_box(np.eye(5, dtype=bool)[:4])
    Box(top=0, left=0, bottom=4, right=4)
    """
    rows = np.flatnonzero(selection.any(axis=1))
    columns = np.flatnonzero(selection.any(axis=0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
