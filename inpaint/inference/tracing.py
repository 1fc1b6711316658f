"""Where a pixel of a fill comes from: which known pixels CARAFE gathered, and which patch lies over them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from inpaint.inference.detail import source_of
from inpaint.inference.inpainter import Inpainter, grown, shrunk_hole
from inpaint.inference.plan import Box, Job, pieces, plan
from inpaint.inference.synthesis import RADIUS
from inpaint.networks.tracing import trace

PATCH_SIDE = 2 * RADIUS + 1
"""Side of the patches that `FillTrace.patch` is the middle of, in pixels."""


@dataclass(frozen=True)
class FillTrace:
    """Where one pixel of a fill comes from.

    Attributes:
        pixel: row and column.
        weights: float32 H×W, how much of each known pixel is in the network's fill there, by the kernels of
            its CARAFE layers; 0 in the hole. See `inpaint.networks.tracing`.
        rest: the share that comes from no known pixel. With the weights it sums to 1, less what falls beyond
            the picture's edge.
        levels: from the finest to the coarsest, the names of the levels that the weights come from, how many
            pixels of what the network saw lie along a side of a pixel of the level, and their share.
        patch: row and column of the middle of the patch of the photo that was laid over the network's fill;
            None with `detail="none"`, and where the network's fill stays.
    """

    pixel: tuple[int, int]
    weights: np.ndarray
    rest: float
    levels: list[tuple[str, int, float]]
    patch: tuple[int, int] | None


def trace_fill(
    fill: Inpainter,
    image: np.ndarray,
    mask: np.ndarray,
    pixel: tuple[int, int],
    *,
    seed: int = 0,
    grow: int = 0,
) -> FillTrace:
    """Return where a pixel of `fill(image, mask, seed=seed, grow=grow)` comes from.

    Args:
        fill: its network has CARAFE in it.
        image: uint8 H×W×3.
        mask: bool H×W, True = hole.
        pixel: row and column of a pixel of the hole.
        seed: as of the fill.
        grow: as of the fill.

    Raises:
        ValueError: the pixel is not in the hole, nothing is known, or the network has no CARAFE layer.
    """
    row, column = pixel
    hole = grown(mask, grow)
    if not (0 <= row < hole.shape[0] and 0 <= column < hole.shape[1] and hole[row, column]):
        raise ValueError(f"row {row}, column {column} is no pixel of the hole; only those are filled")
    if hole.all():
        raise ValueError("everything is hole, so nothing was gathered from anywhere")
    jobs, groups = plan(hole)
    job = next(job for job in jobs if job.group == groups[row, column])
    follow = _native if job.scale == 1 else _shrunk
    weights, rest, levels = follow(fill, image, hole, groups[job.box.slices] == job.group, job, pixel)
    patch = None
    if fill.detail == "photo":
        guide = Inpainter(fill.network, fill.device, "none", fill.precision)(image, hole)
        patch = source_of(image, guide, hole, pixel, seed)
    return FillTrace(pixel, weights, rest, levels, patch)


def _native(
    fill: Inpainter, image: np.ndarray, hole: np.ndarray, own: np.ndarray, job: Job, pixel: tuple[int, int]
) -> tuple[np.ndarray, float, list[tuple[str, int, float]]]:
    """Trace a pixel that was filled at the photo's resolution."""
    return _in_window(fill, image, hole, own, job.box, pixel)


def _shrunk(
    fill: Inpainter, image: np.ndarray, hole: np.ndarray, own: np.ndarray, job: Job, pixel: tuple[int, int]
) -> tuple[np.ndarray, float, list[tuple[str, int, float]]]:
    """Trace a pixel that was filled in a shrunk copy, and spread what is found over the photo's pixels."""
    region, small, small_hole, wanted = shrunk_hole(image, hole, job)
    known = (~hole[region.slices]).astype(np.float32)
    at = tuple(
        (place - first) * part // full
        for place, first, part, full in zip(
            pixel, (region.top, region.left), small_hole.shape, known.shape, strict=True
        )
    )
    box = Box(0, 0, *small_hole.shape)
    if small_hole[at]:
        found, rest, levels = _in_window(fill, small, small_hole, wanted, box, at)
    else:  # so thin here that the copy does not have it: the pixel is its surroundings' mean
        found, rest, levels = np.zeros(small_hole.shape, np.float32), 0.0, []
        found[at] = 1
    down, across = (_overlaps(part, full) for part, full in zip(found.shape, known.shape, strict=True))
    counts = down @ known @ across.T  # how much of each pixel of the copy is known
    each = np.where(small_hole, np.float32(0), found / np.maximum(counts, 1e-6))
    weights = np.zeros(hole.shape, np.float32)
    weights[region.slices] = known * (down.T @ each @ across)
    return weights, rest, levels


def _overlaps(part: int, full: int) -> np.ndarray:
    """Return how much of each pixel of a line lies in each pixel of its shrunk copy, [part, full].

    >>> _overlaps(2, 3).tolist()
    [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]
    """
    edges = np.arange(part + 1) * (full / part)
    pixels = np.arange(full)
    first, last = np.maximum(edges[:-1, None], pixels), np.minimum(edges[1:, None], pixels + 1)
    return np.maximum(last - first, 0).astype(np.float32)


def _in_window(
    fill: Inpainter, image: np.ndarray, hole: np.ndarray, own: np.ndarray, box: Box, pixel: tuple[int, int]
) -> tuple[np.ndarray, float, list[tuple[str, int, float]]]:
    """Trace a pixel in the window that has the most of it; windows along a hole overlap."""
    height, width = hole.shape
    row, column = pixel[0] - box.top, pixel[1] - box.left
    most, window = 0.0, None
    for piece in pieces(own, box, height, width, fill.network.stride):
        rows, columns = piece.place
        if rows.start <= row < rows.stop and columns.start <= column < columns.stop:
            weight = float(piece.weights[row - rows.start, column - columns.start])
            if weight > most:
                most, window = weight, piece.window
    assert window is not None  # the pieces hold every pixel of the hole
    pixels, holes = fill.network.to_input(image[window.slices], hole[window.slices], fill.device)
    with torch.autocast(fill.device.type, enabled=False):
        found = trace(fill.network, pixels, holes, (pixel[0] - window.top, pixel[1] - window.left))
    weights = np.zeros(hole.shape, np.float32)
    inside = weights[window.slices]
    inside[:] = found.weights[: inside.shape[0], : inside.shape[1]].cpu().numpy()
    levels = [(level.name, level.factor, float(level.weights.sum())) for level in found.levels]
    return weights, found.rest, levels


def draw_trace(filled: np.ndarray, mask: np.ndarray, found: FillTrace) -> np.ndarray:
    """Draw where a pixel comes from: the known pixels as bright as their weight, and the patch as a frame.

    Args:
        filled: uint8 H×W×3, the fill.
        mask: bool H×W, the hole that was filled.
        found: what `trace_fill` returned.

    Returns:
        uint8 H×W×3. Known pixels without weight are dark and grey, the hole is as it is and outlined, a cross
        marks the pixel.
    """
    height, width = mask.shape
    line = max(1, round(max(height, width) / 600))
    grey = cv2.cvtColor(filled, cv2.COLOR_RGB2GRAY)
    dark = np.repeat((0.45 * grey + 8)[..., None], 3, axis=2)
    # A rim of single pixels cannot be seen in a large photo: weights are spread a little, on known pixels.
    # Below 0 are some of the smooth fill's: its sweeps overshoot.
    seen = cv2.GaussianBlur(np.maximum(found.weights, 0), (0, 0), 0.8 * line) * ~mask
    # A few pixels along the rim have most of it: they may be over-bright, so that the others are seen at all.
    brightest = float(np.quantile(seen[seen > 0], 0.98)) if seen.any() else 1.0
    strength = np.minimum(seen / brightest, 1) ** 0.5
    heat = cv2.applyColorMap(np.rint(255 * strength).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = strength[..., None]
    picture = np.where(mask[..., None], filled, np.rint(dark * (1 - share) + heat * share)).astype(np.uint8)
    outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outline, -1, (255, 255, 255), line)
    if found.patch is not None:
        _frame(picture, found.patch, line, (80, 220, 255))
    row, column = found.pixel
    for colour, thickness in (((0, 0, 0), 3 * line), ((255, 255, 255), line)):
        cv2.drawMarker(picture, (column, row), colour, cv2.MARKER_CROSS, 14 * line, thickness)
    return picture


def _frame(picture: np.ndarray, middle: tuple[int, int], line: int, colour: tuple[int, int, int]) -> None:
    """Draw a frame around a patch, in place."""
    reach = RADIUS + 2 * line
    (row, column) = middle
    corners = (column - reach, row - reach), (column + reach, row + reach)
    cv2.rectangle(picture, *corners, (0, 0, 0), 3 * line)
    cv2.rectangle(picture, *corners, colour, line)
