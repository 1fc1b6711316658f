"""What all upsamplers have in common: `up(features)` is a Tensor, `up(features, valid)` the pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor, nn

from ..partial_conv import Hole
from .checks import check_whole


class Upsampler(nn.Module):
    """Upsamples features by a factor σ, and the valid of partial convolution with them where it is given.

    Values in the hole are set to 0 before anything else is done.

    Args:
        channels: of the features.
        scale: σ.

    Raises:
        ValueError: a setting that no upsampler can have; the message says which to take.
    """

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.channels = check_whole(type(self).__name__, "channels", channels)
        self.scale = check_whole(type(self).__name__, "scale", scale)

    @overload
    def forward(
        self,
        features: Tensor,
        valid: None = None,
        hole: Hole | None = None,
        size: Sequence[int] | None = None,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        features: Tensor,
        valid: Tensor,
        hole: Hole | None = None,
        size: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor]: ...

    def forward(
        self,
        features: Tensor,
        valid: Tensor | None = None,
        hole: Hole | None = None,
        size: Sequence[int] | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Upsample features, and valid with them.

        In a pyramid, a level of odd size 2H − 1 has a coarser one of H, and 2H is one too many. Output pixel
        o comes from source pixel ⌊o/σ⌋. So all sizes above σ(H − 1) have the same H source pixels in the same
        places, and cropping the right and the bottom gives exactly the pixels that they have in common.

        Args:
            features: [N, C, H, W].
            valid: [N, 1, H, W] in [0, 1], or None.
            hole: what the caller knows of features where valid is below 1; None is `Hole.ARBITRARY`.
            size: (height, width) of the result, such as `lateral.shape[-2:]`; each at most σ times that of
                the features, and less than σ below it. None: σ times.

        Returns:
            features [N, C, σH, σW], or of `size`. With valid: these, 0 where the new valid is 0, and the new
            valid, [N, 1, σH, σW] or of `size`.

        Raises:
            ValueError: this size cannot be made by cropping.
        """
        if size is not None:
            self._check_size(features, size)
        if valid is None:
            return _cropped(self.upsample(features), size)
        # The older ONNX exporter passes defaults on as inputs, by position; None is one that it can pass.
        if hole is None or hole is Hole.ARBITRARY:
            features = torch.where(valid > 0, features, 0)
        output, left = self.upsample_known(features, valid)
        return _cropped(output, size), _cropped(left, size)

    def upsample(self, features: Tensor) -> Tensor:
        """Upsample features that are all known."""
        raise NotImplementedError

    def upsample_known(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample features that are 0 where valid is 0, and valid with them."""
        raise NotImplementedError

    def _check_size(self, features: Tensor, size: Sequence[int]) -> None:
        owner = type(self).__name__
        if len(size) != 2:
            raise ValueError(
                f"{owner}: size must be (height, width), such as lateral.shape[-2:], got {tuple(size)}"
            )
        for name, wanted, given in zip(("height", "width"), size, features.shape[-2:], strict=True):
            largest = self.scale * given
            if not largest - self.scale < wanted <= largest:
                raise ValueError(
                    f"{owner}: size {tuple(size)} does not fit features of {tuple(features.shape[-2:])} at "
                    f"scale {self.scale}; take a {name} from {max(largest - self.scale + 1, 0)} to {largest}"
                )


def _cropped(x: Tensor, size: Sequence[int] | None) -> Tensor:
    """Return the first rows and columns of x."""
    return x if size is None else x[..., : size[0], : size[1]]
