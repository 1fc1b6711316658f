"""The mask of a thing from a rough stroke over it, on made pictures whose thing is known."""

import cv2
import numpy as np
import pytest

from inpaint.masks.selection import fit_to_object


def scene(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A mottled green ground with a mottled red ellipse on it: uint8 H×W×3, and the ellipse, bool H×W."""
    rng = np.random.default_rng(seed)
    thing = np.zeros((height, width), np.uint8)
    cv2.ellipse(thing, (width // 2, height // 2), (width // 5, height // 6), 20, 0, 360, 1, -1)
    colours = np.where(thing[..., None] > 0, (190, 60, 50), (70, 130, 60)).astype(np.float32)
    mottle = cv2.GaussianBlur(rng.normal(0, 60, (height, width, 3)).astype(np.float32), (0, 0), 2)
    return np.clip(colours + mottle, 0, 255).astype(np.uint8), thing.astype(bool)


def stroke_at(shape: tuple[int, int], radius: int) -> np.ndarray:
    canvas = np.zeros(shape, np.uint8)
    height, width = shape
    cv2.line(
        canvas, (width // 2 - width // 10, height // 2), (width // 2 + width // 10, height // 2), 1, radius
    )
    return canvas.astype(bool)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


@pytest.mark.parametrize("size", [(120, 161), (300, 400), (1500, 2000)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_stroke_within_a_thing_gives_the_thing(size, seed):
    image, thing = scene(*size, seed)
    before = image.copy()
    found = fit_to_object(image, stroke_at(size, size[0] // 12))
    assert found is not None and found.dtype == bool and found.shape == size
    assert overlap(found, thing) > 0.95
    assert np.array_equal(image, before)


def test_a_click_is_a_stroke_too_and_results_are_repeated():
    image, thing = scene(300, 400)
    dot = np.zeros((300, 400), bool)
    dot[145:155, 195:205] = True
    found = fit_to_object(image, dot)
    assert overlap(found, thing) > 0.9
    assert np.array_equal(found, fit_to_object(image, dot))


def test_a_stroke_beyond_the_rim_is_taken_back_to_it():
    image, thing = scene(300, 400)
    wide = cv2.dilate(thing.astype(np.uint8), np.ones((15, 15), np.uint8)).astype(bool)
    found = fit_to_object(image, wide)
    assert overlap(wide, thing) < 0.85 < 0.95 < overlap(found, thing)


def test_at_the_border_and_over_everything():
    image, _ = scene(64, 64)
    assert fit_to_object(image, np.ones((64, 64), bool)).all()
    corner = np.zeros((64, 64), bool)
    corner[:6, :6] = True
    found = fit_to_object(image, corner)
    assert found is None or found.shape == (64, 64)
    assert fit_to_object(image[:1, :1], np.ones((1, 1), bool)).all()


def test_what_makes_no_sense_is_refused():
    image, _ = scene(64, 80)
    with pytest.raises(ValueError, match="nothing is painted"):
        fit_to_object(image, np.zeros((64, 80), bool))
    with pytest.raises(ValueError, match="of one size"):
        fit_to_object(image, np.ones((80, 64), bool))
