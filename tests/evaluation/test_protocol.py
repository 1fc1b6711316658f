"""The protocol: which pictures and holes there are, what a method sees, and how scores are averaged."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut, chelsea, coffee

from inpaint import metrics
from inpaint.datasets import open_photos
from inpaint.evaluation import protocol
from inpaint.evaluation.protocol import (
    HOLE_GREY,
    Case,
    EvaluationSet,
    MethodError,
    centre_crop,
    evaluate,
    iter_cases,
    score_method,
)
from inpaint.evaluation.results import environment, hole_ratio_bin

RECIPE = "free-form:0.1-0.5"


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photo_folder(tmp_path):
    folder = tmp_path / "photos"
    save(folder / "b.png", coffee()[:120, :90])
    save(folder / "a" / "z.png", astronaut()[:80, :101])
    save(folder / "c.png", chelsea()[:64, :64])
    return folder


@pytest.fixture
def photos(photo_folder):
    return open_photos(photo_folder)


def keep_input(image, mask):
    return image


def random_case(name="x", size=40, ratio=0.25, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.zeros(size * size, bool)
    mask[: round(ratio * size * size)] = True
    image = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Case(name, image, rng.permutation(mask).reshape(size, size))


# Pictures and holes


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
    with pytest.raises(ValueError, match="none of the photos could be read"):
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
        save(tmp_path / "masks" / f"{stem}.png", np.full((side, 64), 255, np.uint8))
    cases = EvaluationSet(photos, str(tmp_path / "masks"), size=64)
    assert [case.name for case in cases] == ["a/z.png", "c.png"]
    assert list(cases.skipped) == ["b.png"]
    assert cases.skipped["b.png"].startswith(
        "expected a mask of the crop's size (64, 64) or the photo's (120,"
    )


def test_broken_masks_of_a_recipe_are_told(photos, tmp_path):
    save(tmp_path / "masks" / "good.png", np.full((64, 64), 255, np.uint8))
    (tmp_path / "masks" / "torn.png").write_bytes(b"torn")
    cases = EvaluationSet(photos, f"folder:{tmp_path / 'masks'}", size=64)
    assert len(list(cases)) == 3
    assert list(cases.describe()["broken_masks"]) == ["torn.png"]
    assert "not an image" in cases.broken_masks["torn.png"]
    (tmp_path / "masks" / "good.png").write_bytes(b"torn")
    with pytest.raises(
        ValueError, match=r"none of the photos could be read \(the first: a/z.png: .*none of the 2 masks"
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
        save(tmp_path / "masks" / f"{stem}.png", np.full((64, 64), 255, np.uint8))
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


# The hash


def digest_of(photos, **settings):
    return evaluate({"keep": keep_input}, EvaluationSet(photos, size=64, **settings)).sha256


def test_hash_names_the_pictures_and_holes(photos):
    reference = digest_of(photos, masks=RECIPE)
    assert digest_of(photos, masks=RECIPE) == reference
    assert digest_of(photos, masks=RECIPE, seed=1) != reference
    assert digest_of(photos, masks="box:0.1-0.5") != reference
    assert digest_of(photos, masks=RECIPE, limit=2) != reference


def test_names_that_are_no_utf8_are_hashed_as_their_bytes():
    case = Case("lat\udce9in.jpg", np.zeros((1, 8, 3), np.uint8), np.ones((1, 8), bool))
    expected = hashlib.sha256(b"lat\xe9in.jpg\x00(1, 8)\x00\xff").hexdigest()
    evaluation = evaluate({"keep": keep_input}, [case], sheet_rows=1)
    assert evaluation.sha256 == expected
    assert evaluation.rows[0].case is case


def test_hash_has_the_documented_value():
    mask = np.zeros((3, 5), bool)
    mask[0, 0] = mask[2, 4] = True  # bits 10000000 00000010 with one bit of padding
    case = Case("a.png", np.zeros((3, 5, 3), np.uint8), mask)
    expected = hashlib.sha256(b"a.png\x00(3, 5)\x00" + bytes([0b10000000, 0b00000010])).hexdigest()
    assert evaluate({"keep": keep_input}, [case]).sha256 == expected


# What a method sees and what is made of its fill


def test_the_truth_in_the_hole_never_reaches_a_method():
    case = random_case(ratio=0.4)
    truth = case.image.copy()
    seen = []

    def spy(image, mask):
        seen.append((image.copy(), mask.copy()))
        image[:] = 77  # neither the case nor the next method may notice
        mask[:] = False
        return image

    evaluation = evaluate(
        {"spy": spy, "second": lambda image, mask: seen.append((image, mask)) or image}, [case]
    )
    assert len(seen) == 4  # each method has one untimed call first
    for image, mask in seen:
        assert (image[case.mask] == HOLE_GREY).all()
        np.testing.assert_array_equal(image[~case.mask], truth[~case.mask])
        np.testing.assert_array_equal(mask, case.mask)
    np.testing.assert_array_equal(case.image, truth)
    # Handing the input back scores as grey does: nothing of the truth is in it.
    grey = np.where(case.mask[..., None], HOLE_GREY, truth).astype(np.uint8)
    scores = evaluation.records[0][2]["second"]
    assert scores["psnr_hole"] == pytest.approx(metrics.psnr_hole(truth, grey, case.mask))
    assert scores["psnr_hole"] < 12


def test_composites_are_scored_not_raw_fills():
    case = random_case()

    def wrong_outside(image, mask):
        return np.where(mask[..., None], case.image, 255 - case.image)

    scores = evaluate({"wrong-outside": wrong_outside}, [case]).records[0][2]["wrong-outside"]
    assert scores["psnr"] == scores["psnr_hole"] == pytest.approx(10 * np.log10(255**2 / 1e-3))
    assert scores["ssim"] == 1


def test_one_method_scores_one_case_as_evaluate_does():
    case = random_case()
    calls = []

    def invert(image, mask):
        calls.append(image)
        return 255 - image

    fill, scores = score_method("invert", invert, case)
    assert len(calls) == 1
    np.testing.assert_array_equal(fill[~case.mask], case.image[~case.mask])
    np.testing.assert_array_equal(fill[case.mask], 255 - HOLE_GREY)
    evaluated = evaluate({"invert": invert}, [case]).records[0][2]["invert"]
    assert scores | {"seconds": None} == evaluated | {"seconds": None}
    assert scores["seconds"] > 0
    with pytest.raises(MethodError, match=f"flat on {case.name}"):
        score_method("flat", lambda image, mask: image[..., 0], case)


def test_averages_are_means_of_per_image_scores():
    cases = [
        random_case(str(seed), ratio=ratio, seed=seed) for seed, ratio in enumerate((0.05, 0.15, 0.18, 0.55))
    ]
    entry = evaluate({"keep": keep_input}, cases).summary()["keep"]

    def mean(function, members):
        return np.mean([function(case.image, case.destroyed(), case.mask) for case in members])

    assert entry["count"] == 4
    assert entry["psnr_hole"] == pytest.approx(mean(metrics.psnr_hole, cases))
    assert entry["l1_hole"] == pytest.approx(mean(metrics.l1_hole, cases))
    assert entry["psnr"] == pytest.approx(mean(lambda a, b, _: metrics.psnr(a, b), cases))
    assert list(entry["by_hole_ratio"]) == ["0.01-0.1", "0.1-0.2", "0.5-0.6"]
    assert entry["by_hole_ratio"]["0.1-0.2"]["count"] == 2
    assert entry["by_hole_ratio"]["0.1-0.2"]["psnr_hole"] == pytest.approx(
        mean(metrics.psnr_hole, cases[1:3])
    )


def box_case(name, left, photo=astronaut):
    mask = np.zeros((64, 64), bool)
    mask[20:44, left : left + 20] = True
    return Case(name, np.ascontiguousarray(photo()[40:104, 200:264]), mask)


def test_texture_is_scored_beside_that_of_the_photos():
    cases = [box_case("a", 6), box_case("b", 30, chelsea)]
    evaluation = evaluate({"keep": keep_input}, cases)
    entry = evaluation.summary()["keep"]
    assert entry["detail"] == 0  # grey
    own = [metrics.patch_distance(case.image, case.mask) for case in cases]
    assert evaluation.truth_patch_distance == pytest.approx(np.mean(own))
    grey = [metrics.patch_distance(case.destroyed(), case.mask) for case in cases]
    assert entry["patch_distance"] == pytest.approx(np.mean(grey))
    assert entry["feature_distance"] is None
    assert evaluate({"keep": keep_input}, [random_case()]).truth_patch_distance is None  # no known patch


def test_photos_without_a_hole_count_for_whole_image_metrics_only():
    cases = [random_case("empty", ratio=0), random_case("half", ratio=0.5, seed=1)]
    entry = evaluate({"keep": keep_input}, cases).summary()["keep"]
    hole = metrics.psnr_hole(cases[1].image, cases[1].destroyed(), cases[1].mask)
    assert entry["psnr_hole"] == pytest.approx(hole)
    assert entry["count"] == 2
    assert entry["psnr"] > 40  # the empty one's 78 dB count
    assert list(entry["by_hole_ratio"]) == ["0.4-0.5"]

    nothing = evaluate({"keep": keep_input}, cases[:1]).summary()["keep"]
    assert nothing["psnr_hole"] is None
    assert nothing["l1_hole"] is None


@pytest.mark.parametrize(
    ("hole", "pixels", "expected"),
    [
        (0, 100, None),
        (1, 100, None),
        (101, 10000, "0.01-0.1"),
        (10, 100, "0.01-0.1"),
        (1001, 10000, "0.1-0.2"),
        (20, 100, "0.1-0.2"),
        (3, 10, "0.2-0.3"),
        (30001, 100000, "0.3-0.4"),
        (32768, 65536, "0.4-0.5"),
        (60, 100, "0.5-0.6"),
        (61, 100, None),
        (100, 100, None),
    ],
)
def test_bins_hold_their_upper_edge(hole, pixels, expected):
    assert hole_ratio_bin(hole / pixels) == expected


def test_seconds_are_of_the_method_alone(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(protocol.time, "perf_counter", lambda: now[0])

    def first_call_is_slow(image, mask):
        now[0] += 100 if now[0] == 0 else 2
        return image

    def slow_metric(truth, prediction, mask=None):
        now[0] += 50
        return 0.5 if mask is None else float(mask.mean())

    cases = [random_case(str(seed), seed=seed) for seed in range(3)]
    evaluation = evaluate(
        {"method": first_call_is_slow}, cases, lpips=slow_metric, feature_distance=slow_metric
    )
    entry = evaluation.summary()["method"]
    assert entry["seconds"] == 2
    assert entry["lpips"] == 0.5
    assert entry["feature_distance"] == pytest.approx(0.25)


class ReadyTruth:
    def __init__(self, case):
        self.fills = {case.name: case.image}

    def read(self, name):
        return self.fills[name]


def test_ready_fills_are_scored_without_seconds():
    case = random_case()
    entry = evaluate({"ready": ReadyTruth(case)}, [case]).summary()["ready"]
    assert entry["seconds"] is None
    assert entry["psnr_hole"] > 78


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            lambda image, mask: image[:-1],
            r"bad on x: expected a uint8 picture of shape \(40, 40, 3\), got uint8",
        ),
        (lambda image, mask: image / 255, "bad on x: expected a uint8 picture .* got float64"),
        (lambda image, mask: 1 / 0, "bad failed on x: division by zero"),
    ],
)
def test_failing_methods_are_named(method, message):
    with pytest.raises(MethodError, match=message):
        evaluate({"bad": method}, [random_case()])


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(ValueError, match="no method"):
        evaluate({}, [random_case()])


def test_sheet_rows_are_few_and_spread_over_the_ratios():
    ratios = [0.15] * 20 + [0.25] * 2 + [0.55]
    cases = [random_case(str(i), size=20, ratio=ratio, seed=i) for i, ratio in enumerate(ratios)]
    rows = evaluate({"keep": keep_input}, cases, sheet_rows=5).rows
    kept = [hole_ratio_bin(row.case.hole_ratio) for row in rows]
    assert kept == ["0.1-0.2", "0.1-0.2", "0.2-0.3", "0.2-0.3", "0.5-0.6"]
    backwards = evaluate({"keep": keep_input}, cases[::-1], sheet_rows=5).rows
    assert {row.case.name for row in rows} == {row.case.name for row in backwards}
    np.testing.assert_array_equal(rows[0].fills["keep"], rows[0].case.destroyed())
    assert evaluate({"keep": keep_input}, cases).rows == []
    assert len(evaluate({"keep": keep_input}, cases[:3], sheet_rows=5).rows) == 3


def test_environment_is_plain_json():
    entry = environment()
    assert entry == json.loads(json.dumps(entry))
    assert {"torch", "scikit-image", "opencv-python", "pypatchmatch"} <= set(entry["versions"])
    assert entry["date"].endswith("+00:00")
