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

The export writes a manifest.json that identifies the photos and holes. By it, results of other photos or
holes are refused. It is looked for in the folder of results and in its parent, or named with --manifest.
Without a manifest, such results are refused by their pixels.

OUTPUT receives results.json, table.md (the same numbers, and the differences between methods with their 95 %
intervals) and sheet.png. Set the number of CPU threads by the environment, for example OMP_NUM_THREADS=2. The
exit code is 1 if a photo or a mask could not be read and was left out, 2 if there is no report, and 130 after
Ctrl-C.
"""

import argparse
import contextlib
import sys
from pathlib import Path, PurePosixPath

from inpaint.datasets import open_photos
from inpaint.devices import choose_device
from inpaint.evaluation.export import Manifest, export_cases
from inpaint.evaluation.fills import FillFolder, check_fills
from inpaint.evaluation.methods import METHODS, resolve_method
from inpaint.evaluation.protocol import DEFINITIONS, EvaluationSet, MethodError, evaluate
from inpaint.evaluation.report import markdown, write_report
from inpaint.evaluation.results import environment
from inpaint.files import prepare_folder
from inpaint.metrics import FeatureDistance, LpipsAlex, LpipsUnavailableError
from inpaint.terminal import ArgumentParser, printable
from inpaint.urls import is_url, source_label


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--images", required=True, metavar="DIR|TAR", help="photos: a folder or a tar")
    add(
        "--masks", required=True, metavar="DIR|RECIPE", help="masks: a folder, or a recipe: free-form:0.1-0.5"
    )
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
    add(
        "--export",
        type=Path,
        metavar="DIR",
        help="also write the crops and masks, for other programs, with a manifest.json",
    )
    add(
        "--fill-suffix",
        default="",
        metavar="TEXT",
        help="results of NAME=DIR are called STEM + TEXT, such as _result for STEM_result.png",
    )
    add(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="manifest.json of the export that NAME=DIR was filled from (default: DIR's, or its parent's)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = parse_arguments(argv)
    try:
        return run(arguments)
    except (ValueError, OSError, MethodError, LpipsUnavailableError) as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("interrupted before the report was written")
        return 130


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as the command line says and write the report; returns the exit code, 0 or 1."""
    device = str(choose_device(arguments.device))
    cases = EvaluationSet(
        open_photos(arguments.images), arguments.masks, arguments.seed, arguments.size, arguments.limit
    )
    methods = {}
    for word in arguments.methods.split(","):
        name, method = resolve_method(word.strip(), device, arguments.fill_suffix)
        if name in methods:
            raise ValueError(f"methods: {name} is named twice")
        methods[name] = method
    folders = {name: method for name, method in methods.items() if isinstance(method, FillFolder)}
    manifest = Manifest.read(arguments.manifest) if arguments.manifest else None
    features = FeatureDistance.load(arguments.features, device) if arguments.features else None
    lpips, lpips_unavailable = load_lpips(arguments.lpips, device)
    bar = sys.stderr.isatty()
    check_fills(folders, cases, manifest, progress=bar)
    try:
        prepare_folder(arguments.output)
    except OSError as error:
        raise ValueError(
            f"--output {arguments.output}: no report can be written there ({error.strerror or error}); "
            "name another folder"
        ) from error
    if arguments.export:
        export_cases(cases, arguments.export)
    evaluation = evaluate(
        methods,
        cases,
        lpips=lpips,
        feature_distance=features,
        sheet_rows=arguments.sheet_rows,
        progress=bar,
    )
    results = {
        "protocol": {
            "images": name_of(arguments.images),
            "image_count": len(evaluation.records),
            **cases.describe(),
            "sha256": evaluation.sha256,
            "metrics": DEFINITIONS,
            "truth_patch_distance": evaluation.truth_patch_distance,
            "features": {"backbone": features.name, "sha256": features.sha256} if features else None,
            "features_unavailable": None
            if features
            else "no backbone was given (--features squeezenet:FILE)",
            "lpips_unavailable": lpips_unavailable,
            "device": device,
            **environment(),
        },
        "methods": evaluation.summary(),
        "differences": evaluation.differences(),
    }
    # First the table: whatever the disk says then, the numbers are not lost.
    with contextlib.suppress(BrokenPipeError):
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(markdown(results).encode(encoding, "backslashreplace").decode(encoding))
    try:
        write_report(arguments.output, results, evaluation.rows)
    except OSError as error:
        raise ValueError(
            f"--output {arguments.output}: the report cannot be written ({error.strerror or error}); "
            "its table is what was printed"
        ) from error
    for name, reason in cases.skipped.items():
        say(f"left out {name}: {reason}")
    for name, reason in cases.broken_masks.items():
        say(f"passed over the mask {name}: {reason}")
    return 1 if cases.skipped or cases.broken_masks else 0


def say(text: str) -> None:
    """Tell the user a line."""
    sys.stderr.write(f"evaluate.py: {printable(text)}\n")


def name_of(images: str) -> str:
    """Return what the photos are called in the report; of a URL nothing that may be secret."""
    return PurePosixPath(source_label(images)).name if is_url(images) else Path(images).resolve().name


def load_lpips(wanted: bool | None, device: str) -> tuple[LpipsAlex | None, str | None]:
    """Return LPIPS, or None and the reason; raises only where LPIPS was asked for by name."""
    if wanted is False:
        return None, "switched off"
    try:
        return LpipsAlex.load(device), None
    except LpipsUnavailableError as error:
        if wanted:
            raise
        return None, str(error)


if __name__ == "__main__":
    sys.exit(main())
