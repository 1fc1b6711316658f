"""What every network asks of its inputs."""

from __future__ import annotations

from torch import Tensor


def check_inputs(name: str, image: Tensor, mask: Tensor, stride: int) -> None:
    """Raises ValueError, naming the network, unless image is [N, 3, H, W], mask [N, 1, H, W] and both fit."""
    if image.dim() != 4 or image.shape[1] != 3:
        raise ValueError(f"{name}: image must have shape [N, 3, H, W], got {list(image.shape)}")
    n, _, h, w = image.shape
    if tuple(mask.shape) != (n, 1, h, w):
        raise ValueError(f"{name}: mask must have shape {[n, 1, h, w]}, got {list(mask.shape)}")
    if h % stride or w % stride:
        raise ValueError(
            f"{name}: height and width must be multiples of {stride}, got {h}×{w}; "
            "inpaint.Inpainter takes any size"
        )
