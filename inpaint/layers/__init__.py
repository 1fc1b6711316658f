"""Layers that carry validity: partial convolution and upsamplers of one shape."""

from .partial_conv import Hole, PartialConv2d
from .push_pull import push_pull
from .upsample import UPSAMPLERS, CarafeUpsample, Upsampler, build_upsampler

__all__ = ["UPSAMPLERS", "CarafeUpsample", "Hole", "PartialConv2d", "Upsampler", "build_upsampler", "push_pull"]
