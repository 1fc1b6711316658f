#!/usr/bin/env python
r"""Score the exemplar stage with parts of it taken away: what is each worth?

    python benchmarks/detail_parts.py --images photos/val.tar
    python benchmarks/detail_parts.py --images photos/val --count 60 --features squeezenet:FILE \
        --masks box:0.05-0.3 --output benchmarks/results/detail_parts.md

Photos, holes and scores are those of evaluate.py. `patchmatch` stands beside them where PyPatchMatch is
installed.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from measurement import markdown_table, publish, report

from inpaint import Inpainter
from inpaint.datasets import open_photos
from inpaint.evaluation import METHODS, EvaluationSet, evaluate
from inpaint.evaluation.scoring import Method
from inpaint.inference import detail, synthesis
from inpaint.metrics import FeatureDistance
from inpaint.urls import source_label

SCORES = {"psnr": "PSNR dB", "feature_distance": "features", "detail": "detail", "patch_distance": "patches"}


def _full_confidence(smooth: np.ndarray, hole: np.ndarray, scale: float) -> np.ndarray:
    return np.ones(hole.shape, np.float32)


VARIANTS: Mapping[str, Mapping[tuple[Any, str], Any]] = {
    "the whole": {},
    "the guide steers no search": {(synthesis, "_GUIDE_WEIGHTS"): ()},
    "no low frequencies put back": {(detail, "_LOW_BANDS"): ()},
    "neither": {(synthesis, "_GUIDE_WEIGHTS"): (), (detail, "_LOW_BANDS"): ()},
    "the guide trusted everywhere": {
        (synthesis, "confidence_of"): _full_confidence,
        (detail, "confidence_of"): _full_confidence,
    },
    "no texture channel": {(synthesis, "_TEXTURE_GAIN"): 0.0},
    "smooth places as all others": {(detail, "_SMOOTH"): (-2.0, -1.0)},
    "means of patches alone": {(synthesis, "_sharpen"): lambda picture, own, best: None},
    "sources used without limit": {(synthesis, "_OVERUSE"): 0.0},
    "thin holes as all others": {(detail, "THIN"): 0.0},
}


@contextmanager
def variant(changes: Mapping[tuple[Any, str], Any]) -> Iterator[None]:
    """Put other values into the modules for a while."""
    with ExitStack() as stack:
        for (module, name), value in changes.items():
            stack.enter_context(patch.object(module, name, value))
        yield


def filled(
    guide: Callable[[np.ndarray, np.ndarray], np.ndarray],
    changes: Mapping[tuple[Any, str], Any],
    image: np.ndarray,
    mask: np.ndarray,
) -> np.ndarray:
    """Fill as a variant does."""
    with variant(changes):
        return detail.add_detail(image, guide(image, mask), mask)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--images", required=True, metavar="DIR|TAR")
    parser.add_argument(
        "--model", default="pconv-carafe", metavar="NAME", help="the guide (default: %(default)s)"
    )
    parser.add_argument(
        "--masks",
        nargs="+",
        default=["object:0.05-0.25", "box:0.05-0.3", "free-form:0.1-0.5"],
        metavar="RECIPE",
    )
    parser.add_argument("--count", type=int, default=32, metavar="N", help="photos (default: %(default)s)")
    parser.add_argument(
        "--size", type=int, default=256, help="side of the centre crop (default: %(default)s)"
    )
    parser.add_argument("--features", metavar="NAME:FILE", help="as in evaluate.py")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the page there")
    arguments = parser.parse_args()

    network = Inpainter.from_pretrained(arguments.model, "cpu", detail="none")
    features = FeatureDistance.load(arguments.features, "cpu") if arguments.features else None
    methods: dict[str, Method] = {f"{arguments.model} alone": network}
    if find_spec("patchmatch"):
        methods["patchmatch"] = METHODS["patchmatch"]
    for name, changes in VARIANTS.items():
        methods[name] = functools.partial(filled, network, changes)
    methods["guided by the membrane"] = functools.partial(filled, METHODS["harmonic"], {})

    tables = []
    for masks in arguments.masks:
        cases = EvaluationSet(open_photos(arguments.images), masks, 0, arguments.size, arguments.count)
        evaluation = evaluate(methods, cases, feature_distance=features, progress=True)
        summary: dict[str, Any] = {**evaluation.summary()}
        shown = {key: title for key, title in SCORES.items() if summary["the whole"][key] is not None}
        rows = [
            [name, *(f"{entry[key]:.{3 if key == 'feature_distance' else 2}f}" for key in shown)]
            for name, entry in summary.items()
        ]
        tables.append(f"Holes `{masks}`:\n\n" + markdown_table(["", *shown.values()], rows))
    facts = {
        "photos": f"{arguments.count} of {source_label(arguments.images)}, crops of {arguments.size} pixels",
        "features": features.name if features else "none",
    }
    publish(report("What the parts of the exemplar stage are worth", facts, tables), arguments.output)


if __name__ == "__main__":
    main()
