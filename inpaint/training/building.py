"""What a run is built from: the network and the perceptual backbone that its settings describe."""

from __future__ import annotations

import logging

from inpaint.backbones import FeatureBackbone, build_backbone
from inpaint.networks import Network, build_network
from inpaint.training.settings import TrainSettings
from inpaint.weights import WeightsError, load_weights

logger = logging.getLogger("inpaint.training")


def build_training_backbone(settings: TrainSettings) -> FeatureBackbone | None:
    """Build the backbone of the perceptual loss terms; None where no such term has a weight.

    Raises:
        FileNotFoundError: its weights are not there; the message says where to get them.
        ValueError: the file does not hold them.
    """
    return build_backbone(settings.backbone) if settings.loss.needs_backbone else None


def build_training_network(settings: TrainSettings, is_main: bool = True) -> Network:
    """Build the network of the settings, with fresh weights or those of `init`.

    Args:
        settings: those of the run.
        is_main: whether to warn of weights that fit, but are of a network with other settings.

    Raises:
        ValueError: it cannot be built, or the weights do not fit.
    """
    config = settings.built_config()
    try:
        network = build_network(config)
    except (TypeError, IndexError, RuntimeError) as error:
        raise ValueError(f"--network-config: {config} cannot be built ({error})") from error
    if settings.init is not None:
        differences = _load_initial_weights(network, settings, settings.init)
        if differences and is_main:
            listed = "".join(f"\n  {line}" for line in differences)
            logger.warning("the weights %s fit, but are of another network:%s", settings.init, listed)
    return network


def _load_initial_weights(network: Network, settings: TrainSettings, path: str) -> list[str]:
    """Load a file's weights into the network; return the settings in which theirs differs, one a line."""
    try:
        initial, _ = load_weights(path)
    except WeightsError as error:
        advice = "; a run that is resumed needs no --init" if settings.resume else ""
        raise ValueError(f"--init: {error}{advice}") from error
    ours, theirs = network.config, initial.config
    try:
        network.load_state_dict(initial.state_dict())
    except RuntimeError as error:
        raise ValueError(f"the weights {path} do not fit the network {ours}: {error}") from None
    # Tensors of the same shapes may be of a network that computes something else with them.
    differing = [name for name in ours if ours[name] != theirs.get(name)]
    return [f"{name}: {theirs.get(name)} there, {ours[name]} now" for name in differing]
