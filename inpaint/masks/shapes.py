"""Shapes that holes are made of, and endless sequences of them: brush strokes, boxes, blobs.

Lengths are stated for a 512×512 picture and scale with the square root of the picture's area.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Ratio = tuple[float, float]
REFERENCE_SIDE = 512
_SHIFT = 4  # bits after the point in the corners that OpenCV's polygons are given
_WAVES = np.arange(2, 6)  # waves around an outline: one would only move it, many would make it ragged
_ANGLES = np.linspace(0, 2 * math.pi, 64, endpoint=False)


@dataclass(frozen=True, slots=True)
class Segment:
    """A straight piece of a brush stroke with round ends."""

    start: tuple[float, float]
    end: tuple[float, float]
    width: float

    def paint(self, canvas: np.ndarray, scale: float = 1.0) -> None:
        """Set its pixels on a uint8 canvas to 1; `scale` below 1 shrinks it."""
        (x0, y0), (x1, y1) = self.start, self.end
        end = (int(x0 + scale * (x1 - x0)), int(y0 + scale * (y1 - y0)))
        cv2.line(canvas, (int(x0), int(y0)), end, 1, max(1, round(scale * self.width)))


@dataclass(frozen=True, slots=True)
class Rectangle:
    """An axis-aligned rectangle; shrinks about its centre."""

    left: int
    top: int
    width: int
    height: int

    def paint(self, canvas: np.ndarray, scale: float = 1.0) -> None:
        """Set its pixels on a uint8 canvas to 1; `scale` below 1 shrinks it."""
        width, height = max(1, round(scale * self.width)), max(1, round(scale * self.height))
        left, top = self.left + (self.width - width) // 2, self.top + (self.height - height) // 2
        canvas[top : top + height, left : left + width] = 1


@dataclass(frozen=True, slots=True)
class Blob:
    """A body with lobes, each inside a smooth outline around its own centre; shrinks about the body's centre.

    The centres of the lobes lie on the body and in the picture, and every outline can be seen whole from its
    centre. So the blob is one piece, whatever the picture's border cuts off.
    """

    centres: np.ndarray  # [lobes, 2], x and y in pixels; the first is the body's
    outlines: np.ndarray  # [lobes, points, 2], x and y relative to the centre

    def paint(self, canvas: np.ndarray, scale: float = 1.0) -> None:
        """Set its pixels on a uint8 canvas to 1; `scale` below 1 shrinks it."""
        centres = self.centres[0] + scale * (self.centres - self.centres[0])
        points = centres[:, None] + scale * self.outlines
        # One by one: where two polygons of one call overlap, OpenCV leaves a hole.
        for polygon in np.rint(points * 2**_SHIFT).astype(np.int32):
            cv2.fillPoly(canvas, [polygon], 1, shift=_SHIFT)

    def grown(self, scale: float) -> Blob:
        """Return the blob with larger outlines around the same centres; it covers this one, cut or not."""
        return Blob(self.centres, scale * self.outlines)


Shape = Segment | Rectangle | Blob
Strokes = Iterator[Sequence[Shape]]


def unit_of(height: int, width: int) -> float:
    """Return the pixels of this picture per pixel of the 512×512 reference."""
    return math.sqrt(height * width) / REFERENCE_SIDE


def scribbles(
    rng: np.random.Generator, height: int, width: int, length: Ratio, brush: Ratio, segments: tuple[int, int]
) -> Strokes:
    """Yield brush strokes in LaMa's manner: each segment has its own heading, length and width."""
    unit = unit_of(height, width)
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
            stroke.append(Segment((x, y), (end_x, end_y), thickness))
            x, y = end_x, end_y
        yield stroke


def zigzags(
    rng: np.random.Generator, height: int, width: int, vertices: tuple[int, int], brush: Ratio
) -> Strokes:
    """Yield brush strokes in DeepFillv2's manner: one width, headings that swing to and fro."""
    reach = math.hypot(height, width) / 8
    unit = unit_of(height, width)
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
            stroke.append(Segment((x, y), (end_x, end_y), thickness))
            x, y = end_x, end_y
        yield stroke


def rectangles(rng: np.random.Generator, height: int, width: int, side: Ratio, margin: float) -> Strokes:
    """Yield rectangles, one a stroke, wholly inside the picture and `margin` from its border."""
    unit = unit_of(height, width)
    edge = min(round(unit * margin), (min(height, width) - 1) // 2)
    for _ in itertools.count():
        sides = np.rint(unit * rng.uniform(*side, 2)).astype(int)
        box_width, box_height = np.clip(sides, 1, (width - 2 * edge, height - 2 * edge)).tolist()
        left = edge + int(rng.integers(width - 2 * edge - box_width, endpoint=True))
        top = edge + int(rng.integers(height - 2 * edge - box_height, endpoint=True))
        yield [Rectangle(left, top, box_width, box_height)]


def blobs(rng: np.random.Generator, height: int, width: int, areas: Sequence[float]) -> Strokes:
    """Yield blobs of about these areas in pixels, one a stroke; then the last one, larger every time."""
    for area in areas:
        blob = _blob(rng, height, width, area)
        yield [blob]
    while True:
        blob = blob.grown(1.25)
        yield [blob]


def _blob(rng: np.random.Generator, height: int, width: int, area: float) -> Blob:
    """Draw a blob inside the picture or, one time in eight, across its border."""
    lobes = int(rng.choice(4, p=(0.4, 0.3, 0.2, 0.1)))
    sizes = np.append(1.0, rng.uniform(0.35, 0.7, lobes))
    heights = rng.normal(0, 0.4, (lobes + 1, 1, len(_WAVES))) / _WAVES**1.5
    phases = rng.uniform(0, 2 * math.pi, (lobes + 1, len(_WAVES), 1))
    swell = heights @ np.cos(_WAVES[:, None] * _ANGLES + phases)  # [lobes + 1, 1, points]
    radii = sizes[:, None] * np.exp(swell[:, 0])
    outlines = radii[..., None] * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], -1)
    # The body is up to three times as long as it is wide, lobes up to twice: longer ones look like spikes.
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
    return Blob(np.clip(place + centres - 0.5, 0, size - 1), outlines)
