"""The exemplar operators in plain PyTorch: the same fields, costs and colours to the bit, and slow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FORBIDDEN = 2**30
"""A penalty that no difference of patches reaches.

A source with it is taken only if every other candidate has it, too, provided that the other penalties and
the guide's term are small beside it.
"""

_WORST = 2**31 - 1
_MOST_RADIUS = 15
_MOST_BYTES = FORBIDDEN // 255**2  # of a patch, so that the sum of its squared differences stays below
_CHUNK_BYTES = 2**20  # of the patches that are compared at once, which takes many times as much memory


def exemplar_search(
    target: Tensor,
    source: Tensor,
    penalty: Tensor,
    positions: Tensor,
    field: Tensor,
    guides: tuple[Tensor, Tensor, Tensor] | None,
    steps: Tensor,
    offsets: Tensor,
    radius: int,
    refinements: int,
) -> tuple[Tensor, Tensor]:
    """Do what `inpaint.ops.exemplars.exemplar_search` does."""
    _check_search(target, source, penalty, positions, field, guides, steps, offsets, radius, refinements)
    found, costs = torch.full_like(field, -1), torch.full_like(field, _WORST)
    if not penalty.numel():
        return found, costs
    chunk = max(1, _CHUNK_BYTES // ((2 * radius + 1) ** 2 * target.shape[2]))
    for wanted in positions.long().split(chunk):
        best = _Best(target, source, penalty, wanted, field.shape[1], guides, radius)
        for step in torch.cat([steps.new_zeros(1, 2), steps]).long():
            best.consider_neighbours(field, step)
        for offset in offsets.long():
            best.consider(best.rows + offset[0], best.columns + offset[1])
        for _ in range(refinements):
            before = best.source
            best.refine()
            if torch.equal(best.source, before):
                break
        found.view(-1)[wanted], costs.view(-1)[wanted] = best.source.int(), best.cost.int()
    return found, costs


class _Best:
    """The best sources of some positions so far."""

    def __init__(
        self,
        target: Tensor,
        source: Tensor,
        penalty: Tensor,
        wanted: Tensor,
        width: int,
        guides: tuple[Tensor, Tensor, Tensor] | None,
        radius: int,
    ) -> None:
        self.penalty, self.radius = penalty, radius
        self.rows, self.columns = wanted // width, wanted % width
        self.source = torch.full_like(wanted, -1)
        self.cost = torch.full_like(wanted, _WORST)
        # Pairs to compare: the targets' patches, the picture of sources, the weight in 256ths.
        self.terms: list[tuple[Tensor, Tensor, Tensor | None]] = [
            (_patches(target, self.rows, self.columns, radius), source, None)
        ]
        if guides is not None:
            patches = _patches(guides[0], self.rows, self.columns, radius)
            self.terms.append((patches, guides[1], guides[2].reshape(-1)[wanted].long()))

    def consider_neighbours(self, field: Tensor, step: Tensor) -> None:
        rows, columns = self.rows + step[0], self.columns + step[1]
        inside = _inside(rows, columns, field)
        theirs = torch.where(
            inside, field[rows.clamp(0, field.shape[0] - 1), columns.clamp(0, field.shape[1] - 1)], -1
        ).long()
        width = self.penalty.shape[1]
        self.consider(theirs // width - step[0], theirs % width - step[1], theirs >= 0)

    def refine(self) -> None:
        width = self.penalty.shape[1]
        rows, columns, some = self.source // width, self.source % width, self.source >= 0
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                if down or right:
                    self.consider(rows + down, columns + right, some)

    def consider(self, rows: Tensor, columns: Tensor, allowed: Tensor | None = None) -> None:
        inside = _inside(rows, columns, self.penalty)
        if allowed is not None:
            inside = inside & allowed
        height, width = self.penalty.shape
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        cost = self.penalty[rows, columns].long()
        for patches, source, weight in self.terms:
            difference = _patches(source, rows, columns, self.radius) - patches
            term = difference.square().sum(1)
            cost = cost + (term if weight is None else term * weight >> 8)
        better = inside & (cost < self.cost)
        self.cost = torch.where(better, cost, self.cost)
        self.source = torch.where(better, rows * width + columns, self.source)


def _inside(rows: Tensor, columns: Tensor, plane: Tensor) -> Tensor:
    return (rows >= 0) & (columns >= 0) & (rows < plane.shape[0]) & (columns < plane.shape[1])


def _patches(picture: Tensor, rows: Tensor, columns: Tensor, radius: int) -> Tensor:
    """Return the patches around some places as int64 [M, (2·radius + 1)²·C]; the picture has its margin."""
    reach = torch.arange(2 * radius + 1)
    down, across = torch.meshgrid(reach, reach, indexing="ij")
    patches = picture[rows[:, None] + down.reshape(-1), columns[:, None] + across.reshape(-1)]
    return patches.flatten(1).long()


def exemplar_vote(
    colours: Tensor,
    known: Tensor,
    field: Tensor,
    weights: Tensor,
    positions: Tensor,
    radius: int,
    best: bool,
) -> Tensor:
    """Do what `inpaint.ops.exemplars.exemplar_vote` does."""
    _check_vote(colours, known, field, weights, positions, radius)
    if not known.numel() or not positions.numel():
        return torch.full((len(positions), 3), -1.0)
    height, width = field.shape
    rows, columns = positions.long() // width, positions.long() % width
    sums = torch.zeros(len(rows), 3, dtype=torch.float64)
    total = torch.zeros(len(rows), dtype=torch.float64)
    most = torch.full((len(rows),), -torch.inf)
    chosen = torch.full((len(rows), 3), -1.0)
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            at_rows, at_columns = rows + down, columns + right
            inside = _inside(at_rows, at_columns, field)
            at_rows, at_columns = at_rows.clamp(0, height - 1), at_columns.clamp(0, width - 1)
            source = field[at_rows, at_columns].long()
            from_rows = source // known.shape[1] - down
            from_columns = source % known.shape[1] - right
            votes = inside & (source >= 0) & _inside(from_rows, from_columns, known)
            from_rows = from_rows.clamp(0, known.shape[0] - 1)
            from_columns = from_columns.clamp(0, known.shape[1] - 1)
            votes &= known[from_rows, from_columns]
            weight = weights[at_rows, at_columns]
            colour = colours[from_rows, from_columns]
            more = votes & ((weight > most) | (chosen[:, 0] < 0))
            most = torch.where(more, weight, most)
            chosen = torch.where(more[:, None], colour.float(), chosen)
            share = torch.where(votes, weight, 0).double()
            sums += share[:, None] * colour
            total += share
    if best:
        return chosen
    return torch.where(total[:, None] > 0, sums / total[:, None], -1.0).float()


# ------------------------------------------------------------------------------------------------------------
# Checks
# ------------------------------------------------------------------------------------------------------------

# The same as in csrc/cpu/exemplars.cpp, with the same messages.


def _check_search(
    target: Tensor,
    source: Tensor,
    penalty: Tensor,
    positions: Tensor,
    field: Tensor,
    guides: tuple[Tensor, Tensor, Tensor] | None,
    steps: Tensor,
    offsets: Tensor,
    radius: int,
    refinements: int,
) -> None:
    op = "exemplar_search"
    _check_radius(op, radius)
    if refinements < 0:
        raise RuntimeError(f"{op}: refinements must be at least 0, got {refinements}")
    _check_tensor(op, "field", field, torch.int32, (None, None))
    _check_tensor(op, "penalty", penalty, torch.int32, (None, None))
    _check_pictures(op, "target", target, "source", source, field, penalty, radius)
    _check_tensor(op, "positions", positions, torch.int32, (None,))
    _check_range(op, "positions", positions, 0, field.numel())
    _check_range(op, "field", field, -1, penalty.numel())
    _check_range(op, "penalty", penalty, 0, 2**31)
    _check_tensor(op, "steps", steps, torch.int32, (None, 2))
    _check_tensor(op, "offsets", offsets, torch.int32, (None, 2))
    if guides is not None:
        _check_pictures(op, "guide_target", guides[0], "guide_source", guides[1], field, penalty, radius)
        _check_tensor(op, "guide_weight", guides[2], torch.int32, field.shape)
        _check_range(op, "guide_weight", guides[2], 0, 2**31)


def _check_vote(
    colours: Tensor, known: Tensor, field: Tensor, weights: Tensor, positions: Tensor, radius: int
) -> None:
    op = "exemplar_vote"
    _check_radius(op, radius)
    _check_tensor(op, "field", field, torch.int32, (None, None))
    _check_tensor(op, "known", known, torch.bool, (None, None))
    _check_tensor(op, "colours", colours, torch.uint8, (*known.shape, 3))
    _check_tensor(op, "weights", weights, torch.float32, field.shape)
    _check_tensor(op, "positions", positions, torch.int32, (None,))
    _check_range(op, "positions", positions, 0, field.numel())
    _check_range(op, "field", field, -1, known.numel())


def _check_tensor(op: str, name: str, t: Tensor, dtype: torch.dtype, sizes: Sequence[int | None]) -> None:
    fits = len(sizes) == t.dim() and all(b in (None, a) for a, b in zip(t.shape, sizes, strict=True))
    if t.dtype == dtype and t.is_contiguous() and fits:
        return
    flaw = " of another type" if t.dtype != dtype else "" if t.is_contiguous() else " with gaps"
    wanted = ", ".join("*" if size is None else str(size) for size in sizes)
    kind = str(dtype).removeprefix("torch.")
    raise RuntimeError(f"{op}: {name} must be contiguous {kind} [{wanted}], got {list(t.shape)}{flaw}")


def _check_range(op: str, name: str, t: Tensor, lowest: int, end: int) -> None:
    if t.numel():
        least, most = (int(value) for value in torch.aminmax(t))
        if least < lowest or most >= end:
            got = least if least < lowest else most
            raise RuntimeError(f"{op}: {name} must lie in [{lowest}, {end}), got {got}")


def _check_radius(op: str, radius: int) -> None:
    if not 0 <= radius <= _MOST_RADIUS:
        raise RuntimeError(f"{op}: radius must lie between 0 and {_MOST_RADIUS}, got {radius}")


def _check_pictures(
    op: str,
    name: str,
    target: Tensor,
    source_name: str,
    source: Tensor,
    field: Tensor,
    penalty: Tensor,
    radius: int,
) -> None:
    def padded(plane: Tensor) -> tuple[int, ...]:
        return tuple(side + 2 * radius for side in plane.shape)

    _check_tensor(op, name, target, torch.uint8, (*padded(field), None))
    channels, most = target.shape[2], _MOST_BYTES // (2 * radius + 1) ** 2
    if not 1 <= channels <= most:
        raise RuntimeError(f"{op}: {name} must have 1 to {most} channels at radius {radius}, got {channels}")
    _check_tensor(op, source_name, source, torch.uint8, (*padded(penalty), channels))
