"""Exemplar synthesis: what it may read and write, that it is repeatable, and that it gives texture back."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from inpaint import Inpainter
from inpaint.evaluation.methods import METHODS
from inpaint.inference import detail, synthesis
from inpaint.inference.detail import add_detail
from inpaint.metrics import score
from inpaint.networks import Network


def disc(height, width, radius, y=None, x=None):
    rows, columns = np.ogrid[:height, :width]
    return (rows - (height // 2 if y is None else y)) ** 2 + (
        columns - (width // 2 if x is None else x)
    ) ** 2 <= radius**2


class Grey(Network):
    """A network that says mid-grey."""

    def __init__(self):
        super().__init__({}, stride=1)

    def forward(self, image, mask):
        return torch.full_like(image, 0.5)


def texture(name, size=160):
    """A photo of a material that fills the picture: grey, uint8 size×size×3."""
    return np.repeat(getattr(skimage.data, name)()[:size, :size, None], 3, axis=2)


def guided(image, mask):
    """The fill that a guide without any texture gives."""
    return METHODS["harmonic"](np.where(mask[..., None], np.uint8(0), image), mask)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 50), (3, 7), (7, 7), (8, 40), (64, 65), (91, 40), (30, 500), (257, 130)]
)
def test_only_the_hole_is_written_and_it_is_never_read(shape):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    guide = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    masks = [np.zeros(shape, bool), np.ones(shape, bool), rng.random(shape) < 0.9, disc(*shape, min(shape))]
    masks[-1][0, 0] = False
    for mask in masks:
        before = image.copy(), guide.copy(), mask.copy()
        result = add_detail(image, guide, mask)
        assert all(np.array_equal(*pair) for pair in zip(before, (image, guide, mask), strict=True))
        np.testing.assert_array_equal(result[~mask], image[~mask])
        other = image.copy()
        other[mask] = rng.integers(0, 256, (int(mask.sum()), 3))
        np.testing.assert_array_equal(add_detail(other, guide, mask), result)


def test_every_value_comes_from_known_pixels():
    """Neither the hole, nor a second one that is left to the guide, nor what is beyond the edge is taken."""
    rng = np.random.default_rng(1)
    image = rng.integers(100, 140, (120, 130, 3), dtype=np.uint8)
    wide, thin = disc(120, 130, 30), np.zeros((120, 130), bool)
    thin[10:14, 5:125] = True
    image[wide], image[thin] = 255, 0
    guide = image.copy()
    guide[wide | thin] = 120
    result = add_detail(image, guide, wide | thin)
    np.testing.assert_array_equal(result[thin], guide[thin])
    # The guide's low frequencies are put back, so values may leave the range of the sources by a little.
    assert result[wide].min() > 85 and result[wide].max() < 155
    assert result[wide].std() > 5  # and it is not the guide


@pytest.mark.parametrize("name", ["brick", "gravel", "grass"])
def test_texture_is_given_back(name):
    truth, mask = texture(name), disc(160, 160, 36)
    guide = guided(truth, mask)
    before, after = (score(truth, fill, mask) for fill in (guide, add_detail(truth, guide, mask)))
    assert before["detail"] < 0.35
    assert 0.6 < after["detail"] < 1.3
    assert after["patch_distance"] < (0.9 if name == "brick" else 0.6) * before["patch_distance"]


def test_a_pattern_goes_on_through_the_hole():
    stripes = np.where(np.arange(192) // 8 % 2, np.uint8(200), np.uint8(60))
    truth = np.repeat(np.tile(stripes, (160, 1))[..., None], 3, axis=2)
    mask = disc(160, 192, 32)
    guide = guided(truth, mask)
    result = add_detail(truth, guide, mask)
    wrong = [np.abs(fill[mask].astype(int) - truth[mask]).mean() for fill in (guide, result)]
    assert wrong[0] > 30 and wrong[1] < 8


def test_a_smooth_place_gets_the_guides_colours_and_the_photos_grain():
    rng = np.random.default_rng(2)
    ramp = np.linspace(80, 160, 200)[:, None, None] + np.linspace(0, 20, 220)[None, :, None]
    noise = rng.normal(0, 1.5, (200, 220, 3))
    image = np.rint(ramp + noise).astype(np.uint8)
    mask = disc(200, 220, 50)
    guide = np.where(mask[..., None], np.rint(ramp).astype(np.uint8), image)
    result = add_detail(image, guide, mask)
    inside = disc(200, 220, 40)
    lacking = (result - ramp)[inside]
    assert 0.8 < lacking.std() / noise[inside].std() < 1.2
    blurred = cv2.GaussianBlur(result.astype(np.float32), (0, 0), 4)
    assert np.abs(blurred - ramp)[inside].max() < 2.5


def test_thin_holes_keep_the_guide():
    image = texture("gravel")
    mask = np.zeros((160, 160), bool)
    mask[40 : 40 + 2 * int(detail.THIN) - 1] = True
    mask[:, 100:120] = True
    guide = guided(image, mask)
    crossing = np.s_[20:90, 80:140]  # where two thin strokes cross, they need not be thin
    result = add_detail(image, guide, mask)
    result[crossing] = guide[crossing]
    np.testing.assert_array_equal(result, guide)


def test_equal_seeds_give_equal_bits_on_any_number_of_threads_and_others_give_others():
    image, mask = texture("gravel"), disc(160, 160, 30)
    guide = guided(image, mask)
    torch_threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
            results.append([add_detail(image, guide, mask, seed) for seed in (0, 1, 2)])
    finally:
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv2_threads)
    np.testing.assert_array_equal(*results)
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert np.abs(results[0][one].astype(int) - results[0][other])[mask].mean() > 5


def test_the_finest_levels_of_a_large_window_take_over_what_is_found(monkeypatch):
    image, mask = texture("brick", 256), disc(256, 256, 50)
    guide = guided(image, mask)
    searched = []
    search = synthesis.exemplar_search
    monkeypatch.setattr(
        synthesis,
        "exemplar_search",
        lambda target, *rest, **named: searched.append(target.shape) or search(target, *rest, **named),
    )
    monkeypatch.setattr(detail, "WINDOW_PIXELS", 100 * 100)
    result = add_detail(image, guide, mask)
    assert max(shape[0] * shape[1] for shape in searched) < 140 * 140
    assert 0.6 < score(image, result, mask)["detail"] < 1.4


def test_working_memory_is_bounded():
    """A third of the photo is hole; levels of more than a fifth of a megapixel are not searched."""
    code = """
import resource, sys
import cv2, numpy as np
from inpaint.inference import detail
detail.WINDOW_PIXELS = 200_000
rng = np.random.default_rng(0)
def run(height, width):
    image = cv2.resize(rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8), (width, height))
    mask = np.zeros((height, width), bool)
    mask[height // 5 : -height // 5, width // 5 : -width // 5] = True
    guide = image.copy()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    detail.add_detail(image, guide, mask)
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return taken * (1 if sys.platform == "darwin" else 1024)
run(200, 200)  # what the libraries take once
used = run(1200, 2000)
searched, whole = detail.WORKING_BYTES
print(used, searched * 200_000 + whole * 2_400_000)
"""
    pytest.importorskip("resource", reason="Windows has no such module")
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    used, bound = map(int, output.split())
    assert used < bound


def test_progress_rises_to_one():
    image, mask = texture("brick"), disc(160, 160, 20, 40, 40) | disc(160, 160, 20, 120, 120)
    seen = []
    add_detail(image, guided(image, mask), mask, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1 and len(seen) > 2


def test_the_door_lays_detail_over_the_networks_fill():
    network = Grey()
    image, mask = texture("gravel"), disc(160, 160, 30)
    with pytest.raises(ValueError, match="detail must be one of photo, none, not 'sharp'"):
        Inpainter(network, "cpu", detail="sharp")
    alone, both = Inpainter(network, "cpu", detail="none"), Inpainter(network, "cpu", detail="photo")
    guide = alone(image, mask)
    candidates = list(both.candidates(image, mask, 2, seed=3))
    for seed, candidate in zip((3, 4), candidates, strict=True):
        np.testing.assert_array_equal(candidate, add_detail(image, guide, mask, seed))
        np.testing.assert_array_equal(candidate, both(image, mask, seed=seed))
    grown = alone(image, mask, grow=3)
    changed = (grown != image).any(axis=2)
    assert changed[disc(160, 160, 33)].mean() > 0.9 and not changed[~disc(160, 160, 33)].any()
    with pytest.raises(ValueError, match='detail="none" has one fill'):
        next(alone.candidates(image, mask, 2))
    for wrong in ({"seed": -1}, {"grow": -1}):
        with pytest.raises(ValueError, match="seed and grow 0 or more"):
            both(image, mask, **wrong)
