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

import cv2
import numpy as np

from inpaint.inference.filters import blurred, enlarged, shrunk
from inpaint.inference.levels import LOW_BAND_SIDE, Level, low_band_level, make_levels
from inpaint.inference.measures import GUIDE_BLUR, confidence_of
from inpaint.inference.plan import Box, Job, bounding_box, plan
from inpaint.inference.scales import to_uint8
from inpaint.inference.synthesis import Found, copy_level, search_level

THIN = 12.0
"""Half of the width in pixels up to which a hole is thin: there the guide is sharp, and left alone."""

MARGIN = 96
"""Pixels around a hole that sources come from at least, where the photo has them."""

WINDOW_PIXELS = 16_000_000
"""Largest level in pixels that is searched. Finer ones take over what it has found, so that working memory is
bounded: `WORKING_BYTES`."""

WORKING_BYTES = (112, 32)
"""Bytes of working memory: per pixel that is searched (`WINDOW_PIXELS` at most), per pixel of the photo."""

_STARTS = 2  # coarsest levels that a fill of a large window begins at, to choose from
_CHOICE_SIDE = 360  # longest side of a level up to which they are followed

# Blur of what is put back, and the power of the confidence in it.
_LOW_BANDS = ((8.0, 0.5), (4.0, 1.0), (2.0, 1.0))
_MOST_ADDED = 16.0  # grey levels; where guide and patches differ by more, a haze is all that it would give
_SMOOTH = (1.0, 3.0)  # grey levels of texture below which the guide's own colours hold, and above which not
_EDGES = (5.0, 10.0)  # grey levels of contrast below which a place has no edge, and above which it has
_EDGE_BLUR = 5.0
_GRAIN_BLUR = 1.5  # below it a smooth place is the guide's, above it the photo's grain


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

    >>> noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    >>> mask = np.zeros((96, 96), bool)
    >>> mask[30:66, 30:66] = True
    >>> filled = add_detail(noise, np.full_like(noise, 128), mask)
    >>> bool((filled[~mask] == noise[~mask]).all()), bool(filled[mask].std() > 30)
    (True, True)
    """
    report = progress or (lambda fraction: None)
    image, guide, mask = _prepared(image, guide, mask)
    result = np.where(mask[..., None], guide, image)
    jobs, groups = plan(_wide(mask))
    for done, job in enumerate(jobs):

        def advance(fraction: float, done: int = done) -> None:
            report((done + fraction) / len(jobs))

        window, inside = _place(job, groups, mask)
        found = _synthesise(
            image[window.slices], guide[window.slices], mask[window.slices], inside, seed, advance
        )
        if found is not None:
            result[window.slices][inside] = found.picture[inside]
    report(1.0)
    return result


def source_of(
    image: np.ndarray, guide: np.ndarray, mask: np.ndarray, pixel: tuple[int, int], seed: int = 0
) -> tuple[int, int] | None:
    """Return where the patch is from that `add_detail` lays over a pixel, by its middle.

    Args:
        image: as of `add_detail`.
        guide: as of `add_detail`.
        mask: as of `add_detail`.
        pixel: row and column.
        seed: as of `add_detail`.

    Returns:
        Row and column of a known pixel, around which 7×7 pixels were compared with those around `pixel`; None
        where the guide stays.
    """
    image, guide, mask = _prepared(image, guide, mask)
    jobs, groups = plan(_wide(mask))
    for job in jobs:
        if groups[pixel] == job.group:
            window, inside = _place(job, groups, mask)
            given = (image[window.slices], guide[window.slices], mask[window.slices])
            found = _synthesise(*given, inside, seed, lambda fraction: None)
            source = -1 if found is None else int(found.field[pixel[0] - window.top, pixel[1] - window.left])
            if source >= 0:
                row, column = divmod(source, window.right - window.left)
                return window.top + row, window.left + column
    return None


def _prepared(*given: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image, guide and mask as the operators take them."""
    # The operators read memory row by row; NumPy keeps other layouts through most of what is done here.
    image, guide, mask = (np.ascontiguousarray(one) for one in given)
    return image, guide, mask.view(np.uint8) != 0  # a True is any byte but 0, and OpenCV counts them


def _place(job: Job, groups: np.ndarray, mask: np.ndarray) -> tuple[Box, np.ndarray]:
    """Return the window of a job, and which of its pixels, bool, are filled there."""
    own = groups[job.box.slices] == job.group
    window = _window(job.box, int(own.sum()), mask)
    inside = np.zeros((window.bottom - window.top, window.right - window.left), bool)
    inside[job.box.moved(-window.top, -window.left).slices] = own
    return window, inside


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


def _synthesise(
    image: np.ndarray,
    guide: np.ndarray,
    hole: np.ndarray,
    own: np.ndarray,
    seed: int,
    advance: Callable[[float], None],
) -> Found | None:
    """Fill the pixels `own` of one window; return what was found, or None where there is no source."""
    levels = make_levels(np.where(hole[..., None], guide, image), hole, own)
    unsure = levels[0].side > LOW_BAND_SIDE
    coarse_to_fine = levels[::-1]
    found, first = _best_start(coarse_to_fine, seed) if unsure else (None, 0)
    for number, level in enumerate(coarse_to_fine[first:], first if found is not None else 0):
        if level.own.any():
            if level.hole.size > WINDOW_PIXELS:
                found = found and copy_level(level, found)
            else:
                found = search_level(level, found, number, seed, level is levels[0], unsure) or found
        advance((number + 1) / (len(levels) + 1))
    if found is None or found.picture.shape != image.shape:
        return None
    picture = _with_grain(_with_low_bands(found.picture, levels), levels, found.field)
    return Found(found.field, picture, found.cost)


def _best_start(coarse_to_fine: list[Level], seed: int) -> tuple[Found | None, int]:
    """Begin at each of the coarsest levels, and take the start whose patches fit best later on.

    A coarser start continues repeated structures better, a finer one single edges. The cost of the patches
    tells which is wanted.

    Args:
        coarse_to_fine: the levels.
        seed: sets sources apart.

    Returns:
        What was found, None without a source, and the level to go on with.
    """
    stop = next(index for index, level in enumerate(coarse_to_fine) if level.side > _CHOICE_SIDE)
    results = []
    for start in range(min(_STARTS, stop)):
        found: Found | None = None
        for number, level in enumerate(coarse_to_fine[start:stop], start):  # weights are those of the level
            if level.own.any():
                found = search_level(level, found, number, seed, False, True) or found
        if found is not None:
            results.append(found)
    return min(results, key=lambda found: found.cost, default=None), stop


def _with_low_bands(picture: np.ndarray, levels: list[Level]) -> np.ndarray:
    """Put the guide's low frequencies back into a picture, in place, as far as they can be trusted."""
    level = low_band_level(levels)
    guide = level.colours.astype(np.float32)
    own = level.own[..., None]
    small = shrunk(picture, *level.hole.shape).astype(np.float32)
    lacking = np.where(own, guide - small, np.float32(0))
    confidence = confidence_of(blurred(guide, GUIDE_BLUR), level.hole, level.scale)[..., None]
    confidence = confidence * _without_edges(picture, levels)[..., None]
    added = np.zeros_like(lacking)
    for sigma, power in _LOW_BANDS:
        band = confidence**power * blurred(lacking, sigma)
        added += band
        lacking = np.where(own, lacking - band, np.float32(0))
    hole = levels[0].own
    strongest = np.abs(added).max(axis=2, keepdims=True)
    added *= _MOST_ADDED / np.maximum(strongest, _MOST_ADDED)
    for channel in range(3):  # one at a time: a third of the memory
        values = picture[..., channel][hole] + enlarged(added[..., channel], hole.shape)[hole]
        picture[..., channel][hole] = to_uint8(values)
    return picture


def _with_grain(picture: np.ndarray, levels: list[Level], field: np.ndarray) -> np.ndarray:
    """Give smooth places, in place, the guide's own colours with the grain of the known pixels.

    In a sky or on a wall, patches of a gradient do not fit to the grey level, and their seams show.

    Args:
        picture: uint8 H×W×3.
        levels: fine to coarse.
        field: the source of each pixel, int32 H×W.
    """
    level, finest = low_band_level(levels), levels[0]
    assert level.texture is not None  # the level is small enough to have one
    least, most = _SMOOTH
    share = np.clip((most - level.texture) / (most - least), 0, 1) * level.own
    share = share * _without_edges(picture, levels)
    if not share.any():
        return picture
    hole = finest.own
    share = enlarged(share, hole.shape)[hole][:, None]
    low = cv2.GaussianBlur(finest.colours, (0, 0), _GRAIN_BLUR / finest.scale).reshape(picture.shape)
    source = field[hole]
    grain = finest.colours.reshape(-1, 3)[source].astype(np.float32) - low.reshape(-1, 3)[source]
    smooth = finest.colours[hole] + np.where(source[:, None] < 0, np.float32(0), grain)
    picture[hole] = to_uint8(share * smooth + (1 - share) * picture[hole])
    return picture


def _without_edges(picture: np.ndarray, levels: list[Level]) -> np.ndarray:
    """Return where the guide may change colours: 1 where a picture has no edges, 0 along strong ones.

    The guide of a large window is often made from a shrunk one. Its edges are soft then, and their colours
    would make a halo around those of the patches. The guide of a small window is as sharp as the photo, and
    all is 1.

    Args:
        picture: uint8 H×W×3.
        levels: fine to coarse.

    Returns:
        float32 h×w in [0, 1], of the level of the low frequencies.
    """
    level = low_band_level(levels)
    if levels[0].side <= LOW_BAND_SIDE:
        return np.ones(level.hole.shape, np.float32)
    luma = cv2.cvtColor(shrunk(picture, *level.hole.shape), cv2.COLOR_RGB2GRAY).astype(np.float32)
    contrast = np.sqrt(blurred((luma - blurred(luma, _EDGE_BLUR)) ** 2, _EDGE_BLUR))
    least, most = _EDGES
    plain = np.clip((most - contrast) / (most - least), 0, 1)
    side = 2 * int(_EDGE_BLUR) + 1
    return blurred(cv2.erode(plain, np.ones((side, side), np.uint8)), _EDGE_BLUR / 2)
