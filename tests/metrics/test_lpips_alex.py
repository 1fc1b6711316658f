"""LPIPS against the lpips package's own computation, and its weights file."""

import hashlib
import warnings

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from inpaint.metrics import lpips_alex


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty torch.hub folder; returns its checkpoint folder."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    return checkpoints


def use_checkpoint(path, monkeypatch):
    """Rename a file as torchvision does, by its hash, and make it the expected checkpoint."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    named = path.rename(path.with_name(f"alexnet-test-{digest[:8]}.pth"))
    monkeypatch.setattr(lpips_alex, "ALEXNET_CHECKPOINT", named.name)
    return named


def test_lpips_without_weights_says_what_is_missing(hub):
    with pytest.raises(
        lpips_alex.LpipsUnavailableError, match=r"^alexnet-owt-7be5be79.pth is not in .*fetch it once"
    ):
        lpips_alex.LpipsAlex.load()
    assert list(hub.iterdir()) == []


def test_lpips_refuses_a_damaged_file(hub):
    (hub / lpips_alex.ALEXNET_CHECKPOINT).write_bytes(b"half a download")
    with pytest.raises(lpips_alex.LpipsUnavailableError, match="damaged"):
        lpips_alex.LpipsAlex.load()


class _Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_lpips_runs_no_code_from_the_file(hub, tmp_path, monkeypatch):
    marker = tmp_path / "code-was-run"
    torch.save({"features.0.weight": _Bomb(str(marker))}, hub / "bomb.pth")
    use_checkpoint(hub / "bomb.pth", monkeypatch)
    with pytest.raises(Exception, match="Weights only"):
        lpips_alex.LpipsAlex.load()
    assert not marker.exists()


def test_lpips_equals_the_package_given_the_same_backbone(hub, monkeypatch):
    import lpips

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    state = {
        "features." + name.split(".", 1)[1]: tensor for name, tensor in reference.net.state_dict().items()
    }
    torch.save(state, hub / "alexnet.pth")
    use_checkpoint(hub / "alexnet.pth", monkeypatch)
    metric = lpips_alex.LpipsAlex.load()

    truth = astronaut()[60:130, 180:270]
    prediction = np.roll(truth, 3, axis=1)
    with torch.no_grad():
        expected = reference(lpips.im2tensor(truth), lpips.im2tensor(prediction)).item()
    assert metric(truth, prediction) == pytest.approx(expected, rel=1e-5)
    assert expected > 0
    assert metric(truth, truth) == 0
    assert metric(truth[:31, :31], prediction[:31, :31]) > 0
    assert metric(truth[:30], prediction[:30]) is None
