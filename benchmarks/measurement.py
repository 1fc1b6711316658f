"""What the benchmarks share: interleaved timing, and a report that says where it was made."""

from __future__ import annotations

import os
import platform
import shlex
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch.utils.benchmark import Timer

from inpaint.urls import without_secrets


def interleaved_times(
    works: Mapping[str, Callable[[], object]], *, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Seconds that one call of each work took, once or more in every round.

    Every work is called once to warm up. Then all are measured in turn, `rounds` times over, so that a
    machine whose speed drifts slows them alike. Each takes at least `seconds` in all, and two calls a round.
    """
    for work in works.values():
        work()
    timers = {
        name: Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())
        for name, work in works.items()
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, timer in timers.items():
            times[name] += timer.blocked_autorange(min_run_time=seconds / rounds).times
    return times


def interleaved_medians(
    works: Mapping[str, Callable[[], object]], *, rounds: int, seconds: float
) -> dict[str, float]:
    """Median seconds of one call of each work; see `interleaved_times`."""
    times = interleaved_times(works, rounds=rounds, seconds=seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def processor() -> str:
    """Return the processor's model and how many of its cores this system has."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {os.cpu_count()} cores"


def report(title: str, facts: Mapping[str, str], tables: Sequence[str]) -> str:
    """Return a Markdown page: when, where and how it was measured, then the tables.

    The page is for others: what is secret in URLs, as in a signed one, is left out of it.
    """
    script = Path(sys.argv[0])
    given = [without_secrets(word, "") for word in sys.argv[1:]]
    command = shlex.join(["python", f"{script.parent.name}/{script.name}", *given])
    lines = {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "threads": str(torch.get_num_threads()),
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        **{name: without_secrets(text, "") for name, text in facts.items()},
        "command": f"`{command}`",
    }
    header = "\n".join(f"- {name}: {value}" for name, value in lines.items())
    return "\n\n".join([f"# {title}", header, *tables]) + "\n"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table whose first `left` columns are aligned left, the others right."""
    widths = [max(len(line[index]) for line in [columns, *rows]) for index in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * width if index < left else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    return "\n".join([line(columns), line(rule), *map(line, rows)])


def publish(page: str, output: Path | None) -> None:
    """Print the page, and write it to `output` where one is given."""
    print(page)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(page, encoding="utf-8")
