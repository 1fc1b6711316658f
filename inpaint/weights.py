"""Network weights as safetensors files, and where released models live.

A weights file is self-contained: its metadata holds, as JSON under `config`, what
`inpaint.networks.build_network` needs to rebuild the network, and under `plugins` of which plug-ins its parts
are. Nothing is ever unpickled, and no code is imported by a name that a file gives.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from inpaint.files import write_atomically
from inpaint.plugins import PluginError, describe_plugins, load_parts

if TYPE_CHECKING:
    from inpaint.networks import Network

WEIGHTS_FILE = "model.safetensors"
"""The name of the weights file in a model's folder or hub repository."""


_MOST_BRACKETS = 500  # a config has a dozen; Python's parser gives up at some thousands

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class WeightsError(ValueError):
    """Weights that cannot be found, read or written; the message names the file, reason and remedy."""


@dataclass(frozen=True)
class ModelInfo:
    """A released model, as `models/index.json` lists it.

    Attributes:
        name: what `inpaint.Inpainter.from_pretrained` takes.
        folder: where its weights file and its card lie.
        description: one sentence for people.
        parameters: number of weights.
        scores: measured figures by name, such as `{"psnr": 24.6}`.
    """

    name: str
    folder: Path
    description: str
    parameters: int
    scores: dict[str, float]


def save_weights(
    network: Network,
    path: Path | str,
    *,
    dtype: torch.dtype = torch.float16,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a network's state dict and config to `path`, all or nothing.

    Args:
        network: has `config`, a JSON-able dict that `build_network` accepts.
        path: the file to write, usually `.../model.safetensors`.
        dtype: how floating-point tensors are stored; others keep their type.
        metadata: more text to store beside the config.

    Raises:
        WeightsError: a weight is not finite or does not fit `dtype`.
    """
    path = Path(path)
    tensors = {}
    for name, tensor in network.state_dict().items():
        stored = tensor.detach().to(device="cpu", dtype=dtype if tensor.is_floating_point() else tensor.dtype)
        if not bool(torch.isfinite(stored).all()):
            if bool(torch.isfinite(tensor).all()):
                raise WeightsError(f"{path}: {name} does not fit {dtype}; save with dtype=torch.float32")
            raise WeightsError(f"{path}: {name} holds NaN or infinity; save an earlier checkpoint instead")
        # Safetensors knows no strides, so channels_last weights are written in their plain order.
        tensors[name] = stored.contiguous()
    config = json.dumps(network.config)
    texts = {**(metadata or {}), "config": config, "sha256": tensors_digest(tensors, config), "format": "pt"}
    if plugins := describe_plugins(network.config):
        texts["plugins"] = plugins
    write_atomically(path, safetensors.torch.save(tensors, texts))


def load_weights(path: Path | str, device: torch.device | str = "cpu") -> tuple[Network, dict[str, str]]:
    """Rebuild the network of a weights file.

    Returns:
        The network, float32, in evaluation mode, on `device`, and the file's metadata.

    Raises:
        WeightsError: the file is missing, is not safetensors, has no usable config, needs a plug-in that is
            not there, or its tensors do not fit the network that the config describes, or are not those that
            were written. Files from before there was a digest are read without that check.
    """
    # Here, so that a program that only lists models does not load the networks.
    from inpaint.networks import build_network

    path = Path(path)
    with _opened(path) as file:
        metadata = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    try:
        config = _read_config(metadata["config"])
        load_parts(config, metadata.get("plugins", ""))
        with torch.device("meta"):  # sizes only: no memory before it is known that the file has the tensors
            network = build_network(config)
    except PluginError as error:
        raise WeightsError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: its metadata holds no config that this version understands ({error}); "
            "use a file written by save_weights, or a newer version of this package"
        ) from error
    if left := sorted(dict(network.named_buffers()).keys() - network.state_dict().keys()):
        raise WeightsError(
            f"{path}: the network's buffer {left[0]} is not among its weights; make it persistent"
        )
    _check_fit(path, network.state_dict(), tensors)
    if metadata.get("sha256", "") not in ("", tensors_digest(tensors, metadata["config"])):
        raise WeightsError(f"{path}: is damaged, its weights are not those that were written; get it again")
    network.load_state_dict({name: _as_used(tensor) for name, tensor in tensors.items()}, assign=True)
    return network.eval().to(device).to(memory_format=torch.channels_last), metadata


def _read_config(text: str) -> Any:
    """Parse a network's settings; ValueError for what is no JSON, or nested as none of ours is."""
    if text.count("[") + text.count("{") > _MOST_BRACKETS:
        raise ValueError(f"it opens more than {_MOST_BRACKETS} brackets")
    return json.loads(text)


def tensors_digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """Return the SHA-256 of names, types, shapes and bytes of contiguous CPU tensors, and of a text."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _as_used(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def read_metadata(path: Path | str) -> dict[str, str]:
    """Return the texts stored beside the weights.

    Raises:
        WeightsError: the file is missing or not whole.
    """
    with _opened(Path(path)) as file:
        return dict(file.metadata() or {})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such weights file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file; get it again ({error})") from error


def models_folder() -> Path:
    """Return where released models are installed: inside the package (wheel) or beside it (checkout)."""
    package = Path(__file__).parent
    installed = package / "_models"
    return installed if installed.is_dir() else package.parent / "models"


def installed_models() -> list[ModelInfo]:
    """List the released models that `models/index.json` names; empty if there is no index."""
    folder = models_folder()
    index = folder / "index.json"
    if not index.is_file():
        return []
    try:
        entries: list[dict[str, Any]] = json.loads(index.read_text(encoding="utf-8"))["models"]
        return [
            ModelInfo(
                name=entry["name"],
                folder=folder / entry["name"],
                description=entry.get("description", ""),
                parameters=int(entry.get("parameters", 0)),
                scores=dict(entry.get("scores", {})),
            )
            for entry in entries
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{index}: is damaged ({error!r}); install the package again") from error


def find_model(name: Path | str) -> Path:
    """Find the weights file of a model.

    Args:
        name: in this order, an installed model's name, a folder that holds `model.safetensors`, such a file
            itself, or a hub id `organisation/model` (downloaded once, then taken from the local cache).

    Raises:
        WeightsError: there is none; the message names the installed models.
    """
    models = {model.name: model for model in installed_models()}
    if str(name) in models:
        return _weights_in(models[str(name)].folder)
    path = Path(name)
    try:
        if path.is_dir():
            return _weights_in(path)
        if path.is_file():
            return path
    except OSError:
        pass  # a name too long for any file
    known = f"installed models: {', '.join(models) or 'none'}"
    if str(name).count("/") == 1 and all(str(name).split("/")):
        return _download(str(name), known)
    raise WeightsError(f"{name}: neither an installed model nor a file or folder; {known}")


def _weights_in(folder: Path) -> Path:
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise WeightsError(
            f"{folder}: holds no {WEIGHTS_FILE}; install the package again or name another folder"
        )
    return path


def _download(hub_id: str, known: str) -> Path:
    # Here, because most programs never go to the hub and its import takes a while.
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(hub_id, WEIGHTS_FILE))
    except Exception as error:
        # No network, no such repository, no such file, a malformed id: one exception type each.
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise WeightsError(
            f"{hub_id}: no such folder, and the hub gave no {WEIGHTS_FILE} ({reason}); {known}"
        ) from error


def _check_fit(path: Path, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Say in one message what differs between a network's state dict and a file's tensors."""
    faults = [f"{name} is missing" for name in wanted if name not in given]
    faults += [f"{name} is not part of the network" for name in given if name not in wanted]
    faults += [
        f"{name} is {tuple(given[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]
    faults += [
        f"{name} is {given[name].dtype} instead of {'floating point' if floating else wanted[name].dtype}"
        for name in wanted
        if name in given
        and given[name].dtype != wanted[name].dtype
        and not ((floating := wanted[name].is_floating_point()) and given[name].dtype in _FLOATS)
    ]
    if faults:
        listed = "; ".join(faults[:3]) + ("; ..." if len(faults) > 3 else "")
        raise WeightsError(
            f"{path}: {len(faults)} tensors do not fit the network in its config ({listed}); "
            "the file was written by another version of the network: train or download it again"
        )
