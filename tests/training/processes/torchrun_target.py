"""train.py, but where KILL_AT is set its second process is killed in that step, the first time round."""

import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from inpaint.training.trainer import Trainer

take_step = Trainer._train_step


def be_killed_in(trainer: Trainer, step: int, *others: Any) -> dict[str, float]:
    if step == int(os.environ["KILL_AT"]):
        os.kill(os.getpid(), signal.SIGKILL)
    return take_step(trainer, step, *others)


if "KILL_AT" in os.environ and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    Trainer._train_step = be_killed_in  # type: ignore[method-assign]
torch.set_num_threads(1)
sys.argv[0] = str(Path(__file__).parents[3] / "train.py")
runpy.run_path(sys.argv[0], run_name="__main__")
