"""Discriminators: what tells filled pictures from untouched ones while a network trains against it.

Both take a picture, whole or filled, with its mask, and return logits: the higher, the more real.

Their convolutions have stride 2. A kernel of odd side then meets every other row and column with more of its
taps: at 5, with three and two by turns. Gradients alternate with them, and the network that follows them
paints a lattice (Odena et al., Deconvolution and checkerboard artifacts, Distill 2016). So kernels are 4×4
unless the papers' 5×5 is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class PatchDiscriminator(nn.Module):
    """One logit for each patch of the picture (Isola et al., pix2pix, CVPR 2017).

    Spectral normalisation (Miyato et al., ICLR 2018) and the mask as a fourth channel come from Yu et al.'s
    SN-PatchGAN for free-form holes (ICCV 2019), whose sixth layer is left out: a patch spans 94 pixels, near
    the 70 that Isola et al. found best. With `(64, 128, 256, 256, 256, 256)` and 5×5 it is theirs, of 253.

    Args:
        widths: channels of the layers, each of which halves the picture.
        kernel_size: side of their kernels.
    """

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 256, 256), kernel_size: int = 4) -> None:
        super().__init__()
        self.smallest = 2 ** len(widths)
        self.features = _halvings(widths, kernel_size)
        self.to_logit = spectral_norm(nn.Conv2d(widths[-1], 1, 1))
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Logits of every patch, [N, patches]; image [N, 3, H, W] in [0, 1], mask [N, 1, H, W], 1 = hole."""
        _check_size(image, self.smallest)
        return self.to_logit(self.features(_with_mask(image, mask))).flatten(1)


class GlobalLocalDiscriminator(nn.Module):
    """One logit from the whole picture and from a window around the hole (Iizuka et al., 2017, table 2).

    Both branches are convolutions of stride 2 and a linear layer to 1024 numbers, which a last layer weighs
    together; with `kernel_size` 5 they are the paper's. The window has half the picture's side. The paper's
    lies around its one rectangle; here it lies where it holds most of the hole, so that free-form holes have
    one. Pictures of other sizes than the paper's 256 are pooled to the same 4×4 before the linear layers.
    Spectral normalisation takes the place of the paper's batch normalisation, which ties a picture's logit to
    those beside it.
    """

    def __init__(self, width: int = 64, hidden: int = 1024, kernel_size: int = 4) -> None:
        super().__init__()
        whole = [width * factor for factor in (1, 2, 4, 8, 8, 8)]
        self.smallest = 2 ** len(whole)
        self.whole = _branch(whole, hidden, kernel_size)
        self.window = _branch(whole[:-1], hidden, kernel_size)
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
    # A single pixel cannot be halved by a 4×4 kernel. By a 5×5 one it can, but taps then meet nothing, and
    # torch's bfloat16 kernel for CPUs leaves parts of the weight's gradient as it found the memory.
    if min(image.shape[-2:]) < smallest:
        raise ValueError(
            f"the discriminator needs pictures of at least {smallest} px, got {list(image.shape[-2:])}"
        )


def _with_mask(image: Tensor, mask: Tensor) -> Tensor:
    joined = torch.cat([2 * image - 1, mask.to(image.dtype)], dim=1)
    return joined.contiguous(memory_format=torch.channels_last)


def _halvings(widths: Sequence[int], kernel_size: int) -> nn.Sequential:
    padding = (kernel_size - 1) // 2
    layers: list[nn.Module] = []
    for channels, width in pairwise((4, *widths)):
        conv = nn.Conv2d(channels, width, kernel_size, stride=2, padding=padding)
        layers += [spectral_norm(conv), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers)


def _branch(widths: Sequence[int], hidden: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        _halvings(widths, kernel_size),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        spectral_norm(nn.Linear(widths[-1] * 16, hidden)),
        nn.LeakyReLU(0.2, inplace=True),
    )
