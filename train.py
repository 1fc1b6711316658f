#!/usr/bin/env python
"""Train an inpainting network: the same as `inpaint train`.

    python train.py --preset pconv-carafe --data photos/train --val-data photos/val --output runs/first
    python train.py --help

Its flags and its help are those of `inpaint.training.command`.
"""

import sys

from inpaint.cli.work import train as main

if __name__ == "__main__":
    sys.exit(main())
