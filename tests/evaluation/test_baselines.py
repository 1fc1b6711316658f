"""The classical baselines, ready results as a method, and how names become methods."""

import itertools

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.sparse import lil_array
from scipy.sparse.linalg import spsolve
from skimage.data import astronaut
from skimage.restoration import inpaint_biharmonic

from inpaint.datasets import open_photos
from inpaint.evaluation import EvaluationSet, baselines
from inpaint.evaluation.baselines import METHODS, FillFolder, resolve_method
from inpaint.images import ImageError


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


# Ready results


def save(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(path)


def test_results_pair_by_path_then_by_stem(tmp_path):
    save(tmp_path / "flat.png", 1)
    save(tmp_path / "sub" / "same.png", 2)
    save(tmp_path / "other" / "same.webp", 3)
    (tmp_path / "notes.txt").write_text("not a picture")
    folder = FillFolder(tmp_path)
    assert (folder.read("deep/flat.jpg") == 1).all()
    assert (folder.read("sub/same.jpg") == 2).all()
    assert folder.read("other/same.jpg").shape == (4, 5, 3)
    assert folder.read("deep/flat.jpg").dtype == np.uint8  # reading twice is fine


def test_missing_and_doubtful_results_are_errors(tmp_path):
    save(tmp_path / "a.png", 1)
    save(tmp_path / "b.png", 1)
    save(tmp_path / "b.bmp", 1)
    (tmp_path / "torn.png").write_bytes(b"torn")
    folder = FillFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="no result is named c"):
        folder.read("c.jpg")
    with pytest.raises(ValueError, match=r"more than one result \(b.bmp, b.png\)"):
        folder.read("b.jpg")
    with pytest.raises(ImageError, match="torn"):
        folder.read("torn.jpg")
    folder.read("x/a.jpg")
    with pytest.raises(ValueError, match=r"both x/a.jpg and y/a.jpg"):
        folder.read("y/a.jpg")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        FillFolder(tmp_path / "nowhere")


# Names


def evaluation_set(folder, *names, torn=()):
    for name in (*names, *torn):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / name)
    for name in torn:
        (folder / name).write_bytes(b"torn")
    return EvaluationSet(open_photos(folder), "box", size=8)


def results(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")  # what is in them is not looked at
    return FillFolder(folder)


def test_results_are_all_found_before_any_is_read(tmp_path):
    photos = ("a/1.png", "a/2.png", "b/1.png")
    cases = evaluation_set(tmp_path / "photos", *photos, torn=("a/torn.png", "c/2.png"))
    # A photo that cannot be read needs no result, and takes none from another.
    results(tmp_path / "all", "a/1.png", "2.png", "b/1.jpg").check(cases)
    with pytest.raises(FileNotFoundError, match=r"no result is named 2\.\* for the photo a/2\.png"):
        results(tmp_path / "few", "a/1.png", "b/1.jpg").check(cases)
    with pytest.raises(ValueError, match=r"a/1\.png has more than one result"):
        results(tmp_path / "double", "a/1.png", "a/1.jpg", "2.png", "b/1.jpg").check(cases)
    with pytest.raises(ValueError, match=r"both a/1\.png and b/1\.png would take this result"):
        results(tmp_path / "shared", "1.png", "2.png").check(cases)


def test_checked_results_can_still_be_read(tmp_path):
    cases = evaluation_set(tmp_path / "photos", "a/1.png", torn=("b/1.png",))
    folder = FillFolder(tmp_path / "photos" / "a")
    folder.check(cases)
    assert folder.read("a/1.png").shape == (8, 8, 3)


def test_baselines_resolve_to_themselves():
    assert resolve_method("telea") == ("telea", baselines.telea)
    assert resolve_method("ns") == ("ns", baselines.navier_stokes)
    assert resolve_method("biharmonic") == ("biharmonic", baselines.biharmonic)
    assert resolve_method("harmonic") == ("harmonic", baselines.harmonic)


def test_folders_resolve_under_their_label(tmp_path):
    name, method = resolve_method(f"peer={tmp_path}")
    assert name == "peer"
    assert isinstance(method, FillFolder)


@pytest.mark.parametrize("text", ["=x", "peer=", "telea=x", ""])
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
        Inpainter, "from_pretrained", lambda name, device: asked.append((name, device)) or "model"
    )
    assert resolve_method("runs/mine", "cpu") == ("runs/mine", "model")
    assert asked == [("runs/mine", "cpu")]
