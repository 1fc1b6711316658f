import json
from typing import Any

import pytest
import torch

from inpaint.networks import CONFIGS, build_network


@pytest.mark.parametrize("name", CONFIGS)
def test_every_preset_builds_and_is_json(name: str) -> None:
    with torch.device("meta"):  # sizes only
        network = build_network(CONFIGS[name])
    wanted = json.loads(json.dumps(CONFIGS[name]), object_hook=_tuples)
    assert network.config.items() >= wanted.items()
    assert build_network(json.loads(json.dumps(network.config))).config == network.config


def _tuples(config: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
