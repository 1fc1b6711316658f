#!/usr/bin/env python
r"""Make the README's pictures: three holes filled by rule, or one photo before, painted over and after.

    python benchmarks/make_readme_picture.py --photos photos
    python benchmarks/make_readme_picture.py
    python benchmarks/make_readme_picture.py --photo coffee --mask free-form:0.1-0.2 --seed 3 \
        --models pconv-carafe pconv-carafe-sharp --output docs/sharp.png
    python benchmarks/make_readme_picture.py --photo chelsea --mask free-form:0.1-0.2 --seed 3

Nobody chooses what the first picture shows: with --photos the first, the fourth and the seventh photo of a
folder by name, without it the first three by name of those below, each with the hole of 5 % that --seed draws
for its name (`comparison.object_hole`). Beside the model's fill stand Telea's and PatchMatch's, as
large_photos.py makes them.

--photo makes a strip of one photo that scikit-image ships, free for any use; nothing is downloaded. Each has
strokes placed by hand over something worth removing; --mask draws a hole from a recipe instead. Photos are
filled at their own size, and only the finished picture is shrunk.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
from comparison import GAP, cell, filled_small, object_hole, painted, photo_files, sheet, square_around
from PIL import Image, ImageDraw

from inpaint import Inpainter
from inpaint.evaluation.methods import check_patchmatch, patchmatch, telea
from inpaint.images import read_photo
from inpaint.masks import generator_for, parse_recipe

ROOT = Path(__file__).resolve().parent.parent
LARGEST_STRIP = 500_000  # bytes; a picture is in the repository's history for good
LARGEST_COMPARISON = 400_000
PLACES = (0, 3, 6)  # of the photos of a folder, by name: apart, as neighbours may show the same


@dataclass(frozen=True)
class Stroke:
    """A round brush of `width` px drawn through `points`, (x, y) in pixels of the photo."""

    width: int
    points: Sequence[tuple[int, int]]


STROKES = {
    # The model of the space shuttle in the background.
    "astronaut": [
        Stroke(92, [(413, -20), (416, 130), (416, 230)]),
        Stroke(44, [(372, 210), (372, 260), (460, 260), (456, 206)]),
    ],
    # The spoon.
    "coffee": [
        Stroke(34, [(412, 76), (402, 150), (384, 226), (350, 240)]),
        Stroke(96, [(368, 264), (362, 284)]),
    ],
    # Scratches, as on an old print.
    "chelsea": [
        Stroke(9, [(-5, 60), (90, 40), (200, 75), (330, 30), (455, 50)]),
        Stroke(7, [(40, 305), (110, 210), (150, 150), (250, 100), (300, -5)]),
        Stroke(12, [(455, 230), (360, 200), (260, 160), (190, 230), (150, 305)]),
    ],
    # The two slender lightning towers beside the rocket.
    "rocket": [
        Stroke(26, [(200, 116), (199, 190)]),
        Stroke(44, [(198, 200), (191, 375)]),
        Stroke(26, [(447, 116), (448, 190)]),
        Stroke(44, [(449, 200), (456, 375)]),
    ],
}


def hand_placed_mask(strokes: Sequence[Stroke], height: int, width: int) -> np.ndarray:
    """Draw strokes with round ends and joints; bool H×W, True = fill."""
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    for stroke in strokes:
        draw.line(stroke.points, fill=1, width=stroke.width)
        radius = stroke.width / 2
        for x, y in stroke.points:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    # Not an image of mode "1": NumPy takes its bytes of 255 over, and views of them are not 1 where True.
    return np.array(canvas) > 0


def side_by_side(panels: Sequence[np.ndarray], width: int) -> Image.Image:
    """Put pictures of one size (uint8 H×W×3) in a row, `width` px wide in all."""
    panel_width = (width - GAP * (len(panels) - 1)) // len(panels)
    panel_height = round(panels[0].shape[0] * panel_width / panels[0].shape[1])
    strip = Image.new("RGB", (width, panel_height), "white")
    for index, panel in enumerate(panels):
        shrunk = Image.fromarray(panel).resize((panel_width, panel_height), Image.Resampling.LANCZOS)
        strip.paste(shrunk, (index * (panel_width + GAP), 0))
    return strip


def encode_strip(panels: Sequence[np.ndarray], width: int) -> bytes:
    """Return the strip as PNG, at most `width` px wide and narrower where LARGEST_STRIP asks for it."""
    while True:
        buffer = io.BytesIO()
        side_by_side(panels, width).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= LARGEST_STRIP:
            return buffer.getvalue()
        width = width * 19 // 20


def compared(name: str, photo: np.ndarray, seed: int, fill: Inpainter, side: int) -> list[np.ndarray]:
    """Cells of one photo: its hole marked, and what Telea, PatchMatch and the model put there."""
    mask = object_hole(seed, name, *photo.shape[:2])
    fills = [filled_small(telea, photo, mask), filled_small(patchmatch, photo, mask), fill(photo, mask)]
    return [cell(picture, square_around(mask), side) for picture in (painted(photo, mask), *fills)]


def encode_comparison(rows: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Return the rows below their titles, as JPEG as good as LARGEST_COMPARISON allows."""
    picture = sheet(["photo, hole marked", "Telea", "PatchMatch", "carafe-inpaint"], rows)
    for quality in range(92, 40, -4):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= LARGEST_COMPARISON:
            break
    return buffer.getvalue()


def picture_by_rule(folder: Path | None, seed: int, model: str, width: int) -> bytes:
    """Return the comparison that the rule asks for; raise ValueError where the folder has too few photos."""
    if folder is None:
        photos = {name: np.ascontiguousarray(getattr(skimage.data, name)()) for name in sorted(STROKES)[:3]}
    else:
        files = photo_files(folder)
        if len(files) <= max(PLACES):
            raise ValueError(f"{folder}: {max(PLACES) + 1} photos or more are needed, found {len(files)}")
        photos = {files[place].name: read_photo(files[place]).pixels for place in PLACES}
    check_patchmatch()
    fill = Inpainter.from_pretrained(model)
    side = (width - 3 * GAP) // 4
    return encode_comparison([compared(name, photo, seed, fill, side) for name, photo in photos.items()])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--photos", type=Path, metavar="DIR", help="compare on photos of this folder")
    source.add_argument("--photo", choices=sorted(STROKES), help="a strip of this photo of scikit-image")
    parser.add_argument(
        "--mask", metavar="RECIPE", help="with --photo: such as free-form:0.1-0.2, not the placed strokes"
    )
    parser.add_argument("--seed", type=int, default=0, help="of a hole that is drawn")
    parser.add_argument(
        "--models",
        nargs="+",
        default=["pconv-carafe"],
        metavar="MODEL",
        help="installed models, folders or hub ids; a comparison takes one, and of several a strip shows "
        "the fills without the untouched photo",
    )
    parser.add_argument("--width", type=int, default=1200, help="of the picture, in pixels, at most")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="default: docs/example.jpg with --photos, docs/NAME.png with --photo, runs/example.jpg without",
    )
    arguments = parser.parse_args()
    if arguments.photo is None:
        if arguments.mask or len(arguments.models) > 1:
            parser.error("--mask and several models go with --photo alone")
        output = arguments.output or ROOT / ("docs" if arguments.photos else "runs") / "example.jpg"
        try:
            data = picture_by_rule(arguments.photos, arguments.seed, arguments.models[0], arguments.width)
        except ValueError as error:
            parser.error(str(error))
    else:
        output = arguments.output or ROOT / "docs" / f"{arguments.photo}.png"
        data = strip(arguments)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(data)
    print(f"{output}: {len(data) // 1000} kB")


def strip(arguments: argparse.Namespace) -> bytes:
    """Return the strip that the command line asks for."""
    photo = np.ascontiguousarray(getattr(skimage.data, arguments.photo)())
    height, width, _ = photo.shape
    if arguments.mask is None:
        mask = hand_placed_mask(STROKES[arguments.photo], height, width)
    else:
        mask = parse_recipe(arguments.mask)(generator_for(arguments.seed, arguments.photo), height, width)
    fills = [Inpainter.from_pretrained(model)(photo, mask) for model in arguments.models]
    before = [photo] if len(fills) == 1 else []
    return encode_strip([*before, painted(photo, mask), *fills], arguments.width)


if __name__ == "__main__":
    main()
