"""Batch normalisation in training: shared between processes, and frozen in an encoder for fine-tuning."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from inpaint.networks import Network


def synchronized(network: Network, device: torch.device) -> Network:
    """Make the network's batch normalisation take statistics over the batches of all processes.

    Weights and running statistics stay the same tensors.

    Raises:
        ValueError: the device is no CUDA GPU; torch can do it nowhere else.
    """
    if device.type != "cuda":
        raise ValueError(
            f"--batch-norm sync: torch can do that on CUDA GPUs alone, not on {device.type}; use own"
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(network)


class EncoderBatchNorm:
    """The batch normalisation in `network.encoder`, if it has one: frozen or not.

    Frozen, it normalises with its running statistics, and neither these nor its weights change any more.
    """

    def __init__(self, network: Network) -> None:
        encoder = getattr(network, "encoder", None)
        modules = encoder.modules() if isinstance(encoder, nn.Module) else ()
        self._norms = [module for module in modules if isinstance(module, _BatchNorm)]
        self._frozen = False

    def __len__(self) -> int:
        return len(self._norms)

    def freeze(self) -> None:
        """Fix the running statistics, from the next forward pass on."""
        self._frozen = True
        for norm in self._norms:
            norm.eval()

    def drop_gradients(self) -> None:
        """Drop the gradients of frozen weights, before an optimiser's step and the clipping.

        Not by requires_grad: data-parallel wrappers read it only when they are built, and would wait for
        these gradients for ever.
        """
        if not self._frozen:
            return
        for norm in self._norms:
            for parameter in norm.parameters():
                parameter.grad = None
