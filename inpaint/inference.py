"""Photo + mask -> photo, at any size.

A network sees a window of at most :data:`WORKING_SIZE` pixels a side, so the work is done near the holes.
Every hole is given the largest scale, 1 at most, at which it can be filled:

- a hole whose surroundings fit in a window is filled in one piece at the photo's own resolution;
- so is a longer one that is thin, a scratch or a brush stroke, in overlapping windows along it;
- a hole both large and thick is filled in a shrunk copy, and the fill is brought up.

Every window reads the original photo, takes all hole pixels in it as unknown, and fills only those of its own
hole. The result therefore depends neither on the order of holes nor on what the holes contained.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from inpaint.devices import choose_device
from inpaint.weights import find_model, load_weights

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
class _Box:
    """Rows top..bottom and columns left..right, ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, margin: int, height: int, width: int) -> _Box:
        """Return the box with `margin` more on each side, as far as a picture of that size has it."""
        return _Box(
            max(self.top - margin, 0),
            max(self.left - margin, 0),
            min(self.bottom + margin, height),
            min(self.right + margin, width),
        )

    def moved(self, down: int, right: int) -> _Box:
        """Return the box moved by so many pixels."""
        return _Box(self.top + down, self.left + right, self.bottom + down, self.right + right)


@dataclass(frozen=True)
class _Job:
    """Hole pixels that are filled together: those whose component belongs to `group`, all inside `box`."""

    group: int
    box: _Box
    scale: float


class Inpainter:
    """Fill the holes of photos with a network.

    ``fill = Inpainter.from_pretrained("pconv-carafe"); result = fill(image, mask)``. Calls keep no state, so
    one Inpainter may serve several threads.

    Args:
        network: takes image float [1, 3, H, W] in [0, 1] and mask [1, 1, H, W] (1 = hole), returns the whole
            picture [1, 3, H, W]; H and W are multiples of its `stride`. It is moved to the device and put in
            evaluation mode.
        device: "auto" (a CUDA GPU where there is one, else the CPU), "cpu", "cuda" or "cuda:1".
    """

    def __init__(self, network: nn.Module, device: str | torch.device = "auto") -> None:
        self.device = choose_device(device)
        self.network = network.to(self.device).eval()
        self.stride = int(getattr(network, "stride", 1))

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str | torch.device = "auto") -> Inpainter:
        """Load a model by installed name, folder, weights file or hub id (see `inpaint.weights.find_model`).

        Raises :class:`inpaint.weights.WeightsError` where there is none or its file cannot be used.
        """
        device = choose_device(device)
        network, _ = load_weights(find_model(name))
        return cls(network, device)

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, *, progress: Callable[[float], None] | None = None
    ) -> np.ndarray:
        """Return the photo with its holes filled; every other pixel is bit-identical.

        Args:
            image: uint8 H×W×3 RGB, any size and strides, left as it is.
            mask: bool H×W, True = fill.
            progress: called with the fraction done, rising from 0 to 1.

        An empty mask gives a copy of the photo. Where nothing at all is known there is nothing to go by, and
        the result is mid-grey. Raises TypeError or ValueError for arrays of another kind or shape.
        """
        _check_inputs(image, mask)
        report = progress or (lambda fraction: None)
        report(0.0)
        result = np.array(image, order="C")
        mask = np.ascontiguousarray(mask)
        jobs, groups = _plan(mask)
        for done, job in enumerate(jobs):

            def advance(fraction: float, done: int = done) -> None:
                report((done + fraction) / len(jobs))

            own = groups[job.box.slices] == job.group
            fill = self._fill_native if job.scale == 1 else self._fill_shrunk
            result[job.box.slices][own] = fill(image, mask, own, job, advance)
        report(1.0)
        return result

    def _fill_native(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        own: np.ndarray,
        job: _Job,
        advance: Callable[[float], None],
    ) -> np.ndarray:
        """Fill at the photo's resolution; return uint8 values for the pixels of `own`."""
        return _to_uint8(self._fill_windows(image, mask, own, job.box, advance)[own])

    def _fill_shrunk(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        own: np.ndarray,
        job: _Job,
        advance: Callable[[float], None],
    ) -> np.ndarray:
        """Fill at `job.scale` and bring the fill up; return uint8 values for the pixels of `own`."""
        height, width = mask.shape
        region = job.box.grown(round(SURROUNDINGS / job.scale), height, width)
        small, small_mask = _shrink(image[region.slices], mask[region.slices], job.scale)
        if small_mask.any():
            # The network's own view of the hole's edge, too: where it differs from the photo shows by how
            # much the fill is off. Three pixels are what cubic interpolation reaches.
            wanted = cv2.dilate(small_mask.view(np.uint8), np.ones((7, 7), np.uint8)) > 0
            box = _bounding_box(wanted)
            wanted = wanted[box.slices]
            small[box.slices][wanted] = self._fill_windows(small, small_mask, wanted, box, advance)[wanted]
        return _bring_up(small, image, mask, own, job.box, region)

    def _fill_windows(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        own: np.ndarray,
        box: _Box,
        advance: Callable[[float], None],
    ) -> np.ndarray:
        """Fill the pixels `own` of `box`, at the resolution of `image`, in as many windows as it takes.

        Returns float32 values in [0, 255], shaped as the box; pixels outside `own` are 0.
        """
        height, width = mask.shape
        filled = np.zeros((*own.shape, 3), np.float32)
        row_cells, column_cells = _cells(box.top, box.bottom, height), _cells(box.left, box.right, width)
        cells = list(itertools.product(row_cells, column_cells))
        for done, ((rows, row_weights), (columns, column_weights)) in enumerate(cells):
            own_here = own[rows, columns]
            if own_here.any():
                tight = _bounding_box(own_here)
                hole = own_here[tight.slices]
                target = tight.moved(box.top + rows.start, box.left + columns.start)
                window = _window(target, height, width, self.stride)
                prediction = self._predict(image[window.slices], mask[window.slices])
                seen = prediction[target.moved(-window.top, -window.left).slices][hole]
                weights = np.outer(row_weights, column_weights)[tight.slices][hole]
                filled[rows, columns][tight.slices][hole] += weights[:, None] * seen
            advance((done + 1) / len(cells))
        return filled

    def _predict(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return what the network makes of one window: float32 H×W×3 in [0, 255]."""
        if mask.all():
            return np.full((*mask.shape, 3), 128, np.float32)
        height, width = mask.shape
        # No network gets to see what was painted over.
        known = torch.from_numpy(np.where(mask[..., None], image.dtype.type(0), image))
        pixels = known.to(self.device).permute(2, 0, 1).float() / 255
        holes = torch.from_numpy(mask.astype(np.float32)).to(self.device)
        # Beyond the photo's edge nothing is known, which is what the mask says there.
        padding = (0, -width % self.stride, 0, -height % self.stride)
        pixels = nn.functional.pad(pixels, padding)[None]
        holes = nn.functional.pad(holes, padding, value=1.0)[None, None]
        with torch.inference_mode():
            prediction = self.network(pixels, holes)[0, :, :height, :width].float()
        if not bool(torch.isfinite(prediction).all()):
            raise RuntimeError("the network returned NaN or infinity; its weights are damaged, load others")
        return prediction.clamp(0, 1).mul(255).permute(1, 2, 0).cpu().numpy()


def _check_inputs(image: np.ndarray, mask: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError(
            f"image must be a NumPy array of uint8, not {_kind(image)}; "
            "np.asarray(picture.convert('RGB')) makes one of a Pillow image"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            f"image must be H×W×3 RGB, not {image.shape}; np.stack([grey] * 3, -1) makes it of grey"
        )
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(
            f"mask must be a NumPy array of bool, True = fill, not {_kind(mask)}; mask > 127 makes one"
        )
    if mask.shape != image.shape[:2]:
        raise ValueError(f"mask must be H×W = {image.shape[:2]} as the image is, not {mask.shape}")


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__


# Planning: which hole pixels are filled together, and at which scale.


def _plan(mask: np.ndarray) -> tuple[list[_Job], np.ndarray]:
    """Return the jobs, and the group of every pixel (0 = known)."""
    height, width = mask.shape
    if not mask.any():
        return [], mask.view(np.uint8)
    if max(height, width) <= WORKING_SIZE:
        # One window holds everything, and no two need be paid for.
        return [_Job(1, _bounding_box(mask), 1.0)], mask.view(np.uint8)
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
    jobs = [_Job(number, _Box(*box), 1.0) for number, box in enumerate(merged.tolist(), start=1)]

    large = np.flatnonzero(~fitting)
    if len(large):
        distance = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, 5)
        for index in large.tolist():
            box = _Box(*boxes[index].tolist())
            depth = float(distance[box.slices][labels[box.slices] == index + 1].max())
            scale = max(float(_largest_scale(boxes[index], height, width)), SURROUNDINGS / depth)
            jobs.append(_Job(len(jobs) + 1, box, min(scale, 1.0)))
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


# Windows.


def _window_sides(sides: np.ndarray) -> np.ndarray:
    """Return the wanted sides [..., 2] of windows for holes of these sides: half a hole on either side."""
    margin = np.maximum(sides.max(axis=-1, keepdims=True) // 2, SURROUNDINGS)
    return np.clip(sides + 2 * margin, SMALLEST_WINDOW, WORKING_SIZE)


def _window(box: _Box, height: int, width: int, stride: int) -> _Box:
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
    return _Box(top, left, bottom, right)


def _cells(start: int, stop: int, size: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Cut one axis of a hole into cells that each fit in a window with their surroundings.

    Yields each cell as a slice relative to `start`, and the weights of its pixels; neighbours overlap by
    :data:`OVERLAP`, where their weights cross over and sum to 1.
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


def _bounding_box(selection: np.ndarray) -> _Box:
    rows = np.flatnonzero(selection.any(axis=1))
    columns = np.flatnonzero(selection.any(axis=0))
    return _Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


# Scales.


def _shrink(image: np.ndarray, mask: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Shrink a photo so that nothing of its hole leaks into what is known.

    A shrunk pixel is the mean of the *known* pixels under it, and is hole where there are none: so no known
    pixel is lost, and a hole too thin to be seen at this scale is filled by its surroundings. Returns float32
    h×w×3 in [0, 255], 0 in the hole, and bool h×w.
    """
    size = tuple(min(max(round(side * scale), 1), side) for side in (mask.shape[1], mask.shape[0]))
    known = (~mask).astype(np.float32)
    share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    hole = share < 1e-6
    divisor = np.where(hole, np.float32(1), share)
    small = np.empty((*hole.shape, 3), np.float32)
    for channel in range(3):
        total = cv2.resize(image[..., channel] * known, size, interpolation=cv2.INTER_AREA)
        small[..., channel] = np.where(hole, np.float32(0), total / divisor)
    return small, hole


def _bring_up(
    small: np.ndarray, image: np.ndarray, mask: np.ndarray, own: np.ndarray, box: _Box, region: _Box
) -> np.ndarray:
    """Enlarge a fill to the photo's resolution and make it meet the photo without a seam.

    `small` is the shrunk `region` with its fill, float32 h×w×3 in [0, 255]; `own` selects the pixels of `box`
    that are wanted. What the enlarged fill lacks at the known pixels along the hole is spread smoothly over
    the hole and added. Returns uint8 [N, 3] for the pixels of `own`.
    """
    inner = box.grown(2, *mask.shape)
    hole = mask[inner.slices]
    edge = (cv2.dilate(hole.view(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~hole
    inner_in_region = inner.moved(-region.top, -region.left)
    box_in_inner = box.moved(-inner.top, -inner.left)
    size = (region.right - region.left, region.bottom - region.top)
    values = np.empty((int(own.sum()), 3), np.uint8)
    for channel in range(3):  # one at a time: a third of the memory for a 40-megapixel hole
        enlarged = cv2.resize(small[..., channel], size, interpolation=cv2.INTER_CUBIC)
        enlarged = enlarged.reshape(size[::-1])[inner_in_region.slices]
        if edge.any():
            lacking = np.where(edge, image[inner.slices][..., channel] - enlarged, np.float32(0))
            enlarged = enlarged + _push_pull(lacking, edge.astype(np.float32))
        values[:, channel] = _to_uint8(enlarged[box_in_inner.slices][own])
    return values


def _push_pull(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spread values float32 H×W, known where weights in [0, 1] are 1, smoothly over the rest.

    The pull phase halves the picture, weighing each value, until every pixel has one; the push phase brings
    the coarser values up to where finer ones are missing (Gortler et al., The Lumigraph, 1996).
    """
    height, width = values.shape
    if max(height, width) == 1 or weights.min() >= 1:
        return values
    half = ((width + 1) // 2, (height + 1) // 2)
    share = cv2.resize(weights, half, interpolation=cv2.INTER_AREA)
    total = cv2.resize(values * weights, half, interpolation=cv2.INTER_AREA)
    # cv2 gives a picture one pixel wide back with one axis; pixels without weight keep the value 0.
    share, total = share.reshape(half[::-1]), total.reshape(half[::-1])
    coarse = _push_pull(total / np.maximum(share, 1e-6), np.minimum(4 * share, 1))
    coarser = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width)
    return weights * values + (1 - weights) * coarser


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
