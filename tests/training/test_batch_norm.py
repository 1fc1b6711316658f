from pathlib import Path

import pytest
import torch
from several_processes import EncoderNetwork
from tiny_training import TinyNetwork, last_tensors, tiny_settings, tiny_trainer
from torch import Tensor, nn

from inpaint.networks import build_network
from inpaint.training.batch_norm import EncoderBatchNorm, synchronized
from inpaint.training.saving.checkpoint import list_checkpoints, read_checkpoint
from inpaint.training.settings import TrainSettings
from inpaint.training.trainer import Stop

NORM = "network.layers.1."  # of the encoder


def settings(photos: Path, output: Path, **changes: object) -> TrainSettings:
    # Stages of 5 and 5 steps; the frozen part begins in the first of them.
    return tiny_settings(photos, output, finetune_steps=7, checkpoint_every=1, **changes)


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run, a checkpoint after each step."""
    output = tmp_path_factory.mktemp("whole")
    assert tiny_trainer(settings(photos, output), EncoderNetwork()).run() is Stop.FINISHED
    return output


def tensors_after(output: Path, step: int) -> dict[str, Tensor]:
    return read_checkpoint(dict(list_checkpoints(output / "checkpoints"))[step]).tensors


def test_the_encoders_batch_normalisation_is_frozen_to_the_bit(whole: Path) -> None:
    frozen = {name: value for name, value in tensors_after(whole, 3).items() if name.startswith(NORM)}
    assert len(frozen) == 5
    for step in range(4, 11):
        tensors = tensors_after(whole, step)
        for name, value in frozen.items():
            assert torch.equal(tensors[name], value), (step, name)
    before, after = tensors_after(whole, 3), tensors_after(whole, 10)
    for name in before:
        if name.startswith("network.") and name not in frozen:
            assert not torch.equal(before[name], after[name]), name


def test_until_then_it_learns(whole: Path) -> None:
    before, after = tensors_after(whole, 2), tensors_after(whole, 3)
    assert all(not torch.equal(before[name], after[name]) for name in before if name.startswith(NORM))


# Before the frozen part, at its border, within it, and in the schedule's second stage.
@pytest.mark.parametrize("step", [2, 3, 4, 7])
def test_resumed_in_either_part_it_ends_with_the_same_bits(
    step: int, whole: Path, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    source = dict(list_checkpoints(whole / "checkpoints"))[step]
    (folder / source.name).write_bytes(source.read_bytes())
    resumed = tiny_trainer(settings(photos, tmp_path, resume=True), EncoderNetwork())
    assert resumed.step == step
    resumed.run()
    expected = last_tensors(whole)
    assert all(torch.equal(value, expected[name]) for name, value in last_tensors(tmp_path).items())


def test_frozen_weights_have_no_part_in_the_clipping() -> None:
    network = EncoderNetwork()
    norm = EncoderBatchNorm(network)
    assert len(norm) == 1
    network(torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)).sum().backward()
    norm.drop_gradients()
    assert all(parameter.grad is not None for parameter in network.parameters())
    norm.freeze()
    norm.drop_gradients()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == ["layers.1.weight", "layers.1.bias"]
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_network_without_batch_normalisation_gets_the_rate_alone(photos: Path, tmp_path: Path) -> None:
    for network in (TinyNetwork(batch_norm=False), TinyNetwork(), nn.Linear(1, 1)):
        assert len(EncoderBatchNorm(network)) == 0  # the first has none, the others no encoder
    trainer = tiny_trainer(settings(photos, tmp_path, finetune_lr=3e-7), TinyNetwork(batch_norm=False))
    trainer.run()
    assert {group["lr"] for group in trainer.optimizer.param_groups} == {3e-7}


def test_of_the_released_kind_it_is_the_encoders_alone() -> None:
    network = build_network(
        {"network": "PartialConvUNet", "widths": [8, 12, 16], "norm": "batch", "encoder_blocks": [0]}
    )
    everywhere = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert 0 < len(EncoderBatchNorm(network)) < len(everywhere)


def test_synchronised_normalisation_is_refused_off_cuda(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--batch-norm sync: .*CUDA.*cpu.*own"):
        tiny_trainer(tiny_settings(photos, tmp_path, batch_norm="sync"))


def test_synchronised_normalisation_keeps_weights_and_holes() -> None:
    network = build_network(
        {"network": "PartialConvUNet", "widths": [8, 12, 16], "kernel_sizes": [3], "norm": "batch"}
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)  # it would shift the zeros of the hole
    # A hole so large that the encoder's last layers still have one.
    image, mask = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., 2:62, 2:62] = 1
    network.eval()
    expected, tensors = network(image, mask), network.state_dict(keep_vars=True)
    converted = synchronized(network, torch.device("cuda")).eval()
    kinds = {type(module) for module in converted.modules()}
    assert nn.SyncBatchNorm in kinds
    assert nn.BatchNorm2d not in kinds
    for name, tensor in converted.state_dict(keep_vars=True).items():
        assert tensor is tensors[name], name
    torch.testing.assert_close(converted(image, mask), expected)
    # The encoder's are found under their new type too.
    assert len(EncoderBatchNorm(converted)) > 0
