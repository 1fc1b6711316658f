"""What all networks are: their door from pixels to tensors and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Network(nn.Module):
    """A network that fills holes: `forward(image, mask)` predicts the whole picture.

    Attributes:
        config: what `inpaint.networks.build_network` rebuilds the network from; JSON-able.
        stride: height and width of what `forward` takes are multiples of it.
        gives_octaves: whether `forward(image, mask, True)` gives the fills of all octaves, fine to coarse.
    """

    config: dict[str, Any]
    stride: int
    gives_octaves = False

    def __init__(self, config: dict[str, Any], stride: int) -> None:
        super().__init__()
        self.config = config
        self.stride = stride

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture; compositing is the caller's.

        Args:
            image: [N, 3, H, W] in [0, 1]; H and W multiples of `stride`; what the hole holds is never used.
            mask: [N, 1, H, W], 1 (True) = hole.

        Returns:
            [N, 3, H, W] float32, in [0, 1] or around it.

        Raises:
            ValueError: shapes do not fit.
        """
        raise NotImplementedError

    @staticmethod
    def blank(image: Tensor, mask: Tensor) -> Tensor:
        """Return the image [N, 3, H, W] with zeros in the hole of the mask [N, 1, H, W], 1 = hole.

        Networks do not use what the hole holds; without the truth there, it cannot leak.
        """
        return image * (1 - mask)

    def to_input(
        self, image: np.ndarray, mask: np.ndarray, device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor]:
        """Turn pixels into what `forward` takes: scaled to [0, 1], the hole blanked, padded to the stride.

        Args:
            image: [N, H, W, 3] or [H, W, 3], uint8, or float32 in [0, 255].
            mask: [N, H, W] or [H, W], bool, True = hole.
            device: where the tensors are made.

        Returns:
            Image [N, 3, H', W'] and mask [N, 1, H', W'], float32. Beyond the picture's edge, to the right and
            below, nothing is known, which is what the mask says there.

        Example:
            >>> network = Network({}, stride=8)
            >>> image, mask = network.to_input(np.full((6, 10, 3), 255, np.uint8), np.zeros((6, 10), bool))
            >>> image.shape, mask.shape, image[0, 0, 0, 9:11].tolist(), mask[0, 0, 0, 9:11].tolist()
            (torch.Size([1, 3, 8, 16]), torch.Size([1, 1, 8, 16]), [1.0, 0.0], [0.0, 1.0])
        """
        if image.ndim == 3:
            image, mask = image[None], mask[None]
        height, width = mask.shape[1:]
        # A copy, as torch takes no negative strides and warns of arrays that cannot be written. Seen as
        # [N, 3, H, W] it is channels_last.
        pixels = torch.from_numpy(np.array(image, order="C")).to(device).permute(0, 3, 1, 2).float() / 255
        holes = torch.from_numpy(mask.astype(np.float32)).to(device)[:, None]
        padding = (0, -width % self.stride, 0, -height % self.stride)
        return F.pad(self.blank(pixels, holes), padding), F.pad(holes, padding, value=1.0)

    @staticmethod
    def to_levels(prediction: Tensor) -> np.ndarray:
        """Turn a prediction [N, 3, H, W] into grey levels: float32 [N, H, W, 3] in [0, 255], not rounded.

        Windows that overlap are blended before they are rounded.
        """
        return prediction.float().clamp(0, 1).mul(255).permute(0, 2, 3, 1).cpu().numpy()

    @classmethod
    def to_pixels(cls, prediction: Tensor) -> np.ndarray:
        """Turn a prediction [N, 3, H, W] into pixels, uint8 [N, H, W, 3].

        Example:
            >>> Network.to_pixels(torch.tensor([-0.1, 0.5, 1.2]).reshape(1, 3, 1, 1)).ravel().tolist()
            [0, 128, 255]
        """
        return cls.to_levels(prediction).round().astype(np.uint8)

    def check_inputs(self, image: Tensor, mask: Tensor) -> None:
        """Check what `forward` is given.

        Raises:
            ValueError: image is not [N, 3, H, W], mask is not [N, 1, H, W], or H or W is no multiple of
                the stride; the message names the network.
        """
        name = type(self).__name__
        if image.dim() != 4 or image.shape[1] != 3:
            raise ValueError(f"{name}: image must have shape [N, 3, H, W], got {list(image.shape)}")
        n, _, h, w = image.shape
        if tuple(mask.shape) != (n, 1, h, w):
            raise ValueError(f"{name}: mask must have shape {[n, 1, h, w]}, got {list(mask.shape)}")
        if h % self.stride or w % self.stride:
            raise ValueError(
                f"{name}: height and width must be multiples of {self.stride}, got {h}×{w}; "
                "inpaint.Inpainter takes any size"
            )
