"""The search for exemplars and the vote against their twins, and both against loops over the definition."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from carafe_examples import needs_compiled
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from inpaint.inference.detail import add_detail
from inpaint.ops import exemplars_reference
from inpaint.ops.exemplars import (
    FORBIDDEN,
    exemplar_search,
    exemplar_vote,
)

WORST = 2**31 - 1
# Target and source: one pixel, lines, sizes that differ.
SIZES = [
    ((1, 1), (1, 1)),
    ((1, 1), (1, 9)),
    ((1, 9), (7, 1)),
    ((5, 7), (5, 7)),
    ((6, 3), (11, 4)),
    ((11, 13), (9, 14)),
]
Case = dict[str, Any]


def search_twin(target: Tensor, source: Tensor, penalty: Tensor, *given: Tensor, **options: Any) -> Any:
    none = torch.empty((0, 2), dtype=torch.int32)
    rest: Case = {"guides": None, "steps": none, "offsets": none, "radius": 3, "refinements": 1}
    return exemplars_reference.exemplar_search(target, source, penalty, *given, **(rest | options))


def vote_twin(*given: Tensor, **options: Any) -> Tensor:
    rest: Case = {"radius": 3, "best": False}
    return exemplars_reference.exemplar_vote(*given, **(rest | options))


SEARCHES = [
    pytest.param(exemplar_search, id="compiled", marks=needs_compiled),
    pytest.param(search_twin, id="twin"),
]
VOTES = [
    pytest.param(exemplar_vote, id="compiled", marks=needs_compiled),
    pytest.param(vote_twin, id="twin"),
]
any_search = pytest.mark.parametrize("search", SEARCHES)
any_vote = pytest.mark.parametrize("vote", VOTES)


def integers(*values: Any) -> Tensor:
    return torch.tensor(*values, dtype=torch.int32)


def picture(shape: tuple[int, int], channels: int, radius: int, values: int = 256) -> Tensor:
    """With its margin. Few values give many equal costs."""
    height, width = (side + 2 * radius for side in shape)
    return torch.randint(values, (height, width, channels), dtype=torch.uint8)


def random_field(shape: tuple[int, int], source_shape: tuple[int, int]) -> Tensor:
    """About a seventh of it empty."""
    field = torch.randint(source_shape[0] * source_shape[1], shape, dtype=torch.int32)
    return torch.where(torch.rand(shape) < 0.15, -1, field)


def search_case(
    shape: tuple[int, int],
    source_shape: tuple[int, int],
    channels: int = 3,
    radius: int = 1,
    guided: bool = False,
    values: int = 256,
) -> Case:
    count = shape[0] * shape[1]
    guides = None
    if guided:
        weight = torch.randint(700, shape, dtype=torch.int32) * (torch.rand(shape) < 0.8)
        guides = (picture(shape, 2, radius, values), picture(source_shape, 2, radius, values), weight.int())
    return {
        "target": picture(shape, channels, radius, values),
        "source": picture(source_shape, channels, radius, values),
        "penalty": torch.randint(values * 9, source_shape, dtype=torch.int32),
        "positions": torch.randperm(count).int()[: -(-count * 3 // 4)],
        "field": random_field(shape, source_shape),
        "guides": guides,
        "steps": integers([(0, 1), (-1, 0), (2, -3), (40, 0)]),
        "offsets": integers([(0, 0), (-2, 1), (1, 5), (-WORST - 1, WORST)]),
        "radius": radius,
        "refinements": 2,
    }


def vote_case(shape: tuple[int, int], source_shape: tuple[int, int], radius: int = 1) -> Case:
    count = shape[0] * shape[1]
    return {
        "colours": torch.randint(256, (*source_shape, 3), dtype=torch.uint8),
        "known": torch.rand(source_shape) < 0.7,
        "field": random_field(shape, source_shape),
        # Quarters: there are equal ones among them, and zeros.
        "weights": torch.randint(9, shape).float() / 4,
        "positions": torch.randint(count, (count,), dtype=torch.int32),
        "radius": radius,
    }


def call(function: Callable[..., Any], case: Case) -> Any:
    """Both names of a function take what is no option by place."""
    names = ("target", "source", "penalty", "positions", "field")
    if "colours" in case:
        names = ("colours", "known", "field", "weights", "positions")
    options = {name: value for name, value in case.items() if name not in names}
    return function(*(case[name] for name in names), **options)


def both(case: Case) -> tuple[Any, Any]:
    if "colours" in case:
        return call(exemplar_vote, case), call(vote_twin, case)
    return call(exemplar_search, case), call(search_twin, case)


def assert_same(case: Case) -> None:
    result, wanted = both(case)
    for one, other in zip(result, wanted, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert torch.equal(one, other)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


# ------------------------------------------------------------------------------------------------------------
# Against the twins
# ------------------------------------------------------------------------------------------------------------


@needs_compiled
@pytest.mark.parametrize(("shape", "source_shape"), SIZES)
@pytest.mark.parametrize("radius", range(5))
def test_the_search_equals_its_twin_to_the_bit(
    shape: tuple[int, int], source_shape: tuple[int, int], radius: int
) -> None:
    for channels, guided, values in ((1, True, 3), (3, False, 256), (4, True, 3)):
        assert_same(search_case(shape, source_shape, channels, radius, guided, values))


@needs_compiled
@pytest.mark.parametrize("options", list(itertools.product((0, 1, 5), (False, True), (False, True))))
def test_candidates_of_every_kind_equal_their_twins(options: tuple[int, bool, bool]) -> None:
    refinements, steps, offsets = options
    case = search_case((9, 8), (8, 11)) | {"refinements": refinements}
    for name, wanted in (("steps", steps), ("offsets", offsets)):
        case[name] = case[name] if wanted else None
    result = call(exemplar_search, case)
    none = torch.empty((0, 2), dtype=torch.int32)
    twin = case | {name: none for name in ("steps", "offsets") if case[name] is None}
    assert all(torch.equal(a, b) for a, b in zip(result, call(search_twin, twin), strict=True))


@needs_compiled
@pytest.mark.parametrize(("shape", "source_shape"), SIZES)
@pytest.mark.parametrize("radius", range(5))
def test_votes_equal_their_twins(shape: tuple[int, int], source_shape: tuple[int, int], radius: int) -> None:
    """The means to the bit, too: products of a weight and a byte are exact, and the order is the same."""
    for best in (False, True):
        assert_same(vote_case(shape, source_shape, radius) | {"best": best})


@needs_compiled
def test_results_are_the_same_bits_on_any_number_of_threads(threads: Callable[[int], None]) -> None:
    search, vote = search_case((40, 50), (30, 45), 4, 3, True, 4), vote_case((40, 50), (30, 45), 3)
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append(
            [
                *call(exemplar_search, search),
                call(exemplar_vote, vote),
                call(exemplar_vote, vote | {"best": True}),
            ]
        )
    for others in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], others, strict=True))


@needs_compiled
def test_nothing_beside_a_tensor_counts() -> None:
    """Every operand lies in a larger one; what lies around it changes nothing."""

    def within(value: Any, filling: int) -> Any:
        if isinstance(value, tuple):
            return tuple(within(part, filling) for part in value)
        if not isinstance(value, Tensor):
            return value
        buffer = torch.full((value.numel() + 4096,), filling).to(value.dtype)
        inner = buffer[2048 : 2048 + value.numel()].view(value.shape)
        return inner.copy_(value)

    for function, case in (
        (exemplar_search, search_case((6, 7), (5, 9), 4, 3, True)),
        (exemplar_vote, vote_case((6, 7), (5, 9), 4)),
    ):
        results = [
            call(function, {name: within(value, filling) for name, value in case.items()})
            for filling in (0, 1, 255)
        ]
        for others in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(results[0], others, strict=True))


@needs_compiled
def test_the_twins_run_without_the_library(tmp_path: Path) -> None:
    search, vote = search_case((7, 6), (5, 8), 3, 2, True), vote_case((7, 6), (5, 8), 2)
    script = (
        "import sys, torch; from inpaint import ops\n"
        "assert ops.implementation() == 'reference', ops.implementation()\n"
        "search, vote = torch.load(sys.argv[1])\n"
        "from inpaint.ops.exemplars import exemplar_search, exemplar_vote\n"
        "torch.save((*exemplar_search(**search), exemplar_vote(**vote)), sys.argv[2])\n"
    )
    given, result = tmp_path / "given.pt", tmp_path / "result.pt"
    torch.save((search, vote), given)
    subprocess.run(
        [sys.executable, "-c", script, str(given), str(result)],
        check=True,
        env=os.environ | {"INPAINT_OPS": "reference"},
    )
    wanted = (*call(exemplar_search, search), call(exemplar_vote, vote))
    assert all(torch.equal(a, b) for a, b in zip(torch.load(result), wanted, strict=True))


# ------------------------------------------------------------------------------------------------------------
# Against the definition
# ------------------------------------------------------------------------------------------------------------


def difference(a: np.ndarray, b: np.ndarray, at: tuple[int, int], bt: tuple[int, int], radius: int) -> int:
    """The sum of squared differences of two patches, a number at a time."""
    total = 0
    for down, right in itertools.product(range(2 * radius + 1), repeat=2):
        for channel in range(a.shape[2]):
            one, other = a[at[0] + down, at[1] + right, channel], b[bt[0] + down, bt[1] + right, channel]
            total += (int(one) - int(other)) ** 2
    return total


def cost_by_definition(case: Case, position: int, source: int) -> int:
    t, s = divmod(position, case["field"].shape[1]), divmod(source, case["penalty"].shape[1])
    cost = int(case["penalty"][s]) + difference(
        case["target"].numpy(), case["source"].numpy(), t, s, case["radius"]
    )
    if case["guides"] is None:
        return cost
    ours, theirs, weight = case["guides"]
    return cost + int(weight[t]) * difference(ours.numpy(), theirs.numpy(), t, s, case["radius"]) // 256


def every_offset(shape: tuple[int, int], source_shape: tuple[int, int]) -> Tensor:
    """From any target to any source, in row-major order."""
    down, right = (range(1 - a, b) for a, b in zip(shape, source_shape, strict=True))
    return integers(list(itertools.product(down, right)))


@any_search
@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("radius", [0, 1, 2])
@pytest.mark.parametrize("values", [2, 256])
def test_an_exhaustive_search_finds_the_nearest_patch(
    search: Callable[..., Any], guided: bool, radius: int, values: int
) -> None:
    shape, source_shape = (4, 3), (3, 5)
    case = search_case(shape, source_shape, 2, radius, guided, values)
    case |= {"offsets": every_offset(shape, source_shape), "steps": integers([(0, 1)])}
    # The field would be compared first, and equals of it kept.
    case["field"] = torch.full(shape, -1, dtype=torch.int32)
    field, cost = call(search, case)
    wanted = set(case["positions"].tolist())
    for position in range(shape[0] * shape[1]):
        place = divmod(position, shape[1])
        found = int(field[place]), int(cost[place])
        if position not in wanted:
            assert found == (-1, WORST)
            continue
        costs = [cost_by_definition(case, position, source) for source in range(15)]
        assert found == (costs.index(min(costs)), min(costs))


@any_vote
@pytest.mark.parametrize("radius", [0, 1, 2, 15])
def test_a_vote_is_what_its_definition_says(vote: Callable[..., Tensor], radius: int) -> None:
    case = vote_case((5, 6), (4, 7), radius)
    means, bests = call(vote, case), call(vote, case | {"best": True})
    field, weights = case["field"].numpy(), case["weights"].numpy()
    for i, position in enumerate(case["positions"].tolist()):
        y, x = divmod(position, 6)
        votes = []
        for py, px in itertools.product(range(5), range(6)):
            if max(abs(py - y), abs(px - x)) > radius or field[py, px] < 0:
                continue
            sy, sx = field[py, px] // 7 + y - py, field[py, px] % 7 + x - px
            if 0 <= sy < 4 and 0 <= sx < 7 and case["known"][sy, sx]:
                votes.append((weights[py, px], case["colours"][sy, sx].numpy().astype(float)))
        total = sum(float(weight) for weight, _ in votes)
        mean = sum(float(w) * colour for w, colour in votes) / total if total else np.full(3, -1.0)
        np.testing.assert_allclose(means[i].numpy(), mean, rtol=0, atol=1e-5)
        best = max(votes, key=lambda one: one[0])[1] if votes else np.full(3, -1.0)
        np.testing.assert_array_equal(bests[i].numpy(), best)


@any_search
def test_neighbours_sources_are_taken_moved_along(search: Callable[..., Any]) -> None:
    """One right source in a corner spreads by a pixel in each sweep."""
    source = picture((8, 9), 3, 2)
    target = torch.roll(source, (1, 2), (0, 1))[3:, 4:].contiguous()  # of the pixels that do not wrap
    shape = (target.shape[0] - 4, target.shape[1] - 4)
    right = (torch.arange(shape[0])[:, None] + 2) * 9 + torch.arange(shape[1]) + 2
    field = torch.full(shape, -1, dtype=torch.int32)
    field[0, 0] = right[0, 0]
    penalty = torch.zeros(8, 9, dtype=torch.int32)
    positions = torch.arange(shape[0] * shape[1]).int()
    for sweep in range(1, 7):
        field, cost = search(
            target,
            source,
            penalty,
            positions,
            field,
            steps=integers([(-1, -1), (-1, 0), (0, -1)]),
            radius=2,
            refinements=0,
        )
        reached = torch.maximum(torch.arange(shape[0])[:, None], torch.arange(shape[1])) <= sweep
        assert torch.equal(field, torch.where(reached, right, -1).int())
        assert torch.equal(cost, torch.where(reached, 0, WORST).int())


# ------------------------------------------------------------------------------------------------------------
# At the ends
# ------------------------------------------------------------------------------------------------------------


@any_search
def test_without_positions_or_candidates_nothing_is_found(search: Callable[..., Any]) -> None:
    given = search_case((4, 5), (3, 6))
    empty = torch.full((4, 5), -1, dtype=torch.int32)
    cases = [
        given | {"positions": integers([])},
        given | {"field": empty, "offsets": integers([(9, 0), (-9, 0)])},
        search_case((4, 5), (1, 1))
        | {"source": torch.empty(2, 8, 3, dtype=torch.uint8), "penalty": integers([[]] * 6).view(0, 6)}
        | {"field": empty},
    ]
    for case in cases:
        field, cost = call(search, case)
        assert torch.equal(field, empty)
        assert (cost == WORST).all()
    pixels = {"target": torch.empty(2, 7, 3, dtype=torch.uint8), "positions": integers([])}
    field, cost = call(search, given | pixels | {"field": torch.empty(0, 5, dtype=torch.int32)})
    assert field.shape == cost.shape == (0, 5)


@any_vote
@pytest.mark.parametrize("best", [False, True])
def test_without_a_vote_the_colour_is_minus_one(vote: Callable[..., Tensor], best: bool) -> None:
    given = vote_case((4, 5), (3, 6)) | {"best": best}
    nowhere = torch.full((4, 5), -1, dtype=torch.int32)
    source = {"colours": torch.empty(0, 6, 3, dtype=torch.uint8), "known": torch.empty(0, 6).bool()}
    for change in (
        {"field": nowhere},
        {"known": torch.zeros(3, 6).bool()},
        {"field": nowhere, **source},
    ):
        votes = call(vote, given | change)
        assert votes.dtype == torch.float32
        assert torch.equal(votes, torch.full((20, 3), -1.0))
    assert call(vote, given | {"positions": integers([])}).shape == (0, 3)
    nothing = {"field": torch.empty(0, 5).int(), "weights": torch.empty(0, 5), "positions": integers([])}
    assert call(vote, given | nothing).shape == (0, 3)


@any_vote
def test_weights_choose_and_zeros_do_not_count(vote: Callable[..., Tensor]) -> None:
    colours = torch.arange(27, dtype=torch.uint8).view(1, 9, 3)
    given: Case = {"colours": colours, "known": torch.ones(1, 9).bool(), "positions": integers([1])}
    given |= {"field": integers([[7, 4, 2]]), "weights": torch.zeros(1, 3), "radius": 1}
    # Patches at 0, 1 and 2 give pixel 1 the sources 8, 4 and 1.
    assert call(vote, given).tolist() == [[-1, -1, -1]]
    for weights, chosen in (
        ([0, 0, 0], 8),
        ([0, 2, 2], 4),
        ([-5, -5, -4.5], 1),
        ([-torch.inf] * 3, 8),
        ([1e38, torch.inf, torch.inf], 4),
    ):
        given["weights"] = torch.tensor([weights], dtype=torch.float32)
        assert torch.equal(call(vote, given | {"best": True}), colours[:, chosen].float())
    given["weights"] = torch.tensor([[1e-45, 0, 3e-45]])  # the mean holds for the least of numbers
    assert torch.allclose(call(vote, given), (colours[:, 8] + 2.0 * colours[:, 1]) / 3)


@any_search
def test_forbidden_sources_are_the_last_choice(search: Callable[..., Any]) -> None:
    """Whatever patches are like, another source is better; where there is no other, they are taken."""
    channels = (FORBIDDEN // 255**2) // 31**2
    case: Case = {
        "target": torch.zeros(31, 31, channels, dtype=torch.uint8),
        "source": torch.zeros(31, 32, channels, dtype=torch.uint8),
        "penalty": integers([[FORBIDDEN, 0]]),
        "positions": integers([0]),
        "field": integers([[0]]),
        "radius": 15,
    }
    case["source"][:, 1:] = 255  # the right one differs as much as patches can
    farthest = 31**2 * channels * 255**2
    case["source"][:, 0] = 255
    assert farthest < FORBIDDEN
    field, cost = call(search, case)
    assert (int(field), int(cost)) == (1, farthest)
    case["penalty"][0, 1] = FORBIDDEN
    case["target"][:, 0] = 255
    field, cost = call(search, case)
    column = 31 * channels * 255**2
    assert (int(field), int(cost)) == (0, FORBIDDEN + farthest - column)


@any_search
@pytest.mark.parametrize(
    ("penalty", "weight"),
    [
        (WORST - 255**2 - 1, 0),
        (WORST - 255**2, 0),
        (WORST - 255**2 + 1, 0),
        (WORST, 0),
        (WORST, WORST),
        (0, (WORST - 255**2) * 256 // 255**2),
        (0, (WORST - 255**2) * 256 // 255**2 + 1),
        (0, WORST),
    ],
)
def test_a_cost_of_more_than_32_bits_is_not_taken(
    search: Callable[..., Any], penalty: int, weight: int
) -> None:
    one, none = (torch.full((1, 1, 1), value, dtype=torch.uint8) for value in (255, 0))
    field, cost = search(
        one,
        none,
        integers([[penalty]]),
        integers([0]),
        integers([[0]]),
        guides=(one, none, integers([[weight]])),
        radius=0,
    )
    exact = penalty + 255**2 + 255**2 * weight // 256
    assert (int(field), int(cost)) == ((0, exact) if exact < WORST else (-1, WORST))


@any_search
@pytest.mark.parametrize("weight", [1, 255, 517, 518, WORST])
def test_the_largest_guides_do_not_overflow(search: Callable[..., Any], weight: int) -> None:
    one, none = (torch.full((31, 31, 17), value, dtype=torch.uint8) for value in (255, 0))
    field, cost = search(
        none,
        none,
        integers([[0]]),
        integers([0]),
        integers([[0]]),
        guides=(one, none, integers([[weight]])),
        radius=15,
    )
    exact = 31**2 * 17 * 255**2 * weight // 256
    assert (int(field), int(cost)) == ((0, exact) if exact < WORST else (-1, WORST))


# ------------------------------------------------------------------------------------------------------------
# What does not fit
# ------------------------------------------------------------------------------------------------------------

SHAPE, SOURCE = (4, 5), (3, 6)
BYTES = torch.zeros(6, 7, 3, dtype=torch.uint8)


def guides(change: dict[int, Tensor]) -> tuple[Tensor, ...]:
    fitting = (
        torch.zeros(6, 7, 2, dtype=torch.uint8),
        torch.zeros(5, 8, 2, dtype=torch.uint8),
        torch.zeros(4, 5, dtype=torch.int32),
    )
    return tuple(change.get(i, part) for i, part in enumerate(fitting))


SEARCH_ERRORS: list[tuple[Case, str]] = [
    ({"radius": -1}, "radius must lie between 0 and 15, got -1"),
    ({"radius": 16}, "radius must lie between 0 and 15, got 16"),
    ({"radius": 2}, r"target must be contiguous uint8 \[8, 9, \*\], got \[6, 7, 3\]"),
    ({"refinements": -1}, "refinements must be at least 0"),
    ({"target": BYTES.int()}, "target must be contiguous uint8 .* of another type"),
    ({"target": BYTES.permute(1, 0, 2).contiguous().permute(1, 0, 2)}, "target must .* with gaps"),
    ({"target": BYTES[:, :, 0]}, "target must be contiguous"),
    ({"target": BYTES[:, :6]}, "target must be contiguous"),
    ({"target": BYTES[:, :, :0]}, "target must have 1 to 1834 channels at radius 1, got 0"),
    ({"target": torch.zeros(6, 7, 1835).byte()}, "target must have 1 to 1834 channels at radius 1, got 1835"),
    ({"source": torch.zeros(5, 8, 2).byte()}, r"source must be contiguous uint8 \[5, 8, 3\]"),
    ({"source": torch.zeros(5, 7, 3).byte()}, "source must be"),
    ({"source": torch.zeros(5, 8, 3)}, "source must be"),
    ({"source": torch.zeros(5, 8, 6).byte()[:, :, ::2]}, "source must be"),
    ({"penalty": torch.zeros(3, 6)}, "penalty must be contiguous int32"),
    ({"penalty": torch.zeros(18).int()}, "penalty must be contiguous int32"),
    ({"penalty": torch.zeros(6, 3).int().T}, "penalty must be contiguous int32"),
    ({"penalty": torch.zeros(3, 5).int()}, "source must be"),
    ({"penalty": torch.full((3, 6), -1).int()}, r"penalty must lie in \[0, 2147483648\), got -1"),
    ({"positions": torch.arange(4)}, "positions must be contiguous int32"),
    ({"positions": integers([[0, 1]])}, r"positions must be contiguous int32 \[\*\]"),
    ({"positions": torch.arange(8).int()[::2]}, "positions must be .* with gaps"),
    ({"positions": integers([0, 20])}, r"positions must lie in \[0, 20\), got 20"),
    ({"positions": integers([3, -1])}, "positions must lie"),
    ({"field": torch.zeros(4, 5).long()}, "field must be contiguous int32"),
    ({"field": torch.zeros(1, 4, 5).int()}, "field must be contiguous int32"),
    ({"field": torch.zeros(5, 4).int().T}, "field must be contiguous int32"),
    ({"field": torch.full((4, 5), 18).int()}, r"field must lie in \[-1, 18\), got 18"),
    ({"field": torch.full((4, 5), -2).int()}, r"field must lie in \[-1, 18\), got -2"),
    ({"field": torch.zeros(4, 4).int()}, "target must be"),
    ({"steps": torch.zeros(2, 2)}, "steps must be contiguous int32"),
    ({"steps": torch.zeros(2, 3).int()}, r"steps must be contiguous int32 \[\*, 2\]"),
    ({"offsets": torch.zeros(2).int()}, "offsets must be"),
    ({"offsets": torch.zeros(4, 2).int()[::2]}, "offsets must be .* with gaps"),
    ({"guides": guides({0: BYTES[1:]})}, "guide_target must be"),
    ({"guides": guides({0: BYTES})}, r"guide_source must be contiguous uint8 \[5, 8, 3\]"),
    ({"guides": guides({1: BYTES})}, "guide_source must be"),
    ({"guides": guides({2: torch.zeros(4, 5)})}, "guide_weight must be"),
    ({"guides": guides({2: torch.zeros(3, 6).int()})}, "guide_weight must be"),
    ({"guides": guides({2: torch.full((4, 5), -1).int()})}, "guide_weight must lie"),
]

VOTE_ERRORS: list[tuple[Case, str]] = [
    ({"radius": -1}, "radius must lie between 0 and 15, got -1"),
    ({"radius": 2**62}, "radius must lie between 0 and 15"),
    ({"colours": torch.zeros(3, 6, 3)}, "colours must be contiguous uint8"),
    ({"colours": torch.zeros(3, 6, 4).byte()}, r"colours must be contiguous uint8 \[3, 6, 3\]"),
    ({"colours": torch.zeros(6, 3, 3).byte().transpose(0, 1)}, "colours must be .* with gaps"),
    ({"known": torch.zeros(3, 6)}, "known must be contiguous bool"),
    ({"known": torch.zeros(18).bool()}, "known must be contiguous bool"),
    ({"known": torch.zeros(2, 6).bool()}, "colours must be"),
    ({"weights": torch.zeros(4, 5).double()}, "weights must be contiguous float32"),
    ({"weights": torch.zeros(5, 4).T}, "weights must be .* with gaps"),
    ({"weights": torch.zeros(5, 4)}, "weights must be"),
    ({"positions": integers([20])}, "positions must lie"),
    ({"positions": integers([-1])}, "positions must lie"),
    ({"positions": torch.zeros(3)}, "positions must be"),
    ({"field": torch.full((4, 5), 18).int()}, "field must lie"),
    ({"field": torch.full((4, 5), -2).int()}, "field must lie"),
    ({"field": torch.zeros(20).int()}, "field must be"),
]


@any_search
def test_what_does_not_fit_a_search_is_named(search: Callable[..., Any]) -> None:
    case = search_case(SHAPE, SOURCE) | {"guides": guides({})}
    call(search, case)
    for change, message in SEARCH_ERRORS:
        with pytest.raises(RuntimeError, match=f"^exemplar_search: {message}"):
            call(search, case | change)


@any_vote
def test_what_does_not_fit_a_vote_is_named(vote: Callable[..., Tensor]) -> None:
    case = vote_case(SHAPE, SOURCE)
    call(vote, case)
    for change, message in VOTE_ERRORS:
        with pytest.raises(RuntimeError, match=f"^exemplar_vote: {message}"):
            call(vote, case | change)


@any_search
@pytest.mark.parametrize(("radius", "most"), [(0, 16512), (3, 336), (15, 17)])
def test_channels_are_bounded_so_that_sums_are(search: Callable[..., Any], radius: int, most: int) -> None:
    def case(channels: int) -> Case:
        return search_case((1, 1), (1, 1), channels, radius) | {"field": integers([[0]])}

    given = case(most)
    _, cost = call(search, given)
    assert int(cost) == cost_by_definition(given, 0, 0) < FORBIDDEN
    with pytest.raises(RuntimeError, match=f"target must have 1 to {most} channels at radius {radius}, got"):
        call(search, case(most + 1))
    two = case(most + 1)
    with pytest.raises(RuntimeError, match="guide_target must have"):
        call(search, given | {"guides": (two["target"], two["source"], integers([[1]]))})


@needs_compiled
@pytest.mark.parametrize("given", [(0,), (1,), (2,), (0, 1), (1, 2)])
def test_the_operator_wants_all_of_the_guides(given: tuple[int, ...]) -> None:
    case = search_case(SHAPE, SOURCE)
    parts = [part if i in given else None for i, part in enumerate(guides({}))]
    with pytest.raises(RuntimeError, match="go together"):
        torch.ops.inpaint.exemplar_search(
            case["target"],
            case["source"],
            *parts,
            *(case[name] for name in ("penalty", "positions", "field", "steps", "offsets")),
            1,
            1,
        )


def test_a_fill_does_not_depend_on_how_its_pictures_lie_in_memory() -> None:
    numbers = np.random.default_rng(0)
    image, guide = numbers.integers(0, 256, (2, 48, 44, 3), dtype=np.uint8)
    mask = np.zeros((48, 44), bool)
    mask[10:38, 8:36] = True
    wanted = add_detail(image, guide, mask)
    assert (wanted != guide)[mask].any()
    planes = [np.ascontiguousarray(given.transpose(2, 0, 1)).transpose(1, 2, 0) for given in (image, guide)]
    for given in ((*planes, mask), map(np.asfortranarray, (image, guide, mask))):
        np.testing.assert_array_equal(add_detail(*given), wanted)


# ------------------------------------------------------------------------------------------------------------
# Where torch takes them
# ------------------------------------------------------------------------------------------------------------


@needs_compiled
def test_tensors_without_numbers_are_refused() -> None:
    for function, case in (
        (exemplar_search, search_case(SHAPE, SOURCE)),
        (exemplar_vote, vote_case(SHAPE, SOURCE)),
    ):
        with FakeTensorMode() as mode:
            fake = {
                name: mode.from_tensor(value) if isinstance(value, Tensor) else value
                for name, value in case.items()
            }
            with pytest.raises(NotImplementedError, match="cannot be traced"):
                call(function, fake)


@needs_compiled
def test_a_gradient_is_refused() -> None:
    case = vote_case(SHAPE, SOURCE)
    votes = call(exemplar_vote, case | {"weights": case["weights"].requires_grad_()})
    with pytest.raises(NotImplementedError, match="no gradient"):
        votes.sum().backward()


@needs_compiled
def test_they_are_no_part_of_a_traced_graph() -> None:
    """A compiled function stops for them and goes on, unless it has to be one graph."""
    case = vote_case(SHAPE, SOURCE)

    def function(case: Case) -> Tensor:
        return call(exemplar_vote, case) + 1

    assert torch.equal(torch.compile(function, backend="eager")(case), function(case))
    torch.compiler.reset()
    with pytest.raises(RuntimeError, match="the exemplar operators cannot be traced"):
        torch.compile(function, backend="eager", fullgraph=True)(case)

    class Module(torch.nn.Module):
        def forward(self, *given: Tensor) -> Tensor:
            return exemplar_vote(*given)

    given = tuple(case[name] for name in ("colours", "known", "field", "weights", "positions"))
    with pytest.raises(NotImplementedError, match="cannot be traced"):
        torch.export.export(Module(), given)
