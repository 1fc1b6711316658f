import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_training import TinyNetwork
from torch import Tensor, nn

from inpaint.training.saving.checkpoint import (
    CheckpointError,
    Modules,
    Optimizers,
    list_checkpoints,
    read_checkpoint,
    save_checkpoint,
)

State = tuple[nn.Module, nn.Module, torch.optim.Optimizer]


def parts(state: State) -> tuple[Modules, Optimizers]:
    network, average, optimizer = state
    return {"network": network, "average": average}, {"optimizer": (optimizer, network)}


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
    path = save_checkpoint(tmp_path / "checkpoints", 3, *parts(original), {"best": {"psnr": 24.5}})
    checkpoint = read_checkpoint(path)
    assert checkpoint.state == {"best": {"psnr": 24.5}, "step": 3}
    restored = trained(seed=1, steps=1)
    checkpoint.restore(*parts(restored))
    assert_same(original, restored)


def test_restored_moments_have_their_weights_memory_format(tmp_path: Path) -> None:
    # The fused update pairs weights and moments by memory order: in another format it would mix them up.
    original, restored = trained(), trained(seed=1)
    read_checkpoint(save_checkpoint(tmp_path, 3, *parts(original), {})).restore(*parts(restored))
    for network, _, optimizer in (original, restored):
        torch.manual_seed(5)
        optimizer.zero_grad()
        network(torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)).square().mean().backward()
        optimizer.step()
    assert_same(original, restored)


def test_an_optimizer_that_has_not_stepped_can_be_kept(tmp_path: Path) -> None:
    original, restored = trained(steps=0), trained(seed=1)
    read_checkpoint(save_checkpoint(tmp_path, 0, *parts(original), {})).restore(*parts(restored))
    assert all(not moments for moments in restored[2].state.values())


def test_the_newest_are_kept_in_order(tmp_path: Path) -> None:
    state = trained()
    for step in (5, 10, 100, 99_999_999, 100_000_000):
        save_checkpoint(tmp_path, step, *parts(state), {}, keep=3)
    (tmp_path / "step-00000007.safetensors.unfinished").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("mine")
    assert [step for step, _ in list_checkpoints(tmp_path)] == [100, 99_999_999, 100_000_000]
    assert list_checkpoints(tmp_path / "missing") == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_write_that_fails_half_way_leaves_the_earlier_one(tmp_path: Path) -> None:
    import resource

    state = trained()
    path = save_checkpoint(tmp_path, 1, *parts(state), {}, keep=1)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        for step in (1, 2):  # the same file again, and a new one
            with pytest.raises(OSError, match="too large"):
                save_checkpoint(tmp_path, step, *parts(state), {"more": "x" * 1000}, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


class Discriminator(nn.Module):
    """Power iteration keeps vectors in buffers; one buffer is left out of the state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3))
        self.register_buffer("seen", torch.zeros(2), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        self.seen += 1
        return self.conv(image)


def adversaries(seed: int, steps: int) -> tuple[Modules, Optimizers]:
    modules, optimizers = parts(trained(seed, steps))
    discriminator = Discriminator()
    judge = torch.optim.SGD(discriminator.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        discriminator(torch.rand(2, 3, 8, 8)).square().mean().backward()
        judge.step()
    return {**modules, "discriminator": discriminator}, {**optimizers, "judge": (judge, discriminator)}


def test_any_number_of_modules_and_optimizers(tmp_path: Path) -> None:
    original, restored = adversaries(seed=0, steps=3), adversaries(seed=1, steps=1)
    path = save_checkpoint(tmp_path, 3, *original, {})
    assert {name.split(".")[0] for name in read_checkpoint(path).tensors} == {
        "network", "average", "discriminator", "optimizer", "judge"
    }  # fmt: skip
    read_checkpoint(path).restore(*restored)
    (ours, (judge, ours_again)), (theirs, (other, _)) = (
        (modules["discriminator"], optimizers["judge"]) for modules, optimizers in (original, restored)
    )
    assert ours is ours_again
    assert dict(ours.named_buffers()).keys() >= {"seen"}
    for name, value in [*ours.named_parameters(), *ours.named_buffers()]:
        assert torch.equal(value, dict([*theirs.named_parameters(), *theirs.named_buffers()])[name]), name
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(judge.state[p]["momentum_buffer"], other.state[q]["momentum_buffer"])


@pytest.mark.parametrize("names", [("network", "network"), ("a", "b.c")])
def test_names_that_could_be_mixed_up_are_refused(names: tuple[str, str], tmp_path: Path) -> None:
    network, _, optimizer = trained()
    with pytest.raises(ValueError, match="different names without dots"):
        save_checkpoint(tmp_path, 1, {names[0]: network}, {names[1]: (optimizer, network)}, {})


def test_checkpoints_of_the_first_version_are_read(tmp_path: Path) -> None:
    # Its layout, written out: no digest, and no buffers but those of the state dict.
    original = trained()
    network, average, optimizer = original
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"optimizer.{key}.{name}"] = value
    path = tmp_path / "step-00000003.safetensors"
    metadata = {"format": "inpaint-checkpoint-1", "state": '{"best": null, "step": 3}'}
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata)
    restored = trained(seed=1, steps=1)
    restored[0].register_buffer("new", torch.ones(1), persistent=False)
    checkpoint = read_checkpoint(path)
    checkpoint.restore(*parts(restored))
    assert checkpoint.state == {"best": None, "step": 3}
    assert_same(original, restored)


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    good = save_checkpoint(tmp_path, 1, *parts(trained()), {})
    cut = tmp_path / "step-00000002.safetensors"
    cut.write_bytes(good.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"step-00000002.*is damaged"):
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
    path = save_checkpoint(tmp_path, 1, *parts(trained()), {})
    network, average = TinyNetwork(batch_norm=False), TinyNetwork(batch_norm=False)
    optimizer = torch.optim.AdamW(network.parameters())
    with pytest.raises(CheckpointError, match=r"(?s)does not fit.*running_mean"):
        read_checkpoint(path).restore(*parts((network, average, optimizer)))
