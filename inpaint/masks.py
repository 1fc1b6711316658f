"""Hole generators: ``(rng, height, width, **settings) -> bool H×W``, True where the picture is to be filled.

Every function is pure: the same generator state and size give the same mask, and nothing else is consulted.
Lengths are stated for a 512×512 picture and scale with the square root of the picture's area, so a mask has
the same character and, on average, the same hole ratio at every size.

``ratio=(low, high)`` asks for a hole that covers between ``low`` and ``high`` of the picture. The wanted
coverage is drawn uniformly from that range, shapes are added until it is reached, and the last shape is
shrunk to fit; objects are drawn at the size that it takes. The range is always met when some whole number of
pixels lies in it; on pictures so small that none does (0.1-0.5 of a 1×1 picture), the pixel count nearest to
the range is taken, which may be none.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .files import why_not_regular
from .images import SUFFIXES, ImageError, LimitError, read_mask

Ratio = tuple[float, float]

REFERENCE_SIDE = 512

# Beyond this many strokes a wanted coverage is being approached too slowly (thin strokes over a nearly
# covered picture); the hole is then grown evenly for the rest.
_MOST_STROKES = 1000
_BISECTIONS = 7
_REDRAWS = 10

_SHIFT = 4  # bits after the point in the corners that OpenCV's polygons are given
_WAVES = np.arange(2, 6)  # how many waves fit around an outline: one would only move it, many would fray it
_ANGLES = np.linspace(0, 2 * math.pi, 64, endpoint=False)


def generator_for(*keys: int | str) -> np.random.Generator:
    """Return a random generator that is a pure function of ``keys``, the same on every machine and run.

    The keys are hashed with SHA-256, so neighbouring keys (step 7, step 8) give unrelated streams, and
    ``1`` and ``"1"`` are different keys.
    """
    plain = [key if isinstance(key, str) else operator.index(key) for key in keys]
    digest = hashlib.sha256(json.dumps(plain).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


# ---------------------------------------------------------------------------------------------------------
# Shapes and how they are put together


@dataclass(frozen=True, slots=True)
class _Segment:
    """A straight piece of a brush stroke with round ends."""

    start: tuple[float, float]
    end: tuple[float, float]
    width: float

    def paint(self, canvas: np.ndarray, scale: float = 1.0) -> None:
        (x0, y0), (x1, y1) = self.start, self.end
        end = (int(x0 + scale * (x1 - x0)), int(y0 + scale * (y1 - y0)))
        cv2.line(canvas, (int(x0), int(y0)), end, 1, max(1, round(scale * self.width)))


@dataclass(frozen=True, slots=True)
class _Box:
    """An axis-aligned rectangle; shrinks about its centre."""

    left: int
    top: int
    width: int
    height: int

    def paint(self, canvas: np.ndarray, scale: float = 1.0) -> None:
        width, height = max(1, round(scale * self.width)), max(1, round(scale * self.height))
        left, top = self.left + (self.width - width) // 2, self.top + (self.height - height) // 2
        canvas[top : top + height, left : left + width] = 1


@dataclass(frozen=True, slots=True)
class _Blob:
    """A body with lobes, each inside a smooth outline around its own centre; shrinks about the body's centre.

    The centres of the lobes lie on the body and in the picture, and every outline can be seen whole from its
    centre. So the blob is one piece, whatever the picture's border cuts off.
    """

    centres: np.ndarray  # [lobes, 2], x and y in pixels; the first is the body's
    outlines: np.ndarray  # [lobes, points, 2], x and y relative to the centre

    def paint(self, canvas: np.ndarray, scale: float = 1.0) -> None:
        centres = self.centres[0] + scale * (self.centres - self.centres[0])
        points = centres[:, None] + scale * self.outlines
        # One by one: where two polygons of one call overlap, OpenCV leaves a hole.
        for polygon in np.rint(points * 2**_SHIFT).astype(np.int32):
            cv2.fillPoly(canvas, [polygon], 1, shift=_SHIFT)

    def grown(self, scale: float) -> _Blob:
        """The same blob with larger outlines around the same centres, which covers it wherever it is cut."""
        return _Blob(self.centres, scale * self.outlines)


_Shape = _Segment | _Box | _Blob
_Strokes = Iterator[Sequence[_Shape]]


def _unit(height: int, width: int) -> float:
    """Pixels of this picture per pixel of the 512×512 reference."""
    return math.sqrt(height * width) / REFERENCE_SIDE


def _scribbles(
    rng: np.random.Generator, height: int, width: int, length: Ratio, brush: Ratio, segments: tuple[int, int]
) -> _Strokes:
    """Endless brush strokes in LaMa's manner: each segment has its own heading, length and width."""
    unit = _unit(height, width)
    for index in itertools.count():
        number = int(rng.integers(segments[0], segments[1], endpoint=True))
        x, y = rng.random(2) * (width, height)
        headings = rng.uniform(0, 4, number) * (1 if index % 2 else -1)
        lengths = unit * rng.uniform(*length, number)
        widths = unit * rng.uniform(*brush, number)
        stroke = []
        for heading, reach, thickness in zip(headings, lengths, widths, strict=True):
            end_x = min(max(x + reach * math.sin(heading), 0.0), width - 1.0)
            end_y = min(max(y + reach * math.cos(heading), 0.0), height - 1.0)
            stroke.append(_Segment((x, y), (end_x, end_y), thickness))
            x, y = end_x, end_y
        yield stroke


def _zigzags(
    rng: np.random.Generator, height: int, width: int, vertices: tuple[int, int], brush: Ratio
) -> _Strokes:
    """Endless brush strokes in DeepFillv2's manner: one width, headings that swing to and fro."""
    reach = math.hypot(height, width) / 8
    unit = _unit(height, width)
    for _ in itertools.count():
        number = int(rng.integers(vertices[0], vertices[1], endpoint=True))
        x, y = rng.random(2) * (width, height)
        # The authors flip the finished mask at random instead; turning each stroke also keeps the strokes
        # of one mask from all running the same way.
        turn = rng.uniform(0, 2 * math.pi)
        spread = rng.uniform(0, 2 * math.pi / 15, 2)
        swing = rng.uniform(2 * math.pi / 5 - spread[0], 2 * math.pi / 5 + spread[1], number)
        lengths = np.clip(rng.normal(reach, reach / 2, number), 0, 2 * reach)
        thickness = unit * rng.uniform(*brush)
        stroke = []
        for index in range(number):
            heading = turn + (swing[index] if index % 2 else -swing[index])
            end_x = min(max(x + lengths[index] * math.cos(heading), 0.0), width - 1.0)
            end_y = min(max(y + lengths[index] * math.sin(heading), 0.0), height - 1.0)
            stroke.append(_Segment((x, y), (end_x, end_y), thickness))
            x, y = end_x, end_y
        yield stroke


def _boxes(rng: np.random.Generator, height: int, width: int, side: Ratio, margin: float) -> _Strokes:
    """Endless rectangles, one a stroke, wholly inside the picture and ``margin`` from its border."""
    unit = _unit(height, width)
    edge = min(round(unit * margin), (min(height, width) - 1) // 2)
    for _ in itertools.count():
        sides = np.rint(unit * rng.uniform(*side, 2)).astype(int)
        box_width, box_height = np.clip(sides, 1, (width - 2 * edge, height - 2 * edge)).tolist()
        left = edge + int(rng.integers(width - 2 * edge - box_width, endpoint=True))
        top = edge + int(rng.integers(height - 2 * edge - box_height, endpoint=True))
        yield [_Box(left, top, box_width, box_height)]


def _blobs(rng: np.random.Generator, height: int, width: int, areas: Sequence[float]) -> _Strokes:
    """Blobs of about these areas in pixels, one a stroke; after them the last one, larger every time."""
    for area in areas:
        blob = _blob(rng, height, width, area)
        yield [blob]
    while True:
        blob = blob.grown(1.25)
        yield [blob]


def _blob(rng: np.random.Generator, height: int, width: int, area: float) -> _Blob:
    """A blob inside the picture, or one time in eight across its border, as things are that stand there."""
    lobes = int(rng.choice(4, p=(0.4, 0.3, 0.2, 0.1)))
    sizes = np.append(1.0, rng.uniform(0.35, 0.7, lobes))
    heights = rng.normal(0, 0.4, (lobes + 1, 1, len(_WAVES))) / _WAVES**1.5
    phases = rng.uniform(0, 2 * math.pi, (lobes + 1, len(_WAVES), 1))
    swell = heights @ np.cos(_WAVES[:, None] * _ANGLES + phases)  # [lobes + 1, 1, points]
    radii = sizes[:, None] * np.exp(swell[:, 0])
    outlines = radii[..., None] * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], -1)
    # The body is up to three times as long as it is wide, lobes up to twice: a brush paints no spikes.
    stretch = np.sqrt(np.array([3] + lobes * [2]) ** rng.random(lobes + 1))[:, None, None]
    outlines *= np.concatenate([stretch, 1 / stretch], -1)
    turns = rng.uniform(0, math.pi, lobes + 1)
    cosines, sines = np.cos(turns), np.sin(turns)
    outlines = outlines @ np.stack([np.stack([cosines, sines], -1), np.stack([-sines, cosines], -1)], 1)
    # Lobes sit on the body, short of its rim.
    centres = outlines[0, rng.integers(len(_ANGLES), size=lobes + 1)] * rng.uniform(0.6, 0.9, (lobes + 1, 1))
    centres[0] = 0

    # About half of a lobe lies on the body or on other lobes.
    drawn = [cv2.contourArea(outline.astype(np.float32)) for outline in outlines]
    zoom = math.sqrt(area / (drawn[0] + sum(drawn[1:]) / 2))
    size = np.array([width, height])
    points = zoom * (centres[:, None] + outlines)
    extent = np.ptp(points.reshape(-1, 2), axis=0)
    # What is too long for the picture is pressed into it and gets wider for that.
    room = size / extent
    press = np.minimum(room, 1 / np.minimum(room, 1)[::-1]) * zoom
    centres, outlines = press * centres, press * outlines

    points = (centres[:, None] + outlines).reshape(-1, 2)
    start, extent = points.min(axis=0), np.ptp(points, axis=0)
    beyond = extent / 2 if rng.random() < 1 / 8 else 0.0
    place = -beyond + rng.random(2) * (size - extent + 2 * beyond) - start
    return _Blob(np.clip(place + centres - 0.5, 0, size - 1), outlines)


def _compose(
    rng: np.random.Generator,
    height: int,
    width: int,
    strokes: _Strokes,
    count: tuple[int, int],
    ratio: Ratio | None,
) -> np.ndarray:
    """Paint ``count`` strokes, or as many as the wanted ratio takes."""
    canvas = np.zeros((height, width), np.uint8)
    if ratio is None:
        number = int(rng.integers(count[0], count[1], endpoint=True))
        for shape in itertools.chain.from_iterable(itertools.islice(strokes, number)):
            shape.paint(canvas)
        return canvas.view(bool)

    low, high = _pixel_range(ratio, height * width)
    target = _draw_target(rng, ratio, low, high, height * width)
    return _cover(canvas, strokes, target, low, high)


def _cover(canvas: np.ndarray, strokes: _Strokes, target: int, low: int, high: int) -> np.ndarray:
    """Paint strokes on an empty canvas until about ``target`` pixels, ``low`` to ``high``, are covered."""
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
    return _settle(canvas, low, high).view(bool)


def _pixel_range(ratio: Ratio, pixels: int) -> tuple[int, int]:
    """The pixel counts whose share of ``pixels`` lies in ``ratio``; else the one count nearest to it."""
    low, high = ratio
    if not 0 <= low <= high <= 1:
        raise ValueError(f"hole ratio {low}-{high}: it must be 0 <= low <= high <= 1, such as 0.1-0.5")
    # Rounded products miss by one now and then; what counts is the quotient a caller will compute.
    fewest = math.ceil(low * pixels)
    fewest += (fewest / pixels < low) - (fewest > 0 and (fewest - 1) / pixels >= low)
    most = math.floor(high * pixels)
    most += (most < pixels and (most + 1) / pixels <= high) - (most / pixels > high)
    if fewest <= most:
        return fewest, most
    below, above = most, fewest
    nearest = below if low - below / pixels <= above / pixels - high else above
    return nearest, nearest


def _draw_target(rng: np.random.Generator, ratio: Ratio, low: int, high: int, pixels: int) -> int:
    return min(max(round(rng.uniform(*ratio) * pixels), low), high)


def _shrink_to(target: int, shape: _Shape, before: np.ndarray) -> np.ndarray:
    """Paint ``shape`` over ``before``, scaled down so that about ``target`` pixels are covered, not more.

    A scale of zero still paints a pixel; where even that is too much, it is left to `_settle`.
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


def _settle(canvas: np.ndarray, low: int, high: int) -> np.ndarray:
    """Grow or peel the hole along its rim until it covers between ``low`` and ``high`` pixels."""
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


# ---------------------------------------------------------------------------------------------------------
# The generators


def free_form(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    ratio: Ratio | None = None,
    strokes: tuple[int, int] = (1, 4),
    vertices: tuple[int, int] = (4, 12),
    brush: Ratio = (24.0, 80.0),
) -> np.ndarray:
    """Draw free-form brush strokes (Yu et al. 2019, "Free-Form Image Inpainting with Gated Convolution").

    Args:
        rng: the source of all randomness.
        height: rows of the mask.
        width: columns of the mask.
        ratio: wanted hole ratio, low and high; None paints ``strokes`` strokes whatever they cover.
        strokes: fewest and most strokes.
        vertices: fewest and most segments of a stroke; their mean length is an eighth of the diagonal.
        brush: thinnest and thickest brush, pixels at 512×512.

    Returns:
        bool ``H×W``, True in the hole.
    """
    _check_size(height, width)
    return _compose(rng, height, width, _zigzags(rng, height, width, vertices, brush), strokes, ratio)


def box(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    ratio: Ratio | None = None,
    boxes: tuple[int, int] = (1, 4),
    side: Ratio = (64.0, 256.0),
    margin: float = 0.0,
) -> np.ndarray:
    """Draw axis-aligned rectangles, wholly inside the picture.

    Args:
        rng: the source of all randomness.
        height: rows of the mask.
        width: columns of the mask.
        ratio: wanted hole ratio, low and high; None paints ``boxes`` boxes whatever they cover.
        boxes: fewest and most rectangles.
        side: shortest and longest side of a rectangle, pixels at 512×512.
        margin: distance kept from the picture's border, pixels at 512×512.

    Returns:
        bool ``H×W``, True in the hole.
    """
    _check_size(height, width)
    return _compose(rng, height, width, _boxes(rng, height, width, side, margin), boxes, ratio)


def objects(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    ratio: Ratio | None = None,
    shapes: tuple[int, int] = (1, 3),
    size: Ratio = (96.0, 288.0),
) -> np.ndarray:
    """Draw holes as people paint them over things they want removed: large, smooth and in one piece each.

    The fewest shapes are the most frequent number: of one to three, one comes in seven masks out of ten. With
    a ``ratio`` they share the wanted coverage, so that a large hole is a large shape and not many small ones.

    Args:
        rng: the source of all randomness.
        height: rows of the mask.
        width: columns of the mask.
        ratio: wanted hole ratio, low and high; None paints shapes of the given size whatever they cover.
        shapes: fewest and most shapes; where they overlap, one piece is seen.
        size: smallest and largest diameter of a disc of a shape's area, pixels at 512×512; unused with a
            ``ratio``.

    Returns:
        bool ``H×W``, True in the hole.
    """
    _check_size(height, width)
    number = min(shapes[0] + int(rng.geometric(0.7)) - 1, shapes[1])
    if ratio is None:
        diameters = _unit(height, width) * rng.uniform(*size, number)
        blobs = _blobs(rng, height, width, (math.pi / 4 * diameters**2).tolist())
        return _compose(rng, height, width, blobs, (number, number), None)
    low, high = _pixel_range(ratio, height * width)
    target = _draw_target(rng, ratio, low, high, height * width)
    shares = rng.uniform(1, 3, number)
    blobs = _blobs(rng, height, width, (target * shares / shares.sum()).tolist())
    return _cover(np.zeros((height, width), np.uint8), blobs, target, low, high)


def random_walk(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    ratio: Ratio | None = None,
    cells: int = 128,
) -> np.ndarray:
    """Dissolve the picture along a four-neighbour random walk that is reflected at the borders.

    The walk runs on a grid of square cells, so that its texture scales with the picture. With no ``ratio``
    it takes as many steps as there are cells.

    Args:
        rng: the source of all randomness.
        height: rows of the mask.
        width: columns of the mask.
        ratio: wanted hole ratio, low and high.
        cells: cells along the shorter side (never more than its pixels).

    Returns:
        bool ``H×W``, True in the hole.
    """
    _check_size(height, width)
    if cells < 1:
        raise ValueError(f"cells = {cells}: a random walk needs at least one cell along the shorter side")
    cell = max(1.0, min(height, width) / cells)
    rows, columns = max(1, round(height / cell)), max(1, round(width / cell))
    if ratio is None:
        visited = _walk(rng, rows, columns, None)
        return _enlarge(visited, height, width).view(bool)
    low, high = _pixel_range(ratio, height * width)
    target = _draw_target(rng, ratio, low, high, height * width)
    if target == 0:
        return np.zeros((height, width), bool)
    visited = _walk(rng, rows, columns, max(1, round(target / (height * width) * rows * columns)))
    return _settle(_enlarge(visited, height, width), low, high).view(bool)


def _walk(rng: np.random.Generator, rows: int, columns: int, target: int | None) -> np.ndarray:
    """Visit cells: one round of ``rows·columns`` steps, or on until ``target`` different ones are seen."""
    steps = rows * columns
    visited = np.zeros(steps, bool)
    y, x = int(rng.integers(rows)), int(rng.integers(columns))
    moves = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])
    # Covering almost every cell takes a walk many times the number of cells; what is then missing after this
    # many rounds is grown from the rim by the caller.
    for _ in range(1 if target is None else 32):
        path = np.cumsum(moves[rng.integers(4, size=steps)], axis=0)
        rows_seen, columns_seen = _reflect(y + path[:, 0], rows), _reflect(x + path[:, 1], columns)
        places = rows_seen * columns + columns_seen
        if target is None:
            visited[places] = True
            break
        # Written backwards, so that the earliest visit is the one that stays.
        first_visit = np.full(steps, steps)
        first_visit[places[::-1]] = np.arange(steps)[::-1]
        new = np.flatnonzero((first_visit < steps) & ~visited)
        missing = target - int(np.count_nonzero(visited))
        if len(new) >= missing:
            visited[new[np.argsort(first_visit[new], kind="stable")[:missing]]] = True
            break
        visited[new] = True
        y, x = int(rows_seen[-1]), int(columns_seen[-1])
    return visited.reshape(rows, columns).view(np.uint8)


def _reflect(position: np.ndarray, size: int) -> np.ndarray:
    """Fold positions on the whole line back into ``0 … size − 1`` by mirroring at both ends."""
    if size == 1:
        return np.zeros_like(position)
    folded = position % (2 * size - 2)
    return np.minimum(folded, 2 * size - 2 - folded)


def lama_thin(rng: np.random.Generator, height: int, width: int, *, ratio: Ratio | None = None) -> np.ndarray:
    """Draw LaMa's thin mask: 4–70 strokes up to 20 px wide with segments up to 100 px, at 512×512.

    Suvorov et al. 2022, "Resolution-robust Large Mask Inpainting with Fourier Convolutions". With no
    ``ratio``, masks that cover more than half of the picture are redrawn, as the authors do.

    Returns:
        bool ``H×W``, True in the hole.
    """
    return _lama(rng, height, width, ratio, strokes=(4, 70), brush=20, length=100)


def lama_medium(
    rng: np.random.Generator, height: int, width: int, *, ratio: Ratio | None = None
) -> np.ndarray:
    """Draw LaMa's medium mask: 4–10 strokes up to 100 px wide with segments up to 200 px, at 512×512.

    Three masks in thirteen hold 1–5 boxes with sides of 30–150 px instead. See `lama_thin`.

    Returns:
        bool ``H×W``, True in the hole.
    """
    boxes = {"boxes": (1, 5), "side": (30.0, 150.0), "margin": 0.0}
    return _lama(rng, height, width, ratio, strokes=(4, 10), brush=100, length=200, boxes=boxes)


def lama_thick(
    rng: np.random.Generator, height: int, width: int, *, ratio: Ratio | None = None
) -> np.ndarray:
    """Draw LaMa's thick mask: 1–5 strokes up to 250 px wide with segments up to 450 px, at 512×512.

    Three masks in thirteen hold 1–4 boxes with sides of 30–300 px, 10 px or more from the border, instead.
    See `lama_thin`.

    Returns:
        bool ``H×W``, True in the hole.
    """
    boxes = {"boxes": (1, 4), "side": (30.0, 300.0), "margin": 10.0}
    return _lama(rng, height, width, ratio, strokes=(1, 5), brush=250, length=450, boxes=boxes)


def _lama(
    rng: np.random.Generator,
    height: int,
    width: int,
    ratio: Ratio | None,
    *,
    strokes: tuple[int, int],
    brush: float,
    length: float,
    boxes: dict | None = None,
    most: float = 0.5,
) -> np.ndarray:
    _check_size(height, width)

    def draw(ratio: Ratio | None) -> np.ndarray:
        # The weights 1 and 0.3 of the authors' settings: one kind is drawn for the whole mask.
        if boxes is not None and rng.random() < 0.3 / 1.3:
            return box(rng, height, width, ratio=ratio, **boxes)
        lines = _scribbles(rng, height, width, (10.0, length), (5.0, brush), (1, 5))
        return _compose(rng, height, width, lines, strokes, ratio)

    if ratio is not None:
        return draw(ratio)
    for _ in range(_REDRAWS):
        mask = draw(None)
        if np.count_nonzero(mask) <= most * mask.size:
            return mask
    return draw((0.0, most))


def _check_size(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"a mask of {height}×{width} pixels: height and width must be at least 1")


def _enlarge(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a uint8 mask with nearest neighbours, so that it stays binary."""
    if mask.shape == (height, width):
        return mask
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


# ---------------------------------------------------------------------------------------------------------
# Ready masks


class MaskFolder:
    """A flat folder of ready masks, such as the NVIDIA irregular mask test set.

    Pixels above 127 are hole; ``invert=True`` is for sets drawn the other way round. Masks come at their own
    size: resizing is the caller's choice. Files are sorted by name, other files and hidden ones are ignored.

    Attributes:
        names: the file names.
        broken: name -> reason, for the masks that `draw` had to pass over, and for what is named as a mask
            is, and is no regular file.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no mask.
    """

    def __init__(self, path: str | Path, *, invert: bool = False) -> None:
        self.path = Path(path)
        self.invert = invert
        if not self.path.is_dir():
            raise FileNotFoundError(f"{self.path}: there is no such folder of masks")
        self.names = []
        self.broken: dict[str, str] = {}
        for entry in sorted(self.path.iterdir()):
            if entry.suffix.lower() in SUFFIXES and not entry.name.startswith("."):
                if reason := why_not_regular(entry):
                    self.broken[entry.name] = reason
                else:
                    self.names.append(entry.name)
        if not self.names:
            reasons = "".join(f"; {name} {reason}" for name, reason in self.broken.items())
            raise ValueError(
                f"{self.path}: no mask in this folder (looked for {', '.join(SUFFIXES)}){reasons}"
            )
        self._by_stem: dict[str, list[int]] = {}
        for index, name in enumerate(self.names):
            self._by_stem.setdefault(Path(name).stem, []).append(index)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> np.ndarray:
        """Return mask ``index`` as bool ``H×W``; raises `ImageError` naming the file if it is unreadable."""
        try:
            white = read_mask(self.path / self.names[index])
        except LimitError as error:  # there is nothing here that would raise a limit
            raise ImageError(error.naming()) from None
        return ~white if self.invert else white

    def files_of(self, stem: str) -> list[str]:
        """Return the names of the masks whose file name without extension is ``stem``."""
        return [self.names[index] for index in self._by_stem.get(stem, [])]

    def by_stem(self, stem: str) -> np.ndarray:
        """Return the mask whose file name without extension is ``stem``.

        Raises:
            KeyError: there is none.
            ValueError: there are several.
            ImageError: the file is unreadable.
        """
        found = self._by_stem.get(stem, [])
        if not found:
            raise KeyError(f"{self.path}: no mask is named {stem!r} (masks pair with photos by file stem)")
        if len(found) > 1:
            files = ", ".join(self.files_of(stem))
            raise ValueError(f"{self.path}: {stem!r} has more than one mask ({files}); keep one of them")
        return self.read(found[0])

    def draw(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Return a random mask of the folder at ``height``×``width``.

        The mask is resized with nearest neighbours until it just covers the wanted size, and what stands out
        is cropped at a random place. An unreadable mask is noted in `broken` and the next one is taken.

        Raises:
            ImageError: not one mask of the folder can be read.
        """
        _check_size(height, width)
        first = int(rng.integers(len(self)))
        across, down = rng.random(2)
        for offset in range(len(self)):
            index = (first + offset) % len(self)
            try:
                mask = self.read(index)
            except ImageError as error:
                self.broken[self.names[index]] = str(error)
                continue
            scale = max(height / mask.shape[0], width / mask.shape[1])
            rows = max(height, round(scale * mask.shape[0]))
            columns = max(width, round(scale * mask.shape[1]))
            covering = _enlarge(mask.view(np.uint8), rows, columns)
            top, left = int(down * (rows - height + 1)), int(across * (columns - width + 1))
            return np.ascontiguousarray(covering[top : top + height, left : left + width]).view(bool)
        reason = next(iter(self.broken.values()))
        raise ImageError(f"{self.path}: none of the {len(self)} masks can be read (the first: {reason})")


# ---------------------------------------------------------------------------------------------------------
# Recipes

_GENERATORS: dict[str, Callable[..., np.ndarray]] = {
    "free-form": free_form,
    "box": box,
    "object": objects,
    "random-walk": random_walk,
    "thin": lama_thin,
    "medium": lama_medium,
    "thick": lama_thick,
}
_FOLDERS = {"folder": False, "folder-inverted": True}
_HOW = (
    "a mask recipe is KIND[:LOW-HIGH][*WEIGHT], several joined by +, with KIND one of "
    + ", ".join(_GENERATORS)
    + ", or folder:PATH for ready masks (folder-inverted:PATH where black is the hole); "
    "for example free-form:0.1-0.5*3+thin:0.05-0.2*1"
)
_NUMBER = r"(?:\d+\.?\d*|\.\d+)"
# A path may hold a plus sign, so a plus separates two sources only where a kind follows it.
_SEPARATOR = re.compile(r"\s*\+\s*(?=(?:" + "|".join([*_GENERATORS, *_FOLDERS]) + r")(?:[:*+\s]|$))")
_SOURCE = re.compile(
    rf"(?P<kind>[\w-]+)(?::(?P<argument>.*?))?(?:\*(?P<weight>{_NUMBER}))?", re.DOTALL | re.ASCII
)
_RANGE = re.compile(rf"({_NUMBER})-({_NUMBER})")


@dataclass(frozen=True)
class MaskSource:
    """One source of a recipe: a generator with its wanted hole ratio, or a folder, and its weight."""

    kind: str
    ratio: Ratio | None = None
    weight: float = 1.0
    folder: MaskFolder | None = None

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Draw a mask: bool ``H×W``, True in the hole."""
        if self.folder is not None:
            return self.folder.draw(rng, height, width)
        return _GENERATORS[self.kind](rng, height, width, ratio=self.ratio)

    def __str__(self) -> str:
        if self.folder is not None:
            return f"{self.kind}:{self.folder.path}"
        if self.ratio is not None:
            return f"{self.kind}:{_plain(self.ratio[0])}-{_plain(self.ratio[1])}"
        return self.kind


class MaskRecipe:
    """Where masks come from: ``recipe(rng, height, width) -> bool H×W``; made by `parse_recipe`.

    ``str(recipe)`` is the recipe's text, which `parse_recipe` reads back to an equal recipe.
    """

    def __init__(self, sources: list[MaskSource]) -> None:
        self.sources = tuple(sources)
        weights = np.array([source.weight for source in sources])
        self._thresholds = np.cumsum(weights / weights.sum())

    @property
    def broken(self) -> dict[str, str]:
        """The ready masks that could not be read so far: name -> reason."""
        folders = (source.folder for source in self.sources if source.folder is not None)
        return {name: reason for folder in folders for name, reason in folder.broken.items()}

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Draw one source by weight, and a mask from it: bool ``H×W``, True in the hole."""
        chosen = 0
        if len(self.sources) > 1:
            chosen = int(np.searchsorted(self._thresholds[:-1], rng.random(), side="right"))
        return self.sources[chosen](rng, height, width)

    def __str__(self) -> str:
        if all(source.weight == 1 for source in self.sources):
            return "+".join(str(source) for source in self.sources)
        return "+".join(f"{source}*{_plain(source.weight)}" for source in self.sources)

    def __repr__(self) -> str:
        return f"parse_recipe({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MaskRecipe) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def parse_recipe(text: str) -> MaskRecipe:
    """Read a mask recipe such as ``free-form:0.1-0.5*3+thin:0.05-0.2*1``.

    Kinds: ``free-form``, ``box``, ``object``, ``random-walk``, ``thin``, ``medium``, ``thick`` (the last
    three are LaMa's), each with an optional wanted hole ratio; ``folder:PATH`` draws a ready mask,
    ``folder-inverted:PATH`` one whose black pixels are the hole. Sources joined by ``+`` are drawn at random
    by weight (``*3``; 1 if not given).

    Raises:
        ValueError: the text is not a recipe; the message says what is.
        FileNotFoundError: a folder of masks does not exist.
    """
    return MaskRecipe([_parse_source(part, text) for part in _SEPARATOR.split(text.strip())])


def _parse_source(part: str, text: str) -> MaskSource:
    match = _SOURCE.fullmatch(part.strip())
    if match is None:
        raise ValueError(f"mask recipe {text!r}: cannot read {part!r}; {_HOW}")
    kind, argument = match["kind"], match["argument"]
    weight = float(match["weight"] or 1)
    if weight <= 0:
        raise ValueError(f"mask recipe {text!r}: the weight of {part!r} must be above 0")
    if kind in _FOLDERS:
        if not argument:
            raise ValueError(f"mask recipe {text!r}: {kind} needs the path of a folder of masks; {_HOW}")
        return MaskSource(kind, weight=weight, folder=MaskFolder(argument, invert=_FOLDERS[kind]))
    if kind not in _GENERATORS:
        raise ValueError(f"mask recipe {text!r}: unknown kind {kind!r}; {_HOW}")
    if argument is None:
        return MaskSource(kind, weight=weight)
    bounds = _RANGE.fullmatch(argument.strip())
    if bounds is None:
        raise ValueError(f"mask recipe {text!r}: {argument!r} is not a range of hole ratios; {_HOW}")
    low, high = float(bounds[1]), float(bounds[2])
    if not low <= high <= 1:
        raise ValueError(f"mask recipe {text!r}: a hole ratio runs from 0 to 1, low before high; {_HOW}")
    return MaskSource(kind, (low, high), weight)


def _plain(number: float) -> str:
    """The shortest decimal text, with no exponent, that reads back as the same number."""
    return np.format_float_positional(number, trim="-")
