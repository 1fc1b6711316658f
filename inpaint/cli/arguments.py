"""The command line of `inpaint`: its flags, and the types of their values."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path

from inpaint import __version__
from inpaint.devices import check_device_name
from inpaint.images import MAX_FILE_BYTES, MAX_PIXELS
from inpaint.plugins import add_plugin_flag
from inpaint.serving.command import add_serve_command
from inpaint.serving.doctor import add_doctor_command
from inpaint.terminal import ArgumentParser

DETAILS = ("photo", "none")
"""The values of `--detail`. `inpaint.inference.inpainter` has the same, but to import it would load torch."""

LARGEST_SEED = 2**63 - 1


class UsageError(ValueError):
    """The arguments make no sense together, or with the files that are there."""


def build_parser() -> ArgumentParser:
    """Return the parser of the whole command line."""
    parser = ArgumentParser(
        prog="inpaint", description="Paint over anything in a photo and get a believable picture back."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser(
        "run",
        help="fill the holes of a photo, or of a folder of photos",
        description="Fill the holes of a photo, or of a folder of photos. Pixels outside the mask stay as "
        "they are: to the bit in PNG and TIFF, with 8 or 16 bits a channel, and in WebP and BMP with 8; "
        "up to its compression in JPEG. Resolution, EXIF, XMP, texts, colour profile and georeference are "
        "kept where the format of the output can hold them; a note names what it cannot.",
        epilog="In folders, subfolders included, photos and masks pair by their paths without extension "
        "(trip/dog.jpg, trip/dog.png), and results keep each photo's. With --candidates N they are numbered: "
        "dog-1.jpg to dog-N.jpg. A photo that cannot be done is reported and skipped, as one is whose mask "
        "has no hole; the exit code is then 1.",
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
        "--mask-suffix",
        default="",
        metavar="TEXT",
        help="what the masks' names have after the photos': --mask-suffix=_mask pairs dog.jpg with "
        "dog_mask.png. They may then lie beside the photos, and --mask is that folder again",
    )
    run.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE|DIR",
        help="file, whose suffix names the format, or folder; never the photo itself",
    )
    existing = run.add_mutually_exclusive_group()
    existing.add_argument(
        "--skip-existing",
        dest="existing",
        action="store_const",
        const="skip",
        help="leave results that are there, and make the others; without this or the next, a result that is "
        "there is an error before anything is started",
    )
    existing.add_argument(
        "--overwrite", dest="existing", action="store_const", const="overwrite", help="make all results anew"
    )
    run.set_defaults(existing="refuse")
    _add_fill_options(run)
    run.add_argument(
        "--candidates",
        type=whole_number(1, 99),
        default=1,
        metavar="N",
        help="write N fills to choose from, of the seeds from --seed on: --output filled.png becomes "
        "filled-1.png to filled-N.png (default: %(default)s)",
    )
    _add_limits(run)
    _add_trace_command(commands)
    commands.add_parser("models", help="list the installed models: name, size, scores")
    serve = add_serve_command(commands)
    serve.add_argument("--max-queue", dest="waiting", type=int, help=argparse.SUPPRESS)  # former name
    # For the list of commands: their flags are read by `inpaint.cli.work`.
    commands.add_parser("train", help="train a network, with the flags of train.py", add_help=False)
    commands.add_parser("evaluate", help="score methods, with the flags of evaluate.py", add_help=False)
    add_doctor_command(commands)
    return parser


def _add_trace_command(commands: argparse._SubParsersAction[ArgumentParser]) -> None:
    trace = commands.add_parser(
        "trace",
        help="show where a pixel of a fill comes from",
        description="Fill a photo, and draw where one pixel of the fill comes from: how much the network's "
        "CARAFE kernels gathered of each known pixel, level by level, and which patch of the photo lies over "
        "it. Prints the share of each level.",
    )
    trace.add_argument("--image", type=Path, required=True, metavar="FILE", help="photo")
    trace.add_argument(
        "--mask", type=Path, required=True, metavar="FILE", help="mask of the upright photo's size"
    )
    trace.add_argument(
        "--at",
        type=pixel_place,
        required=True,
        action="append",
        metavar="X,Y",
        help="a pixel of the hole, counted from the left and from the top, beginning with 0; may be given "
        "several times: the pictures are drawn side by side",
    )
    trace.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="picture, whose suffix names the format"
    )
    trace.add_argument("--overwrite", action="store_true", help="write over a file that is there")
    trace.add_argument(
        "--weights",
        type=Path,
        metavar="FILE.npy",
        help="also write how much of each pixel of the photo was gathered: a NumPy array, float32, a "
        "height×width for each --at",
    )
    _add_fill_options(trace)
    _add_limits(trace)


def _add_fill_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default="pconv-carafe",
        metavar="NAME",
        help="installed model, folder, weights file or hub id (default: %(default)s)",
    )
    add_plugin_flag(parser)
    parser.add_argument(
        "--device",
        type=device_name,
        default="auto",
        metavar="NAME",
        help="auto, cpu, cuda or cuda:1 (default: %(default)s)",
    )
    parser.add_argument(
        "--detail",
        choices=DETAILS,
        default="photo",
        help="photo lays the photo's own texture over the network's fill; none is that fill alone, which is "
        "smoother (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0, LARGEST_SEED),
        default=0,
        metavar="N",
        help="other seeds lay the texture in other ways; equal seeds give equal fills (default: %(default)s)",
    )
    parser.add_argument(
        "--grow",
        type=whole_number(0, 1000),
        default=0,
        metavar="N",
        help="fill so many pixels around the mask, too: a mask that is tight to an object with soft edges "
        "leaves its rim, and a few pixels take it up (default: %(default)s)",
    )


def _add_limits(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--max-megapixels",
        type=millions("megapixels", 50),
        default=MAX_PIXELS / 1e6,
        metavar="N",
        help="refuse larger pictures before decoding them (default: %(default)g)",
    )
    parser.add_argument(
        "--max-megabytes",
        type=millions("megabytes", 500),
        default=MAX_FILE_BYTES / 1e6,
        metavar="N",
        help="refuse larger files before reading them (default: %(default)g)",
    )


def pixel_place(text: str) -> tuple[int, int]:
    """Parse the place of a pixel.

    >>> pixel_place("120,45")
    (120, 45)
    """
    found = re.fullmatch(r"\s*(\d{1,6})\s*,\s*(\d{1,6})\s*", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected X,Y such as 120,45, got {text!r}")
    return int(found[1]), int(found[2])


def device_name(text: str) -> str:
    """Parse the name of a device; whether it is here is found out later."""
    try:
        return check_device_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def millions(unit: str, example: int) -> Callable[[str], float]:
    """Return the type of an argument in millions: a number above 0.

    >>> millions("megapixels", 50)("0.5")
    0.5
    """

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (value > 0 and math.isfinite(value * 1e6)):
            raise argparse.ArgumentTypeError(f"expected {unit} above 0, such as {example}, got {text!r}")
        return value

    return parse


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return the type of an argument that is a whole number within bounds.

    >>> whole_number(0, 1000)("12")
    12
    >>> whole_number(0, 1000)("1001")
    Traceback (most recent call last):
    argparse.ArgumentTypeError: expected a whole number from 0 to 1000, got '1001'
    """

    def parse(text: str) -> int:
        # No more digits than `most` has: to read thousands of them takes long, and Python refuses it.
        value = int(text) if re.fullmatch(r"0*[0-9]{1,19}", text) and len(text) < 100 else -1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, got {text!r}")
        return value

    return parse
