"""Discriminators: what tells filled pictures from untouched ones while a network trains against it.

Both take a picture, whole or filled, with its mask, and return logits: the higher, the more real.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class PatchDiscriminator(nn.Module):
    """One logit for each patch of the picture (Isola et al., pix2pix, CVPR 2017).

    In the form of Yu et al.'s SN-PatchGAN for free-form holes (ICCV 2019): 5×5 convolutions of stride 2 with
    spectral normalisation (Miyato et al., ICLR 2018), which see the mask as a fourth channel. With the six
    widths of that paper a patch spans 253 pixels.
    """

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 256, 256, 256)) -> None:
        super().__init__()
        self.smallest = 2 ** len(widths)
        self.features = _halvings(4, widths, normalized=True)
        self.to_logit = spectral_norm(nn.Conv2d(widths[-1], 1, 1))
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Logits of every patch, [N, patches]; image [N, 3, H, W] in [0, 1], mask [N, 1, H, W], 1 = hole."""
        _check_size(image, self.smallest)
        return self.to_logit(self.features(_with_mask(image, mask))).flatten(1)


class GlobalLocalDiscriminator(nn.Module):
    """One logit from the whole picture and from a window around the hole (Iizuka et al., 2017, table 2).

    Both branches are 5×5 convolutions of stride 2 and a linear layer to 1024 numbers, which a last layer
    weighs together. The window has half the picture's side. The paper's lies around its one rectangle; here
    it lies where it holds most of the hole, so that free-form holes have one, too. Pictures of other sizes
    than the paper's 256 are pooled to the same 4×4 before the linear layers. Spectral normalisation takes the
    place of the paper's batch normalisation, which ties a picture's logit to those beside it.
    """

    def __init__(self, width: int = 64, hidden: int = 1024) -> None:
        super().__init__()
        whole = [width * factor for factor in (1, 2, 4, 8, 8, 8)]
        self.smallest = 2 ** len(whole)
        self.whole = _branch(whole, hidden)
        self.window = _branch(whole[:-1], hidden)
        self.to_logit = spectral_norm(nn.Linear(2 * hidden, 1))
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Logits [N, 1]; image [N, 3, H, W] in [0, 1], mask [N, 1, H, W], 1 = hole."""
        _check_size(image, self.smallest)
        x = _with_mask(image, mask)
        near = window_of_most_hole(x, mask, min(x.shape[-2:]) // 2)
        return self.to_logit(torch.cat([self.whole(x), self.window(near)], dim=1))


def window_of_most_hole(x: Tensor, mask: Tensor, size: int) -> Tensor:
    """Cuts from each picture the window that holds most of its hole.

    Args:
        x: [N, C, H, W].
        mask: [N, 1, H, W], 1 = hole.
        size: the window's side, at most H and W.

    Returns:
        [N, C, size, size]. Windows an eighth of their side apart are compared, and those at the far edges;
        of equal ones the first in reading order is taken.
    """
    n, _, h, w = x.shape
    step = max(size // 8, 1)
    rows, columns = (
        torch.tensor(sorted({*range(0, side - size + 1, step), side - size}), device=x.device)
        for side in (h, w)
    )
    # Sums over windows from a table of sums over the rectangles that begin at the corner.
    sums = F.pad(mask.double().cumsum(2).cumsum(3), (1, 0, 1, 0))[:, 0]  # [N, H + 1, W + 1]
    below, right = rows + size, columns + size
    held = (
        sums[:, below][:, :, right] - sums[:, rows][:, :, right]
        - sums[:, below][:, :, columns] + sums[:, rows][:, :, columns]
    )  # fmt: skip
    best = held.flatten(1).argmax(1)
    top, left = rows[best // len(columns)], columns[best % len(columns)]
    along = torch.arange(size, device=x.device)
    picture = torch.arange(n, device=x.device)[:, None, None]
    # One gather, without asking the device where the windows are.
    window = x.permute(0, 2, 3, 1)[
        picture, (top[:, None] + along)[:, :, None], (left[:, None] + along)[:, None, :]
    ]
    return window.permute(0, 3, 1, 2)


def _check_size(image: Tensor, smallest: int) -> None:
    # A 5×5 convolution of stride 2 on a single pixel has taps that meet nothing; torch's bfloat16 kernel for
    # CPUs then leaves parts of the weight's gradient as it found the memory.
    if min(image.shape[-2:]) < smallest:
        raise ValueError(
            f"the discriminator needs pictures of at least {smallest} px, got {list(image.shape[-2:])}"
        )


def _with_mask(image: Tensor, mask: Tensor) -> Tensor:
    joined = torch.cat([2 * image - 1, mask.to(image.dtype)], dim=1)
    return joined.contiguous(memory_format=torch.channels_last)


def _halvings(channels: int, widths: Sequence[int], normalized: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        conv = nn.Conv2d(channels, width, 5, stride=2, padding=2)
        layers += [spectral_norm(conv) if normalized else conv, nn.LeakyReLU(0.2, inplace=True)]
        channels = width
    return nn.Sequential(*layers)


def _branch(widths: Sequence[int], hidden: int) -> nn.Sequential:
    return nn.Sequential(
        _halvings(4, widths, normalized=True),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        spectral_norm(nn.Linear(widths[-1] * 16, hidden)),
        nn.LeakyReLU(0.2, inplace=True),
    )
