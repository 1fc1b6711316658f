"""The upsamplers of the networks: what their configurations say of them, and how they build them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..layers import Upsampler, build_upsampler, check_upsampler_settings


@dataclass(frozen=True, kw_only=True)
class UpsamplingConfig:
    """What the configurations of all networks say of their upsamplers. All of it is JSON.

    The factor σ is not among it: the encoders halve the size at each level, so every upsampler doubles it.
    """

    # One of `inpaint.layers.UPSAMPLERS`.
    upsampler: str = "carafe"
    # C_m of CARAFE and GUM.
    compressed_channels: int = 64
    # None, here and below: the upsampler's own default. k_up of CARAFE, 5 by default.
    up_kernel: int | None = None
    # The kernel of the convolutions that predict: of CARAFE, GUM and spatial attention, 3 by default.
    encoder_kernel: int | None = None
    # Groups of channels with kernels or points of their own: of CARAFE, 1 by default, and of DySample, 4.
    # Where they do not divide the channels of a level, the greatest common divisor of the two is taken.
    groups: int | None = None

    def upsampler_settings(self) -> dict[str, int]:
        """Return the settings that are not left to the upsampler."""
        settings = {"up_kernel": self.up_kernel, "encoder_kernel": self.encoder_kernel, "groups": self.groups}
        return {name: value for name, value in settings.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, without settings that are left to the upsampler.

        So the files of networks without them are read by earlier versions, too.
        """
        left = {"up_kernel", "encoder_kernel", "groups"} - self.upsampler_settings().keys()
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in left}


def level_upsampler(config: UpsamplingConfig, channels: int, compressed_channels: int) -> Upsampler:
    """Return a new upsampler for a level of a network.

    Args:
        config: which, and with what settings.
        channels: of the level.
        compressed_channels: C_m at this level.

    Raises:
        ValueError: there is none of this name, or it cannot have one of the settings.
    """
    settings = config.upsampler_settings()
    groups = settings.get("groups")
    if isinstance(groups, int) and groups > 0:
        settings["groups"] = math.gcd(channels, groups)
    return build_upsampler(config.upsampler, channels, compressed_channels=compressed_channels, **settings)


def check_upsamplers(network: nn.Module, config: UpsamplingConfig) -> None:
    """Raise ValueError where a setting of `config` has no effect in the network that was built from it."""
    check_upsampler_settings(config.upsampler, config.upsampler_settings())
    upsamplers = [part for part in network.modules() if isinstance(part, Upsampler)]
    if config.groups is not None and all(part.groups != config.groups for part in upsamplers):
        channels = ", ".join(str(part.channels) for part in upsamplers)
        raise ValueError(
            f"groups must divide the channels of a level, {channels}, got {config.groups}; "
            "take a divisor of one of them"
        )
