"""One level of exemplar synthesis: the search for source patches, and the vote of overlapping ones.

`detail` says what it is for. The papers: Wexler, Shechtman and Irani, Space-Time Completion of Video, PAMI
2007; Barnes et al., PatchMatch, SIGGRAPH 2009.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from inpaint.inference.filters import blurred, dilated
from inpaint.inference.levels import Level
from inpaint.inference.measures import GUIDE_BLUR, confidence_of
from inpaint.inference.plan import bounding_box
from inpaint.inference.scales import to_uint8
from inpaint.ops.exemplars import FORBIDDEN, exemplar_search, exemplar_vote

RADIUS = 3
"""Of the patches that are compared: 7×7 pixels."""

_DISPLACED_SIDE = 90  # longest side of a level whose displacements are few enough to try them all

# By level, from the coarsest: how much the guide counts beside the colours (0 from there on), and how many
# rounds of search and vote there are (1 from there on).
_GUIDE_WEIGHTS = (1.0, 1.0, 0.6, 0.3)
_ROUNDS = (4, 4, 2, 2)
_SEEDED = 3  # levels at which a seed sets sources apart

_TEXTURE_GAIN = 3.0
_UNKNOWN_COST = 1200  # of an unknown pixel in a source patch, as a squared difference
_NEAR_RIM = 1.3  # a patch counts so much less for each pixel that it is farther from the rim,
_FARTHEST = 24.0  # up to here
_GOOD_SHARE = 0.1  # the share of patches that set the scale of a good match
_SEAM_BLUR = 1.0  # below it the mean of the patches holds, above it the best patch
_OVERUSE = 0.5  # the cost of each use of a source beyond the first, in costs of a good match
_SEED_COST = 150  # squared difference of a pixel by which a seed may set two sources apart
_BAND_ROWS = 256  # of a level that is too large to be searched
_MOST_COMPARISONS = 400_000_000  # of places, in the search that a field begins with

_STEPS = np.array(
    [(s * a, s * b) for s in (1, 3, 8) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b], np.int32
)


@dataclass
class Found:
    """What a level has found.

    Attributes:
        field: int32 h×w, the source of each patch, -1 where there is none.
        picture: uint8 h×w×3.
        cost: the mean of the patches'.
    """

    field: np.ndarray
    picture: np.ndarray
    cost: float = math.inf


def search_level(
    level: Level, coarser: Found | None, number: int, seed: int, last: bool, unsure: bool
) -> Found | None:
    """Alternate between search and vote at one level.

    Args:
        level: where it is done.
        coarser: what the level before has found, or None.
        number: of levels that are coarser.
        seed: sets sources apart.
        last: whether the level is the finest.
        unsure: whether the window is so large that the guide may have been made from a shrunk one. Then a
            field begins from displaced pieces of the photo (`_displaced`), and not from the guide's colours.

    Returns:
        What was found; None where no source is allowed.
    """
    height, width = level.hole.shape
    penalty = _penalty(level, seed if number < _SEEDED else 0)
    if penalty.min() >= FORBIDDEN:
        return None
    positions = _indices(dilated(level.own, RADIUS))
    pixels = _indices(level.own)
    picture = level.colours.copy()
    field, offsets = np.full((height, width), -1, np.int32), None
    guide = _guide(level, number)
    texture = np.zeros((height, width), np.uint8)
    if level.texture is not None:
        texture = to_uint8(_TEXTURE_GAIN * level.texture)
    if coarser is not None:
        larger = cv2.resize(coarser.picture, (width, height), interpolation=cv2.INTER_CUBIC)
        picture[level.own] = larger[level.own]
        field.reshape(-1)[positions] = _raised(coarser.field, positions, width, (height, width))
    elif unsure and guide is not None and level.side <= _DISPLACED_SIDE:
        displaced = _displaced(level, *guide, texture, penalty)
        field.reshape(-1)[positions] = displaced.reshape(-1)[positions]
        sources = displaced.reshape(-1)[pixels]
        told = sources >= 0
        picture.reshape(-1, 3)[pixels[told]] = level.colours.reshape(-1, 3)[sources[told]]
    else:
        offsets = _offsets(height, width, len(positions))

    guides = None
    if guide is not None:
        smooth = torch.from_numpy(_padded(to_uint8(guide[0])))
        guides = (smooth, smooth, torch.from_numpy(guide[1]))
    source = torch.from_numpy(_padded(np.dstack([level.colours, texture])))
    near = _NEAR_RIM ** -np.minimum(
        cv2.distanceTransform(level.own.view(np.uint8), cv2.DIST_L2, 5).reshape(-1)[positions], _FARTHEST
    )
    rounds = _ROUNDS[number] if number < len(_ROUNDS) else 1
    good = 0.0
    for count in range(rounds):
        overused = _overuse(field, _OVERUSE * good) if good else 0
        found, costs = exemplar_search(
            torch.from_numpy(_padded(np.dstack([picture, texture]))),
            source,
            torch.from_numpy(penalty + overused),
            torch.from_numpy(positions),
            torch.from_numpy(field),
            guides=guides,
            steps=torch.from_numpy(_STEPS),
            offsets=torch.from_numpy(offsets) if offsets is not None and count == 0 else None,
            radius=RADIUS,
        )
        field = found.numpy()
        cost = costs.numpy().reshape(-1)[positions].astype(np.float32)
        usable = cost < FORBIDDEN
        if not usable.any():
            return None
        field.reshape(-1)[positions[~usable]] = -1
        good = max(float(np.quantile(cost[usable], _GOOD_SHARE)), 1.0)

        sharpness = 2000 if last and count == rounds - 1 else 4
        weights = near * np.exp(np.maximum(-cost * sharpness / (2 * good), -80))
        picture.reshape(-1, 3)[pixels] = to_uint8(_vote(level, field, positions, pixels, weights))
        likeness = np.log(near) - cost * 20 / (2 * good)
        _sharpen(picture, level.own, _vote(level, field, positions, pixels, likeness, best=True))
    return Found(field, picture, float(cost[usable].mean()))


def _guide(level: Level, number: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the blurred colours, float32 h×w×3, and their weight, int32 h×w (256 = 1); None for weight 0."""
    if number >= len(_GUIDE_WEIGHTS):
        return None
    smooth = blurred(level.colours.astype(np.float32), GUIDE_BLUR)
    confidence = confidence_of(smooth, level.hole, level.scale)
    return smooth, np.rint(256 * _GUIDE_WEIGHTS[number] * confidence).astype(np.int32)


def _vote(
    level: Level,
    field: np.ndarray,
    positions: np.ndarray,
    pixels: np.ndarray,
    values: np.ndarray,
    best: bool = False,
) -> np.ndarray:
    """Let the overlapping patches say what colour each pixel has.

    Args:
        level: where the patches come from.
        field: the source of each patch, int32 h×w, -1 where there is none.
        positions: indices of the patches.
        pixels: indices of the pixels that are asked for.
        values: of each patch, its weight in the mean, or with `best` how good it is.
        best: take the colour of the best patch, and not the mean.

    Returns:
        [pixels, 3]; a pixel that no patch covers keeps its colour.
    """
    weights = np.zeros(level.hole.shape, np.float32)
    weights.reshape(-1)[positions] = values
    votes = exemplar_vote(
        torch.from_numpy(level.colours),
        torch.from_numpy(~level.hole),
        torch.from_numpy(field),
        torch.from_numpy(weights),
        torch.from_numpy(pixels),
        radius=RADIUS,
        best=best,
    ).numpy()
    return np.where(votes[:, :1] < 0, level.colours.reshape(-1, 3)[pixels], votes)


def _penalty(level: Level, seed: int) -> np.ndarray:
    """Return what sources cost beforehand, int32 h×w: for unknown pixels around, and by the seed."""
    side = 2 * RADIUS + 1
    unknown = cv2.boxFilter(
        level.hole.astype(np.float32), -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    penalty = np.rint(_UNKNOWN_COST * unknown).astype(np.int32)
    if seed:
        coarse = np.random.default_rng(seed).random((6, 6), np.float32)
        noise = cv2.resize(coarse, level.hole.shape[::-1], interpolation=cv2.INTER_CUBIC)
        noise = np.clip(noise.reshape(level.hole.shape), 0, 1)
        penalty += np.rint(_SEED_COST * side**2 * noise).astype(np.int32)
    inner = np.zeros_like(level.hole)
    inner[RADIUS:-RADIUS, RADIUS:-RADIUS] = True
    penalty[level.hole | ~inner] = FORBIDDEN
    return penalty


def _displaced(
    level: Level, smooth: np.ndarray, weight: np.ndarray, texture: np.ndarray, penalty: np.ndarray
) -> np.ndarray:
    """Return the best displacement of every patch as a field, int32 h×w, -1 where there is none.

    What is compared is the colours where the target is known, and in its hole the guide's blurred colours and
    the texture alone: a patch of the guide as it is would be most like the flattest patch of the photo.
    """
    height, width = level.hole.shape
    side = 2 * RADIUS + 1
    colours, textures = level.colours.astype(np.float32), texture.astype(np.float32)
    share = weight.astype(np.float32) / 256
    targets = dilated(level.own, RADIUS)
    index = np.arange(height * width, dtype=np.int32).reshape(height, width)
    lowest = np.full((height, width), np.inf, np.float32)
    field = np.full((height, width), -1, np.int32)
    reach = RADIUS + 1  # no patch is displaced onto the edge
    for down in range(reach - height, height - reach + 1):
        for right in range(reach - width, width - reach + 1):
            rows, columns = _overlap(down, height), _overlap(right, width)
            if not targets[rows[0], columns[0]].any():
                continue
            t, s = (rows[0], columns[0]), (rows[1], columns[1])
            difference = np.where(
                level.hole[t],
                share[t] * ((smooth[s] - smooth[t]) ** 2).sum(axis=2),
                ((colours[s] - colours[t]) ** 2).sum(axis=2),
            )
            difference += (textures[s] - textures[t]) ** 2
            cost = cv2.boxFilter(difference, -1, (side, side), normalize=False) + penalty[s]
            better = targets[t] & (cost < lowest[t]) & (penalty[s] < FORBIDDEN)
            lowest[t][better] = cost[better]
            field[t][better] = index[s][better]
    return field


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """Return the places along an axis that a shift keeps inside, and where it takes them."""
    return slice(max(0, -shift), size - max(0, shift)), slice(max(0, shift), size + min(0, shift))


def _overuse(field: np.ndarray, cost: float) -> np.ndarray:
    """Return what sources cost, int32 h×w, for use beyond the first (Kaspar et al., Eurographics 2015)."""
    side = 2 * RADIUS + 1
    uses = np.bincount(field[field >= 0], minlength=field.size).reshape(field.shape).astype(np.float32)
    times = cv2.boxFilter(uses, -1, (side, side), borderType=cv2.BORDER_CONSTANT)  # 1 where each is used once
    return np.rint(np.clip(cost * (times - 1), 0, FORBIDDEN / 4)).astype(np.int32)


def _offsets(height: int, width: int, count: int) -> np.ndarray:
    """Return where a field begins to look, int32 [K, 2]: everywhere, if `count` targets allow it."""
    if height * width * count <= _MOST_COMPARISONS:
        down, right = np.mgrid[1 - height : height, 1 - width : width].astype(np.int32)
    else:
        down, right = np.mgrid[-64:65:4, -64:65:4].astype(np.int32)
    return np.stack([down.reshape(-1), right.reshape(-1)], axis=1)


def _raised(
    field: np.ndarray, positions: np.ndarray, width: int, source_shape: tuple[int, int]
) -> np.ndarray:
    """Bring a field up to a level of twice the size.

    Args:
        field: of the coarser level, int32 h×w.
        positions: indices of the finer level.
        width: length of its rows.
        source_shape: its rows and columns, inside which sources lie.

    Returns:
        A source for each position, int32, -1 where there is none.
    """
    y, x = positions // width, positions % width
    coarse = field[np.minimum(y >> 1, field.shape[0] - 1), np.minimum(x >> 1, field.shape[1] - 1)]
    source_y = coarse // field.shape[1] * 2 + (y & 1)
    source_x = coarse % field.shape[1] * 2 + (x & 1)
    inside = (coarse >= 0) & (source_y < source_shape[0]) & (source_x < source_shape[1])
    return np.where(inside, source_y * source_shape[1] + source_x, -1).astype(np.int32)


def copy_level(level: Level, coarser: Found) -> Found:
    """Take over what the coarser level has found, pixel by pixel and without a search."""
    height, width = level.hole.shape
    picture = level.colours.copy()
    field = np.full((height, width), -1, np.int32)
    known = ~level.hole.reshape(-1)
    for top in range(0, height, _BAND_ROWS):
        pixels = _indices(level.own[top : top + _BAND_ROWS]) + np.int32(top * width)
        source = _raised(coarser.field, pixels, width, (height, width))
        source[~known[source]] = -1
        field.reshape(-1)[pixels] = source
        told = source >= 0
        picture.reshape(-1, 3)[pixels[told]] = level.colours.reshape(-1, 3)[source[told]]
    return Found(field, picture)


def _sharpen(picture: np.ndarray, own: np.ndarray, best: np.ndarray) -> None:
    """Give the pixels `own` of a picture, in place, the highest frequencies of the best patches.

    The mean of the patches has no seams and little detail, the best patches have both: each is taken in its
    band (Burt and Adelson, A Multiresolution Spline with Application to Image Mosaics, 1983).
    """
    slices = bounding_box(own).grown(8, *own.shape).slices
    hole, mean = own[slices], picture[slices].astype(np.float32)
    sharp = mean.copy()
    sharp[hole] = to_uint8(best)
    picture[slices][hole] = to_uint8(blurred(mean - sharp, _SEAM_BLUR) + sharp)[hole]


def _indices(selection: np.ndarray) -> np.ndarray:
    return np.flatnonzero(selection).astype(np.int32)


def _padded(picture: np.ndarray) -> np.ndarray:
    return np.pad(picture, ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)), mode="edge")
