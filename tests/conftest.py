"""Settings that every test shares."""

from __future__ import annotations

import random

import pytest
import torch


def pytest_configure() -> None:
    # The tests' tensors are small: on a large machine more threads only wait for each other.
    torch.set_num_threads(min(torch.get_num_threads(), 2))


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """Each test starts from the same random state, whichever tests ran before it."""
    random.seed(0)
    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU that torch can use"))
