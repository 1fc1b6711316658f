"""What networks are trained to make small: terms, their weighted sum, and the adversarial losses."""

from .adversarial import OBJECTIVES, discriminator_loss, generator_loss, gradient_penalty
from .custom import CUSTOM_TERMS, CustomTerm
from .inpainting import InpaintingLoss, LossWeights
from .terms import (
    LOG_MSE_EPSILON,
    composite,
    gram_matrix,
    hole_l1,
    hole_mse,
    log_mse,
    perceptual_l1,
    style_l1,
    total_variation,
    valid_l1,
)

__all__ = [
    "CUSTOM_TERMS",
    "LOG_MSE_EPSILON",
    "OBJECTIVES",
    "CustomTerm",
    "InpaintingLoss",
    "LossWeights",
    "composite",
    "discriminator_loss",
    "generator_loss",
    "gradient_penalty",
    "gram_matrix",
    "hole_l1",
    "hole_mse",
    "log_mse",
    "perceptual_l1",
    "style_l1",
    "total_variation",
    "valid_l1",
]
