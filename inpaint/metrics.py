"""How close a filled picture is to the photo it hides: PSNR, SSIM, L1 and LPIPS of one image.

Everything here compares two uint8 RGB pictures, H×W×3, of equal size; a mask is bool H×W, True = hole. A
metric that cannot be had for a picture (no hole, smaller than the metric's window) is None, never NaN or a
stand-in number. Scores of a data set are means of these per-image scores, see `inpaint.evaluation`.
"""

import hashlib
import warnings
from pathlib import Path

import numpy as np
import torch
from skimage.metrics import structural_similarity

MSE_FLOOR = 1e-3
"""Least mean squared error, on the 0–255 scale: identical pictures score 78.13 dB instead of infinity."""

SSIM_WINDOW = 11
"""Side of SSIM's Gaussian window in pixels (σ 1.5, cut at 3.5 σ)."""

LPIPS_MINIMUM_SIDE = 31
"""Shortest side, in pixels, that AlexNet's pooling leaves anything of."""

ALEXNET_CHECKPOINT = "alexnet-owt-7be5be79.pth"
"""torchvision's file of AlexNet weights; its name ends in the first digits of the file's SHA-256."""


def psnr(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels: 10·log10(255² / max(MSE, 1e-3))."""
    return _decibels(_mean_squared_error(*_checked_pair(truth, prediction)))


def psnr_hole(truth: np.ndarray, prediction: np.ndarray, mask: np.ndarray) -> float | None:
    """PSNR in dB over the hole's pixels alone; None where the mask is empty."""
    truth, prediction = _checked_pair(truth, prediction)
    mask = _checked_mask(mask, truth)
    return _decibels(_mean_squared_error(truth[mask], prediction[mask])) if mask.any() else None


def ssim(truth: np.ndarray, prediction: np.ndarray) -> float | None:
    """Structural similarity, the mean of the three channels, in [-1, 1].

    Wang et al. 2004 as scikit-image computes it with a Gaussian window of σ 1.5 and population covariance.
    None where a side is shorter than the 11-pixel window.
    """
    truth, prediction = _checked_pair(truth, prediction)
    if min(truth.shape[:2]) < SSIM_WINDOW:
        return None
    return float(
        structural_similarity(
            truth,
            prediction,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=2,
            data_range=255,
        )
    )


def l1(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Mean absolute error over all pixels and channels, in % of the 0–255 range."""
    return _percent_l1(*_checked_pair(truth, prediction))


def l1_hole(truth: np.ndarray, prediction: np.ndarray, mask: np.ndarray) -> float | None:
    """Mean absolute error over the hole's pixels alone, in % of the range; None where the mask is empty."""
    truth, prediction = _checked_pair(truth, prediction)
    mask = _checked_mask(mask, truth)
    return _percent_l1(truth[mask], prediction[mask]) if mask.any() else None


def score(truth: np.ndarray, prediction: np.ndarray, mask: np.ndarray) -> dict[str, float | None]:
    """All metrics of one picture that need no network: psnr, ssim, l1, psnr_hole, l1_hole.

    The prediction is scored as it stands: put the photo's known pixels back first.
    Raises ValueError where the arrays are not uint8 H×W×3 pictures of one size and a bool H×W mask.
    """
    return {
        "psnr": psnr(truth, prediction),
        "ssim": ssim(truth, prediction),
        "l1": l1(truth, prediction),
        "psnr_hole": psnr_hole(truth, prediction, mask),
        "l1_hole": l1_hole(truth, prediction, mask),
    }


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
        torch.hub's checkpoint folder. Raises LpipsUnavailableError where either is missing or damaged.
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
        truth, prediction = _checked_pair(truth, prediction)
        if min(truth.shape[:2]) < LPIPS_MINIMUM_SIDE:
            return None
        with torch.inference_mode():
            return float(self._network(self._to_input(truth), self._to_input(prediction)))

    def _to_input(self, image: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        return pixels.permute(2, 0, 1)[None].float() / 127.5 - 1  # [1, 3, H, W] in [-1, 1]


def _alexnet_features(path: Path) -> dict[str, torch.Tensor]:
    """AlexNet's convolutions by layer number ("3.weight"), from torchvision's checkpoint."""
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


def _checked_pair(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    for name, image in (("truth", truth), ("prediction", prediction)):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ValueError(
                f"{name}: expected a uint8 RGB picture of shape (height, width, 3), "
                f"got {image.dtype} of shape {image.shape}"
            )
    if truth.shape != prediction.shape:
        raise ValueError(
            f"prediction: expected the truth's shape {truth.shape}, got {prediction.shape}; "
            "score pictures of one size, without resizing"
        )
    return truth, prediction


def _checked_mask(mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if mask.dtype != np.bool_ or mask.shape != truth.shape[:2]:
        raise ValueError(
            f"mask: expected bool of shape {truth.shape[:2]} (True = hole), got {mask.dtype} of shape "
            f"{mask.shape}; a grey mask becomes bool as `mask > 127`"
        )
    return mask


def _mean_squared_error(a: np.ndarray, b: np.ndarray) -> float:
    difference = a.astype(np.int16) - b
    return float(np.square(difference, dtype=np.int32).mean(dtype=np.float64))


def _percent_l1(a: np.ndarray, b: np.ndarray) -> float:
    difference = a.astype(np.int16) - b
    return float(np.abs(difference).mean(dtype=np.float64)) / 255 * 100


def _decibels(mse: float) -> float:
    return float(10 * np.log10(255**2 / max(mse, MSE_FLOOR)))
