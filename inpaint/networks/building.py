"""Networks by name: the configurations that have one, and the builder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .base import Network
from .global_local import GlobalLocal, GlobalLocalConfig
from .partial_conv_unet import PartialConvUNet, PartialConvUNetConfig
from .pyramid_unet import PyramidUNet, PyramidUNetConfig

NETWORKS: dict[str, tuple[Callable[[Any], Network], type[Any]]] = {
    "GlobalLocal": (GlobalLocal, GlobalLocalConfig),
    "PartialConvUNet": (PartialConvUNet, PartialConvUNetConfig),
    "PyramidUNet": (PyramidUNet, PyramidUNetConfig),
}
"""Networks and their settings by the names that files have for them; plug-ins add theirs."""

CONFIGS: dict[str, dict[str, Any]] = {
    # The network of the released models: one small Partial Conv U-Net for all octaves of a picture.
    "pyramid-unet": {"network": "PyramidUNet"},
    # One Partial Conv U-Net with a head start: a membrane and straight continuations.
    "partial-conv-unet": {"network": "PartialConvUNet"},
    # Liu et al.'s layers: seven halvings at 512 channels, batch normalisation, no blocks, the picture itself.
    "partial-conv-unet-paper": {
        "network": "PartialConvUNet",
        "widths": (64, 128, 256, 512, 512, 512, 512),
        "head_width": 0,
        "compressed_share": 1.0,
        "encoder_blocks": (0,),
        "decoder_blocks": (0,),
        "norm": "batch",
        "head_start": False,
    },
    # Global&Local with CARAFE and the head start, without statistics of the batch: for small batches.
    "global-local": {"network": "GlobalLocal", "norm": "channel", "head_start": True},
    # Iizuka et al.'s layers, with their two deconvolutions.
    "global-local-paper": {"network": "GlobalLocal", "upsampler": "deconv"},
}
"""Configurations by the names that `train.py --network` takes; `build_network` takes their values."""

# No network that anybody trains comes near; a file that asks for more is refused before anything is built.
_LARGEST_NUMBER = 8192
_LONGEST_LIST = 64
_MOST_BLOCKS = 64
_LARGEST_KERNEL = 63


def build_network(config: Mapping[str, Any]) -> Network:
    """Build a network from `{"network": name, **settings}`, with fresh weights.

    Raises:
        ValueError: an unknown network or setting; the message lists the known ones.

    Example:
        >>> network = build_network({**CONFIGS["partial-conv-unet"], "widths": (8, 16)})
        >>> network.stride, network.config["network"], network.config["upsampler"]
        (4, 'PartialConvUNet', 'carafe')
    """
    settings = dict(config)
    name = settings.pop("network", None)
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; choose one of {', '.join(NETWORKS)}")
    network, config_class = NETWORKS[name]
    _check_bounds(name, settings)
    known = {field.name for field in dataclasses.fields(config_class)}
    if unknown := sorted(set(settings) - known):
        raise ValueError(f"{name} has no setting {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    built = network(config_class(**{key: _as_tuples(value) for key, value in settings.items()}))
    if not isinstance(built, Network) or built.config.get("network") != name:  # of a plug-in
        raise ValueError(
            f"the network {name} must be an inpaint.networks.Network whose config says "
            f"{{'network': {name!r}, ...}}, so that its files can be read again"
        )
    return built


def _check_bounds(name: str, settings: Mapping[str, Any]) -> None:
    """Raise ValueError for numbers that are not finite or absurdly large, and for lists of absurd length."""
    for key, value in settings.items():
        numbers = list(_numbers(value))
        if len(numbers) > _LONGEST_LIST:
            raise ValueError(f"{name}: {key} has more than {_LONGEST_LIST} entries")
        largest = _MOST_BLOCKS if key.endswith("_blocks") else _LARGEST_NUMBER
        largest = _LARGEST_KERNEL if key in ("up_kernel", "encoder_kernel") else largest
        for number in numbers:
            if not abs(number) <= largest:  # so that NaN is refused, too
                raise ValueError(f"{name}: {key} must hold numbers up to {largest}, got {number}")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _numbers(entry)
    elif isinstance(value, int | float):
        yield value


def _as_tuples(value: Any) -> Any:
    """Return JSON's lists as tuples, at any depth."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value
