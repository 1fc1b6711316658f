import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_training import TinyNetwork
from torch import nn

from inpaint.training.checkpoint import CheckpointError, list_checkpoints, read_checkpoint, save_checkpoint

State = tuple[nn.Module, nn.Module, torch.optim.Optimizer]


def trained(seed: int = 0, steps: int = 3) -> State:
    """A channels_last network, its average and AdamW after a few updates."""
    torch.manual_seed(seed)
    network = TinyNetwork().to(memory_format=torch.channels_last)
    average = TinyNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, fused=True)
    for _ in range(steps):
        loss = network(torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network, average, optimizer


def assert_same(ours: State, theirs: State) -> None:
    for a, b in zip(ours[:2], theirs[:2], strict=True):
        assert a.state_dict().keys() == b.state_dict().keys()
        for name, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[name]), name
    for p, q in zip(ours[0].parameters(), theirs[0].parameters(), strict=True):
        moments, others = ours[2].state[p], theirs[2].state[q]
        assert moments.keys() == others.keys() == {"step", "exp_avg", "exp_avg_sq"}
        for key, value in moments.items():
            assert torch.equal(value, others[key]), key


def test_everything_comes_back(tmp_path: Path) -> None:
    original = trained()
    path = save_checkpoint(tmp_path / "checkpoints", 3, *original, {"best": {"psnr": 24.5}})
    checkpoint = read_checkpoint(path)
    assert checkpoint.state == {"best": {"psnr": 24.5}, "step": 3}
    restored = trained(seed=1, steps=1)
    checkpoint.restore(*restored)
    assert_same(original, restored)


def test_restored_moments_have_their_weights_memory_format(tmp_path: Path) -> None:
    # The fused update pairs weights and moments by memory order: in another format it would mix them up.
    original, restored = trained(), trained(seed=1)
    read_checkpoint(save_checkpoint(tmp_path, 3, *original, {})).restore(*restored)
    for network, _, optimizer in (original, restored):
        torch.manual_seed(5)
        optimizer.zero_grad()
        network(torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)).square().mean().backward()
        optimizer.step()
    assert_same(original, restored)


def test_an_optimizer_that_has_not_stepped_can_be_kept(tmp_path: Path) -> None:
    original, restored = trained(steps=0), trained(seed=1)
    read_checkpoint(save_checkpoint(tmp_path, 0, *original, {})).restore(*restored)
    assert all(not moments for moments in restored[2].state.values())


def test_the_newest_are_kept_in_order(tmp_path: Path) -> None:
    state = trained()
    for step in (5, 10, 100, 99_999_999, 100_000_000):
        save_checkpoint(tmp_path, step, *state, {}, keep=3)
    (tmp_path / "step-00000007.safetensors.unfinished").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("mine")
    assert [step for step, _ in list_checkpoints(tmp_path)] == [100, 99_999_999, 100_000_000]
    assert list_checkpoints(tmp_path / "missing") == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_write_that_fails_half_way_leaves_the_earlier_one(tmp_path: Path) -> None:
    import resource

    state = trained()
    path = save_checkpoint(tmp_path, 1, *state, {}, keep=1)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        for step in (1, 2):  # the same file again, and a new one
            with pytest.raises(OSError, match="too large"):
                save_checkpoint(tmp_path, step, *state, {"more": "x" * 1000}, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    good = save_checkpoint(tmp_path, 1, *trained(), {})
    cut = tmp_path / "step-00000002.safetensors"
    cut.write_bytes(good.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"step-00000002.*delete it"):
        read_checkpoint(cut)
    with pytest.raises(CheckpointError, match="missing"):
        read_checkpoint(tmp_path / "missing.safetensors")
    weights = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(1)}, weights)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        read_checkpoint(weights)


def test_a_pickle_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Exploit:
        def __reduce__(self) -> tuple:
            return (Path.touch, (Path("pickle-was-run"),))

    monkeypatch.chdir(tmp_path)
    path = tmp_path / "step-00000001.safetensors"
    path.write_bytes(pickle.dumps(Exploit()))
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    assert not Path("pickle-was-run").exists()


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, *trained(), {})
    network, average = TinyNetwork(batch_norm=False), TinyNetwork(batch_norm=False)
    optimizer = torch.optim.AdamW(network.parameters())
    with pytest.raises(CheckpointError, match=r"(?s)does not fit.*running_mean"):
        read_checkpoint(path).restore(network, average, optimizer)
