"""A smooth fill of the hole from a normalised pyramid.

Push–pull interpolation (Gortler et al., The Lumigraph, SIGGRAPH 1996): average the known pixels down until one
level knows everything, then bring the averages up into what is unknown.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# A coarse pixel counts as fully known once this share of its four children is.
_SATURATION = 0.5


def push_pull(image: Tensor, valid: Tensor) -> Tensor:
    """Fills unknown pixels smoothly; exact at known ones.

    Args:
        image: [N, C, H, W]; what it holds where valid is 0 is never read into a product.
        valid: [N, 1, H, W], 0 or 1.

    Returns:
        [N, C, H, W] float32: image where valid is 1, a smooth fill elsewhere; 0.5 where a picture has no known pixel.
    """
    with torch.autocast(image.device.type, enabled=False):
        valid = valid.float()
        levels = [(torch.where(valid > 0, image.float(), 0), valid)]  # colour·weight's quotient, weight
        while max(levels[-1][0].shape[-2:]) > 1:
            colour, weight = levels[-1]
            sums = F.avg_pool2d(colour * weight, 2, ceil_mode=True, divisor_override=1)
            mass = F.avg_pool2d(weight, 2, ceil_mode=True, divisor_override=1)
            colour = sums / mass.clamp(min=1e-12)
            levels.append((colour, (mass / (4 * _SATURATION)).clamp(max=1)))
        colour, weight = levels.pop()
        fill = torch.where(weight > 0, colour, 0.5)
        for colour, weight in reversed(levels):
            fill = F.interpolate(fill, size=colour.shape[-2:], mode="bilinear", align_corners=False)
            fill = torch.lerp(fill, colour, weight)
        return torch.where(valid > 0, image.float(), fill)
