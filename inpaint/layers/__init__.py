"""Layers that carry validity: partial convolution and upsamplers of one shape."""

from .partial_conv import PartialConv2d
from .push_pull import push_pull
from .upsample import UPSAMPLERS, CarafeUpsample, build_upsampler

__all__ = ["UPSAMPLERS", "CarafeUpsample", "PartialConv2d", "build_upsampler", "push_pull"]
