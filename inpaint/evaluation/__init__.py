"""Scoring methods on photos with holes.

`cases` says which pictures and holes there are, `methods` what fills them, `scoring` how one fill becomes
numbers, `protocol` runs all methods on all cases, and `results`, `report` and `sheet` make the report.
`fills` and `export` are for the results of other programs, `arguments` and `command` are
the command.
"""

from inpaint.evaluation.cases import Case, EvaluationSet, centre_crop, iter_cases
from inpaint.evaluation.export import export_cases
from inpaint.evaluation.fills import FillFolder, check_fills
from inpaint.evaluation.methods import METHODS, resolve_method
from inpaint.evaluation.protocol import evaluate
from inpaint.evaluation.report import markdown, write_report
from inpaint.evaluation.results import results_document
from inpaint.evaluation.scoring import compare
from inpaint.evaluation.sheet import picture_sheet

__all__ = [
    "METHODS",
    "Case",
    "EvaluationSet",
    "FillFolder",
    "centre_crop",
    "check_fills",
    "compare",
    "evaluate",
    "export_cases",
    "iter_cases",
    "markdown",
    "picture_sheet",
    "resolve_method",
    "results_document",
    "write_report",
]
