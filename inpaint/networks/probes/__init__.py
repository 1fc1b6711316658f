"""Probes of a trained network: what its parts are worth, and whether its kernels look at the features."""

from .inspection import (
    PEAKED,
    Decoder,
    KernelStatistics,
    Probe,
    carafe_levels,
    constant_kernels,
    inspect_decoder,
    kernel_parameters,
    mean_kernels,
    nearest_kernels,
    random_kernels,
    without_below,
    without_residual,
)

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
