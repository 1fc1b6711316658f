"""The classical baselines, and how names become methods."""

import itertools
import sys
import types

import cv2
import numpy as np
import patchmatch
import pytest
from scipy.sparse import lil_array
from scipy.sparse.linalg import spsolve
from skimage.data import astronaut
from skimage.restoration import inpaint_biharmonic

from inpaint.evaluation import FillFolder, methods
from inpaint.evaluation.methods import METHODS, resolve_method


def picture_with_holes(height=61, width=48):
    image = np.ascontiguousarray(astronaut()[50 : 50 + height, 200 : 200 + width])
    mask = np.zeros((height, width), bool)
    mask[10:25, 5:20] = True
    mask[27:30, 3:40] = True  # two pixels below the first: solved together
    mask[-6:, -9:] = True  # touches two borders
    return image, mask


@pytest.mark.parametrize("name", METHODS)
def test_fills_every_hole_and_touches_nothing_else(name):
    image, mask = picture_with_holes()
    destroyed = image.copy()
    destroyed[mask] = (255, 0, 255)
    given, given_mask = destroyed.copy(), mask.copy()
    filled = METHODS[name](given, given_mask)
    assert filled.dtype == np.uint8
    assert filled.shape == image.shape
    np.testing.assert_array_equal(filled[~mask], image[~mask])
    assert not (filled[mask] == (255, 0, 255)).all(axis=1).any()
    np.testing.assert_array_equal(given, destroyed)
    np.testing.assert_array_equal(given_mask, mask)


@pytest.mark.parametrize("name", METHODS)
def test_what_lies_in_the_hole_does_not_matter(name):
    image, mask = picture_with_holes()
    black, noise = image.copy(), image.copy()
    black[mask] = 0
    noise[mask] = np.random.default_rng(0).integers(0, 256, (mask.sum(), 3))
    np.testing.assert_array_equal(METHODS[name](black, mask), METHODS[name](noise, mask))


@pytest.mark.parametrize("name", METHODS)
def test_channel_order_does_not_matter(name):
    """OpenCV speaks of BGR elsewhere; here each channel is filled alike."""
    image, mask = picture_with_holes()
    forwards = METHODS[name](image, mask)
    np.testing.assert_array_equal(METHODS[name](image[..., ::-1], mask), forwards[..., ::-1])


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("height_width", [(1, 1), (1, 7), (9, 2), (17, 13)])
def test_empty_and_full_masks_give_the_image_back(name, height_width):
    image = np.random.default_rng(0).integers(0, 256, (*height_width, 3), dtype=np.uint8)
    for mask in (np.zeros(height_width, bool), np.ones(height_width, bool)):
        np.testing.assert_array_equal(METHODS[name](image, mask), image)


@pytest.mark.parametrize("name", METHODS)
def test_views_are_accepted(name):
    image, mask = picture_with_holes()
    expected = METHODS[name](image[:, ::-1].copy(), mask[:, ::-1].copy())
    np.testing.assert_array_equal(METHODS[name](image[:, ::-1], mask[:, ::-1]), expected)


@pytest.mark.parametrize(("name", "flag"), [("telea", cv2.INPAINT_TELEA), ("ns", cv2.INPAINT_NS)])
def test_opencv_methods_use_radius_3(name, flag):
    image, mask = picture_with_holes()
    expected = cv2.inpaint(image, mask.astype(np.uint8) * 255, 3, flag)
    np.testing.assert_array_equal(METHODS[name](image, mask), expected)
    assert (expected != cv2.inpaint(image, mask.astype(np.uint8) * 255, 5, flag)).any()


def test_biharmonic_equals_scikit_image_solved_whole():
    image, mask = picture_with_holes(31, 30)
    whole = inpaint_biharmonic(image / 255, mask, split_into_regions=False, channel_axis=2)
    difference = METHODS["biharmonic"](image, mask) - 255 * whole
    assert np.abs(difference).max() < 0.5 + 1e-6


def test_biharmonic_continues_a_plane_exactly():
    rows, columns = np.mgrid[:20, :24]
    plane = np.repeat((3 * rows + 5 * columns + 10)[..., None], 3, axis=2).astype(np.uint8)
    mask = np.zeros((20, 24), bool)
    mask[6:14, 7:15] = True
    destroyed = np.where(mask[..., None], 128, plane).astype(np.uint8)
    np.testing.assert_array_equal(METHODS["biharmonic"](destroyed, mask), plane)


def membrane(image, mask):
    """Solve Laplace's equation on the eight neighbours of each pixel of the hole, float64 H×W×3.

    A pixel at the picture's border has fewer neighbours, so nothing pulls it outwards.
    """
    height, width = mask.shape
    number = np.cumsum(mask.ravel()).reshape(mask.shape) - 1
    size = int(mask.sum())
    equations = lil_array((size, size))
    known = np.zeros((size, 3))
    for y, x in np.argwhere(mask):
        here = number[y, x]
        around = itertools.product(range(max(y - 1, 0), y + 2), range(max(x - 1, 0), x + 2))
        for i, j in around:
            if (i, j) == (y, x) or i >= height or j >= width:
                continue
            equations[here, here] += 1
            if mask[i, j]:
                equations[here, number[i, j]] = -1
            else:
                known[here] += image[i, j]
    solved = image.astype(float)
    solved[mask] = spsolve(equations.tocsc(), known)
    return solved


@pytest.mark.parametrize(("height", "width"), [(61, 48), (37, 53), (80, 31)])
def test_harmonic_is_near_the_exact_membrane(height, width):
    image, mask = picture_with_holes(height, width)
    filled = METHODS["harmonic"](image, mask)
    difference = np.abs(filled - membrane(image, mask))
    np.testing.assert_array_equal(filled[~mask], image[~mask])
    assert difference[mask].mean() < 0.8  # grey levels; measured: 0.38 to 0.43, and 4.2 to 6.4 for Telea
    assert difference.max() < 4


def test_harmonic_continues_a_plane():
    rows, columns = np.mgrid[:41, :49]
    plane = np.repeat((2 * rows + 3 * columns + 10)[..., None], 3, axis=2).astype(np.uint8)
    mask = np.zeros((41, 49), bool)
    mask[12:28, 15:33] = True
    destroyed = np.where(mask[..., None], 128, plane).astype(np.uint8)
    difference = np.abs(METHODS["harmonic"](destroyed, mask) - plane.astype(float))
    assert difference.max() <= 1


def test_harmonic_is_flat_where_nothing_pulls_outwards():
    """A strip at the picture's border takes the colour of the row beside it."""
    image = np.zeros((24, 24, 3), np.uint8)
    image[:20] = (40, 90, 200)
    mask = np.zeros((24, 24), bool)
    mask[20:] = True
    assert (METHODS["harmonic"](image, mask) == (40, 90, 200)).all()


@pytest.mark.parametrize("size", [(1, 31), (2, 3), (300, 1)])
def test_harmonic_fills_pictures_of_any_size(size):
    image = np.full((*size, 3), 77, np.uint8)
    mask = np.arange(size[0] * size[1]).reshape(size) % 3 > 0
    destroyed = np.where(mask[..., None], 0, image).astype(np.uint8)
    np.testing.assert_array_equal(METHODS["harmonic"](destroyed, mask), image)


# Names


def test_baselines_resolve_to_themselves():
    assert resolve_method("telea") == ("telea", methods.telea)
    assert resolve_method("ns") == ("ns", methods.navier_stokes)
    assert resolve_method("biharmonic") == ("biharmonic", methods.biharmonic)
    assert resolve_method("harmonic") == ("harmonic", methods.harmonic)
    assert resolve_method("patchmatch") == ("patchmatch", methods.patchmatch)


def test_folders_resolve_under_their_label(tmp_path):
    name, method = resolve_method(f"peer+photo={tmp_path}")
    assert name == "peer+photo"
    assert isinstance(method, FillFolder)


@pytest.mark.parametrize(
    "text", ["=x", "peer=", "telea=x", "telea+photo=x", "", "+photo", "telea+photo+photo"]
)
def test_malformed_methods_are_refused(text):
    with pytest.raises(ValueError, match="method"):
        resolve_method(text)


def test_unknown_methods_list_the_known_ones():
    with pytest.raises(
        ValueError, match=r"unknown method 'telae'.*telea, ns, biharmonic, harmonic.*installed"
    ):
        resolve_method("telae")


def test_any_other_name_is_a_model(monkeypatch):
    from inpaint import Inpainter

    asked = []
    monkeypatch.setattr(
        Inpainter, "from_pretrained", lambda name, device, detail: asked.append((name, device)) or "model"
    )
    assert resolve_method("runs/mine", "cpu") == ("runs/mine", "model")
    assert asked == [("runs/mine", "cpu")]


@pytest.fixture
def add_detail(monkeypatch):
    """Stands for the exemplar stage; returns the calls it got."""
    calls = []

    def stage(image, fill, mask, seed=0):
        calls.append((image.copy(), fill.copy(), mask.copy(), seed))
        return np.where(mask[..., None], 255 - fill, image)

    module = types.ModuleType("inpaint.inference.detail")
    module.add_detail = stage
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


def test_detail_of_the_photo_is_laid_over_a_baselines_fill(add_detail):
    image, mask = picture_with_holes()
    name, method = resolve_method("telea+photo")
    assert name == "telea+photo"
    filled = method(image, mask)
    guide = METHODS["telea"](image, mask)
    np.testing.assert_array_equal(filled, np.where(mask[..., None], 255 - guide, image))
    ((given, fill, hole, seed),) = add_detail
    np.testing.assert_array_equal(given, image)
    np.testing.assert_array_equal(fill, guide)
    np.testing.assert_array_equal(hole, mask)
    assert seed == 0


def test_detail_of_the_photo_is_laid_over_a_models_fill(add_detail, monkeypatch):
    from inpaint import Inpainter

    network = {"runs/mine": lambda image, mask: np.full_like(image, 9)}
    monkeypatch.setattr(Inpainter, "from_pretrained", lambda name, device, detail: network[name])
    image, mask = picture_with_holes()
    name, method = resolve_method("runs/mine+photo", "cpu")
    assert name == "runs/mine+photo"
    assert (method(image, mask)[mask] == 246).all()
    assert (resolve_method("runs/mine", "cpu")[1](image, mask)[mask] == 9).all()
    assert len(add_detail) == 1


def test_without_a_hole_or_a_known_pixel_no_detail_is_asked_for(add_detail):
    image, mask = picture_with_holes()
    _, method = resolve_method("telea+photo")
    for empty in (np.zeros_like(mask), np.ones_like(mask)):
        np.testing.assert_array_equal(method(image, empty), image)
    assert add_detail == []


def test_an_unknown_guide_is_named():
    with pytest.raises(ValueError, match=r"unknown method 'telae'.*\+photo"):
        resolve_method("telae+photo")


# PatchMatch


def test_patchmatch_takes_7x7_patches_of_the_picture_and_is_the_same_each_time():
    image, mask = picture_with_holes()
    patchmatch.set_random_seed(0)
    expected = patchmatch.inpaint(image, mask, patch_size=3)
    patchmatch.set_random_seed(7)  # what others have set does not matter
    np.testing.assert_array_equal(METHODS["patchmatch"](image, mask), expected)
    assert (expected != patchmatch.inpaint(image, mask, patch_size=5)).any()


def test_a_missing_or_broken_patchmatch_is_told_with_the_remedy(monkeypatch):
    monkeypatch.setattr(patchmatch, "patchmatch_available", False)
    with pytest.raises(ValueError, match="does not load; pip install --force-reinstall pypatchmatch"):
        resolve_method("patchmatch")
    monkeypatch.setattr(methods.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="not installed; pip install pypatchmatch"):
        resolve_method("patchmatch+photo")
    image, mask = picture_with_holes()
    with pytest.raises(ValueError, match="pip install pypatchmatch"):
        METHODS["patchmatch"](image, mask)
