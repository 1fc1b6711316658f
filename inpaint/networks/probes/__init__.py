"""Probes of a trained network: what its parts are worth, and whether its kernels look at the features.

A network that begins from a smooth fill can score well with a decoder that does nothing. So `ablation`
switches its parts off, one at a time, for the fills to be scored again. `inspection` measures how
sharp and how constant the predicted kernels are, and how much of each merge comes from below. Nothing here
changes a network for good.
"""

from .ablation import (
    Probe,
    constant_kernels,
    nearest_kernels,
    random_kernels,
    without_below,
    without_residual,
)
from .inspection import PEAKED, Decoder, KernelStatistics, inspect_decoder, mean_kernels
from .levels import carafe_levels, kernel_parameters

__all__ = [
    "PEAKED",
    "Decoder",
    "KernelStatistics",
    "Probe",
    "carafe_levels",
    "constant_kernels",
    "inspect_decoder",
    "kernel_parameters",
    "mean_kernels",
    "nearest_kernels",
    "random_kernels",
    "without_below",
    "without_residual",
]
