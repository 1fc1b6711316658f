#!/usr/bin/env python
r"""Make the README's pictures: before, mask and after, side by side.

    python benchmarks/make_readme_picture.py
    python benchmarks/make_readme_picture.py --photo coffee --mask free-form:0.1-0.2 --seed 3 \
        --models pconv-carafe pconv-carafe-sharp --output docs/sharp.png
    python benchmarks/make_readme_picture.py --photo chelsea --mask free-form:0.1-0.2 --seed 3

The photos are those that scikit-image ships, free for any use; nothing is downloaded. Each has strokes placed
by hand over something worth removing; --mask draws a hole from a recipe instead. The photo is filled at its
own size, and only the finished strip is shrunk.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw

from inpaint import Inpainter
from inpaint.masks import generator_for, parse_recipe

ROOT = Path(__file__).resolve().parent.parent
LARGEST_FILE = 500_000  # bytes; the picture is in the repository's history for good
GAP = 8  # px of white between panels
PAINT = (232, 62, 98)  # a colour that none of the photos has


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
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    for stroke in strokes:
        draw.line(stroke.points, fill=1, width=stroke.width)
        radius = stroke.width / 2
        for x, y in stroke.points:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    return np.array(canvas)


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
    """The strip as PNG, at most `width` px wide and narrower where LARGEST_FILE asks for it."""
    while True:
        buffer = io.BytesIO()
        side_by_side(panels, width).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= LARGEST_FILE:
            return buffer.getvalue()
        width = width * 19 // 20


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--photo", choices=sorted(STROKES), default="astronaut", help="a photo of scikit-image"
    )
    parser.add_argument(
        "--mask", metavar="RECIPE", help="such as free-form:0.1-0.2, instead of the placed strokes"
    )
    parser.add_argument("--seed", type=int, default=0, help="of a mask drawn from a recipe")
    parser.add_argument(
        "--models",
        nargs="+",
        default=["pconv-carafe"],
        metavar="MODEL",
        help="installed models, folders or hub ids; with several, their fills without the untouched photo",
    )
    parser.add_argument("--width", type=int, default=1200, help="of the strip, in pixels, at most")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "example.png")
    arguments = parser.parse_args()

    photo = np.ascontiguousarray(getattr(skimage.data, arguments.photo)())
    height, width, _ = photo.shape
    if arguments.mask is None:
        mask = hand_placed_mask(STROKES[arguments.photo], height, width)
    else:
        mask = parse_recipe(arguments.mask)(generator_for(arguments.seed, arguments.photo), height, width)

    fills = [Inpainter.from_pretrained(model)(photo, mask) for model in arguments.models]
    painted = np.where(mask[..., None], np.array(PAINT, np.uint8), photo)
    before = [photo] if len(fills) == 1 else []
    png = encode_strip([*before, painted, *fills], arguments.width)

    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_bytes(png)
    print(f"{arguments.output}: {len(png) // 1000} kB, hole {mask.mean():.0%} of the photo")


if __name__ == "__main__":
    main()
