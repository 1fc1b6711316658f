"""The fused passes of inference against their plain-PyTorch twins."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from carafe_examples import needs_compiled
from torch import Tensor

from inpaint.ops import channel_norm, concatenate_known, fused_reference, membrane_raised, renormalize

pytestmark = needs_compiled

TYPES = [torch.float32, torch.bfloat16]
# A result's own rounding; the twins round to bfloat16 after each of several steps.
TOLERANCES = {torch.float32: (1e-5, 1e-6), torch.bfloat16: (2e-2, 2e-2)}
# Twelve sweeps go up to four times too far, and take roundings of the means with them.
MEMBRANE_TOLERANCE = 5e-6
# One pixel, lines, bands of one row more than fit, rows with and without whole vectors.
SIZES = [(1, 1), (1, 2), (1, 40), (40, 1), (2, 2), (5, 7), (16, 16), (49, 33), (97, 70)]


def close(result: Tensor, wanted: Tensor) -> None:
    assert result.dtype == wanted.dtype
    relative, absolute = TOLERANCES[result.dtype]
    torch.testing.assert_close(result, wanted, rtol=relative, atol=absolute)


def pixels(n: int, c: int, h: int, w: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(n, c, h, w).to(dtype=dtype, memory_format=torch.channels_last)


def level(n: int, c: int, h: int, w: int, known: float) -> tuple[Tensor, Tensor, Tensor]:
    """Fill, colour and known of a level; nothing is known in the lower third."""
    mask = (torch.rand(n, 1, h, w) < known).float()
    mask[:, :, h - h // 3 :] = 0
    return torch.rand(n, c, (h + 1) // 2, (w + 1) // 2), torch.rand(n, c, h, w) * mask, mask


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


# ------------------------------------------------------------------------------------------------------------
# The membrane
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("known", [0.0, 0.3, 0.97, 1.0])
@pytest.mark.parametrize("sweeps", [1, 2, 12])
def test_the_membrane_equals_its_twin(height: int, width: int, known: float, sweeps: int) -> None:
    given = level(2, 3, height, width, known)
    result, wanted = membrane_raised(*given, sweeps), fused_reference.membrane_raised(*given, sweeps)
    torch.testing.assert_close(result, wanted, rtol=0, atol=MEMBRANE_TOLERANCE)
    _, colour, mask = given
    assert torch.equal(torch.where(mask > 0, result, 0), colour)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_the_membrane_takes_any_channels_and_strides(channels: int) -> None:
    fill, colour, known = level(1, channels, 20, 30, 0.5)
    wanted = membrane_raised(fill, colour, known, 6)
    fill, colour = (x.contiguous(memory_format=torch.channels_last) for x in (fill, colour))
    assert torch.equal(membrane_raised(fill, colour, known[:, :, :, :], 6), wanted)


def test_pictures_and_channels_are_each_their_own() -> None:
    fill, colour, known = level(3, 2, 60, 20, 0.5)
    whole = membrane_raised(fill, colour, known, 6)
    for n in range(3):
        for c in range(2):
            part = membrane_raised(
                fill[n : n + 1, c : c + 1], colour[n : n + 1, c : c + 1], known[n : n + 1], 6
            )
            assert torch.equal(part[0, 0], whole[n, c])


def test_a_fill_that_is_not_a_number_stays_none() -> None:
    """Damaged weights have to show in the result."""
    fill, colour, known = level(1, 1, 12, 12, 0.5)
    known[0, 0, 6, 6] = 0
    fill.fill_(torch.nan)
    assert membrane_raised(fill, colour, known, 6)[0, 0, 6, 6].isnan()


def test_results_are_the_same_bits_on_any_number_of_threads(threads: Callable[[int], None]) -> None:
    given = level(1, 3, 300, 260, 0.6)
    features, valid = pixels(1, 24, 90, 80), torch.rand(1, 1, 90, 80)
    weight = torch.rand(24)
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append(
            [
                membrane_raised(*given, 6),
                concatenate_known([features, features[:, :3]], [valid, None]),
                renormalize(features, valid, 9.0, weight),
                channel_norm(features, weight, 0.2),
            ]
        )
    for others in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], others, strict=True))


# ------------------------------------------------------------------------------------------------------------
# Around the convolutions
# ------------------------------------------------------------------------------------------------------------

CHANNELS = [2, 3, 16, 17, 24, 64, 100, 128, 200]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("size", [(1, 2), (5, 7)])
def test_passes_over_pixels_equal_their_twins(
    dtype: torch.dtype, channels: int, size: tuple[int, int]
) -> None:
    x, weight = pixels(2, channels, *size, dtype), torch.rand(channels) + 0.5
    mass = (torch.rand(2, 1, *size) * 9 - 3).clamp(min=0)
    for bias in (None, weight):
        close(renormalize(x, mass, 9.0, bias), fused_reference.renormalize(x, mass, 9.0, bias))
    for slope in (1.0, 0.2):
        close(channel_norm(x, weight, slope), fused_reference.channel_norm(x, weight, slope))
    assert channel_norm(x, weight).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [(2,), (24, 4, 16), (17, 1, 3), (64, 32, 4, 16)])
@pytest.mark.parametrize("size", [(1, 2), (6, 5)])
def test_concatenation_equals_its_twin(
    dtype: torch.dtype, channels: tuple[int, ...], size: tuple[int, int]
) -> None:
    """Also of planes, of other types, and of windows of something larger."""
    parts = [pixels(2, count, *size, dtype) for count in channels]
    parts[1:2] = [part.contiguous() for part in parts[1:2]]
    parts[2:3] = [
        pixels(2, part.shape[1] + 5, 9, 8)[:, 2:-3, 1 : size[0] + 1, 2 : size[1] + 2] for part in parts[2:3]
    ]
    valids: list[Tensor | None] = [(torch.rand(2, 1, *size) * 2 - 0.5).clamp(0, 1) for _ in channels]
    valids[-1] = None if len(channels) > 1 else valids[-1]
    close(concatenate_known(parts, valids), fused_reference.concatenate_known(parts, valids))


@pytest.mark.parametrize("content", [torch.nan, torch.inf])
def test_what_the_hole_holds_does_not_come_through(content: float) -> None:
    valid = (torch.rand(1, 1, 6, 7) < 0.5).float()
    x = pixels(1, 20, 6, 7)
    clean, dirty = torch.where(valid > 0, x, 0), torch.where(valid > 0, x, content)
    assert torch.equal(concatenate_known([dirty], [valid]), concatenate_known([clean], [valid]))
    bias = torch.rand(20)
    assert torch.equal(renormalize(dirty, valid, 9.0, bias), renormalize(clean, valid, 9.0, bias))
    # A pixel's normalisation is its own: its neighbours in memory do not count.
    normal = torch.where(valid > 0, channel_norm(dirty, bias), 0)
    assert torch.equal(normal, torch.where(valid > 0, channel_norm(clean, bias), 0))


def test_zeros_stay_zeros() -> None:
    x = torch.zeros(1, 5, 3, 3).to(memory_format=torch.channels_last)
    assert not channel_norm(x, torch.ones(5), 0.2).any()


# ------------------------------------------------------------------------------------------------------------
# Where torch takes them
# ------------------------------------------------------------------------------------------------------------


def operands() -> dict[str, tuple[object, ...]]:
    x, valid = pixels(1, 6, 4, 5), torch.rand(1, 1, 4, 5)
    return {
        "membrane_raised": (*level(1, 3, 6, 5, 0.5), 3),
        "concatenate_known": ([x, x], [valid], [0, -1]),
        "renormalize": (x, valid, 9.0, torch.rand(6)),
        "channel_norm": (x, torch.rand(6), 1e-6, 0.2),
    }


@pytest.mark.parametrize("name", ["membrane_raised", "concatenate_known", "renormalize", "channel_norm"])
def test_shapes_are_known_without_the_numbers(name: str) -> None:
    operator = getattr(torch.ops.inpaint, name).default
    torch.library.opcheck(operator, operands()[name], test_utils=("test_schema", "test_faketensor"))


def test_where_a_gradient_is_wanted_the_twin_runs() -> None:
    x, weight, valid = pixels(1, 6, 4, 5), torch.rand(6), torch.rand(1, 1, 4, 5)
    x.requires_grad_()
    results = (
        concatenate_known([x, x], [valid, None]),
        renormalize(x, valid, 9.0, weight),
        channel_norm(x, weight, 0.2),
    )
    for result in results:
        (gradient,) = torch.autograd.grad(result.square().sum(), x)
        assert gradient.any()
    fill, colour, known = level(1, 3, 6, 5, 0.5)
    assert torch.autograd.grad(membrane_raised(fill.requires_grad_(), colour, known, 3).sum(), fill)[0].any()
    with torch.no_grad():
        assert not channel_norm(x, weight).requires_grad


def test_the_operators_themselves_refuse_a_gradient() -> None:
    x = pixels(1, 6, 4, 5).requires_grad_()
    result = torch.ops.inpaint.channel_norm(x, torch.rand(6), 1e-6, 1.0)
    with pytest.raises(NotImplementedError, match="no gradient"):
        result.sum().backward()


def test_vmap_equals_a_loop() -> None:
    x, valid, weight = (
        torch.stack([pixels(1, 6, 4, 5) for _ in range(3)]),
        torch.rand(1, 1, 4, 5),
        torch.rand(6),
    )

    def function(one: Tensor) -> Tensor:
        joined = torch.ops.inpaint.concatenate_known([one, valid], [valid], [0, -1])
        return joined[:, :6] + torch.ops.inpaint.channel_norm(one, weight, 1e-6, 0.2)

    torch.testing.assert_close(torch.vmap(function)(x), torch.stack([function(one) for one in x]))


@torch.no_grad()
def test_export_keeps_them_whole() -> None:
    class Passes(torch.nn.Module):
        def forward(self, x: Tensor, valid: Tensor, weight: Tensor) -> Tensor:
            joined = concatenate_known([x, x], [valid, None])
            return channel_norm(renormalize(joined, valid, 9.0, None), weight, 0.2)

    given = (pixels(1, 6, 4, 5), torch.rand(1, 1, 4, 5), torch.rand(12))
    exported = torch.export.export(Passes(), given)
    targets = [node.target for node in exported.graph.nodes]
    assert torch.ops.inpaint.channel_norm.default in targets
    torch.testing.assert_close(exported.module()(*given), Passes()(*given))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("membrane_raised", {3: 0}, "sweeps must be at least 1"),
        ("membrane_raised", {1: torch.rand(1, 3, 6, 5).double()}, "colour must be float32"),
        ("membrane_raised", {2: torch.rand(1, 3, 6, 5)}, "known must have shape"),
        ("membrane_raised", {0: torch.rand(1, 3, 5, 3).mT}, "fill must be contiguous"),
        ("concatenate_known", {2: [0]}, "as many entries"),
        ("concatenate_known", {2: [0, 3]}, "there is no valid 3"),
        ("concatenate_known", {1: [torch.rand(1, 1, 4, 4)]}, "valid must be 20"),
        ("renormalize", {3: torch.rand(5)}, "bias must be 6"),
        ("renormalize", {0: torch.rand(1, 6, 4, 5)}, "sums must be channels_last"),
        ("channel_norm", {0: torch.rand(6, 4)}, "four dimensions"),
        ("channel_norm", {0: pixels(1, 6, 4, 5).double()}, "float32 or bfloat16"),
    ],
)
def test_what_does_not_fit_is_named(name: str, change: dict[int, object], message: str) -> None:
    given = [change.get(i, operand) for i, operand in enumerate(operands()[name])]
    with pytest.raises(RuntimeError, match=message):
        getattr(torch.ops.inpaint, name)(*given)
