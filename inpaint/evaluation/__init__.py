"""Scoring methods on photos with holes: the pictures and holes, baselines, tables and picture sheets."""

from inpaint.evaluation.export import export_cases
from inpaint.evaluation.fills import FillFolder, check_fills
from inpaint.evaluation.methods import METHODS, resolve_method
from inpaint.evaluation.protocol import Case, EvaluationSet, centre_crop, evaluate, iter_cases, score_method
from inpaint.evaluation.report import markdown, picture_sheet, write_report

__all__ = [
    "METHODS",
    "Case",
    "EvaluationSet",
    "FillFolder",
    "centre_crop",
    "check_fills",
    "evaluate",
    "export_cases",
    "iter_cases",
    "markdown",
    "picture_sheet",
    "resolve_method",
    "score_method",
    "write_report",
]
