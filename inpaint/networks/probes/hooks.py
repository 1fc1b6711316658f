"""Contexts that change how a network computes, for as long as they last.

They are nested freely, and leave the network as it was, whatever is raised meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...layers import CarafeUpsample
from ..pyramid_unet import PyramidUNet


@contextmanager
def zeroed(module: nn.Module) -> Iterator[None]:
    """Make a module return 0 for features; what else it returns, such as valid, stays."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return torch.zeros_like(output)
        return torch.zeros_like(output[0]), *output[1:]

    with module.register_forward_hook(hook):
        yield


@contextmanager
def whole_octaves(network: nn.Module) -> Iterator[None]:
    """Make a `PyramidUNet` compute its features everywhere, not only near the hole."""
    if not isinstance(network, PyramidUNet):
        yield
        return
    before, network.whole_octaves = network.whole_octaves, True
    try:
        yield
    finally:
        network.whole_octaves = before


@contextmanager
def predicting(module: CarafeUpsample, logits: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Make a CARAFE upsampler take its kernels' logits from a function of its features."""
    # An attribute of the object hides the method of its class, until it is deleted. Contexts may be nested.
    hidden = vars(module).get("_logits")
    vars(module)["_logits"] = logits
    try:
        yield
    finally:
        if hidden is None:
            del vars(module)["_logits"]
        else:
            vars(module)["_logits"] = hidden
