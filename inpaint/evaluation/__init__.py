"""Scoring methods on photos with holes: the pictures and holes, baselines, tables and picture sheets."""

from inpaint.evaluation.baselines import METHODS, resolve_method
from inpaint.evaluation.protocol import Case, EvaluationSet, centre_crop, evaluate, iter_cases
from inpaint.evaluation.report import export_cases, markdown, picture_sheet, write_report

__all__ = [
    "METHODS",
    "Case",
    "EvaluationSet",
    "centre_crop",
    "evaluate",
    "export_cases",
    "iter_cases",
    "markdown",
    "picture_sheet",
    "resolve_method",
    "write_report",
]
