"""Between a photo and its copy on the canvas: sizes, and masks in both directions."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.data import chelsea
from stand_ins import photo_of

from inpaint.page.canvas import (
    PAINTED_ALPHA,
    CanvasError,
    canvas_copy,
    canvas_size,
    painted,
    photo_mask,
    resize_mask,
    shrink_mask,
)
from inpaint.page.outcome import Work


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), (1, 1)),
        ((480, 640), (480, 640)),
        ((2048, 2048), (2048, 2048)),
        ((3000, 4000), (1536, 2048)),
        ((4000, 3000), (2048, 1536)),
        ((1, 9000), (1, 2048)),
    ],
)
def test_the_canvas_is_the_photo_or_smaller(size: tuple, expected: tuple) -> None:
    assert canvas_size(*size) == expected


def test_a_photo_that_fits_is_on_the_canvas_as_it_is() -> None:
    pixels = chelsea()
    assert (canvas_copy(pixels) == pixels).all()
    assert canvas_copy(np.zeros((2049, 100, 3), np.uint8)).shape == (2048, 100, 3)


def test_faint_strokes_count_and_the_mask_is_binary() -> None:
    alpha = np.array([[0, PAINTED_ALPHA - 1, PAINTED_ALPHA], [127, 153, 255]], np.uint8)
    other = np.zeros_like(alpha)
    other[0, 0] = 200
    assert painted([]) is None
    mask = painted([alpha, other])
    assert mask.dtype == bool
    assert mask.tolist() == [[True, False, True], [True, True, True]]


def test_masks_are_enlarged_by_nearest_neighbour(rng: np.random.Generator) -> None:
    mask = rng.random((7, 9)) < 0.4
    large = resize_mask(mask, 21, 27)
    assert large.dtype == bool
    assert (large == mask.repeat(3, 0).repeat(3, 1)).all()


def test_a_shrunk_mask_covers_every_hole_pixel(rng: np.random.Generator) -> None:
    mask = np.zeros((2731, 4097), bool)
    mask[rng.integers(0, 2731, 300), rng.integers(0, 4097, 300)] = True
    small = shrink_mask(mask)
    assert small.shape == canvas_size(2731, 4097)
    assert resize_mask(small, *mask.shape)[mask].all()
    assert small.sum() <= mask.sum()
    assert not shrink_mask(np.zeros((3000, 3000), bool)).any()


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_the_mask_has_the_photos_size_whatever_the_canvas_is(factor: int) -> None:
    work = Work("photo", photo_of(40, 60))
    canvas = np.zeros((40, 60), bool)
    canvas[10:20, 5:50] = True
    mask = photo_mask(work, canvas.repeat(factor, 0).repeat(factor, 1))
    assert (mask == canvas).all()


def test_a_canvas_without_strokes_or_layers_is_an_empty_mask() -> None:
    work = Work("photo", photo_of(4, 5))
    assert photo_mask(work, None).shape == (4, 5)
    assert not photo_mask(work, None).any()


def test_a_canvas_that_lost_the_photo_is_an_error() -> None:
    with pytest.raises(CanvasError):
        photo_mask(Work("photo", photo_of(400, 600)), np.ones((800, 800), bool))


def test_a_loaded_mask_holds_except_where_it_was_painted_over(rng: np.random.Generator) -> None:
    loaded = rng.random((4096, 512)) < 0.01
    work = Work("photo", photo_of(4096, 512), loaded_mask=loaded)
    shown = shrink_mask(loaded)
    assert (photo_mask(work, shown) == loaded).all()
    edited = shown.copy()
    edited[:100] = True
    edited[500:600] = False
    mask = photo_mask(work, edited)
    assert (mask[:200] | loaded[:200])[shown[:100].repeat(2, 0).repeat(2, 1) == 0].all()
    assert not mask[1000:1200].any()
    assert (mask[1200:] == loaded[1200:]).all()
