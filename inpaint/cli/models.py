"""`inpaint models`: what is installed."""

from __future__ import annotations

import sys

from inpaint.cli.console import say
from inpaint.terminal import printable


def list_models() -> int:
    """Print the installed models, with size and scores, and return the exit code."""
    # Here, because it loads torch, which `inpaint --help` has no need of.
    from inpaint.weights import WEIGHTS_FILE, WeightsError, installed_models, models_folder

    try:
        models = installed_models()
    except WeightsError as error:
        say(f"error: {error}")
        return 1
    if not models:
        say(f"no models are installed in {models_folder()}")
        return 0
    metrics = list(dict.fromkeys(metric for model in models for metric in model.scores))
    rows = [["name", "weights", "size", *metrics, "description"]]
    for model in models:
        file = model.folder / WEIGHTS_FILE
        size = f"{file.stat().st_size / 2**20:.1f} MiB" if file.is_file() else "missing"
        scores = [f"{model.scores[metric]:g}" if metric in model.scores else "–" for metric in metrics]
        rows.append([model.name, f"{model.parameters / 1e6:.1f} M", size, *scores, model.description])
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{printable(line.rstrip())}\n")
    return 0
