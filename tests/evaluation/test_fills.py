"""Fills that another program made: which file is whose, and whether they are of these photos and holes."""

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut, chelsea, coffee

from inpaint.datasets import open_photos
from inpaint.evaluation import METHODS, EvaluationSet, FillFolder, check_fills, export_cases
from inpaint.evaluation.export import Manifest
from inpaint.images import ImageError

# Files


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
    results(tmp_path / "all", "a/1.png", "2.png", "b/1.jpg").check_names(cases)
    with pytest.raises(FileNotFoundError, match=r"no result is named 2\.\* for the photo a/2\.png"):
        results(tmp_path / "few", "a/1.png", "b/1.jpg").check_names(cases)
    with pytest.raises(ValueError, match=r"a/1\.png has more than one result"):
        results(tmp_path / "double", "a/1.png", "a/1.jpg", "2.png", "b/1.jpg").check_names(cases)
    with pytest.raises(ValueError, match=r"both a/1\.png and b/1\.png would take this result"):
        results(tmp_path / "shared", "1.png", "2.png").check_names(cases)


def test_checked_results_can_still_be_read(tmp_path):
    cases = evaluation_set(tmp_path / "photos", "a/1.png", torn=("b/1.png",))
    folder = FillFolder(tmp_path / "photos" / "a")
    folder.check_names(cases)
    assert folder.read("a/1.png").shape == (8, 8, 3)


def test_a_suffix_picks_the_results_among_other_files(tmp_path):
    for name, value in (("a_result", 1), ("a_mask", 2), ("a", 3), ("_result", 4), ("sub/b_result", 5)):
        save(tmp_path / f"{name}.png", value)
    folder = FillFolder(tmp_path, "_result")
    assert (folder.read("deep/a.jpg") == 1).all()
    assert (folder.read("sub/b.jpg") == 5).all()
    with pytest.raises(
        FileNotFoundError, match=r"no result is named a_mask_result\.\* for the photo a_mask.jpg"
    ):
        folder.read("a_mask.jpg")


# Photos and holes

MASKS = "free-form:0.1-0.5"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, photo in (
        ("a", astronaut()[:128, 150:278]),
        ("b", coffee()[60:188, 100:228]),
        ("c", chelsea()[50:178, 90:218]),
    ):
        Image.fromarray(photo).save(folder / f"{name}.png")
    return folder


def cases_of(photos, seed=0, size=128, masks=MASKS):
    return EvaluationSet(open_photos(photos), masks, seed, size)


def fill(cases, folder, method=METHODS["telea"], **encoding):
    """Let a method fill the cases, as another program would, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        stem = case.name.removesuffix(".png")
        picture = Image.fromarray(method(case.destroyed(), case.mask))
        picture.save(folder / f"{stem}.jpg" if encoding else folder / f"{stem}.png", **encoding)
    return FillFolder(folder)


def repainted(image, mask):
    """Telea's fill as of a network that changes known pixels as well: from a quarter of the size."""
    filled = Image.fromarray(METHODS["telea"](image, mask))
    return np.asarray(filled.resize((32, 32)).resize((128, 128)))


def unfilled(image, mask):
    return image


def inverted(image, mask):
    return METHODS["telea"](image, ~mask)


@pytest.mark.parametrize("encoding", [{}, {"quality": 75}])
@pytest.mark.parametrize("masks", [MASKS, "thin:0.05-0.2"])
def test_fills_of_these_holes_pass_and_of_others_do_not(photos, tmp_path, masks, encoding):
    mine = fill(cases_of(photos, masks=masks), tmp_path / "mine", **encoding)
    other = fill(cases_of(photos, seed=1, masks=masks), tmp_path / "other", **encoding)
    cases = cases_of(photos, masks=masks)
    check_fills({"mine": mine}, cases)
    with pytest.raises(
        ValueError,
        match=r"^other: .*[1-9]\d*\.\d% of the known pixels .* \d+\.\d% of the holes' .*--seed.*--manifest",
    ):
        check_fills({"mine": mine, "other": other}, cases)


@pytest.mark.parametrize("method", [unfilled, inverted])
def test_holes_that_were_not_filled_are_told(photos, tmp_path, method):
    folder = fill(cases_of(photos), tmp_path / "fills", method)
    with pytest.raises(ValueError, match=r"of the holes' pixels are the grey that stood there"):
        check_fills({"peer": folder}, cases_of(photos))


def test_the_photos_themselves_are_no_fills(photos):
    with pytest.raises(
        ValueError, match=r"0\.0% of the known pixels .*100\.0% of the holes' pixels are the photo's"
    ):
        check_fills({"truth": FillFolder(photos)}, cases_of(photos))


def test_where_a_program_repaints_known_pixels_the_manifest_tells(photos, tmp_path):
    export_cases(cases_of(photos), tmp_path / "export")
    folder = fill(cases_of(photos), tmp_path / "fills", repainted)
    with pytest.raises(ValueError, match=r"repainted what was known, name the manifest\.json"):
        check_fills({"peer": folder}, cases_of(photos))
    check_fills({"peer": folder}, cases_of(photos), Manifest.read(tmp_path / "export" / "manifest.json"))


@pytest.mark.parametrize("place", ["fills", "."])
def test_a_manifest_in_the_folder_or_around_it_is_found(photos, tmp_path, place):
    folder = fill(cases_of(photos), tmp_path / "fills", repainted)
    assert folder.manifest() is None
    export_cases(cases_of(photos), tmp_path / "export")
    (tmp_path / "export" / "manifest.json").rename(tmp_path / place / "manifest.json")
    assert folder.manifest().settings == {"masks": MASKS, "seed": 0, "size": 128}
    check_fills({"peer": folder}, cases_of(photos))
    for settings, told in (
        ({"seed": 1}, r"exported with seed 0; this run has seed 1"),
        ({"size": 120}, "size 128"),
    ):
        with pytest.raises(ValueError, match=rf"^peer: .*has another .*mask of a\.png .*{told}"):
            check_fills({"peer": folder}, cases_of(photos, **settings))


def test_another_programs_manifest_is_passed_over(photos, tmp_path):
    folder = fill(cases_of(photos), tmp_path / "fills")
    for content in (b"{}", b"\xff", b"[" * 100_000, b'{"format": "another"}'):
        (tmp_path / "fills" / "manifest.json").write_bytes(content)
        assert folder.manifest() is None
    check_fills({"peer": folder}, cases_of(photos))


def test_older_fills_below_a_newer_export_are_refused(photos, tmp_path):
    """The manifest is right; the pixels say that the fills are not its."""
    folder = fill(cases_of(photos, seed=1), tmp_path / "export" / "fills")
    export_cases(cases_of(photos), tmp_path / "export")
    with pytest.raises(ValueError, match=r"no fills of the holes of .*manifest\.json: "):
        check_fills({"peer": folder}, cases_of(photos))


def test_a_photo_that_is_not_the_exports_is_told(photos, tmp_path):
    export_cases(cases_of(photos), tmp_path)
    folder = fill(cases_of(photos), tmp_path / "fills")
    Image.fromarray(coffee()[:128, :128]).save(photos / "b.png")
    with pytest.raises(ValueError, match=r"has another photo of b\.png; score fills"):
        check_fills({"peer": folder}, cases_of(photos))
    (photos / "b.png").rename(photos / "z.png")
    (tmp_path / "fills" / "b.png").rename(tmp_path / "fills" / "z.png")
    with pytest.raises(ValueError, match=r"manifest\.json has no photo z\.png"):
        check_fills({"peer": FillFolder(tmp_path / "fills")}, cases_of(photos))


def test_fills_that_cannot_be_compared_are_told(photos, tmp_path):
    cases = cases_of(photos)
    folder = fill(cases, tmp_path / "fills")
    save(tmp_path / "fills" / "b.png", 0)
    with pytest.raises(
        ValueError, match=r"peer: expected a fill of shape \(128, 128, 3\) for b.png, got \(4, 5, 3\)"
    ):
        check_fills({"peer": folder}, cases)
    (tmp_path / "fills" / "b.png").write_bytes(b"torn")
    with pytest.raises(ImageError, match=r"b\.png"):
        check_fills({"peer": folder}, cases)
    check_fills({}, cases)


def test_holes_of_nothing_and_of_everything_can_be_filled(photos, tmp_path):
    for name, value in (("a", 0), ("b", 255), ("c", 0)):
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.full((128, 128), value, np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    cases = cases_of(photos, masks=str(tmp_path / "masks"))
    folder = fill(
        cases, tmp_path / "fills", lambda image, mask: np.where(mask[..., None], np.uint8(40), image)
    )
    check_fills({"peer": folder}, cases)
