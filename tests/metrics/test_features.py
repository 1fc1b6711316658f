"""The feature distance against the same sum written with torchvision's network and plain loops."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from random_backbones import save_squeezenet
from safetensors.torch import load_file
from skimage.data import astronaut
from torchvision.models import squeezenet1_1
from torchvision.transforms.functional import normalize

from inpaint.metrics import FeatureDistance

LAST_LAYERS = (1, 4, 7, 9, 10, 11, 12)  # of each stage, in torchvision's `features`


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("backbone") / "squeezenet.safetensors"
    save_squeezenet(path)
    return path


@pytest.fixture(scope="module")
def metric(weights):
    return FeatureDistance.load(f"squeezenet:{weights}")


def pair(height=61, width=50):
    truth = np.ascontiguousarray(astronaut()[50 : 50 + height, 200 : 200 + width])
    mask = np.zeros((height, width), bool)
    mask[10:25, 5:21] = mask[-7:, -9:] = True
    fill = truth.copy()
    fill[mask] = 128
    return truth, fill, mask


def pooled(mask, height, width):
    """Share of the hole in each cell of a height×width grid over the mask, as PyTorch cuts it."""
    edges = [
        [(i * size // cells, -((i + 1) * -size // cells)) for i in range(cells)]
        for size, cells in zip(mask.shape, (height, width), strict=True)
    ]
    return np.array(
        [[mask[top:bottom, left:right].mean() for left, right in edges[1]] for top, bottom in edges[0]]
    )


def plain_distance(weights, truth, fill, mask):
    network = squeezenet1_1().eval()
    network.load_state_dict(load_file(weights), strict=False)
    maps = []
    for picture in (truth, fill):
        x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255
        x = normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        with torch.no_grad():
            stages = [network.features[: layer + 1](x)[0].double().numpy() for layer in LAST_LAYERS]
        maps.append([stage / np.sqrt((stage**2).sum(axis=0)) for stage in stages])
    total = 0.0
    for a, b in zip(*maps, strict=True):
        total += np.average(((a - b) ** 2).sum(axis=0), weights=pooled(mask, *a.shape[1:]))
    return total


@pytest.mark.parametrize(("height", "width"), [(61, 50), (17, 40), (64, 64)])
def test_equals_the_sum_over_torchvisions_stages(metric, weights, height, width):
    truth, fill, mask = pair(height, width)
    for hole in (mask, np.ones_like(mask)):
        expected = plain_distance(weights, truth, fill, hole)
        assert metric(truth, fill, hole) == pytest.approx(expected, rel=1e-4)
        assert expected > 0.01
    assert metric(truth, truth, mask) == 0


def test_what_is_far_from_the_hole_does_not_count(metric):
    truth, fill, mask = pair(150, 150)
    mask[:] = False
    mask[5:30, 5:30] = True
    elsewhere = fill.copy()
    elsewhere[140:, 140:] = 0
    assert metric(truth, elsewhere, mask) == pytest.approx(metric(truth, fill, mask), rel=1e-4)


def test_without_a_hole_or_with_too_small_a_picture_there_is_none(metric):
    truth, fill, mask = pair()
    assert metric(truth, fill, np.zeros_like(mask)) is None
    assert metric(truth[:16], fill[:16], mask[:16]) is None
    with pytest.raises(ValueError, match="mask: expected bool"):
        metric(truth, fill, mask.astype(np.uint8))
    with pytest.raises(ValueError, match="prediction: expected the truth's shape"):
        metric(truth, fill[1:], mask)


def test_is_named_by_network_and_file(metric, weights):
    assert metric.name == "squeezenet1_1"
    assert metric.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_bad_files_are_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        FeatureDistance.load("squeezenet:nowhere")
    with pytest.raises(ValueError, match="alexnet"):
        FeatureDistance.load("alexnet:file")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match="torn"):
        FeatureDistance.load(f"squeezenet:{tmp_path}/torn.safetensors")
