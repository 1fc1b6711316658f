#!/usr/bin/env python
r"""Run torchvision's reference training of detectors, which then knows its models with CARAFE, too.

    torchrun --nproc_per_node=8 benchmarks/recognition/reference.py vision/references/detection/train.py \
        --model maskrcnn_resnet50_fpn_carafe ...

The first argument is torchvision's script, from a checkout of its repository; all others are that script's. A
model's name that ends in `_carafe` is the model without this ending, changed by `inpaint.compat.use_carafe`.
All but the upsampling stays: weights of the backbone, frozen normalisation, data, schedule and scores.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torchvision
from torch import nn

from inpaint.compat import use_carafe

ENDING = "_carafe"

_get_model = torchvision.models.get_model


def get_model(name: str, **settings: Any) -> nn.Module:
    """Return what torchvision's `get_model` does, with CARAFE where the name ends in `_carafe`."""
    network = _get_model(name.removesuffix(ENDING), **settings)
    if name.endswith(ENDING):
        use_carafe(network)
    return network


def main() -> None:
    """Run the script that is named first, with the arguments after it."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(f"usage: reference.py TRAIN.py [its arguments]\n\n{__doc__}")
        raise SystemExit(2 if len(sys.argv) < 2 else 0)
    script = Path(sys.argv[1]).resolve()
    if not script.is_file():
        raise SystemExit(f"reference.py: there is no file {script}")
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(script.parent))  # where it finds its own modules, as when it is run itself
    with mock.patch.object(torchvision.models, "get_model", get_model):
        runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
