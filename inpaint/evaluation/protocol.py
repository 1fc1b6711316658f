"""The evaluation itself: every method fills every case, and the scores of the images are averaged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from inpaint.evaluation.averages import method_results
from inpaint.evaluation.cases import Case, EvaluationSet
from inpaint.evaluation.differences import differences
from inpaint.evaluation.schema import Difference, MethodResults
from inpaint.evaluation.scoring import HoleMetric, Method, PictureMetric, ReadyFills, compare, fill_case
from inpaint.evaluation.sheet import SheetRow, SheetSample
from inpaint.metrics import patch_distance


@dataclass
class Evaluation:
    """What `evaluate` measured.

    Attributes:
        records: one per image: its name, hole ratio, and each method's scores by the names of METRICS.
        sha256: hash of the images' names and masks; two runs with equal hashes filled the same holes.
        rows: sample of the pictures for a sheet, spread over the hole ratios, in rising order of ratio.
        truth_patch_distance: mean patch distance of the photos themselves, what a perfect fill would score;
            None where no image has one.
    """

    records: list[tuple[str, float, dict[str, dict[str, float | None]]]]
    sha256: str
    rows: list[SheetRow] = field(default_factory=list)
    truth_patch_distance: float | None = None

    def differences(self) -> list[Difference]:
        """Return the "differences" part of results.json, see `inpaint.evaluation.differences`."""
        return differences([scores for _, _, scores in self.records])

    def summary(self) -> dict[str, MethodResults]:
        """Return the "methods" part of results.json: means over all images and per bin of hole ratio."""
        methods = list(self.records[0][2]) if self.records else []
        return {
            method: method_results([(ratio, scores[method]) for _, ratio, scores in self.records])
            for method in methods
        }


def evaluate(
    methods: Mapping[str, Method | ReadyFills],
    cases: Iterable[Case],
    *,
    lpips: PictureMetric | None = None,
    feature_distance: HoleMetric | None = None,
    sheet_rows: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Let every method fill every case, and score the composites.

    Methods run image by image, each on its own copy of the destroyed image and the mask. On the first image
    each has an untimed call before: first calls load, build and tune, and would distort the mean of a short
    run.

    Args:
        methods: by name.
        cases: what is filled, such as an `EvaluationSet`.
        lpips: a metric such as `LpipsAlex`, or None to leave it out.
        feature_distance: a metric such as `FeatureDistance`, or None to leave it out.
        sheet_rows: so many images are kept for a picture sheet.
        progress: show a bar on stderr.

    Returns:
        The scores of each image, and what the report needs beside them.

    Raises:
        ValueError: there is no case or no method.
        MethodError: a method fails.
    """
    if not methods:
        raise ValueError("methods: there is no method to evaluate")
    digest = hashlib.sha256()
    records: list[tuple[str, float, dict[str, dict[str, float | None]]]] = []
    of_truth: list[float] = []
    sample = SheetSample(sheet_rows)
    for case in tqdm(cases, desc="evaluating", unit="photo", disable=not progress):
        digest.update(f"{case.name}\0{case.mask.shape}\0".encode("utf-8", "surrogateescape"))
        digest.update(np.packbits(case.mask).tobytes())
        if not records:
            _warm_up(methods, case)
        compared = compare(case, methods, lpips=lpips, feature_distance=feature_distance)
        fills = {name: fill for name, (fill, _) in compared.items()}
        scores = {name: scored for name, (_, scored) in compared.items()}
        records.append((case.name, case.hole_ratio, scores))
        if (distance := patch_distance(case.image, case.mask)) is not None:
            of_truth.append(distance)
        sample.offer(SheetRow(case, fills, scores))
    if not records:
        skipped = cases.skipped if isinstance(cases, EvaluationSet) else {}
        first = next((f" (the first: {name}: {reason})" for name, reason in skipped.items()), "")
        raise ValueError(f"cases: none of the photos could be used{first}")
    mean = float(np.mean(of_truth)) if of_truth else None
    return Evaluation(records, digest.hexdigest(), sample.chosen(), mean)


def _warm_up(methods: Mapping[str, Method | ReadyFills], case: Case) -> None:
    for name, method in methods.items():
        if callable(method):
            fill_case(name, method, case)
