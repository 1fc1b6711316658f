"""Whether a fill has the photo's texture. PSNR does not see it: a smear has the smaller error."""

import numpy as np
from scipy.ndimage import binary_erosion, laplace, maximum_filter
from scipy.stats import wasserstein_distance

from inpaint.metrics.checks import checked_mask, checked_pair, checked_picture

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in luma (ITU-R BT.601)."""

DETAIL_FLOOR = 0.1
"""Mean |Laplacian|, in grey levels, below which a hole of the truth has no detail to compare with."""

PATCH_SIDE = 7
"""Side of the patches that are compared, in pixels."""

PATCH_PROJECTIONS = 32
"""Directions that patches are projected on, the same in every call."""

PATCH_LIMIT = 2048
"""So many patches of the hole, and of its surroundings, are compared at most."""

PATCH_REACH = 32
"""Surroundings are patches centred no more than this many pixels from the hole, in rows and in columns."""


def detail(truth: np.ndarray, prediction: np.ndarray, mask: np.ndarray) -> float | None:
    """Return how much fine detail a fill has: its mean |Laplacian| of luma in the hole over the truth's.

    1 is right, below 1 is a smear, above 1 is too crisp or noise. The Laplacian takes a pixel's four
    neighbours; only pixels count that have all of them in the hole, so that the seam does not.

    Args:
        truth: the photo, uint8 H×W×3.
        prediction: the photo with its hole filled, uint8 H×W×3.
        mask: bool H×W, True = hole.

    Returns:
        The ratio; None where no pixel counts, or where the truth's mean is below 0.1 grey levels.

    Raises:
        ValueError: the arrays are not uint8 H×W×3 pictures of one size and a bool H×W mask.

    >>> truth = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    >>> mask = np.zeros((16, 16), bool)
    >>> mask[2:14, 2:14] = True
    >>> detail(truth, truth, mask), detail(truth, np.zeros_like(truth), mask)
    (1.0, 0.0)
    """
    truth, prediction = checked_pair(truth, prediction)
    inside = binary_erosion(checked_mask(mask, truth))  # outside the picture is no hole
    if not inside.any():
        return None
    of_truth, of_prediction = (
        float(np.abs(laplace(image @ np.array(LUMA)))[inside].mean()) for image in (truth, prediction)
    )
    return of_prediction / of_truth if of_truth >= DETAIL_FLOOR else None


def patch_distance(picture: np.ndarray, mask: np.ndarray) -> float | None:
    """Return how far the patches of a filled hole are from those around it; lower is nearer.

    The sliced Wasserstein distance (Rabin et al. 2011; of picture patches, as in Karras et al. 2018) between
    the 7×7 RGB patches centred in the hole and the patches without a hole pixel that are centred within 32
    pixels of it. A patch is taken without its mean colour: what is compared is texture, not shading. The
    patches, at most 2048 of each kind, are projected on 32 random unit vectors of 147 - 3 dimensions, and the
    one-dimensional Wasserstein-1 distances are averaged. Patches and directions are drawn with one fixed
    seed: equal masks compare the same places.

    The truth itself is not at 0, because what was in the hole is not what is around it.

    Args:
        picture: the photo with its hole filled, uint8 H×W×3.
        mask: bool H×W, True = hole.

    Returns:
        The distance in grey levels; None where one of the kinds has no patch: no hole, nothing known, or only
        gaps narrower than a patch.

    Raises:
        ValueError: the arrays are not a uint8 H×W×3 picture and a bool H×W mask of its size.

    >>> flat, mask = np.full((24, 24, 3), 90, np.uint8), np.zeros((24, 24), bool)
    >>> mask[8:16, 8:16] = True
    >>> round(patch_distance(flat, mask), 6)
    0.0
    """
    picture = checked_picture("picture", picture)
    mask = checked_mask(mask, picture)
    if min(mask.shape) < PATCH_SIDE:
        return None
    near = maximum_filter(mask, 2 * PATCH_REACH + 1) & ~maximum_filter(mask, PATCH_SIDE)
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((3, PATCH_SIDE**2, PATCH_PROJECTIONS))
    # At right angles to what a patch's mean colour adds: the projections need no mean taken from the patches.
    directions -= directions.mean(axis=1, keepdims=True)
    directions = directions.reshape(-1, PATCH_PROJECTIONS)
    directions /= np.linalg.norm(directions, axis=0)

    windows = np.lib.stride_tricks.sliding_window_view(picture, (PATCH_SIDE, PATCH_SIDE), axis=(0, 1))
    rim = PATCH_SIDE // 2
    projected = []
    for centres in (mask, near):
        rows, columns = np.nonzero(centres[rim:-rim, rim:-rim])
        if rows.size == 0:
            return None
        if rows.size > PATCH_LIMIT:
            chosen = rng.choice(rows.size, PATCH_LIMIT, replace=False)
            rows, columns = rows[chosen], columns[chosen]
        patches = windows[rows, columns].reshape(rows.size, -1)  # [patches, 3 · 49]
        projected.append((patches @ directions).T)
    return float(np.mean([wasserstein_distance(a, b) for a, b in zip(*projected, strict=True)]))
