"""The weighted sum of the terms: what a network is trained to make small."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from inpaint.backbones import FeatureBackbone
from inpaint.layers import halved

from .custom import CUSTOM_TERMS, custom_term
from .terms import (
    composite,
    gram_matrices,
    hole_l1,
    hole_mse,
    log_mse,
    perceptual_l1,
    total_variation,
    valid_l1,
)


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

    # Those of plug-ins, by name.
    custom: dict[str, float] = field(
        default_factory=dict, metadata={"help": "weights of the terms that plug-ins add"}
    )

    def __post_init__(self) -> None:
        if unknown := sorted(self.custom.keys() - CUSTOM_TERMS.keys()):
            raise ValueError(f"unknown loss term {unknown[0]!r}: name the plug-in that has it with --plugin")
        for name, value in self.by_term().items():
            if not (value >= 0 and value < float("inf")):
                raise ValueError(
                    f"the weight of the loss term {name} must be finite and not negative, got {value}"
                )
        if not any(value for name, value in self.by_term().items() if name != "coarser"):
            raise ValueError("all loss weights are 0: there would be nothing to train")

    def by_term(self) -> dict[str, float]:
        """Return the weight of each term by name, those of plug-ins included."""
        own = {name: value for name, value in vars(self).items() if name != "custom"}
        return {**own, **self.custom}

    @property
    def needs_backbone(self) -> bool:
        """Whether a term with a weight compares features."""
        return self.perceptual > 0 or self.style > 0


class InpaintingLoss(nn.Module):
    """The weighted sum of the terms, with the value of each.

    `forward(prediction, image, mask, coarser)` takes `[N, 3, H, W]`, `[N, 3, H, W]` and `[N, 1, H, W]`, and
    the predictions of coarser octaves, sizes halved upwards, which are compared with the reduced image. It
    returns the scalar to minimise and a dict of the unweighted terms (detached scalars on the same device, no
    synchronisation).

    Args:
        weights: of the terms.
        backbone: for the perceptual and style terms.
        autocast: makes the context in which the backbone runs; the rest is float32.

    Raises:
        ValueError: a term with a weight needs a backbone, and there is none.
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
        """Return the loss of a batch and its unweighted terms; see the class."""
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
        for name, weight in weights.custom.items():
            if weight:
                terms[name] = custom_term(name, prediction, image, mask)
        by_term = weights.by_term()
        loss = torch.stack([by_term[name] * term for name, term in terms.items()]).sum()
        return loss, {name: term.detach() for name, term in terms.items()}

    def _coarser_octaves(self, predictions: Sequence[Tensor], image: Tensor, mask: Tensor) -> Tensor:
        """Return the sum over the octaves.

        Wide holes can be filled well at coarse octaves alone, where they are small.
        """
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
            grams = gram_matrices(target)  # once for both
            of_halves = [perceptual_l1(gram_matrices(maps), grams) for maps in (of_prediction, of_composite)]
            terms["style"] = of_halves[0] + of_halves[1]
        return terms

    def _features(self, images: Tensor) -> list[Tensor]:
        assert self.backbone is not None
        if self.autocast is None:
            return self.backbone(images)
        with self.autocast():
            return self.backbone(images)
