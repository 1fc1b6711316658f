"""Masks that cannot be meant: refused or named, and read from transparency where colours say nothing."""

import io

import numpy as np
import pytest
from PIL import Image

from inpaint.images import ImageError, Photo
from inpaint.masks import MaskFolder, check_mask, read_checked_mask

HOLE = np.zeros((20, 30), bool)
HOLE[5:10, 8:20] = True
PHOTO = np.random.default_rng(0).integers(40, 216, (20, 30, 3), dtype=np.uint8)


def grey(values):
    return Photo(np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=-1))


def layer(colours, alpha):
    return Photo(
        np.broadcast_to(np.asarray(colours, np.uint8), (20, 30, 3)).copy(), alpha=alpha.astype(np.uint8)
    )


def test_a_black_and_white_mask_needs_no_word():
    for picture in (grey(HOLE * 255), grey(np.where(HOLE, 128, 127 * (np.arange(30) < 3)))):
        checked = check_mask(picture)
        np.testing.assert_array_equal(checked.mask, HOLE)
        assert checked.notes == []
    inverted = check_mask(grey(~HOLE * 255), invert=True)
    np.testing.assert_array_equal(inverted.mask, HOLE)
    assert inverted.notes == []


@pytest.mark.parametrize(
    "picture, told",
    [
        (grey(HOLE * 1), r"the largest value is 1; white = fill\. Values 0 and 1\? Multiply them by 255"),
        (grey(HOLE * 0), r"all of it is black; white = fill$"),
        (
            Photo(HOLE[..., None] * np.array([255, 0, 0], np.uint8)),
            r"the largest value is 76; .* become white",
        ),
        (layer(0, HOLE * 255), r"all of it is black; .* on a transparent layer is to be white"),
    ],
)
def test_a_mask_without_a_hole_is_refused_with_its_largest_value_and_the_remedy(picture, told):
    with pytest.raises(ImageError, match=told):
        check_mask(picture)


def test_a_mask_of_everything_is_refused():
    with pytest.raises(ImageError, match=r"the mask covers everything, .*; black = keep"):
        check_mask(grey(np.full((4, 4), 255)))
    with pytest.raises(ImageError, match=r"the mask covers everything, .*; white = keep"):
        check_mask(grey(np.zeros((4, 4))), invert=True)
    with pytest.raises(ImageError, match="the smallest value is 255; black = fill"):
        check_mask(grey(np.full((4, 4), 255)), invert=True)


def test_where_colours_leave_nothing_transparency_counts():
    checked = check_mask(layer(255, HOLE * 255))
    np.testing.assert_array_equal(checked.mask, HOLE)
    assert checked.notes == [
        "its colours leave nothing to fill from, so its transparency counts: opaque = fill"
    ]
    # Transparency that says nothing, or the same as the colours, is no matter.
    with pytest.raises(ImageError, match="covers everything"):
        check_mask(layer(255, np.full(HOLE.shape, 255)))
    strokes = Photo(grey(HOLE * 255).pixels, alpha=(HOLE * 255).astype(np.uint8))
    np.testing.assert_array_equal(check_mask(strokes).mask, HOLE)
    assert check_mask(strokes).notes == []


def test_a_photo_as_mask_is_named_and_one_with_erased_parts_is_refused():
    (note,) = check_mask(Photo(PHOTO)).notes
    assert "100% of the mask is neither black nor white, as in a photo" in note and "is filled" in note
    with pytest.raises(ImageError, match="transparency tells another hole than its colours"):
        check_mask(Photo(PHOTO, alpha=np.where(HOLE, 0, 255).astype(np.uint8)))


def test_a_mask_of_nearly_everything_is_named_with_its_share():
    values = np.full((20, 30), 255)
    values[0, :6] = 0
    assert check_mask(grey(values)).notes == [
        "the mask covers 99.0% of the photo; white = fill, black = keep. Is it inverted?"
    ]


def test_files_are_named(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray((HOLE * 1).astype(np.uint8)).save(path)
    with pytest.raises(ImageError, match=r"mask\.png: a mask without a hole"):
        read_checked_mask(path)
    stream = io.BytesIO()
    Image.fromarray((HOLE * 255).astype(np.uint8)).save(stream, "PNG")
    np.testing.assert_array_equal(read_checked_mask(stream.getvalue()).mask, HOLE)


def test_a_folder_leaves_out_masks_without_a_hole_and_refuses_one_of_only_these(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray((HOLE * 1).astype(np.uint8)).save(tmp_path / name)
    folder = MaskFolder(tmp_path)
    with pytest.raises(ImageError, match=r"none of the 2 masks can be used .*Multiply them by 255"):
        folder.draw(np.random.default_rng(0), 8, 8)
    with pytest.raises(ImageError, match="without a hole"):
        folder.by_stem("a")
    Image.fromarray((HOLE * 255).astype(np.uint8)).save(tmp_path / "c.png")
    folder = MaskFolder(tmp_path)
    for seed in range(20):
        np.testing.assert_array_equal(folder.draw(np.random.default_rng(seed), 20, 30), HOLE)
    assert sorted(folder.broken) == ["a.png", "b.png"]
