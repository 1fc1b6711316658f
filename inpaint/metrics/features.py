"""Distance of deep features in the hole, named by the network that they come from."""

import hashlib

import numpy as np
import torch
import torch.nn.functional as F

from inpaint.backbones import FeatureBackbone, build_backbone, find_backbone
from inpaint.metrics.checks import checked_mask, checked_pair

NORM_FLOOR = 1e-10
"""Added to the length of a feature vector before it is divided by, as in the lpips package."""


class FeatureDistance:
    """Squared distance of unit-length features of a fill and the truth, over the hole; 0 where equal.

    Both pictures go through an ImageNet network. After each of its stages (where LPIPS compares, Zhang et al.
    2018) the features of a place are scaled to length 1 over the channels, and their squared differences are
    summed over the channels: 0 to 4, and 0 to 2 as features behind a ReLU are not negative. The mean over
    the hole is taken, with the mask averaged down to the stage's size as weights, and summed over the stages.
    Lower is nearer to the truth.

    It is not LPIPS: no weights of channels are learnt from people's judgements, and the network may be one
    that such weights were not made for. Two values compare only where `name` and `sha256` agree.

    Built by `FeatureDistance.load`; called with two uint8 H×W×3 pictures and a bool H×W mask, returns a
    float, or None where the mask is empty or a side is shorter than `minimum_side`.

    Attributes:
        name: the network, as torchvision calls it.
        sha256: of the file of weights.
        minimum_side: shortest side, in pixels, that the network's strides leave anything of.
    """

    def __init__(
        self,
        backbone: FeatureBackbone,
        name: str,
        sha256: str,
        minimum_side: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.name, self.sha256, self.minimum_side = name, sha256, minimum_side
        self._backbone = backbone.to(device)
        self._device = device

    @classmethod
    def load(cls, choice: str, device: torch.device | str = "cpu") -> "FeatureDistance":
        """Build the metric from a file of weights.

        Args:
            choice: `squeezenet:FILE`, `vgg16:FILE` or `vgg16`, see `inpaint.backbones`.
            device: where it runs.

        Raises:
            ValueError: the name is unknown, or the weights do not fit.
            FileNotFoundError: there is no such file.
        """
        file = find_backbone(choice)
        backbone = build_backbone(choice, every_stage=True)
        with file.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return cls(backbone, file.architecture, digest, file.minimum_side, device)

    def __call__(self, truth: np.ndarray, prediction: np.ndarray, mask: np.ndarray) -> float | None:
        """Return the distance of the two pictures in the hole."""
        truth, prediction = checked_pair(truth, prediction)
        mask = checked_mask(mask, truth)
        if not mask.any() or min(mask.shape) < self.minimum_side:
            return None
        pictures = torch.from_numpy(np.stack([truth, prediction])).to(self._device)
        hole = torch.from_numpy(mask.copy()).to(self._device)[None, None].float()  # [1, 1, H, W]
        total = 0.0
        with torch.inference_mode():
            for features in self._backbone(pictures.permute(0, 3, 1, 2).float() / 255):
                unit = features / (features.norm(dim=1, keepdim=True) + NORM_FLOOR)
                difference = (unit[0] - unit[1]).square().sum(dim=0)  # [h, w]
                weights = F.adaptive_avg_pool2d(hole, difference.shape)[0, 0]
                total += float((weights * difference).sum() / weights.sum())
        return total
