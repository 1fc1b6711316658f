import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from inpaint.layers import push_pull

SIZES = [(1, 1), (1, 7), (9, 1), (2, 2), (5, 7), (8, 8), (13, 6), (16, 33)]
Array = NDArray[np.float64]


def picture(height: int, width: int, known: float = 0.3, batch: int = 2) -> tuple[Tensor, Tensor]:
    return torch.rand(batch, 3, height, width), (torch.rand(batch, 1, height, width) < known).float()


def bilinear(small: Array, height: int, width: int) -> Array:
    """One channel; pixel centres, edges repeated."""
    out = np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        sy = max((y + 0.5) * small.shape[0] / height - 0.5, 0)
        sx = max((x + 0.5) * small.shape[1] / width - 0.5, 0)
        y0, x0 = int(sy), int(sx)
        y1, x1 = min(y0 + 1, small.shape[0] - 1), min(x0 + 1, small.shape[1] - 1)
        top = small[y0, x0] * (1 - sx + x0) + small[y0, x1] * (sx - x0)
        bottom = small[y1, x0] * (1 - sx + x0) + small[y1, x1] * (sx - x0)
        out[y, x] = top * (1 - sy + y0) + bottom * (sy - y0)
    return out


def neighbour_mean(fill: Array) -> Array:
    """The mean of the 3×3 pixels around each, as far as the picture reaches."""
    out = np.empty_like(fill)
    for y, x in np.ndindex(fill.shape):
        out[y, x] = fill[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean()
    return out


def slow_push_pull(colour: Array, known: NDArray[np.bool_]) -> Array:
    """One channel, recursively: a coarse pixel is the mean of its known children; what is unknown comes from
    the level above, and twelve sweeps of Chebyshev semi-iteration (radius 0.98) relax it."""
    height, width = colour.shape
    if height == width == 1:
        return colour if known[0, 0] else np.full((1, 1), 0.5)
    shape = ((height + 1) // 2, (width + 1) // 2)
    coarse, coarse_known = np.zeros(shape), np.zeros(shape, bool)
    for y, x in np.ndindex(shape):
        block = (slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2))
        coarse_known[y, x] = known[block].any()
        coarse[y, x] = colour[block][known[block]].mean() if coarse_known[y, x] else 0
    fill = np.where(known, colour, bilinear(slow_push_pull(coarse, coarse_known), height, width))
    lowest, highest = fill.min(), fill.max()
    before, omega = fill, 1.0
    for sweep in range(12):
        if sweep == 1:
            omega = 2 / (2 - 0.98**2)
        elif sweep > 1:
            omega = 4 / (4 - 0.98**2 * omega)
        step = before + omega * (neighbour_mean(fill) - before)
        before, fill = fill, np.where(known, colour, step)
    return fill.clip(lowest, highest)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("known", [0.05, 0.5])
def test_equals_the_loops(height: int, width: int, known: float) -> None:
    image, valid = picture(height, width, known)
    valid[:, :, 0, 0] = 1
    filled = push_pull(image, valid)
    for n, c in np.ndindex(2, 3):
        x, known_here = image[n, c].double().numpy(), valid[n, 0].numpy() > 0
        np.testing.assert_allclose(filled[n, c].numpy(), slow_push_pull(x, known_here), atol=5e-6)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_known_pixels_are_exact_and_the_fill_lies_between_them(height: int, width: int) -> None:
    image, valid = picture(height, width)
    valid[:, :, -1, -1] = 1
    filled = push_pull(image, valid)
    assert filled.shape == image.shape and filled.dtype == torch.float32
    known = (valid > 0).expand_as(image)
    assert torch.equal(filled[known], image[known])
    for n, c in np.ndindex(2, 3):
        seen = image[n, c][valid[n, 0] > 0]
        assert filled[n, c].min() >= seen.min() - 1e-6 and filled[n, c].max() <= seen.max() + 1e-6


def test_each_picture_of_a_batch_is_its_own() -> None:
    image, valid = picture(9, 11)
    valid[1] = 0
    filled = push_pull(image, valid)
    torch.testing.assert_close(filled[1], torch.full_like(filled[1], 0.5))
    torch.testing.assert_close(filled[:1], push_pull(image[:1], valid[:1]))


def test_nothing_in_the_hole_changes_a_bit() -> None:
    image, valid = picture(7, 10)
    wanted = push_pull(torch.where(valid > 0, image, 0), valid)
    for content in (torch.nan, torch.inf, 1e30):
        assert torch.equal(push_pull(torch.where(valid > 0, image, content), valid), wanted)
    assert torch.isfinite(wanted).all()


def test_all_known_is_the_picture_itself() -> None:
    image, valid = picture(6, 9)
    assert torch.equal(push_pull(image, torch.ones_like(valid)), image)


def test_one_colour_is_continued() -> None:
    _, valid = picture(17, 12, known=0.1)
    valid[:, :, 3, 4] = 1
    colour = torch.tensor([0.1, 0.5, 0.9])[None, :, None, None].expand(2, 3, 17, 12)
    torch.testing.assert_close(push_pull(colour, valid), colour, rtol=0, atol=1e-6)


def test_a_fill_between_dark_and_light_never_turns_back() -> None:
    image = torch.zeros(1, 1, 16, 64)
    image[..., 56:] = 1
    valid = torch.zeros(1, 1, 16, 64)
    valid[..., :8] = valid[..., 56:] = 1
    row = push_pull(image, valid)[0, 0, 8]
    assert (row.diff() >= -1e-6).all()
    assert row[8] < 0.3 and row[55] > 0.7


def test_autocast_and_half_inputs_are_worked_in_float32() -> None:
    image, valid = picture(9, 9)
    wanted = push_pull(image, valid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(push_pull(image, valid), wanted)
    assert push_pull(image.bfloat16(), valid.bfloat16()).dtype == torch.float32
