"""Straight continuations through the hole, against a walk along each ray."""

import math

import numpy as np
import pytest
import torch

from inpaint.layers import LINE_FEATURES, LINES, directional_candidates


def walk(known: np.ndarray, y: int, x: int, down: int, right: int) -> int | None:
    """Steps from (y, x) against (down, right) to the first known pixel."""
    steps = 0
    while 0 <= y < known.shape[0] and 0 <= x < known.shape[1]:
        if known[y, x]:
            return steps
        y, x, steps = y - down, x - right, steps + 1
    return None


def expected(image: np.ndarray, known: np.ndarray, fill: np.ndarray, line: int, y: int, x: int):
    """Offset [C] and features [3] of one line at one pixel."""
    down, right = LINES[line]
    ends = []
    for sign in (1, -1):
        steps = walk(known, y, x, sign * down, sign * right)
        if steps is not None:
            colour = image[:, y - sign * steps * down, x - sign * steps * right]
            ends.append((colour, max(steps, 1) * math.hypot(down, right)))
    if not ends:
        return np.zeros(image.shape[0]), np.zeros(3)
    weights = np.array([1 / distance for _, distance in ends])
    mean = sum(w * colour for w, (colour, _) in zip(weights, ends, strict=True)) / weights.sum()
    offset = np.zeros(image.shape[0]) if known[y, x] else mean - fill[:, y, x]
    if len(ends) == 1:
        return offset, np.array([0.0, 0.0, weights[0]])
    unlike = np.abs(ends[0][0] - ends[1][0]).mean()
    near = 4 / (4 + ends[0][1] + ends[1][1])
    return offset, np.array([np.exp(-unlike / 0.1), near, weights.max()])


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5), (13, 18), (33, 16)])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.8, 1.0])
def test_equals_a_walk_along_each_ray(size: tuple[int, int], share: float) -> None:
    rng = np.random.default_rng(sum(size))
    image, fill = rng.random((2, 3, *size)).astype(np.float32)
    known = rng.random(size) < share
    offsets, features = directional_candidates(
        torch.from_numpy(image)[None],
        torch.from_numpy(known)[None, None].float(),
        torch.from_numpy(fill)[None],
    )
    assert offsets.shape == (1, len(LINES), 3, *size)
    assert features.shape == (1, len(LINES) * LINE_FEATURES, *size)
    for line in range(len(LINES)):
        for y, x in np.ndindex(size):
            offset, feature = expected(image, known, fill, line, y, x)
            np.testing.assert_allclose(offsets[0, line, :, y, x], offset, atol=1e-5)
            block = features[0, line * LINE_FEATURES : (line + 1) * LINE_FEATURES, y, x]
            np.testing.assert_allclose(block, feature, atol=1e-5)


def test_a_linear_ramp_is_continued_exactly_by_every_line_with_two_ends() -> None:
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    ramp = (0.01 * rows + 0.007 * columns).expand(1, 3, 40, 40)
    valid = torch.ones(1, 1, 40, 40)
    valid[..., 12:27, 14:25] = 0
    offsets, _ = directional_candidates(ramp, valid, torch.zeros_like(ramp))
    inside = offsets[..., 12:27, 14:25]
    torch.testing.assert_close(inside, ramp[:, None, :, 12:27, 14:25].expand_as(inside))


def test_what_the_hole_holds_has_no_influence() -> None:
    torch.manual_seed(0)
    image, valid = torch.rand(2, 3, 24, 20), (torch.rand(2, 1, 24, 20) > 0.5).float()
    fill = torch.rand_like(image)
    damaged = torch.where(valid > 0, image, torch.nan)
    for a, b in zip(
        directional_candidates(image, valid, fill), directional_candidates(damaged, valid, fill), strict=True
    ):
        assert torch.equal(a, b)
        assert torch.isfinite(a).all()
