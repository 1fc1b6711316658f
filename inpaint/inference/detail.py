"""Exemplar synthesis: the photo's own texture, laid where the network says.

A network that minimises pixel errors gives a smooth fill: right in colour and shape, without grain. The known
pixels of the photo hold the texture that is missing. Patches of them are laid over the hole, coarse to fine,
by alternating between the search for the best source of every patch and a vote of the overlapping patches
(Wexler, Shechtman and Irani, Space-Time Completion of Video, PAMI 2007; Barnes et al., PatchMatch, 2009).
Three things are not in those papers:

- the guide, the network's fill: patches are compared in its blurred colours, too, blurred with blurred;
- its confidence: where the photo around the hole has contrast that the guide has not, the guide is an average
  of what might be there, and counts for less;
- the texture channel: how strong the photo's fine detail is, spread from the rim into the hole as a membrane.
  Without it a smooth guide draws smooth sources, whatever stands around the hole.

At the end the low frequencies of the guide are put back. Known pixels are never changed, and no pixel of a
hole or from beyond the photo's edge is a source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from inpaint.inference.plan import Box, bounding_box, plan
from inpaint.layers.push_pull import push_pull
from inpaint.ops.exemplars import FORBIDDEN, exemplar_search, exemplar_vote

RADIUS = 3
"""Of the patches that are compared: 7×7 pixels."""

THIN = 12.0
"""Half of the width in pixels up to which a hole is thin: there the guide is sharp, and left alone."""

MARGIN = 96
"""Pixels around a hole that sources come from at least, where the photo has them."""

WINDOW_PIXELS = 16_000_000
"""Largest level in pixels that is searched. Finer ones take over what it has found, band by band of rows, so
that working memory is bounded: `WORKING_BYTES`."""

WORKING_BYTES = (64, 32)
"""Bytes of working memory per pixel that is searched (at most `WINDOW_PIXELS`), and per pixel of a window."""

_COARSEST = (
    90,
    45,
)  # longest side of the coarsest level, of a window up to `_LOW_BAND_SIDE`, and of a larger one
_LOW_BAND_SIDE = 640  # longest side of the level at which low frequencies are put back
_TEXTURE_SIDE = 1024  # longest side of a level at which the texture channel is compared

# By level, from the coarsest: how much the guide counts beside the colours (0 from there on), and how many
# rounds of search and vote there are (1 from there on).
_GUIDE_WEIGHTS = (1.0, 1.0, 0.6, 0.3)
_ROUNDS = (4, 4, 2, 2)
_SEEDED = 3  # levels at which a seed sets sources apart

_GUIDE_BLUR = 2.0  # pixels, standard deviation, as all of these
_CONTRAST_BLUR = 4.0
_SURROUNDINGS_BLUR = 24.0
_CONTRAST_FLOOR = 16.0  # squared grey levels that are noise
_TRUSTED_DEPTH = 24.0  # pixels from the rim, at the level of the low bands, where confidence has halved
_TEXTURE_GAIN = 2.0
_UNKNOWN_COST = 1200  # of an unknown pixel in a source patch, as a squared difference
_NEAR_RIM = 1.3  # a patch counts so much less for each pixel that it is farther from the rim,
_FARTHEST = 24.0  # up to here
_GOOD_SHARE = 0.1  # the share of patches that set the scale of a good match
_SEAM_BLUR = 1.0  # below it the mean of the patches holds, above it the best patch
_LOW_BANDS = (
    (8.0, 0.5),
    (4.0, 1.0),
    (2.0, 1.0),
)  # blur of what is put back, and the power of the confidence in it
_SMOOTH = (1.0, 3.0)  # grey levels of texture below which the guide's own colours hold, and above which not
_GRAIN_BLUR = 1.5  # below it a smooth place is the guide's, above it the photo's grain
_OVERUSE = 0.5  # the cost of each use of a source beyond the first, in costs of a good match
_SEED_COST = 300  # squared difference of a pixel by which a seed may set two sources apart
_BAND_ROWS = 256  # of a level that is too large to be searched
_MOST_COMPARISONS = 400_000_000  # of places, in the search that a field begins with

_STEPS = np.array(
    [(s * a, s * b) for s in (1, 3, 8) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b], np.int32
)


def add_detail(
    image: np.ndarray,
    guide: np.ndarray,
    mask: np.ndarray,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Return the photo with its hole filled from its own known pixels, as the guide says what lies where.

    Args:
        image: uint8 H×W×3; what the hole holds is never read.
        guide: uint8 H×W×3, a fill of the hole: a network's, or a baseline's.
        mask: bool H×W, True = hole.
        seed: other seeds set other sources apart, and so give other fills; 0 sets none apart.
        progress: called with the fraction done, rising from 0 to 1.

    Returns:
        uint8 H×W×3; the image where the mask is False. The guide stays where a hole is thin (`THIN`), and
        where there is no patch to take. Equal arguments give equal bits, on any number of threads.
    """
    report = progress or (lambda fraction: None)
    # The operators read memory row by row; NumPy keeps other layouts through most of what is done here.
    image, guide, mask = (np.ascontiguousarray(given) for given in (image, guide, mask))
    result = np.where(mask[..., None], guide, image)
    wide = _wide(mask)
    jobs, groups = plan(wide)
    for done, job in enumerate(jobs):

        def advance(fraction: float, done: int = done) -> None:
            report((done + fraction) / len(jobs))

        own = groups[job.box.slices] == job.group
        window = _window(job.box, int(own.sum()), mask)
        inside = np.zeros((window.bottom - window.top, window.right - window.left), bool)
        inside[job.box.moved(-window.top, -window.left).slices] = own
        filled = _synthesise(
            image[window.slices], guide[window.slices], mask[window.slices], inside, seed, advance
        )
        if filled is not None:
            result[window.slices][inside] = filled[inside]
    report(1.0)
    return result


def _wide(mask: np.ndarray) -> np.ndarray:
    """Return the hole, bool H×W, without what is thin: the opening of the mask by a disc of radius `THIN`."""
    if not mask.any():
        return mask
    wide = np.zeros_like(mask)
    box = bounding_box(mask).grown(1, *mask.shape)
    hole = np.pad(mask[box.slices], 1, mode="edge").view(np.uint8)  # the photo's edge is no rim
    core = cv2.distanceTransform(hole, cv2.DIST_L2, 5) > THIN
    if core.any():
        near = cv2.distanceTransform((~core).view(np.uint8), cv2.DIST_L2, 5) <= THIN
        wide[box.slices] = near[1:-1, 1:-1] & mask[box.slices]
    return wide


def _window(box: Box, hole_pixels: int, mask: np.ndarray) -> Box:
    """Return where the sources of a hole come from: around it, and as far as it takes to have enough."""
    margin = max(MARGIN, max(box.bottom - box.top, box.right - box.left) // 2)
    while True:
        window = box.grown(margin, *mask.shape)
        hole = mask[window.slices]
        if hole.size - int(hole.sum()) >= 2 * hole_pixels or hole.size == mask.size:
            return window
        margin *= 2


@dataclass
class _Level:
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
        return max(self.hole.shape)


@dataclass
class _Found:
    """What a level has found: the source of each patch, int32 h×w, and the picture, uint8 h×w×3."""

    field: np.ndarray
    picture: np.ndarray


def _synthesise(
    image: np.ndarray,
    guide: np.ndarray,
    hole: np.ndarray,
    own: np.ndarray,
    seed: int,
    advance: Callable[[float], None],
) -> np.ndarray | None:
    """Fill the pixels `own` of one window; returns uint8 H×W×3, or None where there is no source."""
    levels = _levels(np.where(hole[..., None], guide, image), hole, own)
    found: _Found | None = None
    for number, level in enumerate(reversed(levels)):
        if level.own.any():
            last = level is levels[0]
            if level.hole.size > WINDOW_PIXELS:
                found = found and _copied(level, found)
            else:
                found = _searched(level, found, number, seed, last) or found
        advance((number + 1) / (len(levels) + 1))
    if found is None or found.picture.shape != image.shape:
        return None
    return _with_grain(_with_low_bands(found.picture, levels), levels, found.field)


def _levels(colours: np.ndarray, hole: np.ndarray, own: np.ndarray) -> list[_Level]:
    """Halve a window until it is small; fine to coarse.

    A coarse pixel is known where at least half of what is under it is, and its colour is the mean of that.
    """
    levels = [_Level(colours, hole, own)]
    # A network sees a large window shrunk, and knows less of it: patches decide from farther off.
    coarsest = _COARSEST[levels[0].side > _LOW_BAND_SIDE]
    while levels[-1].side > coarsest:
        finer = levels[-1]
        rows, columns = (finer.hole.shape[0] + 1) // 2, (finer.hole.shape[1] + 1) // 2
        share = _shrunk((~finer.hole).astype(np.float32), rows, columns)
        hole = share < 0.5
        own = (_shrunk(finer.own.astype(np.float32), rows, columns) > 0) & hole
        colours = np.empty((rows, columns, 3), np.uint8)
        for channel in range(3):  # one at a time: a third of the memory
            values = finer.colours[..., channel].astype(np.float32)
            known = _shrunk(np.where(finer.hole, np.float32(0), values), rows, columns)
            means = known / np.maximum(share, 0.5)
            colours[..., channel] = _bytes(np.where(hole, _shrunk(values, rows, columns), means))
        levels.append(_Level(colours, hole, own))
    texture = None
    for level in levels:
        if texture is not None:
            texture = _shrunk(texture, *level.hole.shape)
        elif level.side <= _TEXTURE_SIDE:
            texture = _texture(level)
        level.texture = texture
    for level in levels:
        level.scale = _low_band_level(levels).side / level.side
    return levels


def _low_band_level(levels: list[_Level]) -> _Level:
    """Return the level at which low frequencies are put back; about the size that a network fills at."""
    return next((level for level in levels if level.side <= _LOW_BAND_SIDE), levels[-1])


def _texture(level: _Level) -> np.ndarray:
    """Return the local deviation of fine detail in the luma: measured where known, a membrane elsewhere."""
    luma = cv2.cvtColor(level.colours, cv2.COLOR_RGB2GRAY).astype(np.float32)
    known = (~level.hole).astype(np.float32)

    def blurred(values: np.ndarray, sigma: float) -> np.ndarray:
        return _blurred(values * known, sigma) / np.maximum(_blurred(known, sigma), 1e-3)

    deviation = np.sqrt(blurred((luma - blurred(luma, 1.5)) ** 2, 2.0))
    # The membrane is smooth: a quarter of the size will do for it.
    rows, columns = (-(-side // 4) for side in level.hole.shape)
    share = _shrunk(known, rows, columns)
    means = torch.from_numpy(_shrunk(deviation * known, rows, columns) / np.maximum(share, 1e-3))
    spread = push_pull(means[None, None], torch.from_numpy((share > 0.1).astype(np.float32))[None, None])
    return np.where(level.hole, _enlarged(spread[0, 0].numpy(), level.hole.shape), deviation)


def _confidence(level: _Level, blurred: np.ndarray) -> np.ndarray:
    """Return float32 h×w in (0, 1]: the guide's local contrast over that of the photo around the hole.

    It falls with the distance from the rim, too.
    """
    contrast = ((blurred - _blurred(blurred, _CONTRAST_BLUR)) ** 2).mean(axis=2)
    known = (~_dilated(level.hole, 2)).astype(np.float32)
    rows, columns = (-(-side // 4) for side in level.hole.shape)
    share = _blurred(_shrunk(known, rows, columns), _SURROUNDINGS_BLUR / 4)
    around = _blurred(_shrunk(contrast * known, rows, columns), _SURROUNDINGS_BLUR / 4) / np.maximum(
        share, 1e-4
    )
    around = _enlarged(around, known.shape)
    local = _blurred(contrast, _CONTRAST_BLUR)
    confidence = np.minimum((local + _CONTRAST_FLOOR) / (around + _CONTRAST_FLOOR), np.float32(1))
    depth = cv2.distanceTransform(level.hole.view(np.uint8), cv2.DIST_L2, 5) * np.float32(level.scale)
    return confidence / (1 + (depth / _TRUSTED_DEPTH) ** 2)


def _searched(level: _Level, coarser: _Found | None, number: int, seed: int, last: bool) -> _Found | None:
    """Alternate between search and vote at one level, the `number`-th from the coarsest.

    Returns None where no source is allowed.
    """
    height, width = level.hole.shape
    penalty = _penalty(level, seed if number < _SEEDED else 0)
    if penalty.min() >= FORBIDDEN:
        return None
    positions = _indices(_dilated(level.own, RADIUS))
    pixels = _indices(level.own)
    picture = level.colours.copy()
    field, offsets = np.full((height, width), -1, np.int32), None
    if coarser is None:
        offsets = _offsets(height, width, len(positions))
    else:
        raised = cv2.resize(coarser.picture, (width, height), interpolation=cv2.INTER_CUBIC)
        picture[level.own] = raised[level.own]
        field.reshape(-1)[positions] = _raised(coarser.field, positions, width, (height, width))

    guides = None
    if number < len(_GUIDE_WEIGHTS):
        blurred = _blurred(level.colours.astype(np.float32), _GUIDE_BLUR)
        weight = np.rint(256 * _GUIDE_WEIGHTS[number] * _confidence(level, blurred)).astype(np.int32)
        guide = torch.from_numpy(_padded(_bytes(blurred)))
        guides = (guide, guide, torch.from_numpy(weight))
    texture = np.zeros((height, width), np.uint8)
    if level.texture is not None:
        texture = _bytes(_TEXTURE_GAIN * level.texture)
    source = torch.from_numpy(_padded(np.dstack([level.colours, texture])))
    colours, known = torch.from_numpy(level.colours), torch.from_numpy(~level.hole)
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
        picture.reshape(-1, 3)[pixels] = _bytes(mean)
        likeness = np.log(near) - cost * 20 / (2 * good)
        _sharpen(picture, pixels, vote(likeness, best=True))
    return _Found(field, picture)


def _penalty(level: _Level, seed: int) -> np.ndarray:
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


def _overuse(field: np.ndarray, cost: float) -> np.ndarray:
    """Return what sources cost, int32 h×w, for use beyond the first (Kaspar et al., Eurographics 2015)."""
    side = 2 * RADIUS + 1
    uses = np.bincount(field[field >= 0], minlength=field.size).reshape(field.shape).astype(np.float32)
    times = cv2.boxFilter(uses, -1, (side, side), borderType=cv2.BORDER_CONSTANT)  # 1 where each is used once
    return np.rint(np.clip(cost * (times - 1), 0, FORBIDDEN / 4)).astype(np.int32)


def _offsets(height: int, width: int, count: int) -> np.ndarray:
    """Return where a field begins to look, int32 [K, 2]: everywhere, if `count` targets allow it."""
    if height * width * count <= _MOST_COMPARISONS:
        down, right = np.mgrid[1 - height : height, 1 - width : width]
    else:
        down, right = np.mgrid[-64:65:4, -64:65:4]
    return np.stack([down.reshape(-1), right.reshape(-1)], axis=1).astype(np.int32)


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


def _copied(level: _Level, coarser: _Found) -> _Found:
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
    return _Found(field, picture)


def _sharpen(picture: np.ndarray, pixels: np.ndarray, best: np.ndarray) -> None:
    """Give a picture, in place, the highest frequencies of the best patches.

    The mean of the patches has no seams and little detail, the best patches have both: each is taken in its
    band (Burt and Adelson, A Multiresolution Spline with Application to Image Mosaics, 1983).
    """
    height, width = picture.shape[:2]
    hole = np.zeros((height, width), bool)
    hole.reshape(-1)[pixels] = True
    slices = bounding_box(hole).grown(8, height, width).slices
    chosen = picture.copy()
    chosen.reshape(-1, 3)[pixels] = _bytes(best)
    mean, sharp = picture[slices].astype(np.float32), chosen[slices].astype(np.float32)
    hole = hole[slices]
    picture[slices][hole] = _bytes(_blurred(mean - sharp, _SEAM_BLUR) + sharp)[hole]


def _with_low_bands(picture: np.ndarray, levels: list[_Level]) -> np.ndarray:
    """Put the guide's low frequencies back into a picture, uint8 H×W×3, as far as they can be trusted."""
    level = _low_band_level(levels)
    height, width = level.hole.shape
    guide = level.colours.astype(np.float32)
    own = level.own[..., None]
    small = _shrunk(picture, height, width).astype(np.float32)
    lacking = np.where(own, guide - small, np.float32(0))
    confidence = _confidence(level, _blurred(guide, _GUIDE_BLUR))[..., None]
    added = np.zeros_like(lacking)
    for sigma, power in _LOW_BANDS:
        band = confidence**power * _blurred(lacking, sigma)
        added += band
        lacking = np.where(own, lacking - band, np.float32(0))
    result = picture
    hole = levels[0].own
    for channel in range(3):  # one at a time: a third of the memory
        values = picture[..., channel][hole] + _enlarged(added[..., channel], hole.shape)[hole]
        result[..., channel][hole] = _bytes(values)
    return result


def _with_grain(picture: np.ndarray, levels: list[_Level], field: np.ndarray) -> np.ndarray:
    """Make what is smooth, a sky or a wall, the guide's own colours with the grain of the known pixels.

    Patches of a gradient do not fit each other to the grey level, and nothing hides their seams.
    """
    level, finest = _low_band_level(levels), levels[0]
    assert level.texture is not None  # the level is small enough to have one
    least, most = _SMOOTH
    share = np.clip((most - level.texture) / (most - least), 0, 1) * level.own
    if not share.any():
        return picture
    hole = finest.own
    share = _enlarged(share, hole.shape)[hole][:, None]
    blurred = cv2.GaussianBlur(finest.colours, (0, 0), _GRAIN_BLUR / finest.scale).reshape(picture.shape)
    source = field[hole]
    grain = finest.colours.reshape(-1, 3)[source].astype(np.float32) - blurred.reshape(-1, 3)[source]
    smooth = finest.colours[hole] + np.where(source[:, None] < 0, np.float32(0), grain)
    picture[hole] = _bytes(share * smooth + (1 - share) * picture[hole])
    return picture


def _indices(selection: np.ndarray) -> np.ndarray:
    return np.flatnonzero(selection).astype(np.int32)


def _dilated(selection: np.ndarray, radius: int) -> np.ndarray:
    side = 2 * radius + 1
    return cv2.dilate(selection.view(np.uint8), np.ones((side, side), np.uint8)) > 0


def _blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(values, (0, 0), sigma).reshape(values.shape)


def _enlarged(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cv2.resize(values, shape[::-1], interpolation=cv2.INTER_LINEAR).reshape(shape)


def _shrunk(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    # cv2 leaves the axis out of a picture that is one pixel wide.
    return cv2.resize(values, (columns, rows), interpolation=cv2.INTER_AREA).reshape(
        rows, columns, *values.shape[2:]
    )


def _padded(picture: np.ndarray) -> np.ndarray:
    return np.pad(picture, ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)), mode="edge")


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
