#!/usr/bin/env python
r"""Train an inpainting network.

The released model on a folder of photos, small pictures first, with validation and curves:

    python train.py --preset pconv-carafe --data photos/train --val-data photos/val --output runs/first

Global&Local against its two discriminators, for an hour. What a preset sets, --help shows behind it:

    python train.py --preset gl-carafe --data photos/train --output runs/gl --max-minutes 60
    python train.py --preset gl-carafe --help

The Partial Conv paper's layers, terms and two stages, in the second of which the encoder's batch
normalisation is frozen; it needs VGG16's weights:

    python train.py --preset pconv-paper --data photos/train --output runs/paper

Go on after Ctrl-C, a time limit or a crash: the same command with --resume. Start a new run from its weights:

    python train.py --preset pconv-carafe --data photos/train --output runs/second \
        --init runs/first/best.safetensors --lr 5e-5

On all GPUs of a machine, started again after a failure up to three times, each time from the last checkpoint:

    torchrun --nproc-per-node gpu --max-restarts 3 train.py --preset pconv-carafe --data photos/train \
        --output runs/big --resume

On two to four hosts, the same command on each; it goes on with those that are there. The batch is the
schedule's, whatever number of processes divides it; --accumulate 2 works through it in two parts, to save
memory, and the number of processes times 2 has to divide it:

    torchrun --nnodes 2:4 --nproc-per-node 8 --max-restarts 3 --rdzv-backend c10d --rdzv-endpoint HOST:29400 \
        train.py --preset pconv-carafe --data photos/train --output runs/big --resume \
        --schedule 256x192:100000 --accumulate 2

Curves: tensorboard --logdir runs
"""

from __future__ import annotations

import argparse
import logging
import sys

from tqdm.contrib.logging import logging_redirect_tqdm

from inpaint.terminal import ArgumentParser, Formatter
from inpaint.training.flags import add_flags, settings_from_flags
from inpaint.training.presets import PRESETS


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done or stopped in order, 1 an error, 2 usage, 130 Ctrl-C."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument(
        "--preset",
        choices=PRESETS,
        help="a whole run's settings, in inpaint/training/presets.py; flags go before",
    )
    parser = ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        parents=[first],
    )
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

    told = (CheckpointError, FileNotFoundError, LostProcessError, NonFiniteLossError, OutputError, ValueError)
    told += (PermissionError, MemoryError, torch.OutOfMemoryError)
    try:
        with logging_redirect_tqdm():
            stop = train(settings)
    except told as error:
        logging.getLogger("inpaint.training").error("%s", error)
        return 1
    except KeyboardInterrupt:  # before the first step, or a second time
        return 130
    return 130 if stop is Stop.INTERRUPTED else 0


if __name__ == "__main__":
    sys.exit(main())
