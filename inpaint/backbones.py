"""ImageNet networks as sources of features: for the perceptual loss terms and for the feature distance.

Their weights are files that users bring; nothing is downloaded.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn


class FeatureBackbone(nn.Module):
    """A frozen ImageNet network that returns the feature maps after the chosen layers.

    `forward(images)`: `[N, 3, H, W]`, RGB in [0, 1] -> one map per entry of `layers`. The ImageNet mean and
    standard deviation are applied inside. `layers` are indices into `stages`; what lies behind the last one
    is dropped. The weights get no gradient and stay in evaluation mode, whatever `train()` says.
    """

    mean: Tensor
    std: Tensor
    scales: Tensor

    def __init__(self, stages: nn.Sequential, layers: Sequence[int]) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.stages = stages[: max(self.layers) + 1].requires_grad_(False).eval()
        self.stages.to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scales", torch.ones(len(self.layers)), persistent=False)

    def train(self, mode: bool = True) -> FeatureBackbone:
        """Stay in evaluation mode: a loss must not change because the network around it trains."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of `images` `[N, 3, H, W]`, RGB in [0, 1], one `[N, C_p, H_p, W_p]` per layer."""
        x = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        maps: list[Tensor] = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.layers:
                maps.append(x * self.scales[len(maps)])
        return maps

    @torch.no_grad()
    def normalize_scales(self) -> None:
        """Scale each map so that its root mean square is 1 on a picture with the statistics of a photograph.

        Networks trained on other input ranges have activations tens of times larger, which the Gram matrices
        square: the weight of a term means the same for all of them only after this.
        """
        self.scales.fill_(1)
        rms = torch.stack([map_.float().square().mean().sqrt() for map_ in self(_photo_like().to(self.mean))])
        self.scales.copy_(1 / rms.clamp_min(1e-6))


def _photo_like(side: int = 128) -> Tensor:
    """Return a fixed picture `[1, 3, side, side]` in [0, 1] with amplitudes of 1/frequency, as in photos."""
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.fft.rfft2(torch.randn(4, side, side, generator=generator))
    frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1 / side
    noise = torch.fft.irfft2(spectrum / frequency, s=(side, side))
    noise = noise / noise.std(dim=(1, 2), keepdim=True)
    # Photographs vary far more in brightness, which the channels share, than in colour.
    return (0.45 + 0.24 * noise[:1] + 0.08 * noise[1:])[None].clamp(0, 1)


@dataclass(frozen=True)
class _BackboneKind:
    architecture: str  # constructor in torchvision.models, and the name of its file in torch.hub's folder
    loss_layers: tuple[int, ...]
    normalized: bool  # whether the losses' maps are brought to unit scale
    stage_layers: tuple[int, ...]  # where LPIPS compares features of this network (Zhang et al. 2018)
    minimum_side: int  # of a picture of which the last stage still has something, in pixels


# VGG16: pool1, pool2, pool3 as they are, which the published weights refer to; at 1/2, 1/4 and 1/8 of the
# size. SqueezeNet 1.1 shrinks in its first convolution: its maps at those scales lie before its pools.
_BACKBONES = {
    "vgg16": _BackboneKind(
        "vgg16", (4, 9, 16), normalized=False, stage_layers=(3, 8, 15, 22, 29), minimum_side=16
    ),
    "squeezenet": _BackboneKind(
        "squeezenet1_1", (1, 4, 7), normalized=True, stage_layers=(1, 4, 7, 9, 10, 11, 12), minimum_side=17
    ),
}


@dataclass(frozen=True)
class BackboneFile:
    """Weights of a backbone on the disk.

    Attributes:
        path: the file, which exists.
        architecture: the network's name in torchvision, such as `squeezenet1_1`.
        minimum_side: shortest side in pixels of which every stage has a map.
    """

    path: Path
    architecture: str
    minimum_side: int


def check_backbone_name(choice: str) -> None:
    """Check that a choice of a backbone names one that is known; its file is not looked for.

    Raises:
        ValueError: it does not.
    """
    name = choice.partition(":")[0]
    if name not in _BACKBONES:
        raise ValueError(
            f"unknown perceptual backbone {name!r}: choose one of {', '.join(sorted(_BACKBONES))}"
        )


def find_backbone(choice: str) -> BackboneFile:
    """Find the file that `choice` names: `vgg16`, `vgg16:FILE` or `squeezenet:FILE`.

    A bare name looks for torchvision's file in torch.hub's folder.

    Raises:
        ValueError: an unknown name.
        FileNotFoundError: there is no file; the message says where to get it.
    """
    from torchvision import models  # heavy, and needed where features are compared alone

    name, _, file = choice.partition(":")
    kind = _kind(choice)
    path = Path(file).expanduser() if file else _cached_weights(kind.architecture)
    if path is None or not path.is_file():
        where = f"no file {path}" if file else f"no {kind.architecture}-*.pth in {_hub_checkpoints()}"
        url = models.get_model_weights(kind.architecture).DEFAULT.url
        raise FileNotFoundError(
            f"weights of the perceptual backbone {name} not found ({where}). Download {url} into "
            f"{_hub_checkpoints()}, give a file as {name}:FILE, or choose another backbone (squeezenet:FILE "
            "is small). Training does without one where the weights of the perceptual and style terms are 0"
        )
    return BackboneFile(path, kind.architecture, kind.minimum_side)


def build_backbone(choice: str, *, every_stage: bool = False) -> FeatureBackbone:
    """Build the perceptual backbone named by `choice`, see `find_backbone`.

    Its maps are those of the loss terms, or with `every_stage` those that LPIPS compares, from the first to
    the last stage and at the network's own scale: 5 of VGG16, 7 of SqueezeNet.

    FILE holds weights in torchvision's key names (`features.0.weight`, ...; the classifier may be missing),
    as `.safetensors`, or as a `.pth` read with `weights_only=True`; nothing is downloaded.

    Raises:
        ValueError: an unknown name, or weights that do not fit.
        FileNotFoundError: there is no file.
    """
    from torchvision import models

    kind, path = _kind(choice), find_backbone(choice).path
    layers = kind.stage_layers if every_stage else kind.loss_layers
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced or dropped
        stages = models.get_model(kind.architecture, weights=None).features[: max(layers) + 1]
    state = {
        name.removeprefix("features."): weight.float()
        for name, weight in _read_state_dict(path).items()
        if name.removeprefix("features.") in stages.state_dict()
    }
    try:
        stages.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(
            f"{path} does not hold {kind.architecture} weights in torchvision's names: {error}"
        ) from None
    backbone = FeatureBackbone(stages, layers)
    if kind.normalized and not every_stage:
        backbone.normalize_scales()
    return backbone


def _kind(choice: str) -> _BackboneKind:
    check_backbone_name(choice)
    return _BACKBONES[choice.partition(":")[0]]


def _hub_checkpoints() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _cached_weights(architecture: str) -> Path | None:
    return next(iter(sorted(_hub_checkpoints().glob(f"{architecture}-*.pth"))), None)


def _read_state_dict(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is not a whole file of weights: {error}") from error
