"""`inpaint run`: fill the photos, one by one, and name those that failed."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from inpaint.cli.arguments import LARGEST_SEED, UsageError
from inpaint.cli.console import say
from inpaint.cli.pairing import Task, pair_files
from inpaint.images import (
    LOSSY_FORMATS,
    ImageError,
    LimitError,
    Photo,
    check_can_hold,
    format_for,
    losses,
    read_photo,
    write_photo,
)
from inpaint.plugins import load_plugins
from inpaint.terminal import printable

if TYPE_CHECKING:
    from inpaint.inference import Inpainter


@dataclasses.dataclass(frozen=True)
class Limits:
    """The largest picture, in pixels, and the largest file, in bytes, that are read."""

    pixels: int
    file_bytes: int

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Limits:
        """Return what the command line says."""
        return cls(round(arguments.max_megapixels * 1e6), round(arguments.max_megabytes * 1e6))


LIMIT_FLAGS = {"max_pixels": "--max-megapixels", "max_file_bytes": "--max-megabytes"}


def fill_photos(arguments: argparse.Namespace) -> int:
    """Fill the photos that the command line names, and return the exit code.

    Raises:
        UsageError: the arguments make no sense; nothing was started.
        PluginError: a plug-in cannot be loaded.
    """
    count = arguments.candidates
    if count > 1 and arguments.detail == "none":
        raise UsageError(
            f"--candidates {count}: the network alone has one fill of a hole; leave --candidates out, "
            "or take --detail photo"
        )
    if arguments.seed + count - 1 > LARGEST_SEED:
        raise UsageError(
            f"--seed {arguments.seed}: no room for {count} seeds from there on; name a smaller one"
        )
    try:
        tasks = pair_files(
            arguments.image,
            arguments.mask,
            arguments.output,
            count,
            arguments.mask_suffix,
            arguments.existing,
        )
    except OSError as error:  # a name that is too long, a folder that may not be listed
        raise UsageError(f"{error.filename}: {error.strerror}") from error
    if not tasks:
        return 0
    # After the paths are known to make sense: this import and the model take seconds.
    load_plugins(arguments.plugin)
    from inpaint.inference import Inpainter

    try:
        fill = Inpainter.from_pretrained(arguments.model, device=arguments.device, detail=arguments.detail)
    except ValueError as error:
        raise UsageError(str(error)) from error

    for format in sorted(
        {format_for(path) for task in tasks for path in task.outputs if path} & LOSSY_FORMATS
    ):
        say(f"note: {format} does not keep pixels outside the mask exactly; name a .png output for that")
    limits = Limits.of(arguments)
    failed = 0
    # A bar that advances by parts of a photo, since one large photo can take as long as a folder.
    with tqdm(
        total=len(tasks),
        file=sys.stderr,
        bar_format="{percentage:3.0f}%|{bar:30}| {elapsed}<{remaining} {desc}",
    ) as bar:
        for done, task in enumerate(tasks):
            bar.set_description_str(f"{done + 1}/{len(tasks)} {printable(task.photo.name)}")
            try:
                fill_one(fill, task, arguments.seed, arguments.grow, limits, bar)
            except (ValueError, OSError, RuntimeError, MemoryError) as error:
                # ValueError covers ImageError; RuntimeError is what torch raises when a GPU is out of memory.
                failed += 1
                message = str(error) or type(error).__name__
                if isinstance(error, LimitError):
                    message = error.explain(LIMIT_FLAGS)
                say(f"error: {message if str(task.photo) in message else f'{task.photo}: {message}'}")
            bar.update(done + 1 - bar.n)
    if failed:
        say(f"{failed} of {len(tasks)} photos failed, {len(tasks) - failed} written")
    return 1 if failed else 0


def fill_one(fill: Inpainter, task: Task, seed: int, grow: int, limits: Limits, bar: tqdm) -> None:
    """Read a photo and its mask, and write each of its fills as it is done."""
    # Here, because it loads torch, which `inpaint --help` has no need of.
    from inpaint.inference.inpainter import grown

    photo, mask = read_task(task, limits)
    hole = grown(mask, grow)
    if hole.all():
        raise ImageError(
            f"its mask {task.masks[0].name}, grown by {grow} pixels, leaves nothing to fill from; "
            "grow it less",
            str(task.photo),
        )
    done, told = bar.n, False
    fills = fill.candidates(
        photo.pixels,
        mask,
        len(task.outputs),
        seed=seed,
        grow=grow,
        progress=lambda fraction: _advance(bar, done + fraction),
    )
    for output, pixels in zip(task.outputs, fills, strict=True):
        if output is None:
            continue
        result = photo.filled(pixels, hole)
        if not told:
            for note in (*result.notes, *losses(result, format_for(output))):
                say(f"note: {task.photo}: {note}")
            told = True
        output.parent.mkdir(parents=True, exist_ok=True)
        write_photo(output, result)


def read_task(task: Task, limits: Limits) -> tuple[Photo, np.ndarray]:
    """Read a photo and its mask, and check that they fit each other and the format of the results.

    Raises:
        ImageError: they cannot be read, or do not fit.
    """
    # Here, because it loads OpenCV, which `inpaint --help` has no need of.
    from inpaint.masks import read_checked_mask

    if not task.masks:
        name = f"{task.photo.stem}{task.mask_suffix}.png"
        raise ImageError(f"there is no mask named {name} or the like{task.hint}", str(task.photo))
    if len(task.masks) > 1:
        names = ", ".join(mask.name for mask in task.masks)
        raise ImageError(f"several masks have its name ({names}); keep one", str(task.photo))
    photo = read_photo(task.photo, max_pixels=limits.pixels, max_file_bytes=limits.file_bytes)
    height, width = photo.pixels.shape[:2]
    check_can_hold(format_for(next(path for path in task.outputs if path)), width, height)
    checked = read_checked_mask(
        task.masks[0],
        photo=photo.pixels,
        max_pixels=limits.pixels,
        max_file_bytes=limits.file_bytes,
    )
    rows, columns = checked.mask.shape
    if (rows, columns) != (height, width):
        raise ImageError(
            f"its mask {task.masks[0].name} is {columns}×{rows}, but the upright photo is {width}×{height}; "
            "draw the mask at the photo's size",
            str(task.photo),
        )
    for note in checked.notes:
        say(f"note: {task.photo}: its mask {task.masks[0].name}: {note}")
    return photo, checked.mask


def _advance(bar: tqdm, position: float) -> None:
    bar.update(position - bar.n)
