"""Which device a process takes, on machines that have GPUs and others; the GPUs are pretended."""

import re
from collections.abc import Callable

import pytest
import torch

from inpaint.training.processes.world import _device_of_this_process, _tells_of_a_lost_process, join_world

Machine = Callable[[int], list[int]]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes torch see a number of GPUs; the list receives the indices that torch makes current.

    What is patched lies below torch.cuda.set_device, which refuses devices without an index by itself.
    """

    def with_gpus(count: int) -> list[int]:
        chosen: list[int] = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch._C, "_cuda_setDevice", chosen.append, raising=False)
        return chosen

    return with_gpus


@pytest.mark.parametrize(("asked", "index"), [("auto", 0), ("cuda", 0), ("cuda:1", 1)])
def test_one_process_takes_a_gpu_by_its_index(asked: str, index: int, machine: Machine) -> None:
    chosen = machine(2)
    with join_world(asked) as world:
        assert world.device == torch.device("cuda", index)
    assert chosen == [index]


def test_the_cpu_is_taken_where_it_is_asked_for_or_alone(machine: Machine) -> None:
    chosen = machine(1)
    assert _device_of_this_process("cpu", 1) == torch.device("cpu")
    machine(0)
    assert _device_of_this_process("auto", 2) == torch.device("cpu")
    assert not chosen


def test_of_several_processes_each_takes_its_own(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(4)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert _device_of_this_process("auto", 4) == _device_of_this_process("cuda", 8) == torch.device("cuda:3")


@pytest.mark.parametrize(
    ("asked", "gpus", "processes", "message"),
    [
        ("cuda", 0, 1, "device cuda: torch sees no CUDA GPU here"),
        ("cuda:9", 2, 1, "device cuda:9: there is no GPU 9, torch sees 2"),
        ("auto", 2, 4, "process 3 of this host has no GPU, torch sees 2: start no more processes"),
        ("cuda:1", 4, 4, "device cuda:1: of several processes each takes the GPU of its number"),
        ("gpu", 1, 1, "device gpu: expected auto, cpu, cuda or cuda:NUMBER"),
        ("cuda:x", 1, 1, "device cuda:x: expected auto, cpu, cuda or cuda:NUMBER"),
        ("meta", 1, 1, "device meta: expected auto, cpu, cuda or cuda:NUMBER"),
    ],
)
def test_a_device_that_is_not_here_is_refused(
    asked: str, gpus: int, processes: int, message: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(gpus)
    monkeypatch.setenv("LOCAL_RANK", "3")
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        _device_of_this_process(asked, processes)


def test_a_path_that_is_called_gloo_is_no_lost_process() -> None:
    lost = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer"
    assert _tells_of_a_lost_process(RuntimeError(lost))
    assert not _tells_of_a_lost_process(RuntimeError("runs/gloo/checkpoints holds checkpoints of a run"))
