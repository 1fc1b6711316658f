"""Score inpainting methods side by side on the same photos with the same holes.

Baselines alone, or with a model, on the 256-pixel centre crops of a folder or a tar of photos:

    python evaluate.py --images photos --masks free-form:0.1-0.5 --methods telea,ns,harmonic --output runs/a
    python evaluate.py --images val.tar --masks thin:0.05-0.2 --methods harmonic,pconv-carafe --output runs/b

With your own masks, which pair with the photos by file stem, or with masks drawn at random from a folder:

    python evaluate.py --images photos --masks masks/ --methods telea,pconv-carafe --output runs/c
    python evaluate.py --images photos --masks folder:irregular/ --methods telea,pconv-carafe --output runs/d

With detail of the photo itself laid over the fill of a model or a baseline:

    python evaluate.py --images photos --masks box --methods pconv-carafe,pconv-carafe+photo --output runs/e

With another program's results: export the crops (holes painted grey) and masks, fill them, score the folder:

    python evaluate.py --images photos --masks box --methods telea --output runs/f --export runs/inputs
    inpaint run --image runs/inputs/images --mask runs/inputs/masks --output runs/inputs/mine
    python evaluate.py --images photos --masks box --methods telea,mine=runs/inputs/mine --output runs/f

The export writes a manifest.json, by which results of other photos or holes are refused.

OUTPUT receives results.json, table.md (the same numbers, and the differences between methods with their 95 %
intervals) and sheet.png. Set the number of CPU threads by the environment, for example OMP_NUM_THREADS=2. The
exit code is 1 if a photo or a mask could not be read and was left out, 2 if there is no report, and 130 after
Ctrl-C.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from inpaint.evaluation.command import Settings, run
from inpaint.evaluation.methods import METHODS
from inpaint.plugins import add_plugin_flag
from inpaint.terminal import ArgumentParser


def parse_arguments(argv: Sequence[str], prog: str = "evaluate.py") -> Settings:
    """Read the command line; `prog` is what the command is called."""
    text = str(__doc__)
    parser = ArgumentParser(
        prog=prog,
        description=text if prog == "evaluate.py" else text.replace("python evaluate.py", prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--images", required=True, metavar="DIR|TAR", help="photos: a folder or a tar")
    add("--masks", required=True, metavar="DIR|RECIPE", help="a folder, or a recipe: free-form:0.1-0.5")
    add(
        "--methods",
        required=True,
        metavar="A,B,...",
        help=f"baselines ({', '.join(METHODS)}), models (name, folder or hub id; the network alone), "
        "either with +photo behind it for detail from the photo, NAME=DIR for ready results",
    )
    add("--output", required=True, type=Path, metavar="DIR", help="where the report goes")
    add("--seed", type=int, default=0, help="masks are drawn from it and the photo's name (default 0)")
    add("--size", type=int, default=256, help="side of the centre crop in pixels (default 256)")
    add("--limit", type=int, metavar="N", help="N photos, spread evenly over the sorted names (default: all)")
    add("--device", default="auto", help="where models run: auto, cpu, cuda or cuda:1 (default auto)")
    add("--sheet-rows", type=int, default=8, metavar="N", help="photos on the picture sheet (default 8)")
    add(
        "--lpips",
        action=argparse.BooleanOptionalAction,
        help="require LPIPS, or leave it out (default: where its weights are on this machine)",
    )
    add(
        "--features",
        metavar="squeezenet:FILE",
        help="feature distance with these weights of torchvision's squeezenet1_1, safetensors or pth; also "
        "vgg16:FILE, and without :FILE what torch.hub's folder has",
    )
    add("--export", type=Path, metavar="DIR", help="also write crops and masks, for other programs")
    add("--fill-suffix", default="", metavar="TEXT", help="_result where NAME=DIR holds STEM_result.png")
    add("--manifest", type=Path, metavar="FILE", help="of the export (default: in NAME=DIR or its parent)")
    add_plugin_flag(parser)
    return Settings(**vars(parser.parse_args(argv)), prog=prog)


def main(argv: Sequence[str], prog: str = "evaluate.py") -> int:
    """Run the command, `evaluate.py` or `inpaint evaluate`, and return the exit code."""
    return run(parse_arguments(argv, prog))
