"""CARAFE in plain PyTorch: the tests' reference, documentation, and what runs without compiled kernels.

Same arguments and results as `inpaint.ops.carafe`, `inpaint.ops.carafe_fused` and
`inpaint.ops.carafe_downsample`; differentiable, any device. Legend: N batch, G groups, D channels of a group,
K = k² taps, S = σ the scale, H and W of the centres: of the source, or of every stride-th pixel of it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .memory_format import memory_format_of


def _sum_dtype(*tensors: Tensor) -> torch.dtype:
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def _windows(x: Tensor, kernel_size: int, stride: int) -> list[Tensor]:
    """Return the k² shifted views of x, taps row-major, zero outside the image, at every stride-th pixel."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (kernel_size // 2,) * 4)
    return [
        padded[..., i : i + height : stride, j : j + width : stride]
        for i in range(kernel_size)
        for j in range(kernel_size)
    ]


def _reassemble(features: Tensor, weights: Tensor, kernel_size: int, stride: int) -> Tensor:
    """Return Σₖ wₖ·xₖ; weights [N, G, K, H, S, W, S] in the type sums are kept in."""
    c = features.shape[1]
    n, groups, _, h, scale, w, _ = weights.shape
    out = weights.new_zeros(n, groups, c // groups, h, scale, w, scale)
    for tap, window in enumerate(_windows(features.to(weights.dtype), kernel_size, stride)):
        value = window.reshape(n, groups, c // groups, h, 1, w, 1)
        out = torch.addcmul(out, weights[:, :, tap, None], value)
    out = out.reshape(n, c, h * scale, w * scale).to(features.dtype)
    return out.contiguous(memory_format=memory_format_of(features))


def carafe(
    features: Tensor, kernels: Tensor, kernel_size: int = 5, groups: int = 1, scale: int = 2
) -> Tensor:
    """Do what `inpaint.ops.carafe` does."""
    n, _, h, w = features.shape
    weights = kernels.to(_sum_dtype(features, kernels))
    weights = weights.reshape(n, groups, kernel_size**2, h, scale, w, scale)
    return _reassemble(features, weights, kernel_size, 1)


def carafe_fused(
    features: Tensor,
    logits: Tensor,
    kernel_size: int = 5,
    groups: int = 1,
    scale: int = 2,
    normalizer: str = "softmax",
    valid: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Do what `inpaint.ops.carafe_fused` does."""
    return _fused(features, logits, kernel_size, groups, scale, 1, normalizer, valid)


def carafe_downsample(
    features: Tensor,
    logits: Tensor,
    kernel_size: int = 5,
    groups: int = 1,
    stride: int = 2,
    normalizer: str = "softmax",
    valid: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Do what `inpaint.ops.carafe_downsample` does."""
    return _fused(features, logits, kernel_size, groups, 1, stride, normalizer, valid)


def _fused(
    features: Tensor,
    logits: Tensor,
    kernel_size: int,
    groups: int,
    scale: int,
    stride: int,
    normalizer: str,
    valid: Tensor | None,
) -> Tensor | tuple[Tensor, Tensor]:
    n, _, h, w = logits.shape
    taps = kernel_size**2
    # Channel (g·K + tap)·S² + i·S + j of a pixel is tap `tap` of its output pixel (i, j).
    numbers = logits.to(_sum_dtype(features, logits)).reshape(n, groups, taps, scale, scale, h, w)
    numbers = numbers.permute(0, 1, 2, 5, 3, 6, 4)  # [N, G, K, H, S, W, S]
    if normalizer == "sigmoid_normalized":
        numbers = F.logsigmoid(numbers)  # its softmax is σ(l) / Σ σ(l)
    weights = numbers.sigmoid() if normalizer == "sigmoid" else numbers.softmax(dim=2)
    if valid is None:
        return _reassemble(features, weights, kernel_size, stride)

    valid = torch.where(valid.detach() > 0, valid.detach(), 0)  # NaN is unknown, too
    known = torch.stack(_windows(valid.to(numbers.dtype), kernel_size, stride), dim=2)  # [N, 1, K, H, W]
    known = known.reshape(n, 1, taps, h, 1, w, 1)
    total, mass = weights.sum(2, keepdim=True), (weights * known).sum(2, keepdim=True)
    if normalizer == "sigmoid":
        some = mass != 0
        weights = weights * known * total / torch.where(some, mass, 1)
    else:
        # Relative to the largest logit among the known taps, so that a known tap is never lost to underflow.
        numbers = torch.where(known > 0, numbers, -torch.inf)
        highest = numbers.amax(2, keepdim=True)
        some = highest != -torch.inf
        weights = torch.exp(numbers - torch.where(some, highest, 0).detach()) * known
        weights = weights / torch.where(some, weights.sum(2, keepdim=True), 1)
    weights = torch.where(some, weights, 0)
    output = _reassemble(torch.where(valid > 0, features, 0), weights, kernel_size, stride)
    share = torch.where(some, mass / total, 0).mean((1, 2))  # s/W, [N, H, S, W, S]
    return output, share.detach().to(valid.dtype).reshape(n, 1, h * scale, w * scale)
