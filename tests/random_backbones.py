"""Backbones with random weights, for tests: nothing of them is downloaded."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torchvision.models import squeezenet1_1


def save_squeezenet(path: Path, factor: float = 1.0) -> None:
    """Random SqueezeNet weights without a classifier; `factor` scales every activation."""
    torch.manual_seed(3)
    state = {k: v.clone() for k, v in squeezenet1_1().state_dict().items() if k.startswith("features")}
    for name in state:
        # Biases are added once per layer: scaling all of them and the first kernel scales every map.
        if name.endswith("bias") or name == "features.0.weight":
            state[name] *= factor
    save_file(state, path)
