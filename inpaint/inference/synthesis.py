"""One level of exemplar synthesis: the search for source patches, the vote of overlapping ones, the guide.

`detail` says what it is for. The papers: Wexler, Shechtman and Irani, Space-Time Completion of Video, PAMI
2007; Barnes et al., PatchMatch, SIGGRAPH 2009.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from inpaint.inference.plan import bounding_box
from inpaint.inference.scales import to_uint8
from inpaint.layers.push_pull import push_pull
from inpaint.ops.exemplars import FORBIDDEN, exemplar_search, exemplar_vote

RADIUS = 3
"""Of the patches that are compared: 7×7 pixels."""

LOW_BAND_SIDE = 640
"""Longest side of the level at which low frequencies are put back: about the size that a network fills at."""

# Longest side of the coarsest level, of a window up to LOW_BAND_SIDE, and of a larger one.
_COARSEST = (90, 45)
_DISPLACED_SIDE = 90  # longest side of a level whose displacements are few enough to try them all
_TEXTURE_SIDE = 1024  # longest side of a level at which the texture channel is compared

# By level, from the coarsest: how much the guide counts beside the colours (0 from there on), and how many
# rounds of search and vote there are (1 from there on).
_GUIDE_WEIGHTS = (1.0, 1.0, 0.6, 0.3)
_ROUNDS = (4, 4, 2, 2)
_SEEDED = 3  # levels at which a seed sets sources apart

GUIDE_BLUR = 2.0
"""Standard deviation in pixels of the blur that the guide and the photo are compared through."""

_CONTRAST_BLUR = 4.0
_SURROUNDINGS_BLUR = 24.0
_CONTRAST_FLOOR = 16.0  # squared grey levels that are noise
_TRUSTED_DEPTH = 24.0  # pixels from the rim, at the level of the low bands, where confidence has halved
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


def make_levels(colours: np.ndarray, hole: np.ndarray, own: np.ndarray) -> list[Level]:
    """Halve a window until it is small; fine to coarse.

    A coarse pixel is known where at least half of what is under it is, and its colour is the mean of that.
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
            texture = _texture(level)
        level.texture = texture
    for level in levels:
        level.scale = low_band_level(levels).side / level.side
    return levels


def low_band_level(levels: list[Level]) -> Level:
    """Return the level at which low frequencies are put back; about the size that a network fills at."""
    return next((level for level in levels if level.side <= LOW_BAND_SIDE), levels[-1])


def _texture(level: Level) -> np.ndarray:
    """Return the local deviation of fine detail in the luma: measured where known, a membrane elsewhere."""
    luma = cv2.cvtColor(level.colours, cv2.COLOR_RGB2GRAY).astype(np.float32)
    known = (~level.hole).astype(np.float32)

    def known_blur(values: np.ndarray, sigma: float) -> np.ndarray:
        return blurred(values * known, sigma) / np.maximum(blurred(known, sigma), 1e-3)

    deviation = np.sqrt(known_blur((luma - known_blur(luma, 1.5)) ** 2, 2.0))
    # The membrane is smooth: a quarter of the size will do for it.
    rows, columns = (-(-side // 4) for side in level.hole.shape)
    share = shrunk(known, rows, columns)
    means = torch.from_numpy(shrunk(deviation * known, rows, columns) / np.maximum(share, 1e-3))
    spread = push_pull(means[None, None], torch.from_numpy((share > 0.1).astype(np.float32))[None, None])
    return np.where(level.hole, enlarged(spread[0, 0].numpy(), level.hole.shape), deviation)


def confidence_of(level: Level, smooth: np.ndarray) -> np.ndarray:
    """Return float32 h×w in (0, 1]: the guide's local contrast over that of the photo around the hole.

    `smooth` is the level's colours through `GUIDE_BLUR`, float32 h×w×3. Confidence falls with the distance
    from the rim, too.
    """
    contrast = ((smooth - blurred(smooth, _CONTRAST_BLUR)) ** 2).mean(axis=2)
    known = (~_dilated(level.hole, 2)).astype(np.float32)
    rows, columns = (-(-side // 4) for side in level.hole.shape)
    share = blurred(shrunk(known, rows, columns), _SURROUNDINGS_BLUR / 4)
    around = blurred(shrunk(contrast * known, rows, columns), _SURROUNDINGS_BLUR / 4) / np.maximum(
        share, 1e-4
    )
    around = enlarged(around, known.shape)
    local = blurred(contrast, _CONTRAST_BLUR)
    confidence = np.minimum((local + _CONTRAST_FLOOR) / (around + _CONTRAST_FLOOR), np.float32(1))
    depth = cv2.distanceTransform(level.hole.view(np.uint8), cv2.DIST_L2, 5) * np.float32(level.scale)
    return confidence / (1 + (depth / _TRUSTED_DEPTH) ** 2)


def search_level(
    level: Level, coarser: Found | None, number: int, seed: int, last: bool, unsure: bool
) -> Found | None:
    """Alternate between search and vote at one level, the `number`-th from the coarsest.

    `last` says that it is the finest, `unsure` that the window is so large that the guide may have been made
    from a shrunk one: then a field begins from displaced pieces of the photo (`_displaced`), and not from the
    guide's colours. Returns None where no source is allowed.
    """
    height, width = level.hole.shape
    penalty = _penalty(level, seed if number < _SEEDED else 0)
    if penalty.min() >= FORBIDDEN:
        return None
    positions = _indices(_dilated(level.own, RADIUS))
    pixels = _indices(level.own)
    picture = level.colours.copy()
    field, offsets = np.full((height, width), -1, np.int32), None
    if coarser is not None:
        raised = cv2.resize(coarser.picture, (width, height), interpolation=cv2.INTER_CUBIC)
        picture[level.own] = raised[level.own]
        field.reshape(-1)[positions] = _raised(coarser.field, positions, width, (height, width))

    guides = None
    if number < len(_GUIDE_WEIGHTS):
        smooth = blurred(level.colours.astype(np.float32), GUIDE_BLUR)
        confidence = confidence_of(level, smooth)
        weight = np.rint(256 * _GUIDE_WEIGHTS[number] * confidence).astype(np.int32)
        guide = torch.from_numpy(_padded(to_uint8(smooth)))
        guides = (guide, guide, torch.from_numpy(weight))
    texture = np.zeros((height, width), np.uint8)
    if level.texture is not None:
        texture = to_uint8(_TEXTURE_GAIN * level.texture)
    source = torch.from_numpy(_padded(np.dstack([level.colours, texture])))
    colours, known = torch.from_numpy(level.colours), torch.from_numpy(~level.hole)
    near = _NEAR_RIM ** -np.minimum(
        cv2.distanceTransform(level.own.view(np.uint8), cv2.DIST_L2, 5).reshape(-1)[positions], _FARTHEST
    )
    if coarser is None and unsure and guides is not None and level.side <= _DISPLACED_SIDE:
        displaced = _displaced(level, smooth, weight, texture, penalty)
        field.reshape(-1)[positions] = displaced.reshape(-1)[positions]
        sources = displaced.reshape(-1)[pixels]
        told = sources >= 0
        picture.reshape(-1, 3)[pixels[told]] = level.colours.reshape(-1, 3)[sources[told]]
    elif coarser is None:
        offsets = _offsets(height, width, len(positions))
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

        def vote(values: np.ndarray, best: bool = False, field: np.ndarray = field) -> np.ndarray:
            weights = np.zeros((height, width), np.float32)
            weights.reshape(-1)[positions] = values
            votes = exemplar_vote(
                colours,
                known,
                torch.from_numpy(field),
                torch.from_numpy(weights),
                torch.from_numpy(pixels),
                radius=RADIUS,
                best=best,
            ).numpy()
            return np.where(votes[:, :1] < 0, level.colours.reshape(-1, 3)[pixels], votes)

        sharpness = 2000 if last and count == rounds - 1 else 4
        mean = vote(near * np.exp(np.maximum(-cost * sharpness / (2 * good), -80)))
        picture.reshape(-1, 3)[pixels] = to_uint8(mean)
        likeness = np.log(near) - cost * 20 / (2 * good)
        _sharpen(picture, level.own, vote(likeness, best=True))
    return Found(field, picture, float(cost[usable].mean()))


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
    targets = _dilated(level.own, RADIUS)
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

    `positions` are indices of the finer level, whose rows are `width` long; returns a source for each, int32,
    -1 where there is none inside `source_shape`.
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


def _dilated(selection: np.ndarray, radius: int) -> np.ndarray:
    side = 2 * radius + 1
    return cv2.dilate(selection.view(np.uint8), np.ones((side, side), np.uint8)) > 0


def blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    """Blur h×w or h×w×C by a Gaussian of that standard deviation in pixels."""
    return cv2.GaussianBlur(values, (0, 0), sigma).reshape(values.shape)


def enlarged(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bring h×w up to another shape by bilinear interpolation."""
    return cv2.resize(values, shape[::-1], interpolation=cv2.INTER_LINEAR).reshape(shape)


def shrunk(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Reduce h×w or h×w×C to means of areas."""
    # cv2 leaves the axis out of a picture that is one pixel wide.
    return cv2.resize(values, (columns, rows), interpolation=cv2.INTER_AREA).reshape(
        rows, columns, *values.shape[2:]
    )


def _padded(picture: np.ndarray) -> np.ndarray:
    return np.pad(picture, ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)), mode="edge")
