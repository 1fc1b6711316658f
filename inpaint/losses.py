"""Loss terms of image completion, as plain functions, and their weighted sum.

The terms and default weights are those of Liu et al., "Image Inpainting for Irregular Holes Using Partial
Convolutions" (ECCV 2018), equations 2 to 7. Everywhere: images are float `[N, 3, H, W]` with values around
[0, 1], `mask` is `[N, 1, H, W]` with 1 in the hole, and the *composite* is the prediction inside the hole and
the known pixels outside. Every term is a mean over the images of a batch, so that the mean over equal slices
of a batch is the value of the whole batch, and training on several processes minimises the same loss as on
one. All sums are taken in float32, whatever the precision of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.backbones import FeatureBackbone
from inpaint.layers import halved

# One grey level squared: below a mean squared error of about one level, an image is as good as exact in 8
# bits, and its logarithm must not draw the gradient away from images that still have visible errors.
LOG_MSE_EPSILON = (1 / 255) ** 2


def composite(prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """The prediction inside the hole and the image outside, `[N, 3, H, W]`."""
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
    return perceptual_l1(_grams(features), _grams(target_features))


def _grams(features: Sequence[Tensor]) -> list[Tensor]:
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


OBJECTIVES = ("hinge", "bce")
"""How a discriminator's logits become losses: hinge (Lim and Ye, 2017), or the logistic one (GAN, 2014)."""


def generator_loss(filled: Tensor, objective: str) -> Tensor:
    """What a network pays for filled pictures with these logits, of any shape; the higher, the more real."""
    return -filled.mean() if objective == "hinge" else F.softplus(-filled).mean()


def discriminator_loss(real: Tensor, filled: Tensor, objective: str) -> Tensor:
    """What a discriminator pays for its logits of untouched and of filled pictures."""
    if objective == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + filled).mean()
    return F.softplus(-real).mean() + F.softplus(filled).mean()


def gradient_penalty(logits: Tensor, image: Tensor) -> Tensor:
    """R1: the mean squared norm of the logits' gradient at untouched pictures (Mescheder et al., ICML 2018).

    `logits` [N, ...] come from `image` [N, 3, H, W], which requires a gradient; of several logits of one
    picture the mean is taken. The result can be differentiated again.
    """
    total = logits.flatten(1).mean(1).sum()
    (slope,) = torch.autograd.grad(total, image, create_graph=True)
    return slope.square().sum((1, 2, 3)).mean()


def _weight(default: float, text: str) -> float:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term; one with weight 0 is not computed. The defaults are those of Liu et al. (2018)."""

    valid: float = _weight(1.0, "absolute error on known pixels")
    hole: float = _weight(6.0, "absolute error in the hole")
    perceptual: float = _weight(0.05, "feature distance of prediction and composite; needs a backbone")
    style: float = _weight(120.0, "Gram matrix distance of prediction and composite; needs a backbone")
    tv: float = _weight(0.1, "total variation of the composite in the hole dilated by a pixel")
    # Not in the paper: Global&Local's own term, and one that serves where the goal is the PSNR itself.
    hole_mse: float = _weight(0.0, "squared error in the hole")
    log_mse: float = _weight(0.0, "logarithm of each composite's mean squared error: PSNR, as a loss")
    coarser: float = _weight(
        0.0, "the hole and log_mse terms once more at each coarser octave; for networks that fill by octaves"
    )

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (value >= 0 and value < float("inf")):
                raise ValueError(
                    f"the weight of the loss term {name} must be finite and not negative, got {value}"
                )
        if not any(value for name, value in vars(self).items() if name != "coarser"):
            raise ValueError("all loss weights are 0: there would be nothing to train")

    @property
    def needs_backbone(self) -> bool:
        """Whether a term with a weight compares features."""
        return self.perceptual > 0 or self.style > 0


class InpaintingLoss(nn.Module):
    """The weighted sum of the terms, with the value of each.

    `forward(prediction, image, mask, coarser)` takes `[N, 3, H, W]`, `[N, 3, H, W]` and `[N, 1, H, W]`, and
    the predictions of coarser octaves, sizes halved upwards, which are compared with the reduced image. It
    returns the scalar to minimise and a dict of the unweighted terms (detached scalars on the same device, no
    synchronisation). `autocast` makes the context in which the backbone runs; the rest is float32. Raises
    ValueError when a weighted term needs a backbone and there is none.
    """

    def __init__(
        self,
        weights: LossWeights | None = None,
        backbone: FeatureBackbone | None = None,
        autocast: Callable[[], torch.autocast] | None = None,
    ) -> None:
        super().__init__()
        self.weights = weights or LossWeights()
        if self.weights.needs_backbone and backbone is None:
            raise ValueError(
                "the perceptual and style terms need a backbone: build one, or set their weights to 0"
            )
        self.backbone = backbone if self.weights.needs_backbone else None
        self.autocast = autocast

    def forward(
        self, prediction: Tensor, image: Tensor, mask: Tensor, coarser: Sequence[Tensor] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch and its unweighted terms; see the class."""
        prediction, image, mask = prediction.float(), image.float(), mask.float()
        weights = self.weights
        filled = composite(prediction, image, mask)
        terms: dict[str, Tensor] = {}
        if weights.valid:
            terms["valid"] = valid_l1(prediction, image, mask)
        if weights.hole:
            terms["hole"] = hole_l1(prediction, image, mask)
        if self.backbone is not None:
            terms |= self._feature_terms(prediction, filled, image)
        if weights.tv:
            terms["tv"] = total_variation(filled, mask)
        if weights.hole_mse:
            terms["hole_mse"] = hole_mse(prediction, image, mask)
        if weights.log_mse:
            terms["log_mse"] = log_mse(filled, image)
        if weights.coarser and coarser:
            terms["coarser"] = self._coarser_octaves(coarser, image, mask)
        loss = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
        return loss, {name: term.detach() for name, term in terms.items()}

    def _coarser_octaves(self, predictions: Sequence[Tensor], image: Tensor, mask: Tensor) -> Tensor:
        """The sum over the octaves. What can be known of a wide hole is told apart only when it is small."""
        total = image.new_zeros(())
        for prediction in predictions:
            image, mask = halved(image), halved(mask)
            hole = (mask > 0).float()
            if self.weights.hole:
                total = total + self.weights.hole * hole_l1(prediction.float(), image, hole)
            if self.weights.log_mse:
                filled = composite(prediction.float(), image, hole)
                total = total + self.weights.log_mse * log_mse(filled, image)
        return total

    def _feature_terms(self, prediction: Tensor, filled: Tensor, image: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            target = self._features(image)
        # Prediction and composite go through the backbone as one batch: fewer, larger convolutions.
        halves = [maps.chunk(2) for maps in self._features(torch.cat([prediction, filled]))]
        of_prediction, of_composite = zip(*halves, strict=True)
        terms = {}
        if self.weights.perceptual:
            terms["perceptual"] = perceptual_l1(of_prediction, target) + perceptual_l1(of_composite, target)
        if self.weights.style:
            grams = _grams(target)  # once for both
            of_halves = [perceptual_l1(_grams(maps), grams) for maps in (of_prediction, of_composite)]
            terms["style"] = of_halves[0] + of_halves[1]
        return terms

    def _features(self, images: Tensor) -> list[Tensor]:
        assert self.backbone is not None
        if self.autocast is None:
            return self.backbone(images)
        with self.autocast():
            return self.backbone(images)
