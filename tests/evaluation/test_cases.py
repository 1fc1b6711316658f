"""Which pictures and holes an evaluation has."""

import numpy as np
import pytest
from made_cases import keep_input, save
from PIL import Image
from skimage.data import astronaut, chelsea, coffee

from inpaint.datasets import open_photos
from inpaint.evaluation import EvaluationSet, centre_crop, evaluate, iter_cases
from inpaint.evaluation.cases import parse_masks

RECIPE = "free-form:0.1-0.5"


def half(height, width):
    """A mask file's values: hole on the left."""
    return np.repeat([[255, 0]], [width // 2, width - width // 2], axis=1).repeat(height, 0).astype(np.uint8)


def test_cases_come_in_the_order_of_their_names(photos):
    assert [case.name for case in iter_cases(photos, RECIPE, seed=0, size=64)] == [
        "a/z.png",
        "b.png",
        "c.png",
    ]


def test_crop_is_the_centre_at_the_photos_own_resolution(photos):
    case = next(case for case in iter_cases(photos, RECIPE, 0, 64) if case.name == "b.png")
    np.testing.assert_array_equal(case.image, coffee()[28 : 28 + 64, 13 : 13 + 64])
    assert case.image.flags.c_contiguous
    assert case.mask.shape == (64, 64)
    assert case.mask.dtype == np.bool_


def test_small_photos_are_enlarged_and_named(photos):
    cases = EvaluationSet(photos, RECIPE, size=100)
    images = {case.name: case.image for case in cases}
    assert all(image.shape == (100, 100, 3) for image in images.values())
    assert cases.describe()["enlarged"] == ["a/z.png", "b.png", "c.png"]
    whole = Image.fromarray(chelsea()[:64, :64]).resize((100, 100), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(images["c.png"], np.asarray(whole))
    square = Image.fromarray(astronaut()[:80, 10:90]).resize((100, 100), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(images["a/z.png"], np.asarray(square))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 300), (299, 300), (33, 17)])
def test_every_size_gives_a_full_crop(shape):
    image = np.zeros((*shape, 3), np.uint8)
    assert centre_crop(image, 32).shape == (32, 32, 3)
    mask = np.ones(shape, bool)
    cropped = centre_crop(mask, 32)
    assert cropped.shape == (32, 32)
    assert cropped.dtype == np.bool_
    assert cropped.all()


def test_a_photos_mask_depends_on_its_name_and_the_seed_alone(photos, photo_folder, tmp_path):
    def masks(source, seed=0, limit=None):
        return {case.name: case.mask for case in iter_cases(source, RECIPE, seed, 64, limit)}

    everything = masks(photos)
    np.testing.assert_array_equal(everything["b.png"], masks(photos)["b.png"])
    assert (everything["b.png"] != masks(photos, seed=1)["b.png"]).any()
    assert (everything["b.png"] != everything["c.png"]).any()

    save(tmp_path / "fewer" / "b.png", astronaut()[:70, :70])  # another picture of that name, and no others
    alone = masks(open_photos(tmp_path / "fewer"))
    np.testing.assert_array_equal(everything["b.png"], alone["b.png"])
    for name, mask in masks(photos, limit=2).items():
        np.testing.assert_array_equal(everything[name], mask)


def test_masks_meet_the_recipes_hole_ratio(photos):
    assert all(0.1 <= case.hole_ratio <= 0.5 for case in iter_cases(photos, RECIPE, 0, 64))


def test_limit_spreads_over_the_names(tmp_path):
    for index in range(9):
        save(tmp_path / f"{index}.png", np.zeros((8, 8, 3), np.uint8))
    photos = open_photos(tmp_path)
    assert EvaluationSet(photos, RECIPE, size=8, limit=3).names == ["0.png", "4.png", "8.png"]
    assert len(EvaluationSet(photos, RECIPE, size=8, limit=100)) == 9
    assert EvaluationSet(photos, RECIPE, size=8, limit=1).names == ["0.png"]


def test_broken_photos_are_left_out_and_named(photo_folder):
    (photo_folder / "broken.png").write_bytes((photo_folder / "b.png").read_bytes()[:200])
    (photo_folder / "text.jpg").write_text("not a photo")
    cases = EvaluationSet(open_photos(photo_folder), RECIPE, size=64)
    for _ in range(2):  # a second pass must not count them twice
        evaluation = evaluate({"keep": keep_input}, cases)
        assert [record[0] for record in evaluation.records] == ["a/z.png", "b.png", "c.png"]
        assert set(cases.describe()["skipped"]) == {"broken.png", "text.jpg"}
    assert all(cases.skipped.values())


def test_no_readable_photo_is_an_error(tmp_path):
    (tmp_path / "text.jpg").write_text("not a photo")
    with pytest.raises(ValueError, match="none of the photos could be used"):
        evaluate({"keep": keep_input}, EvaluationSet(open_photos(tmp_path), RECIPE))


def test_mask_folder_pairs_by_stem(photos, tmp_path):
    rng = np.random.default_rng(0)
    own_size = rng.random((120, 90)) < 0.3  # of the photo b.png: cropped as the photo is
    crop_size = {stem: rng.random((64, 64)) < 0.3 for stem in ("z", "c")}
    save(tmp_path / "masks" / "b.png", own_size.astype(np.uint8) * 255)
    for stem, mask in crop_size.items():
        save(tmp_path / "masks" / f"{stem}.bmp", mask.astype(np.uint8) * 255)
    masks = {case.name: case.mask for case in iter_cases(photos, str(tmp_path / "masks"), 0, 64)}
    np.testing.assert_array_equal(masks["a/z.png"], crop_size["z"])
    np.testing.assert_array_equal(masks["c.png"], crop_size["c"])
    np.testing.assert_array_equal(masks["b.png"], own_size[28:92, 13:77])

    save(tmp_path / "masks" / "z.png", np.zeros((64, 64), np.uint8))
    with pytest.raises(ValueError, match=r"1 of 3 photos have more than one mask .*a/z\.png: z\.bmp, z\.png"):
        EvaluationSet(photos, str(tmp_path / "masks"), size=64)
    (tmp_path / "masks" / "c.bmp").unlink()
    with pytest.raises(ValueError, match=r"1 of 3 photos have no mask .*c\.png.*folder:"):
        EvaluationSet(photos, str(tmp_path / "masks"), size=64)


def test_a_mask_of_another_size_leaves_its_photo_out(photos, tmp_path):
    for stem, side in [("z", 64), ("b", 63), ("c", 64)]:
        save(tmp_path / "masks" / f"{stem}.png", half(side, 64))
    cases = EvaluationSet(photos, str(tmp_path / "masks"), size=64)
    assert [case.name for case in cases] == ["a/z.png", "c.png"]
    assert list(cases.skipped) == ["b.png"]
    assert cases.skipped["b.png"].startswith(
        "expected a mask of the crop's size (64, 64) or the photo's (120,"
    )


def test_broken_masks_of_a_recipe_are_told(photos, tmp_path):
    save(tmp_path / "masks" / "good.png", half(64, 64))
    (tmp_path / "masks" / "torn.png").write_bytes(b"torn")
    cases = EvaluationSet(photos, f"folder:{tmp_path / 'masks'}", size=64)
    assert len(list(cases)) == 3
    assert list(cases.describe()["broken_masks"]) == ["torn.png"]
    assert "not an image" in cases.broken_masks["torn.png"]
    (tmp_path / "masks" / "good.png").write_bytes(b"torn")
    with pytest.raises(
        ValueError, match=r"none of the photos could be used \(the first: a/z.png: .*none of the 2 masks"
    ):
        evaluate({"keep": keep_input}, EvaluationSet(photos, f"folder:{tmp_path / 'masks'}", size=64))


def test_a_recipe_may_be_longer_than_any_name(photos):
    recipe = "+".join(["free-form:0.1-0.5"] * 30)
    assert len(recipe) > 255
    assert len(list(iter_cases(photos, recipe, size=64))) == 3


def test_photos_that_are_not_left_out_are_read_one_by_one(photos, photo_folder, monkeypatch):
    (photo_folder / "b.png").write_bytes(b"torn")
    cases = EvaluationSet(photos, RECIPE, size=64)
    asked, read = [], photos.read
    monkeypatch.setattr(photos, "read", lambda index: asked.append(photos.names[index]) or read(index))
    assert next(cases.readable({"c.png", "b.png"})) == "c.png"
    assert next(cases.readable({"a/z.png", "c.png"})) == "a/z.png"
    assert asked == ["b.png", "c.png", "a/z.png"]


def test_unreadable_mask_leaves_its_photo_out(photos, tmp_path):
    for stem in ("z", "b", "c"):
        save(tmp_path / "masks" / f"{stem}.png", half(64, 64))
    (tmp_path / "masks" / "b.png").write_bytes(b"torn")
    cases = EvaluationSet(photos, str(tmp_path / "masks"), size=64)
    assert [case.name for case in cases] == ["a/z.png", "c.png"]
    assert set(cases.skipped) == {"b.png"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"masks": "no-such-kind"}, "neither a folder nor a recipe"),
        ({"masks": RECIPE, "size": 0}, "size: expected"),
        ({"masks": RECIPE, "limit": 0}, "limit: expected"),
    ],
)
def test_bad_settings_are_named(photos, settings, message):
    with pytest.raises(ValueError, match=message):
        EvaluationSet(photos, **settings)


def test_masks_that_were_parsed_before_are_the_same(photos, tmp_path):
    save(tmp_path / "masks" / "a.png", np.full((64, 64), 255, np.uint8))
    for text in (RECIPE, f"folder:{tmp_path / 'masks'}"):
        ahead = EvaluationSet(photos, parse_masks(text), size=64)
        for one, other in zip(ahead, iter_cases(photos, text, size=64), strict=True):
            np.testing.assert_array_equal(one.mask, other.mask)
        assert ahead.describe()["masks"] == EvaluationSet(photos, text, size=64).describe()["masks"]


def test_a_mask_that_cannot_be_meant_is_named_and_a_folder_of_them_is_an_error(photos, tmp_path):
    hole = np.zeros((64, 64), np.uint8)
    hole[20:30, 20:30] = 255
    for name in "zbc":
        save(tmp_path / "masks" / f"{name}.png", hole)
    save(tmp_path / "masks" / "b.png", np.minimum(hole, 1))
    cases = EvaluationSet(photos, str(tmp_path / "masks"), size=64)
    assert [case.name for case in cases] == ["a/z.png", "c.png"]
    assert list(cases.skipped) == ["b.png"]
    assert cases.skipped["b.png"].endswith("Values 0 and 1? Multiply them by 255")

    for file in (tmp_path / "masks").iterdir():
        save(file, np.minimum(hole, 1))
    for masks in (str(tmp_path / "masks"), f"folder:{tmp_path / 'masks'}"):
        with pytest.raises(ValueError, match=r"none of the photos could be used .*Multiply them by 255"):
            evaluate({"keep": keep_input}, EvaluationSet(photos, masks, size=64))


def test_a_mask_without_a_hole_in_the_crop_is_named(tmp_path):
    corner = np.zeros((50, 60), np.uint8)
    corner[0, 0] = 255
    save(tmp_path / "masks" / "b.png", corner)
    save(tmp_path / "photos" / "b.png", np.zeros((50, 60, 3), np.uint8))
    cases = EvaluationSet(open_photos(str(tmp_path / "photos")), str(tmp_path / "masks"), size=32)
    assert list(cases) == []
    assert cases.skipped == {"b.png": "its mask has no hole in the crop of 32×32"}
