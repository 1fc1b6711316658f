"""Exemplar synthesis: the search for source patches, and the vote of overlapping patches for a pixel.

A field says for every target pixel which source pixel its patch is taken from (a nearest-neighbour field,
Barnes et al., PatchMatch, 2009). The search here has no random step: a sweep compares the candidates that
the field before it holds, so results do not depend on the order of pixels nor on the number of threads.
Compiled for the CPU; `exemplars_reference.py` gives the same results to the bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import exemplars_reference, library
from .exemplars_reference import FORBIDDEN

__all__ = ["FORBIDDEN", "exemplar_search", "exemplar_vote"]


def exemplar_search(
    target: Tensor,
    source: Tensor,
    penalty: Tensor,
    positions: Tensor,
    field: Tensor,
    *,
    guides: tuple[Tensor, Tensor, Tensor] | None = None,
    steps: Tensor | None = None,
    offsets: Tensor | None = None,
    radius: int = 3,
    refinements: int = 1,
) -> tuple[Tensor, Tensor]:
    """Search for each position the best of its candidate sources, in one sweep.

    Candidates are, in this order and with the first of equals kept: the position's own source; those of its
    neighbours at `steps`, moved along; the pixels at `offsets` from the position; and, `refinements` times,
    the eight pixels around the best so far. The cost of source s for target t is

        penalty[s] + Σ (target − source)² + ⌊weight[t]·Σ (guide target − guide source)² / 256⌋

    over patches of (2·radius + 1)² pixels. A source that costs 2³¹ − 1 or more is not taken.

    All tensors are contiguous, in the CPU's memory.

    Args:
        target: uint8 [H + 2·radius, W + 2·radius, C], the picture with its margin. At most 16512 bytes, C of
            each pixel, in a patch: their difference stays below `FORBIDDEN`.
        source: uint8 [h + 2·radius, w + 2·radius, C].
        penalty: int32 [h, w], what a source costs beforehand; at least 0.
        positions: int32 [M], indices y·W + x of the target pixels to be searched for, each once.
        field: int32 [H, W], indices of source pixels; -1 where there is none.
        guides: guide target and guide source, uint8 as target and source are but with channels of their own,
            and the weight of their difference in 256ths, int32 [H, W]; at least 0.
        steps: int32 [K, 2], rows down and columns right.
        offsets: int32 [K, 2].
        radius: 0 to 15.
        refinements: at least 0.

    Returns:
        field and cost, int32 [H, W]; -1 and 2³¹ − 1 at all other pixels, and where no candidate was taken.

    Raises:
        RuntimeError: a type, shape, index or number does not fit.
    """
    none = torch.empty((0, 2), dtype=torch.int32)
    steps, offsets = none if steps is None else steps, none if offsets is None else offsets
    guide_target, guide_source, weight = guides or (None, None, None)
    if library.has_kernels("cpu"):
        return torch.ops.inpaint.exemplar_search(
            target,
            source,
            guide_target,
            guide_source,
            weight,
            penalty,
            positions,
            field,
            steps,
            offsets,
            radius,
            refinements,
        )
    return exemplars_reference.exemplar_search(
        target, source, penalty, positions, field, guides, steps, offsets, radius, refinements
    )


def exemplar_vote(
    colours: Tensor,
    known: Tensor,
    field: Tensor,
    weights: Tensor,
    positions: Tensor,
    *,
    radius: int = 3,
    best: bool = False,
) -> Tensor:
    """Return the colour that the patches over each position vote for: their mean, or the one of most weight.

    All tensors are contiguous, in the CPU's memory.

    Args:
        colours: uint8 [h, w, 3], the source.
        known: bool [h, w]; source pixels that are not known have no vote.
        field: int32 [H, W], the source pixel of each target patch's centre; -1 where there is no patch.
        weights: float32 [H, W], of each patch; any numbers but NaN if `best`, else finite and at least 0.
        positions: int32 [M], indices y·W + x of target pixels.
        radius: of the patches, 0 to 15.
        best: take the vote of most weight, the first of equals in row-major order of the patches.

    Returns:
        float32 [M, 3] in [0, 255]; -1 where there is no vote, or for the mean none that weighs anything.

    Raises:
        RuntimeError: a type, shape or index does not fit.
    """
    if library.has_kernels("cpu"):
        return torch.ops.inpaint.exemplar_vote(colours, known, field, weights, positions, radius, best)
    return exemplars_reference.exemplar_vote(colours, known, field, weights, positions, radius, best)
