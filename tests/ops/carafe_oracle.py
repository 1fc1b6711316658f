"""CARAFE by nested loops in float64, written from its definition alone: every implementation is held to it.

Output pixel o reads the k×k window around source pixel ⌊o/σ⌋, taps row-major; when downsampling, around
source pixel stride·o. Number (group, tap) of output pixel o is channel group·k² + tap of the kernels at o.
Of logits it is channel (group·k² + tap)·σ² + sub-pixel at the source pixel. Derivatives follow the quotient
and chain rules term by term.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reassembly:
    output: Array  # [N, C, σH, σW]
    valid: Array | None  # [N, 1, σH, σW]
    features_gradient: Array
    numbers_gradient: Array  # of the kernels or of the logits


def normalize(logits: Array, normalizer: str) -> Array:
    """Weights of one window from its logits."""
    if normalizer == "softmax":
        powers = np.exp(logits - logits.max())
        return powers / powers.sum()
    logistic = 1 / (1 + np.exp(-logits))
    return logistic if normalizer == "sigmoid" else logistic / logistic.sum()


def normalize_backward(logits: Array, slope: Array, normalizer: str) -> Array:
    """∂/∂l from ∂/∂w by the Jacobian ∂wᵢ/∂lⱼ."""
    weights = normalize(logits, normalizer)
    if normalizer == "softmax":
        return (np.diag(weights) - np.outer(weights, weights)).T @ slope
    logistic = normalize(logits, "sigmoid")
    own = logistic * (1 - logistic)
    if normalizer == "sigmoid":
        return own * slope
    total = logistic.sum()
    return ((np.eye(len(logits)) / total - logistic[:, None] / total**2) * own).T @ slope


def reassemble(
    features: Array,
    numbers: Array,
    kernel_size: int,
    groups: int,
    scale: int,
    normalizer: str | None = None,
    valid: Array | None = None,
    grad: Array | None = None,
    stride: int = 1,
) -> Reassembly:
    """`numbers` are ready kernels without a normalizer, logits with one; `grad` is the output's gradient."""
    batch, channels, height, width = features.shape
    taps, depth, radius = kernel_size**2, channels // groups, kernel_size // 2
    rows, columns = (scale * len(range(0, size, stride)) for size in (height, width))
    output = np.zeros((batch, channels, rows, columns))
    share = None if valid is None else np.zeros((batch, 1, rows, columns))
    features_gradient, numbers_gradient = np.zeros(features.shape), np.zeros(numbers.shape)
    for n, group, oy, ox in np.ndindex(batch, groups, rows, columns):
        sy, sx = oy // scale, ox // scale
        own = slice(group * depth, (group + 1) * depth)
        x, v, read = np.zeros((taps, depth)), np.zeros(taps), []
        for i in range(kernel_size):
            for j in range(kernel_size):
                py, px = stride * sy + i - radius, stride * sx + j - radius
                if not (0 <= py < height and 0 <= px < width):
                    continue
                known = 1.0 if valid is None else valid[n, 0, py, px]
                if known > 0:
                    tap = i * kernel_size + j
                    x[tap], v[tap] = features[n, own, py, px], known
                    read.append((tap, py, px))
        first = group * taps + np.arange(taps)
        if normalizer is None:
            place = (n, first, oy, ox)
            w = numbers[place]
        else:
            place = (n, first * scale**2 + oy % scale * scale + ox % scale, sy, sx)
            w = normalize(numbers[place], normalizer)

        total, mass = w.sum(), w @ v
        if valid is None:
            effective = w
        else:
            assert share is not None
            effective = total / mass * w * v if mass > 0 else np.zeros(taps)
            share[n, 0, oy, ox] += mass / total / groups
        output[n, own, oy, ox] = effective @ x
        if grad is None:
            continue

        slope = grad[n, own, oy, ox]
        for tap, py, px in read:
            features_gradient[n, own, py, px] += effective[tap] * slope
        if valid is None:
            to_w = x @ slope
        elif mass > 0:  # of W·Σwvx / s
            sums = (w * v) @ x
            by_weight = total / mass * v[:, None] * x + sums / mass - total / mass**2 * np.outer(v, sums)
            to_w = by_weight @ slope
        else:
            to_w = np.zeros(taps)
        numbers_gradient[place] += (
            to_w if normalizer is None else normalize_backward(numbers[place], to_w, normalizer)
        )
    return Reassembly(output, share, features_gradient, numbers_gradient)
