"""`inpaint trace`: draw where pixels of a fill come from."""

from __future__ import annotations

import argparse
import io
import sys
from typing import TYPE_CHECKING

import numpy as np

from inpaint.cli.arguments import UsageError
from inpaint.cli.console import say
from inpaint.cli.outputs import Existing
from inpaint.cli.pairing import pair_files
from inpaint.cli.run import LIMIT_FLAGS, Limits, read_task
from inpaint.files import write_atomically
from inpaint.images import LimitError, Photo, write_photo
from inpaint.plugins import load_plugins

if TYPE_CHECKING:
    from inpaint.inference.tracing import FillTrace


def trace_pixels(arguments: argparse.Namespace) -> int:
    """Fill the photo, draw where the pixels come from, and return the exit code.

    Raises:
        UsageError: the arguments make no sense; nothing was started.
        PluginError: a plug-in cannot be loaded.
    """
    for flag in ("image", "mask"):
        if getattr(arguments, flag).is_dir():
            raise UsageError(
                f"--{flag} {getattr(arguments, flag)}: is a folder; one photo is traced at a time"
            )
    existing: Existing = "overwrite" if arguments.overwrite else "refuse"
    try:
        (task,) = pair_files(arguments.image, arguments.mask, arguments.output, 1, "", existing)
        if arguments.weights is not None and arguments.weights.exists() and not arguments.overwrite:
            raise UsageError(f"--weights {arguments.weights}: exists; --overwrite writes over it")
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from error
    # After the paths are known to make sense: this import and the model take seconds.
    load_plugins(arguments.plugin)
    from inpaint.inference import Inpainter
    from inpaint.inference.inpainter import grown
    from inpaint.inference.tracing import draw_trace, trace_fill

    try:
        fill = Inpainter.from_pretrained(arguments.model, device=arguments.device, detail=arguments.detail)
    except ValueError as error:
        raise UsageError(str(error)) from error
    try:
        photo, mask = read_task(task, Limits.of(arguments))
        options = {"seed": arguments.seed, "grow": arguments.grow}
        found = [trace_fill(fill, photo.pixels, mask, at[::-1], **options) for at in arguments.at]
        filled, hole = fill(photo.pixels, mask, **options), grown(mask, arguments.grow)
        write_photo(arguments.output, Photo(np.hstack([draw_trace(filled, hole, one) for one in found])))
        if arguments.weights is not None:
            stream = io.BytesIO()
            np.save(stream, np.stack([one.weights for one in found]), allow_pickle=False)
            write_atomically(arguments.weights, stream.getvalue())
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        message = error.explain(LIMIT_FLAGS) if isinstance(error, LimitError) else str(error)
        say(f"error: {message or type(error).__name__}")
        return 1
    for one in found:
        sys.stdout.write("".join(f"{line}\n" for line in _told(one)))
    return 0


def _told(found: FillTrace) -> list[str]:
    row, column = found.pixel
    lines = [f"{column},{row}"]
    for name, factor, share in found.levels:
        size = f", 1/{factor} of the size" if factor > 1 else ""
        if share >= 5e-4:
            lines.append(f"{share:6.1%}  {name}{size}")
    if found.rest > 5e-4:
        lines.append(f"{found.rest:6.1%}  from no known pixel")
    if found.patch is not None:
        row, column = found.patch
        lines.append(f"over it, the photo's patch around {column},{row}")
    return lines
