"""Detail and patch distance: against slow loops and scipy, and whether they see a smear."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from skimage.data import astronaut, grass

from inpaint.metrics import detail, patch_distance
from inpaint.metrics.texture import PATCH_LIMIT, PATCH_PROJECTIONS


def noisy(height=41, width=33, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box(height, width, top, left, bottom, right):
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


def slow_mean_laplacian(picture, mask):
    """Mean of |4x - the four neighbours| of luma where all five pixels lie in the hole; None without any."""
    luma = 0.299 * picture[..., 0].astype(float) + 0.587 * picture[..., 1] + 0.114 * picture[..., 2]
    values = []
    for y in range(1, mask.shape[0] - 1):
        for x in range(1, mask.shape[1] - 1):
            cross = [(y, x), (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            if all(mask[place] for place in cross):
                values.append(abs(4 * luma[y, x] - sum(luma[place] for place in cross[1:])))
    return np.mean(values) if values else None


@pytest.mark.parametrize("mask", [box(41, 33, 5, 4, 25, 30), box(41, 33, 0, 0, 41, 33), noisy()[..., 0] > 20])
def test_detail_equals_a_slow_loop(mask):
    truth, fill = noisy(), noisy(seed=1) // 3
    expected = slow_mean_laplacian(fill, mask) / slow_mean_laplacian(truth, mask)
    assert detail(truth, fill, mask) == pytest.approx(expected, rel=1e-12)
    assert detail(truth, truth, mask) == 1


def test_detail_is_not_there_without_an_inside_or_a_texture():
    truth = noisy()
    assert detail(truth, truth, np.zeros((41, 33), bool)) is None
    assert detail(truth, truth, box(41, 33, 7, 0, 9, 33)) is None  # a scratch two pixels wide
    assert detail(truth[:2], truth[:2], np.ones((2, 33), bool)) is None
    flat = np.full_like(truth, 90)
    assert detail(flat, truth, box(41, 33, 5, 5, 20, 20)) is None
    flat[10, 10] += 1  # 8 levels over 169 pixels, below the floor
    assert detail(flat, truth, box(41, 33, 5, 5, 20, 20)) is None


def slow_patch_distance(picture, mask, directions):
    """The definition, patch by patch; every patch takes part."""
    height, width = mask.shape
    kinds = {"hole": [], "around": []}
    for y in range(3, height - 3):
        for x in range(3, width - 3):
            patch = picture[y - 3 : y + 4, x - 3 : x + 4].astype(float)
            vector = (patch - patch.mean(axis=(0, 1))).transpose(2, 0, 1).ravel()
            if mask[y, x]:
                kinds["hole"].append(vector)
            near = mask[max(y - 32, 0) : y + 33, max(x - 32, 0) : x + 33].any()
            if near and not mask[y - 3 : y + 4, x - 3 : x + 4].any():
                kinds["around"].append(vector)
    hole, around = np.array(kinds["hole"]), np.array(kinds["around"])
    assert max(len(hole), len(around)) <= PATCH_LIMIT
    return np.mean([wasserstein_distance(hole @ d, around @ d) for d in directions])


@pytest.mark.parametrize(("height", "width"), [(41, 33), (20, 81)])
def test_patch_distance_equals_a_slow_loop(height, width):
    picture = astronaut()[:height, 180 : 180 + width]
    mask = box(height, width, 2, 3, 12, 15)  # reaches into the rim that no patch is centred on
    directions = np.random.default_rng(0).standard_normal((3, 49, PATCH_PROJECTIONS))
    directions = (directions - directions.mean(axis=1, keepdims=True)).reshape(147, -1).T
    directions /= np.sqrt((directions**2).sum(axis=1))[:, None]
    expected = slow_patch_distance(picture, mask, directions)
    assert patch_distance(picture, mask) == pytest.approx(expected, rel=1e-9)
    assert expected > 0.5


def test_both_see_a_smear_and_not_another_piece_of_the_same_texture():
    lawn = np.repeat(grass()[:200, :200, None], 3, axis=2)
    mask = box(200, 200, 60, 70, 140, 150)
    smear, other = lawn.copy(), lawn.copy()
    smear[mask] = np.rint(lawn[mask].mean(axis=0))
    other[mask] = np.repeat(grass()[300:380, 300:380, None], 3, axis=2).reshape(-1, 3)
    assert detail(lawn, smear, mask) == 0
    assert detail(lawn, other, mask) == pytest.approx(1, abs=0.2)
    assert patch_distance(smear, mask) > 5 * patch_distance(other, mask)
    assert patch_distance(other, mask) < 2 * patch_distance(lawn, mask)
    # The places are drawn with one seed: equal pictures, equal numbers.
    assert patch_distance(smear, mask) == patch_distance(smear.copy(), mask.copy())


def test_patch_distance_is_of_texture_not_of_shading():
    lawn = np.repeat(grass()[:120, :120, None], 3, axis=2) // 2
    mask = box(120, 120, 40, 40, 80, 80)
    brighter = lawn.copy()
    brighter[40:80, 40:80] += 60
    inside = mask.copy()
    inside[40:80, 40:80] = box(40, 40, 3, 3, 37, 37)  # these patches have no pixel of the step
    assert patch_distance(brighter, inside) < 1.7 * patch_distance(lawn, inside)


@pytest.mark.parametrize(
    ("height", "width", "mask"),
    [
        (41, 33, np.zeros((41, 33), bool)),
        (41, 33, np.ones((41, 33), bool)),
        (6, 33, box(6, 33, 0, 0, 6, 5)),
        (7, 7, box(7, 7, 3, 3, 4, 4)),
        (41, 33, np.indices((41, 33)).sum(axis=0) % 5 == 0),  # gaps narrower than a patch
        (41, 33, box(41, 33, 0, 0, 3, 33)),  # no patch is centred there
    ],
)
def test_without_patches_of_both_kinds_there_is_no_patch_distance(height, width, mask):
    assert patch_distance(noisy(height, width), mask) is None


def test_only_patches_near_the_hole_are_its_surroundings():
    picture = np.repeat(grass()[:60, :150, None], 3, axis=2)
    mask = box(60, 150, 20, 10, 40, 30)
    far = picture.copy()
    far[:, 66:] = 0  # 33 pixels from the hole a patch is centred, 30 it may still reach into
    assert patch_distance(far, mask) == patch_distance(picture, mask)
    far[:, 55:] = 0
    assert patch_distance(far, mask) != patch_distance(picture, mask)
