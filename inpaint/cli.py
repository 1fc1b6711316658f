"""The `inpaint` command: fill holes in photos from the shell, list the installed models.

    inpaint run --image photo.jpg --mask hole.png --output filled.png
    inpaint run --image photo.jpg --mask hole.png --output filled.png --grow 4 --candidates 3
    inpaint run --image photos/ --mask masks/ --output filled/
    inpaint models

Exit codes: 0 all done, 1 some photos failed (each is named, the others are done), 2 nothing was started,
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import math
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from inpaint import __version__
from inpaint.devices import check_device_name
from inpaint.files import prepare_folder, remove_partials, why_not_regular
from inpaint.images import (
    ALPHA_FORMATS,
    LOSSY_FORMATS,
    MAX_FILE_BYTES,
    MAX_PIXELS,
    SUFFIXES,
    ImageError,
    LimitError,
    check_can_hold,
    format_for,
    read_mask,
    read_photo,
    write_photo,
)
from inpaint.terminal import ArgumentParser, printable

if TYPE_CHECKING:
    from inpaint.inference import Inpainter


_LIMIT_FLAGS = {"max_pixels": "--max-megapixels", "max_file_bytes": "--max-megabytes"}
_DETAILS = ("photo", "none")  # inpaint.inference.inpainter.DETAILS, which would load torch
_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class _Task:
    """One photo to fill.

    Attributes:
        photo: where it is read.
        masks: every mask of its stem: exactly one, or it is an error.
        outputs: where its fills are written, one for each, in one folder and of one suffix.
    """

    photo: Path
    masks: list[Path]
    outputs: list[Path]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return the exit code.

    Raises SystemExit(2) for arguments that make no sense, as argparse does.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "models":
            return _list_models()
        return _run(parser, arguments)
    except KeyboardInterrupt:
        _say("stopped; what was written before is whole")
        return 130


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="inpaint", description="Paint over anything in a photo and get a believable picture back."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser(
        "run",
        help="fill the holes of a photo, or of a folder of photos",
        description="Fill the holes of a photo, or of a folder of photos. Pixels outside the mask stay as "
        "they are: to the bit in PNG, WebP, TIFF and BMP, up to its compression in JPEG.",
        epilog="In folders, photos and masks pair by file stem (dog.jpg, dog.png), and results keep each "
        "photo's file name. With --candidates N they are numbered: dog-1.jpg to dog-N.jpg. A photo that "
        "cannot be done is reported and skipped; the exit code is then 1.",
    )
    run.add_argument(
        "--image", type=Path, required=True, metavar="FILE|DIR", help="photo, or folder of photos"
    )
    run.add_argument(
        "--mask",
        type=Path,
        required=True,
        metavar="FILE|DIR",
        help="mask of the upright photo's size, or folder of masks; pixels above 127 are filled",
    )
    run.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE|DIR",
        help="file, whose suffix names the format, or folder; never the photo itself",
    )
    run.add_argument(
        "--model",
        default="pconv-carafe",
        metavar="NAME",
        help="installed model, folder, weights file or hub id (default: %(default)s)",
    )
    run.add_argument(
        "--device",
        type=_device,
        default="auto",
        metavar="NAME",
        help="auto, cpu, cuda or cuda:1 (default: %(default)s)",
    )
    run.add_argument(
        "--detail",
        choices=_DETAILS,
        default="photo",
        help="photo lays the photo's own texture over the network's fill; none is that fill alone, which is "
        "smoother (default: %(default)s)",
    )
    run.add_argument(
        "--seed",
        type=_whole(0, _LARGEST_SEED),
        default=0,
        metavar="N",
        help="other seeds lay the texture in other ways; equal seeds give equal fills (default: %(default)s)",
    )
    run.add_argument(
        "--grow",
        type=_whole(0, 1000),
        default=0,
        metavar="N",
        help="fill so many pixels around the mask, too: a mask that is tight to an object with soft edges "
        "leaves its rim, and a few pixels take it up (default: %(default)s)",
    )
    run.add_argument(
        "--candidates",
        type=_whole(1, 99),
        default=1,
        metavar="N",
        help="write N fills to choose from, of the seeds from --seed on: --output filled.png becomes "
        "filled-1.png to filled-N.png (default: %(default)s)",
    )
    run.add_argument(
        "--max-megapixels",
        type=_millions("megapixels", 50),
        default=MAX_PIXELS / 1e6,
        metavar="N",
        help="refuse larger pictures before decoding them (default: %(default)g)",
    )
    run.add_argument(
        "--max-megabytes",
        type=_millions("megabytes", 500),
        default=MAX_FILE_BYTES / 1e6,
        metavar="N",
        help="refuse larger files before reading them (default: %(default)g)",
    )
    commands.add_parser("models", help="list the installed models: name, size, scores")
    return parser


def _millions(unit: str, example: int) -> Callable[[str], float]:
    """The type of a size in millions that can be told in whole ones."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (value > 0 and math.isfinite(value * 1e6)):
            raise argparse.ArgumentTypeError(f"expected {unit} above 0, such as {example}, got {text!r}")
        return value

    return parse


def _device(text: str) -> str:
    try:
        return check_device_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _whole(least: int, most: int) -> Callable[[str], int]:
    """The type of a whole number within bounds."""

    def parse(text: str) -> int:
        # No more digits than `most` has: to read thousands of them takes long, and Python refuses it.
        value = int(text) if re.fullmatch(r"0*[0-9]{1,19}", text) and len(text) < 100 else -1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, got {text!r}")
        return value

    return parse


def _run(parser: ArgumentParser, arguments: argparse.Namespace) -> int:
    count = arguments.candidates
    if count > 1 and arguments.detail == "none":
        parser.error(
            f"--candidates {count}: the network alone has one fill of a hole; leave --candidates out, "
            "or take --detail photo"
        )
    if arguments.seed + count - 1 > _LARGEST_SEED:
        parser.error(f"--seed {arguments.seed}: no room for {count} seeds from there on; name a smaller one")
    try:
        tasks = _pair(parser, arguments.image, arguments.mask, arguments.output, count)
    except OSError as error:  # a name that is too long, a folder that may not be listed
        parser.error(f"{error.filename}: {error.strerror}")
    # After the paths are known to make sense: this import and the model take seconds.
    from inpaint.inference import Inpainter

    try:
        fill = Inpainter.from_pretrained(arguments.model, device=arguments.device, detail=arguments.detail)
    except ValueError as error:
        parser.error(str(error))

    for format in sorted({format_for(task.outputs[0]) for task in tasks} & LOSSY_FORMATS):
        _say(f"note: {format} does not keep pixels outside the mask exactly; name a .png output for that")
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
                _fill_one(fill, task, arguments.seed, arguments.grow, limits, bar)
            except (ValueError, OSError, RuntimeError, MemoryError) as error:
                # ValueError covers ImageError; RuntimeError is what torch raises when a GPU is out of memory.
                failed += 1
                message = str(error) or type(error).__name__
                if isinstance(error, LimitError):
                    message = error.explain(_LIMIT_FLAGS)
                _say(f"error: {message if str(task.photo) in message else f'{task.photo}: {message}'}")
            bar.update(done + 1 - bar.n)
    if failed:
        _say(f"{failed} of {len(tasks)} photos failed, {len(tasks) - failed} written")
    return 1 if failed else 0


def _fill_one(fill: Inpainter, task: _Task, seed: int, grow: int, limits: dict[str, int], bar: tqdm) -> None:
    """Read a photo and its mask, and write each of its fills as it is done."""
    from inpaint.inference.inpainter import grown

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
    format = format_for(task.outputs[0])
    check_can_hold(format, width, height)
    notes = list(photo.notes)
    if not mask.any():
        notes.append(f"its mask {task.masks[0].name} has no pixel above 127, so nothing was filled")
    elif grown(mask, grow).all():
        around = f", grown by {grow} pixels," if grow else ""
        notes.append(f"its mask {task.masks[0].name}{around} leaves nothing to fill from, so all is grey")
    if photo.alpha is not None and format not in ALPHA_FORMATS:
        notes.append(f"{task.outputs[0].suffix} files hold no transparency; it was left out")
    for note in notes:
        _say(f"note: {task.photo}: {note}")
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


def _advance(bar: tqdm, position: float) -> None:
    bar.update(position - bar.n)


def _pair(parser: ArgumentParser, image: Path, mask: Path, output: Path, count: int) -> list[_Task]:
    """Find the photos, the masks of each and where each result goes; usage errors end the program.

    With a `count` above 1 a photo has that many results.
    """
    for option, path in (("--image", image), ("--mask", mask)):
        if not path.exists():
            parser.error(f"{option} {path}: there is no such file or folder")
    photos = [image]
    if image.is_dir():
        photos, ignored = _image_files(image)
        if not photos:
            parser.error(f"--image {image}: holds no photos ({', '.join(SUFFIXES)})")
        if ignored:
            _say(f"note: ignored in {image}, not an image by its suffix: {', '.join(ignored)}")
        if output.exists() and not output.is_dir():
            parser.error(f"--output {output}: is a file; results of a folder of photos go to a folder")
    into_folder = image.is_dir() or output.is_dir() or not output.suffix

    masks_by_stem: dict[str, list[Path]] = {}
    if mask.is_dir():
        for path in _image_files(mask)[0]:
            masks_by_stem.setdefault(path.stem, []).append(path)
    tasks = [
        _Task(
            photo=photo,
            masks=masks_by_stem.get(photo.stem, []) if mask.is_dir() else [mask],
            outputs=_numbered(output / photo.name if into_folder else output, count),
        )
        for photo in photos
    ]
    sources = _Places(
        [*photos, *itertools.chain.from_iterable(masks_by_stem.values()), *([] if mask.is_dir() else [mask])]
    )
    for path in itertools.chain.from_iterable(task.outputs for task in tasks):
        if path.suffix.lower() not in SUFFIXES:
            parser.error(f"--output {path}: unknown format; end it in one of {', '.join(SUFFIXES)}")
        if _is_folder(path):
            parser.error(f"--output {path}: is a folder; a photo cannot be written there")
        source = sources.at(path)
        if source is not None:
            fill = f"{path.name} " if count > 1 else ""
            parser.error(f"--output {output}: {fill}would overwrite {source}; name another file or folder")
    folder = output if into_folder else output.parent
    try:
        prepare_folder(folder)
    except OSError as error:
        parser.error(f"--output {folder}: no photo can be written there ({error.strerror})")
    remove_partials(folder, {path.name for task in tasks for path in task.outputs})
    return tasks


def _is_folder(path: Path) -> bool:
    """Whether this is a folder; raises OSError where there can be nothing of that name."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


class _Places:
    """Where files lie, to find one of them by another path that leads there."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = {key: path for path in paths for key in self._keys(path)}

    def at(self, path: Path) -> Path | None:
        """Return the file that a path leads to, or would: a link to nothing, or to itself, is one too."""
        return next((self._paths[key] for key in self._keys(path) if key in self._paths), None)

    @staticmethod
    def _keys(path: Path) -> Iterator[str | tuple[int, int]]:
        # `Path.resolve` raises where links go round in a circle.
        yield os.path.realpath(path)
        # Other names of one file: hard links, and capitals where the system takes them for small letters.
        with contextlib.suppress(OSError):
            status = path.stat()
            yield status.st_dev, status.st_ino


def _numbered(path: Path, count: int) -> list[Path]:
    """Return the paths of `count` results: photo.png, or photo-1.png, photo-2.png and so on.

    Two photos have no path in common: the number is what follows the last hyphen.
    """
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(1, count + 1)]


def _image_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Return what a folder holds of images by suffix, sorted, and the names of its other files; none hidden.

    A pipe or the like that is named as an image is returned as one: reading it is an error that names it.
    """
    images, others = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() in SUFFIXES:
            images.append(path)
        elif path.is_file():
            others.append(path.name)
        elif not path.is_dir():
            others.append(f"{path.name} ({why_not_regular(path)})")
    return images, others


def _list_models() -> int:
    # Here, because it loads torch, which `inpaint --help` has no need of.
    from inpaint.weights import WEIGHTS_FILE, WeightsError, installed_models, models_folder

    try:
        models = installed_models()
    except WeightsError as error:
        _say(f"error: {error}")
        return 1
    if not models:
        _say(f"no models are installed in {models_folder()}")
        return 0
    metrics = list(dict.fromkeys(metric for model in models for metric in model.scores))
    rows = [["name", "weights", "size", *metrics, "description"]]
    for model in models:
        file = model.folder / WEIGHTS_FILE
        size = f"{file.stat().st_size / 2**20:.1f} MiB" if file.is_file() else "missing"
        scores = [f"{model.scores[metric]:g}" if metric in model.scores else "–" for metric in metrics]
        rows.append([model.name, f"{model.parameters / 1e6:.1f} M", size, *scores, model.description])
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{printable(line.rstrip())}\n")
    return 0


def _say(text: str) -> None:
    tqdm.write(printable(text), file=sys.stderr)
