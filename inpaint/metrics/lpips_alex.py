"""LPIPS as published, from weights that are on this machine already."""

import hashlib
import warnings
from pathlib import Path

import numpy as np
import torch

from inpaint.metrics.checks import checked_pair

LPIPS_MINIMUM_SIDE = 31
"""Shortest side, in pixels, that AlexNet's pooling leaves anything of."""

ALEXNET_CHECKPOINT = "alexnet-owt-7be5be79.pth"
"""torchvision's file of AlexNet weights; its name ends in the first digits of the file's SHA-256."""


class LpipsUnavailableError(RuntimeError):
    """LPIPS cannot be computed here; the message says why and what would help."""


class LpipsAlex:
    """LPIPS with the AlexNet backbone, version 0.1 (Zhang et al. 2018). 0 for identical pictures.

    Built by `LpipsAlex.load`; called with two uint8 H×W×3 pictures, returns a float, or None where a side is
    shorter than 31 pixels.
    """

    def __init__(self, network: torch.nn.Module, device: torch.device | str = "cpu") -> None:
        self._network = network.to(device).eval().requires_grad_(False)
        self._device = device

    @classmethod
    def load(cls, device: torch.device | str = "cpu") -> "LpipsAlex":
        """Build the metric from weights that are already on this machine; nothing is downloaded.

        The linear layers come with the `lpips` package, the backbone from the file that torchvision keeps in
        torch.hub's checkpoint folder.

        Raises:
            LpipsUnavailableError: either is missing or damaged.
        """
        backbone = _alexnet_features(Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET_CHECKPOINT)
        try:
            import lpips
        except ImportError as error:
            raise LpipsUnavailableError(f"the lpips package cannot be imported: {error}") from error
        with warnings.catch_warnings():
            # lpips still calls torchvision with the retired argument `pretrained`.
            warnings.simplefilter("ignore", UserWarning)
            network = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
        # lpips cuts AlexNet into five slices and keeps the layers' numbers: "slice2.3.weight" is layer 3's.
        weights = {name: backbone[name.split(".", 1)[1]] for name in network.net.state_dict()}
        network.net.load_state_dict(weights)
        return cls(network, device)

    def __call__(self, truth: np.ndarray, prediction: np.ndarray) -> float | None:
        """Return the perceptual distance of two pictures."""
        truth, prediction = checked_pair(truth, prediction)
        if min(truth.shape[:2]) < LPIPS_MINIMUM_SIDE:
            return None
        with torch.inference_mode():
            return float(self._network(self._to_input(truth), self._to_input(prediction)))

    def _to_input(self, image: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        return pixels.permute(2, 0, 1)[None].float() / 127.5 - 1  # [1, 3, H, W] in [-1, 1]


def _alexnet_features(path: Path) -> dict[str, torch.Tensor]:
    """Return AlexNet's convolutions by layer number ("3.weight"), from torchvision's checkpoint."""
    fetch = (
        "fetch it once (233 MB) with: python -c 'import torchvision.models as m; "
        "m.alexnet(weights=m.AlexNet_Weights.IMAGENET1K_V1)'"
    )
    if not path.is_file():
        # The folder is left out: the message is kept in results, which travel.
        raise LpipsUnavailableError(f"{path.name} is not in torch.hub's checkpoint folder; {fetch}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(path.stem.rsplit("-", 1)[-1]):
        raise LpipsUnavailableError(
            f"{path.name} is damaged: its SHA-256 is {digest}; delete it, then {fetch}"
        )
    state = torch.load(
        path, map_location="cpu", weights_only=True
    )  # tensors only: runs no code from the file
    return {
        name.removeprefix("features."): tensor
        for name, tensor in state.items()
        if name.startswith("features.")
    }
