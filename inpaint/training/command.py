r"""Train an inpainting network.

The released model on a folder of photos, small pictures first, with validation and curves:

    python train.py --preset pconv-carafe --data photos/train --val-data photos/val --output runs/first

Global&Local against its two discriminators, for an hour; --help after a preset shows what it sets:

    python train.py --preset gl-carafe --data photos/train --output runs/gl --max-minutes 60
    python train.py --preset gl-carafe --help

The Partial Conv paper's layers, loss terms and two stages; the second stage freezes the encoder's batch
normalisation. It needs VGG16's weights:

    python train.py --preset pconv-paper --data photos/train --output runs/paper

Continue after Ctrl-C, a time limit or a crash: the same command with --resume. Start a new run from the
weights of another:

    python train.py --preset pconv-carafe --data photos/train --output runs/second \
        --init runs/first/best.safetensors --lr 5e-5

On all GPUs of a machine; after a failure torchrun starts again from the last checkpoint, up to three times:

    torchrun --nproc-per-node gpu --max-restarts 3 train.py --preset pconv-carafe --data photos/train \
        --output runs/big --resume

On two to four hosts, run the same command on each; training continues with the hosts that are there. The
batch size in --schedule is the total over all processes, and their number has to divide it. --accumulate 2
splits each process's share into two parts, to save memory; then twice their number has to divide it:

    torchrun --nnodes 2:4 --nproc-per-node 8 --max-restarts 3 --rdzv-backend c10d --rdzv-endpoint HOST:29400 \
        train.py --preset pconv-carafe --data photos/train --output runs/big --resume \
        --schedule 256x192:100000 --accumulate 2

Curves: tensorboard --logdir runs
"""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Sequence

from tqdm.contrib.logging import logging_redirect_tqdm

from inpaint.plugins import PluginError, add_plugin_flag, load_installed, load_plugins
from inpaint.terminal import ArgumentParser, Formatter
from inpaint.training.flags import add_flags, settings_from_flags
from inpaint.training.presets import PRESETS


def main(arguments: Sequence[str], prog: str = "train.py") -> int:
    """Run the command and return the exit code.

    Args:
        arguments: the command line.
        prog: what the command is called: `train.py` or `inpaint train`.

    Returns:
        0 done or stopped in order, 1 an error, 2 usage, 130 Ctrl-C.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument(
        "--preset",
        choices=PRESETS,
        help="the settings of a whole run, from inpaint/training/presets.py; flags override them",
    )
    parser = ArgumentParser(
        prog=prog,
        description=_description(prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        parents=[first],
    )
    try:
        _load_plugins_of(arguments)  # first, because their loss terms have flags
    except PluginError as error:
        parser.error(str(error))
    add_flags(parser, PRESETS.get(first.parse_known_args(arguments)[0].preset))
    namespace = parser.parse_args(arguments)
    try:
        settings = settings_from_flags(namespace)
    except ValueError as error:
        parser.error(str(error))
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])

    # Imported only now: a wrong flag is answered sooner.
    import torch

    from inpaint.training.processes.world import LostProcessError
    from inpaint.training.saving.checkpoint import CheckpointError
    from inpaint.training.saving.folder import OutputError
    from inpaint.training.trainer import NonFiniteLossError, Stop, train

    told = (
        *(CheckpointError, FileNotFoundError, LostProcessError, NonFiniteLossError, OutputError),
        *(ValueError, PermissionError, MemoryError, torch.OutOfMemoryError),
    )
    try:
        with logging_redirect_tqdm():
            stop = train(settings)
    except told as error:
        logging.getLogger("inpaint.training").error("%s", error)
        return 1
    except KeyboardInterrupt:  # before the first step, or a second time
        return 130
    return 130 if stop is Stop.INTERRUPTED else 0


def _load_plugins_of(arguments: Sequence[str]) -> None:
    """Load the plug-ins that a command line names, and installed ones that have its loss terms."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    add_plugin_flag(early)
    try:
        load_plugins(early.parse_known_args(arguments)[0].plugin)
    except argparse.ArgumentError:
        return  # the whole parser says so, with the usage
    for word in arguments:
        if flag := re.match(r"--loss-([a-z0-9_-]+)", word):
            load_installed("loss", flag[1].replace("-", "_"))


def _description(prog: str) -> str:
    """Return the text of `--help`, whose commands begin with what the program is called."""
    text = str(__doc__)
    if prog != "train.py":
        text = text.replace("python train.py", prog).replace("train.py", "-m inpaint train")
    return text
