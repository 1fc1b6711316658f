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
    ALPHA_FORMATS,
    LOSSY_FORMATS,
    ImageError,
    LimitError,
    Photo,
    check_can_hold,
    format_for,
    read_mask,
    read_photo,
    write_photo,
)
from inpaint.terminal import printable

if TYPE_CHECKING:
    from inpaint.inference import Inpainter

_LIMIT_FLAGS = {"max_pixels": "--max-megapixels", "max_file_bytes": "--max-megabytes"}


def fill_photos(arguments: argparse.Namespace) -> int:
    """Fill the photos that the command line names, and return the exit code.

    Raises:
        UsageError: the arguments make no sense; nothing was started.
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
        tasks = pair_files(arguments.image, arguments.mask, arguments.output, count)
    except OSError as error:  # a name that is too long, a folder that may not be listed
        raise UsageError(f"{error.filename}: {error.strerror}") from error
    # After the paths are known to make sense: this import and the model take seconds.
    from inpaint.inference import Inpainter

    try:
        fill = Inpainter.from_pretrained(arguments.model, device=arguments.device, detail=arguments.detail)
    except ValueError as error:
        raise UsageError(str(error)) from error

    for format in sorted({format_for(task.outputs[0]) for task in tasks} & LOSSY_FORMATS):
        say(f"note: {format} does not keep pixels outside the mask exactly; name a .png output for that")
    failed = 0
    # A bar that advances by parts of a photo, since one large photo can take as long as a folder.
    with tqdm(
        total=len(tasks),
        file=sys.stderr,
        bar_format="{percentage:3.0f}%|{bar:30}| {elapsed}<{remaining} {desc}",
    ) as bar:
        for done, task in enumerate(tasks):
            bar.set_description_str(f"{done + 1}/{len(tasks)} {printable(task.photo.name)}")
            limits = {
                "max_pixels": round(arguments.max_megapixels * 1e6),
                "max_file_bytes": round(arguments.max_megabytes * 1e6),
            }
            try:
                fill_one(fill, task, arguments.seed, arguments.grow, limits, bar)
            except (ValueError, OSError, RuntimeError, MemoryError) as error:
                # ValueError covers ImageError; RuntimeError is what torch raises when a GPU is out of memory.
                failed += 1
                message = str(error) or type(error).__name__
                if isinstance(error, LimitError):
                    message = error.explain(_LIMIT_FLAGS)
                say(f"error: {message if str(task.photo) in message else f'{task.photo}: {message}'}")
            bar.update(done + 1 - bar.n)
    if failed:
        say(f"{failed} of {len(tasks)} photos failed, {len(tasks) - failed} written")
    return 1 if failed else 0


def fill_one(fill: Inpainter, task: Task, seed: int, grow: int, limits: dict[str, int], bar: tqdm) -> None:
    """Read a photo and its mask, and write each of its fills as it is done."""
    photo, mask = _read(task, limits)
    for note in _notes(task, photo, mask, grow):
        say(f"note: {task.photo}: {note}")
    done = bar.n
    fills = fill.candidates(
        photo.pixels,
        mask,
        len(task.outputs),
        seed=seed,
        grow=grow,
        progress=lambda fraction: _advance(bar, done + fraction),
    )
    for output, result in zip(task.outputs, fills, strict=True):
        write_photo(output, dataclasses.replace(photo, pixels=result))


def _read(task: Task, limits: dict[str, int]) -> tuple[Photo, np.ndarray]:
    """Read a photo and its mask, and check that they fit each other and the format of the results."""
    if not task.masks:
        raise ImageError(f"there is no mask named {task.photo.stem}.png or the like", str(task.photo))
    if len(task.masks) > 1:
        names = ", ".join(mask.name for mask in task.masks)
        raise ImageError(f"several masks have its stem ({names}); keep one", str(task.photo))
    photo = read_photo(task.photo, **limits)
    mask = read_mask(task.masks[0], **limits)
    height, width = photo.pixels.shape[:2]
    if mask.shape != (height, width):
        raise ImageError(
            f"its mask {task.masks[0].name} is {mask.shape[1]}×{mask.shape[0]}, but the upright photo is "
            f"{width}×{height}; draw the mask at the photo's size",
            str(task.photo),
        )
    check_can_hold(format_for(task.outputs[0]), width, height)
    return photo, mask


def _notes(task: Task, photo: Photo, mask: np.ndarray, grow: int) -> list[str]:
    """Return what a user should know of a photo before it is filled."""
    # Here, because it loads torch, which `inpaint --help` has no need of.
    from inpaint.inference.inpainter import grown

    notes = list(photo.notes)
    if not mask.any():
        notes.append(f"its mask {task.masks[0].name} has no pixel above 127, so nothing was filled")
    elif grown(mask, grow).all():
        around = f", grown by {grow} pixels," if grow else ""
        notes.append(f"its mask {task.masks[0].name}{around} leaves nothing to fill from, so all is grey")
    if photo.alpha is not None and format_for(task.outputs[0]) not in ALPHA_FORMATS:
        notes.append(f"{task.outputs[0].suffix} files hold no transparency; it was left out")
    return notes


def _advance(bar: tqdm, position: float) -> None:
    bar.update(position - bar.n)
