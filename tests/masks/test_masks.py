"""Hole generators, ready masks and recipes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_edt
from skimage.measure import label

from inpaint import masks
from inpaint.images import ImageError
from inpaint.masks import MaskFolder, generator_for, parse_recipe

KINDS = ["free-form", "box", "object", "random-walk", "thin", "medium", "thick"]


def write_mask(path: Path, mask: np.ndarray) -> None:
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)


# --- generator_for


def test_generator_is_the_sha256_of_its_keys():
    digest = hashlib.sha256(json.dumps([3, "a", 7]).encode()).digest()
    independent = np.random.default_rng(int.from_bytes(digest, "little"))
    assert np.array_equal(generator_for(3, "a", 7).random(5), independent.random(5))


def test_generator_stays_the_same_for_ever():
    # Published masks and resumed runs depend on these numbers.
    assert generator_for(0, "photo.png").integers(1 << 32, size=3).tolist() == [
        2396319842,
        722690393,
        4071481866,
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [((1,), ("1",)), (("ab", "c"), ("a", "bc")), ((0, 1), (0, 2)), ((0,), (0, 0)), (("a,b",), ("a", "b"))],
)
def test_different_keys_give_different_streams(one, other):
    assert not np.array_equal(generator_for(*one).random(4), generator_for(*other).random(4))


def test_numpy_integers_are_integers_and_floats_are_refused():
    assert generator_for(np.int64(5)).random() == generator_for(5).random()
    with pytest.raises(TypeError):
        generator_for(0.5)  # type: ignore[arg-type]


# --- every generator


@pytest.mark.parametrize("text", [*KINDS, *(kind + ":0.1-0.5" for kind in KINDS)])
def test_masks_are_pure_functions_of_generator_and_size(text):
    recipe = parse_recipe(text)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = recipe(generator_for(1), 61, 97), recipe(generator_for(1), 61, 97)
    assert first.dtype == bool
    assert first.shape == (61, 97)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, recipe(generator_for(2), 61, 97))
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limits", [(0.1, 0.5), (0.05, 0.2), (0.01, 0.02), (0.3, 0.303), (0.8, 0.97)])
@pytest.mark.parametrize("size", [(128, 128), (37, 211), (1, 500)])
def test_wanted_hole_ratio_is_met(kind, limits, size):
    low, high = limits
    recipe = parse_recipe(f"{kind}:{low}-{high}")
    for seed in range(8):
        assert low <= recipe(generator_for("met", seed), *size).mean() <= high


@pytest.mark.parametrize("kind", KINDS)
def test_hole_ratios_are_spread_over_the_whole_range(kind):
    recipe = parse_recipe(f"{kind}:0.1-0.6")
    ratios = [recipe(generator_for("spread", seed), 64, 64).mean() for seed in range(300)]
    fifths, _ = np.histogram(ratios, bins=5, range=(0.1, 0.6))
    assert fifths.min() > 35  # 60 expected; 35 lies 3.6 standard deviations below


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 7), (2, 2), (1, 9), (9, 1)])
@pytest.mark.parametrize("limits", [(0.1, 0.5), (0.6, 0.9), (0.34, 0.35), (0.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
def test_tiny_pictures_get_the_nearest_reachable_ratio(kind, size, limits):
    low, high = limits
    pixels = size[0] * size[1]

    def distance(count: int) -> float:
        return max(low - count / pixels, count / pixels - high, 0.0)

    nearest = min(distance(count) for count in range(pixels + 1))
    for seed in range(5):
        mask = parse_recipe(f"{kind}:{low}-{high}")(generator_for("tiny", seed), *size)
        assert mask.shape == size
        assert distance(int(mask.sum())) == nearest


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (3, 7), (64, 3)])
def test_masks_without_a_range_work_at_any_size(kind, size):
    for seed in range(5):
        assert parse_recipe(kind)(generator_for(seed), *size).shape == size


@pytest.mark.parametrize("kind", KINDS)
def test_an_impossible_size_or_ratio_is_refused(kind):
    with pytest.raises(ValueError, match="at least 1"):
        parse_recipe(kind)(generator_for(0), 0, 5)
    draw = masks.MaskSource(kind, ratio=(0.5, 0.1))
    with pytest.raises(ValueError, match="hole ratio"):
        draw(generator_for(0), 8, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_scale_with_the_picture(kind):
    recipe = parse_recipe(kind)
    small, large = (
        np.mean([recipe(generator_for(kind, seed), side, side).mean() for seed in range(60)])
        for side in (96, 384)
    )
    assert 0.03 < large < 0.5
    assert abs(small - large) < 0.35 * large


# --- each generator


@pytest.mark.parametrize(("side", "radius"), [(512, 20.0), (256, 10.0)])
def test_free_form_stroke_has_the_brush_it_was_given(side, radius):
    for seed in range(10):
        mask = masks.free_form(
            generator_for(seed), side, side, strokes=(1, 1), vertices=(1, 1), brush=(40.0, 40.0)
        )
        padded = np.pad(mask, 1)
        assert label(padded).max() == 1
        # A stroke near the border is cut by it, so it can only be thinner.
        assert distance_transform_edt(padded).max() <= radius + 2
        if not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()):
            assert distance_transform_edt(padded).max() >= radius - 1


def test_boxes_reach_every_pixel():
    drawn = [masks.box(generator_for(seed), 3, 5, boxes=(1, 1), side=(1.0, 1.0)) for seed in range(300)]
    assert all(mask.sum() == 1 for mask in drawn)
    assert min(np.sum(drawn, axis=0).ravel()) >= 5  # 20 expected


def test_one_box_is_a_filled_rectangle_within_its_settings():
    for seed in range(30):
        mask = masks.box(generator_for(seed), 512, 512, boxes=(1, 1), side=(30.0, 150.0), margin=10.0)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        inside = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert inside.all()
        assert 30 <= len(rows) <= 150
        assert 30 <= len(columns) <= 150
        assert min(rows[0], columns[0]) >= 10
        assert max(rows[-1], columns[-1]) <= 501


@pytest.mark.parametrize("ratio", [None, (0.02, 0.05), (0.1, 0.5), (0.6, 0.9)])
@pytest.mark.parametrize("size", [(128, 128), (61, 200), (301, 97)])
def test_an_object_is_one_piece(ratio, size):
    for seed in range(60):
        mask = masks.objects(generator_for("piece", seed), *size, ratio=ratio, shapes=(1, 1))
        assert label(mask).max() == 1


def test_objects_are_few_and_mostly_one():
    drawn = [parse_recipe("object:0.05-0.3")(generator_for("few", seed), 128, 128) for seed in range(200)]
    pieces = Counter(int(label(mask).max()) for mask in drawn)
    assert set(pieces) == {1, 2, 3}
    assert pieces[1] > 120


def test_objects_are_thicker_than_strokes_of_the_same_coverage():
    def thickness(kind: str) -> float:
        drawn = (parse_recipe(f"{kind}:0.2-0.3")(generator_for(kind, seed), 128, 128) for seed in range(60))
        return float(np.median([distance_transform_edt(np.pad(mask, 1)).max() for mask in drawn]))

    # A disc of a quarter of the picture has a radius of 36 pixels.
    assert thickness("object") > 1.4 * thickness("free-form")
    assert thickness("object") > 22


def test_objects_stand_in_the_picture_and_only_some_are_cut_by_its_border():
    drawn = [parse_recipe("object:0.05-0.2")(generator_for("in", seed), 128, 128) for seed in range(200)]
    rims = [int(mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()) for mask in drawn]
    assert np.mean(np.array(rims) > 16) < 0.2
    assert any(rim > 16 for rim in rims)
    # They keep to no part of it; only the corners are seldom reached.
    assert np.any(drawn, axis=0).mean() > 0.95


def test_objects_have_one_outline_at_every_size():
    recipe = parse_recipe("object:0.2-0.2")
    for seed in range(20):
        small, large = (recipe(generator_for("size", seed), side, side) for side in (100, 300))
        assert (np.kron(small, np.ones((3, 3), bool)) != large).mean() < 0.02


def test_an_object_has_the_size_it_was_given():
    shares = [
        masks.objects(generator_for(seed), 256, 256, shapes=(1, 1), size=(200.0, 200.0)).mean()
        for seed in range(100)
    ]
    disc = np.pi / 4 * (200 / 512) ** 2
    # Those at the border are cut, and how much of a lobe lies on the body is guessed.
    assert abs(np.median(shares) - disc) < 0.1 * disc
    assert max(shares) < 1.4 * disc


@pytest.mark.parametrize("ratio", [None, (0.2, 0.3)])
def test_random_walk_is_one_four_connected_path(ratio):
    for seed in range(10):
        mask = masks.random_walk(generator_for(seed), 41, 67, ratio=ratio, cells=1000)
        assert label(mask, connectivity=1).max() == 1


def test_random_walk_cells_grow_with_the_picture():
    mask = masks.random_walk(generator_for(0), 64, 96, cells=16)
    blocks = mask.reshape(16, 4, 24, 4)
    assert np.array_equal(blocks.all((1, 3)), blocks.any((1, 3)))
    with pytest.raises(ValueError, match="cells = 0"):
        masks.random_walk(generator_for(0), 8, 8, cells=0)


def test_lama_masks_are_as_thick_as_their_names_and_leave_half_of_the_picture():
    core = {}
    for draw in (masks.lama_thin, masks.lama_medium, masks.lama_thick):
        drawn = [draw(generator_for("lama", seed), 512, 512) for seed in range(25)]
        assert all(0 < mask.mean() <= 0.5 for mask in drawn)
        # Share of the hole further than a thin brush's radius from the hole's rim.
        deep = sum(int((distance_transform_edt(mask) > 13).sum()) for mask in drawn)
        core[draw.__name__] = deep / sum(int(mask.sum()) for mask in drawn)
    assert core["lama_thin"] < 0.05 < core["lama_medium"] < core["lama_thick"]


def test_lama_boxes_come_at_the_odds_of_the_settings():
    def is_boxes(mask: np.ndarray) -> bool:
        # Every corner of a union of rectangles is square; a round brush leaves diagonal steps of one pixel.
        steps = mask[:-1, :-1].astype(int) + mask[1:, :-1] + mask[:-1, 1:] + mask[1:, 1:]
        return int(np.isin(steps, (1, 3)).sum()) <= 60

    boxes = sum(is_boxes(masks.lama_medium(generator_for("odds", seed), 128, 128)) for seed in range(400))
    assert 60 < boxes < 130  # 0.3 / 1.3 of 400 is 92, standard deviation 8.4


# --- recipes


@pytest.mark.parametrize(
    "text",
    [
        "free-form:0.1-0.5",
        "thin",
        "free-form:0.1-0.5*3+thin:0.05-0.2*1",
        "box+random-walk:0.25-0.25+thick",
        "medium*0.5+box*2",
        "free-form:0.00001-1",
    ],
)
def test_recipes_round_trip(text):
    recipe = parse_recipe(text)
    assert str(recipe) == text
    assert parse_recipe(str(recipe)) == recipe
    assert hash(parse_recipe(text)) == hash(recipe)


def test_spaces_and_left_out_weights_are_understood():
    assert str(parse_recipe(" free-form:0.1-0.5*3 + thin:.05-0.2 ")) == "free-form:0.1-0.5*3+thin:0.05-0.2*1"
    assert parse_recipe("box*1") == parse_recipe("box")
    assert parse_recipe("box") != parse_recipe("thin")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read"),
        ("squares", "unknown kind 'squares'"),
        ("box:0.5", "'0.5' is not a range"),
        ("box:0.5-0.1", "low before high"),
        ("box:0.5-1.5", "from 0 to 1"),
        ("box:10%-50%", "is not a range"),
        ("box:", "is not a range"),
        ("box*0", "above 0"),
        ("box+", "cannot read"),
        ("box+blob", "cannot read|unknown"),
        ("folder", "needs the path"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong_and_what_a_recipe_is(text, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_recipe(text)
    assert repr(text) in str(error.value)


def test_sources_are_drawn_by_weight():
    recipe = parse_recipe("box:1-1*3+box:0-0*1+box:0.5-0.5*4")
    drawn = Counter(recipe(generator_for("weights", seed), 2, 2).mean() for seed in range(800))
    assert set(drawn) == {1.0, 0.0, 0.5}
    assert abs(drawn[1.0] - 300) < 55  # four standard deviations
    assert abs(drawn[0.0] - 100) < 38


# --- ready masks


def test_mask_folder_reads_names_thresholds_and_polarity(tmp_path):
    grey = np.array([[0, 127, 128, 255]], np.uint8)
    Image.fromarray(grey).save(tmp_path / "b.png")
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "a.bmp")
    Image.fromarray(grey > 127).save(tmp_path / "c.PNG")
    for ignored in ("notes.txt", ".hidden.png"):
        (tmp_path / ignored).write_text("x")
    (tmp_path / "sub.png").mkdir()
    folder = MaskFolder(tmp_path)
    assert folder.names == ["a.bmp", "b.png", "c.PNG"]
    assert len(folder) == 3
    for index in range(3):
        assert folder.read(index).dtype == bool
        assert folder.read(index).tolist() == [[False, False, True, True]]
        assert MaskFolder(tmp_path, invert=True).read(index).tolist() == [[True, True, False, False]]


def test_masks_are_found_by_stem(tmp_path):
    for index, name in enumerate(["one.png", "two.png", "two.bmp"]):
        write_mask(tmp_path / name, np.arange(3)[None] == index)
    folder = MaskFolder(tmp_path)
    assert folder.by_stem("one").tolist() == [[True, False, False]]
    with pytest.raises(KeyError, match="no mask is named 'three'"):
        folder.by_stem("three")
    with pytest.raises(ValueError, match=r"two\.bmp, two\.png"):
        folder.by_stem("two")


def test_the_files_of_a_stem_are_told(tmp_path):
    for name in ("a.png", "a.bmp", "b.png"):
        write_mask(tmp_path / name, np.ones((2, 2), bool))
    folder = MaskFolder(tmp_path)
    assert folder.files_of("a") == ["a.bmp", "a.png"]
    assert folder.files_of("b") == ["b.png"]
    assert folder.files_of("c") == []


def test_a_missing_or_empty_mask_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        MaskFolder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no mask in this folder"):
        MaskFolder(tmp_path)


def test_ready_masks_are_resized_with_nearest_neighbours(tmp_path):
    small = generator_for("pattern").random((20, 20)) < 0.4
    write_mask(tmp_path / "m.png", np.kron(small, np.ones((3, 3), bool)))
    drawn = parse_recipe(f"folder:{tmp_path}")(generator_for(0), 20, 20)
    assert drawn.dtype == bool
    assert np.array_equal(drawn, small)
    assert np.array_equal(parse_recipe(f"folder-inverted:{tmp_path}")(generator_for(0), 20, 20), ~small)


def test_what_stands_out_of_a_ready_mask_is_cropped_at_random(tmp_path):
    wide = generator_for("pattern").random((10, 30)) < 0.5
    write_mask(tmp_path / "m.png", wide)
    recipe = parse_recipe(f"folder:{tmp_path}")
    windows = {wide[:, left : left + 10].tobytes(): left for left in range(21)}
    lefts = {windows[recipe(generator_for(seed), 10, 10).tobytes()] for seed in range(200)}
    assert {0, 20} <= lefts
    for height, width in [(1, 1), (7, 50), (50, 7), (64, 64)]:
        assert recipe(generator_for(0), height, width).shape == (height, width)


def test_every_ready_mask_is_drawn_and_a_broken_one_is_passed_over(tmp_path):
    for index in range(4):
        write_mask(tmp_path / f"{index}.png", np.arange(4)[None].repeat(4, 0) == index)
    (tmp_path / "1.png").write_bytes(b"not a picture")
    recipe = parse_recipe(f"folder:{tmp_path}")
    drawn = Counter(int(recipe(generator_for("every", seed), 4, 4)[0].argmax()) for seed in range(200))
    assert set(drawn) == {0, 2, 3}
    assert drawn[2] > drawn[0]  # it stands in for mask 1 too
    assert list(recipe.broken) == ["1.png"]
    with pytest.raises(ImageError, match=r"1\.png"):
        MaskFolder(tmp_path).read(1)


def test_a_folder_of_nothing_but_broken_masks_is_an_error(tmp_path):
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(ImageError, match="none of the 1 masks can be read"):
        parse_recipe(f"folder:{tmp_path}")(generator_for(0), 4, 4)


def test_a_folder_path_may_hold_any_sign(tmp_path):
    path = tmp_path / "a+b: c-d*e"
    path.mkdir()
    write_mask(path / "m.png", np.ones((2, 2), bool))
    recipe = parse_recipe(f"box:0-0*1+folder:{path}*3")
    assert str(recipe) == f"box:0-0*1+folder:{path}*3"
    assert parse_recipe(str(recipe)) == recipe
    full = sum(recipe(generator_for(seed), 2, 2).all() for seed in range(100))
    assert 55 < full < 95
