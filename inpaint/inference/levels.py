"""The pyramid of exemplar synthesis: a window at full size, at half of it, and so on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inpaint.inference.filters import shrunk
from inpaint.inference.measures import texture_of
from inpaint.inference.scales import to_uint8

LOW_BAND_SIDE = 640
"""Longest side of the level at which low frequencies are put back: about the size that a network fills at."""

# Longest side of the coarsest level, of a window up to LOW_BAND_SIDE, and of a larger one.
_COARSEST = (90, 45)
_TEXTURE_SIDE = 1024  # longest side of a level at which the texture channel is compared


@dataclass
class Level:
    """A window at one size.

    Attributes:
        colours: uint8 h×w×3, the means of the known pixels; the guide's in the hole.
        hole: bool h×w, what is no source.
        own: bool h×w, the part of the hole that is synthesised.
        scale: pixels of the level that low frequencies are put back at, per pixel of this one.
        texture: float32 h×w, how strong fine detail is, in grey levels; None at the finest levels.
    """

    colours: np.ndarray
    hole: np.ndarray
    own: np.ndarray
    scale: float = 1.0
    texture: np.ndarray | None = None

    @property
    def side(self) -> int:
        """The longer side in pixels."""
        return max(self.hole.shape)


def make_levels(colours: np.ndarray, hole: np.ndarray, own: np.ndarray) -> list[Level]:
    """Halve a window until it is small.

    A coarse pixel is known where at least half of what is under it is, and its colour is the mean of that.

    Args:
        colours: uint8 h×w×3, the photo, and in its hole the guide.
        hole: bool h×w, what is no source.
        own: bool h×w, the part of the hole that is synthesised.

    Returns:
        The levels, fine to coarse.
    """
    levels = [Level(colours, hole, own)]
    # A network sees a large window shrunk, and knows less of it: patches decide from farther off.
    coarsest = _COARSEST[levels[0].side > LOW_BAND_SIDE]
    while levels[-1].side > coarsest:
        finer = levels[-1]
        rows, columns = (finer.hole.shape[0] + 1) // 2, (finer.hole.shape[1] + 1) // 2
        share = shrunk((~finer.hole).astype(np.float32), rows, columns)
        hole = share < 0.5
        own = (shrunk(finer.own.astype(np.float32), rows, columns) > 0) & hole
        colours = np.empty((rows, columns, 3), np.uint8)
        for channel in range(3):  # one at a time: a third of the memory
            values = finer.colours[..., channel].astype(np.float32)
            known = shrunk(np.where(finer.hole, np.float32(0), values), rows, columns)
            means = known / np.maximum(share, 0.5)
            colours[..., channel] = to_uint8(np.where(hole, shrunk(values, rows, columns), means))
        levels.append(Level(colours, hole, own))
    texture = None
    for level in levels:
        if texture is not None:
            texture = shrunk(texture, *level.hole.shape)
        elif level.side <= _TEXTURE_SIDE:
            texture = texture_of(level.colours, level.hole)
        level.texture = texture
    for level in levels:
        level.scale = low_band_level(levels).side / level.side
    return levels


def low_band_level(levels: list[Level]) -> Level:
    """Return the level at which low frequencies are put back; about the size that a network fills at."""
    return next((level for level in levels if level.side <= LOW_BAND_SIDE), levels[-1])
