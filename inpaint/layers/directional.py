"""Straight continuations through the hole: for each pixel and line, what lies at the two ends of the hole.

A smooth fill blurs an edge that crosses the hole; interpolation along the edge would not. Where the colours
at the two ends of a line agree, the line probably follows an edge or a stripe. Which line to use is left to
the network.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# (down, right) of a step along each line: sixteen rays, 22 to 27 degrees apart.
LINES = ((0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1))

# Numbers that describe a line at a pixel, see `directional_candidates`.
LINE_FEATURES = 3

# Colours that differ by this much (mean over the channels) count as unlike.
_LIKENESS = 0.1


def directional_candidates(image: Tensor, valid: Tensor, fill: Tensor) -> tuple[Tensor, Tensor]:
    """Interpolate linearly between the nearest known pixels on either side, along each of eight lines.

    Args:
        image: [N, C, H, W] float32; what it holds where valid is 0 is never read into a product.
        valid: [N, 1, H, W], 0 or 1.
        fill: [N, C, H, W], finite: what the candidates are compared with.

    Returns:
        candidates minus fill [N, 8, C, H, W], 0 at known pixels and for lines that meet no known pixel; and
        features [N, 8·3, H, W] in [0, 1]: how alike the ends are (0 unless there are two), how near they are
        together, and how near the nearer one is.
    """
    n, c, h, w = image.shape
    with torch.autocast(image.device.type, enabled=False):
        known = valid > 0
        colours = torch.where(known, image, 0).float().flatten(2)  # [N, C, H·W]
        position = torch.arange(h * w, device=image.device).reshape(1, 1, h, w)
        start = torch.where(known, 0.0, torch.inf)
        offsets, features = [], []
        for down, right in LINES:
            length = math.hypot(down, right)
            ends = []
            for sign in (1, -1):
                steps = _steps_to_known(start, sign * down, sign * right)
                found = steps < torch.inf
                source = position - torch.where(found, steps, 0).long() * (sign * (down * w + right))
                colour = colours.gather(2, source.flatten(2).expand(n, c, h * w)).reshape(n, c, h, w)
                ends.append((colour, length * steps.clamp(min=1), found))
            (a, to_a, found_a), (b, to_b, found_b) = ends
            weight_a, weight_b = 1 / to_a, 1 / to_b  # 0 for what is not found
            total = weight_a + weight_b
            line = (weight_a * a + weight_b * b) / total.clamp(min=1e-6)
            offsets.append(torch.where((found_a | found_b) & ~known, line - fill, 0))
            likeness = torch.exp((a - b).abs().mean(1, keepdim=True) / -_LIKENESS)
            features.append(torch.where(found_a & found_b, likeness, 0))
            features.append(torch.where(found_a & found_b, 4 / (4 + to_a + to_b), 0))
            features.append(torch.maximum(weight_a, weight_b))
        return torch.stack(offsets, 1), torch.cat(features, 1)


def _steps_to_known(start: Tensor, down: int, right: int) -> Tensor:
    """Count steps against (down, right) from each pixel to the first known one; infinity where none is.

    By doubling: what lies within 2ⁿ⁺¹ steps lies within 2ⁿ steps of here or of the pixel 2ⁿ steps away.
    """
    h, w = start.shape[-2:]
    steps, reach = start, 1
    while abs(down) * reach < h and abs(right) * reach < w:
        dy, dx = down * reach, right * reach
        padded = F.pad(steps, (max(dx, 0), max(-dx, 0), max(dy, 0), max(-dy, 0)), value=torch.inf)
        there = padded[..., max(-dy, 0) : max(-dy, 0) + h, max(-dx, 0) : max(-dx, 0) + w]
        steps = torch.minimum(steps, there + reach)
        reach *= 2
    return steps
