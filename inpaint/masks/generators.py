"""Hole generators: `(rng, height, width, **settings) -> bool H×W`, True where the picture is to be filled.

Every function is pure: the same generator state and size give the same mask, and nothing else is consulted.
Lengths are stated for a 512×512 picture and scale with the square root of the picture's area, so a mask has
the same character and, on average, the same hole ratio at every size.

`ratio=(low, high)` asks for a hole that covers between `low` and `high` of the picture. The wanted
coverage is drawn uniformly from that range, shapes are added until it is reached, and the last shape is
shrunk to fit; objects are drawn at the size that it takes. The range is always met when some whole number of
pixels lies in it; on pictures so small that none does (0.1-0.5 of a 1×1 picture), the pixel count nearest to
the range is taken, which may be none.
"""

from __future__ import annotations

import math

import numpy as np

from .coverage import compose, cover, draw_target, pixel_range, settle
from .shapes import Ratio, blobs, rectangles, scribbles, unit_of, zigzags
from .sizes import check_size, enlarge

_REDRAWS = 10


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
        ratio: wanted hole ratio, low and high; None paints `strokes` strokes whatever they cover.
        strokes: fewest and most strokes.
        vertices: fewest and most segments of a stroke; their mean length is an eighth of the diagonal.
        brush: thinnest and thickest brush, pixels at 512×512.

    Returns:
        bool `H×W`, True in the hole.
    """
    check_size(height, width)
    return compose(rng, height, width, zigzags(rng, height, width, vertices, brush), strokes, ratio)


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
        ratio: wanted hole ratio, low and high; None paints `boxes` boxes whatever they cover.
        boxes: fewest and most rectangles.
        side: shortest and longest side of a rectangle, pixels at 512×512.
        margin: distance kept from the picture's border, pixels at 512×512.

    Returns:
        bool `H×W`, True in the hole.
    """
    check_size(height, width)
    return compose(rng, height, width, rectangles(rng, height, width, side, margin), boxes, ratio)


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
    a `ratio` they share the wanted coverage, so that a large hole is a large shape and not many small ones.

    Args:
        rng: the source of all randomness.
        height: rows of the mask.
        width: columns of the mask.
        ratio: wanted hole ratio, low and high; None paints shapes of the given size whatever they cover.
        shapes: fewest and most shapes; where they overlap, one piece is seen.
        size: smallest and largest diameter of a disc of a shape's area, pixels at 512×512; unused with a
            `ratio`.

    Returns:
        bool `H×W`, True in the hole.
    """
    check_size(height, width)
    number = min(shapes[0] + int(rng.geometric(0.7)) - 1, shapes[1])
    if ratio is None:
        diameters = unit_of(height, width) * rng.uniform(*size, number)
        parts = blobs(rng, height, width, (math.pi / 4 * diameters**2).tolist())
        return compose(rng, height, width, parts, (number, number), None)
    low, high = pixel_range(ratio, height * width)
    target = draw_target(rng, ratio, low, high, height * width)
    shares = rng.uniform(1, 3, number)
    parts = blobs(rng, height, width, (target * shares / shares.sum()).tolist())
    return cover(np.zeros((height, width), np.uint8), parts, target, low, high)


def random_walk(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    ratio: Ratio | None = None,
    cells: int = 128,
) -> np.ndarray:
    """Dissolve the picture along a four-neighbour random walk that is reflected at the borders.

    The walk runs on a grid of square cells, so that its texture scales with the picture. With no `ratio`
    it takes as many steps as there are cells.

    Args:
        rng: the source of all randomness.
        height: rows of the mask.
        width: columns of the mask.
        ratio: wanted hole ratio, low and high.
        cells: cells along the shorter side (never more than its pixels).

    Returns:
        bool `H×W`, True in the hole.
    """
    check_size(height, width)
    if cells < 1:
        raise ValueError(f"cells = {cells}: a random walk needs at least one cell along the shorter side")
    cell = max(1.0, min(height, width) / cells)
    rows, columns = max(1, round(height / cell)), max(1, round(width / cell))
    if ratio is None:
        visited = _walk(rng, rows, columns, None)
        return enlarge(visited, height, width).view(bool)
    low, high = pixel_range(ratio, height * width)
    target = draw_target(rng, ratio, low, high, height * width)
    if target == 0:
        return np.zeros((height, width), bool)
    visited = _walk(rng, rows, columns, max(1, round(target / (height * width) * rows * columns)))
    return settle(enlarge(visited, height, width), low, high).view(bool)


def _walk(rng: np.random.Generator, rows: int, columns: int, target: int | None) -> np.ndarray:
    """Visit cells: one round of `rows·columns` steps, or on until `target` different ones are seen."""
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
    """Fold positions on the whole line back into `0 … size − 1` by mirroring at both ends."""
    if size == 1:
        return np.zeros_like(position)
    folded = position % (2 * size - 2)
    return np.minimum(folded, 2 * size - 2 - folded)


def lama_thin(rng: np.random.Generator, height: int, width: int, *, ratio: Ratio | None = None) -> np.ndarray:
    """Draw LaMa's thin mask: 4–70 strokes up to 20 px wide with segments up to 100 px, at 512×512.

    Suvorov et al. 2022, "Resolution-robust Large Mask Inpainting with Fourier Convolutions". With no
    `ratio`, masks that cover more than half of the picture are redrawn, as the authors do.

    Returns:
        bool `H×W`, True in the hole.
    """
    return _lama(rng, height, width, ratio, strokes=(4, 70), brush=20, length=100)


def lama_medium(
    rng: np.random.Generator, height: int, width: int, *, ratio: Ratio | None = None
) -> np.ndarray:
    """Draw LaMa's medium mask: 4–10 strokes up to 100 px wide with segments up to 200 px, at 512×512.

    Three masks in thirteen hold 1–5 boxes with sides of 30–150 px instead. See `lama_thin`.

    Returns:
        bool `H×W`, True in the hole.
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
        bool `H×W`, True in the hole.
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
    check_size(height, width)

    def draw(ratio: Ratio | None) -> np.ndarray:
        # The weights 1 and 0.3 of the authors' settings: one kind is drawn for the whole mask.
        if boxes is not None and rng.random() < 0.3 / 1.3:
            return box(rng, height, width, ratio=ratio, **boxes)
        lines = scribbles(rng, height, width, (10.0, length), (5.0, brush), (1, 5))
        return compose(rng, height, width, lines, strokes, ratio)

    if ratio is not None:
        return draw(ratio)
    for _ in range(_REDRAWS):
        mask = draw(None)
        if np.count_nonzero(mask) <= most * mask.size:
            return mask
    return draw((0.0, most))
