"""A model, an empty folder, and a stand-in for the second stage, for the tests of the command."""

import pytest
import torch

from inpaint.inference import inpainter
from inpaint.networks import build_network
from inpaint.weights import save_weights


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    network = build_network({"network": "PartialConvUNet", "widths": (4, 8), "head_width": 4})
    save_weights(network, folder / "model.safetensors")
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder, which is also the working folder, with photos/ and masks/."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def detail(monkeypatch):
    """A stand-in for the second stage: it fills with what the seed says, and its calls are listed here."""
    seeds = []

    def paint(image, guide, mask, seed=0, progress=None):
        seeds.append(seed)
        result = guide.copy()
        result[mask] = (seed % 256, len(seeds), 0)
        progress(1.0)
        return result

    monkeypatch.setattr(inpainter, "add_detail", paint)
    return seeds
