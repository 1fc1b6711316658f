"""Loss terms of image completion, as plain functions.

The terms and default weights are those of Liu et al., "Image Inpainting for Irregular Holes Using Partial
Convolutions" (ECCV 2018), equations 2 to 7. Everywhere: images are float `[N, 3, H, W]` with values around
[0, 1], `mask` is `[N, 1, H, W]` with 1 in the hole, and the *composite* is the prediction inside the hole and
the known pixels outside. Every term is a mean over the images of a batch, so that the mean over equal slices
of a batch is the value of the whole batch, and training on several processes minimises the same loss as on
one. All sums are taken in float32, whatever the precision of the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# One grey level squared: below a mean squared error of about one level, an image is as good as exact in 8
# bits, and its logarithm must not draw the gradient away from images that still have visible errors.
LOG_MSE_EPSILON = (1 / 255) ** 2


def composite(prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Return the prediction inside the hole and the image outside, `[N, 3, H, W]`."""
    return mask * prediction + (1 - mask) * image


def valid_l1(prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Absolute error over the known pixels, divided by N·C·H·W (Liu et al., L_valid)."""
    return ((1 - mask) * (prediction - image)).abs().mean()


def hole_l1(prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Absolute error over the hole, divided by N·C·H·W (Liu et al., L_hole).

    Dividing by the whole picture, not by the hole's area, is what the published weights refer to; large holes
    count for more than small ones.
    """
    return (mask * (prediction - image)).abs().mean()


def hole_mse(prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Squared error over the hole, divided by N·C·H·W (Iizuka et al., SIGGRAPH 2017, equation 2)."""
    return (mask * (prediction - image)).square().mean()


def perceptual_l1(features: Sequence[Tensor], target_features: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of each feature map, summed over the maps (Liu et al., L_perceptual).

    Both lists hold maps `[N, C_p, H_p, W_p]` in the same order.
    """
    return torch.stack(
        [(a.float() - b.float()).abs().mean() for a, b in zip(features, target_features, strict=True)]
    ).sum()


def gram_matrix(features: Tensor) -> Tensor:
    """Channel correlations `F Fᵀ / (C·H·W)`, float32: `[N, C, H, W]` -> `[N, C, C]`.

    The division is done in two steps, by H·W before the product and by C after it, so that the product of two
    large maps overflows in no precision.
    """
    flat = features.float().flatten(2)  # [N, C, H·W]
    channels, positions = flat.shape[1:]
    return torch.bmm(flat / positions, flat.transpose(1, 2)) / channels


def style_l1(features: Sequence[Tensor], target_features: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of the Gram matrices, summed over the maps (Liu et al., L_style)."""
    return perceptual_l1(gram_matrices(features), gram_matrices(target_features))


def gram_matrices(features: Sequence[Tensor]) -> list[Tensor]:
    """Return the Gram matrix of each stage's features."""
    return [gram_matrix(map_) for map_ in features]


def total_variation(composite_image: Tensor, mask: Tensor) -> Tensor:
    """Absolute differences of neighbours that both lie in the hole dilated by one pixel, divided by N·C·H·W.

    Liu et al., L_tv: horizontal and vertical neighbours of the composite. The dilation is by the 3×3 square,
    so the step across the hole's border counts.
    """
    region = F.max_pool2d(mask.float(), kernel_size=3, stride=1, padding=1)  # [N, 1, H, W]
    across = region[..., :, 1:] * region[..., :, :-1]
    down = region[..., 1:, :] * region[..., :-1, :]
    horizontal = (across * (composite_image[..., :, 1:] - composite_image[..., :, :-1])).abs().sum()
    vertical = (down * (composite_image[..., 1:, :] - composite_image[..., :-1, :])).abs().sum()
    return (horizontal + vertical) / composite_image.numel()


def log_mse(composite_image: Tensor, image: Tensor, epsilon: float = LOG_MSE_EPSILON) -> Tensor:
    """Mean over the images of log(mean squared error + ε): the negative mean PSNR up to scale and offset.

    Mean PSNR over images = −10/ln 10 · log_mse for values in [0, 1] and ε = 0. Unlike the mean squared error,
    which the images with the largest holes dominate, an image counts by its *relative* improvement, as it
    does in the metric. ε, one grey level squared by default, bounds the gradient of nearly exact images.
    """
    squared_error = (composite_image - image).square().mean(dim=(1, 2, 3))  # [N]
    return (squared_error + epsilon).log().mean()
