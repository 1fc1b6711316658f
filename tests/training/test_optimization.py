import itertools
import math
from pathlib import Path

import pytest
import torch
from tiny_training import TinyNetwork, tiny_settings
from torch import nn

from inpaint.training.optimization import MovingAverage, build_optimizer, learning_rate
from inpaint.training.schedule import Schedule
from inpaint.training.settings import TrainSettings


def settings(**changes: object) -> TrainSettings:
    defaults = {"schedule": Schedule.parse("8x1:60,16x1:41"), "warmup": 10, "lr": 2.0, "lr_floor": 0.1}
    return tiny_settings(Path("photos"), Path("out"), **{**defaults, **changes})


def test_the_rate_warms_up_linearly() -> None:
    flat = settings(decay_from=1.0)
    rates = [learning_rate(step, flat) for step in range(20)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[10:] == [2.0] * 10


def test_the_rate_follows_half_a_cosine_to_the_floor() -> None:
    curve = settings(warmup=0)
    assert learning_rate(0, curve) == 2.0
    assert learning_rate(50, curve) == pytest.approx((2.0 + 0.2) / 2)  # midway, across the stages' border
    assert learning_rate(25, curve) == pytest.approx(0.2 + 1.8 * (1 + math.cos(math.pi / 4)) / 2)
    assert learning_rate(100, curve) == pytest.approx(0.2)
    rates = [learning_rate(step, curve) for step in range(101)]
    assert all(a > b for a, b in itertools.pairwise(rates))


def test_the_decay_can_begin_late() -> None:
    late = settings(warmup=0, decay_from=0.6)
    assert {learning_rate(step, late) for step in range(61)} == {2.0}
    assert learning_rate(80, late) == pytest.approx((2.0 + 0.2) / 2)
    assert learning_rate(100, late) == pytest.approx(0.2)


def test_fine_tuning_has_its_own_rate_after_the_whole_curve() -> None:
    alone = settings(warmup=0, schedule=Schedule.parse("8x1:61"))
    tuned = settings(warmup=0, finetune_steps=40, finetune_lr=3e-5)
    assert [learning_rate(step, tuned) for step in range(61)] == [
        learning_rate(step, alone) for step in range(61)
    ]
    assert {learning_rate(step, tuned) for step in range(61, 101)} == {3e-5}
    assert learning_rate(0, settings(finetune_steps=101, finetune_lr=3e-5)) == 3e-5  # nothing but fine-tuning


def test_a_run_of_one_step_has_a_rate() -> None:
    assert learning_rate(0, settings(schedule=Schedule.parse("8x1:1"), warmup=0)) == 2.0


def test_weight_decay_pulls_on_matrices_alone() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    optimizer = build_optimizer(network, settings(weight_decay=0.1))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in network.named_parameters():
        expected = before[name] * (1 - 2.0 * 0.1) if parameter.ndim > 1 else before[name]
        torch.testing.assert_close(parameter, expected)


def test_the_average_against_the_formula() -> None:
    network = TinyNetwork()
    average = MovingAverage(network, decay=0.4)
    expected = {name: value.double().clone() for name, value in network.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    for step in range(8):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        network(
            torch.rand(2, 3, 8, 8, generator=generator), torch.zeros(2, 1, 8, 8)
        )  # moves the running statistics
        average.update(step)
        decay = min(0.4, (1 + step) / (10 + step))
        for name, parameter in network.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach().double()
    for name, parameter in average.network.named_parameters():
        torch.testing.assert_close(parameter.double(), expected[name], rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(average.network.buffers(), network.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    assert not average.network.training
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


def test_decay_zero_copies() -> None:
    network = TinyNetwork()
    average = MovingAverage(network, decay=0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    average.update(0)
    for ours, theirs in zip(average.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
