"""The page as a whole, and the package that it is."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stand_ins import load_stand_in

import inpaint
from inpaint.page import Limits, build_page
from inpaint.page.serving import PASTE, STYLE, THEME


def test_the_page_names_no_other_host_for_fonts_or_styles() -> None:
    assert THEME._stylesheets == []
    assert "http" not in STYLE + PASTE
    page = build_page(["a model"], load_stand_in, examples=[])
    assert page.analytics_enabled is False


def test_a_page_without_models_is_refused() -> None:
    with pytest.raises(ValueError, match="model"):
        build_page([], load_stand_in)


def test_runs_wait_in_a_bounded_queue_one_at_a_time() -> None:
    page = build_page(["a model"], load_stand_in, Limits(queue=3), examples=[])
    assert page._queue.max_size == 3
    heavy = [event for event in page.fns.values() if event.concurrency_id == "model"]
    assert [event.name for event in heavy] == ["fill", "fill_otherwise", "compare"]
    assert {event.concurrency_limit for event in heavy} == {1}


def test_gradio_is_told_to_report_nothing_before_it_is_imported() -> None:
    code = """
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "gradio":
            print(os.environ.get("GRADIO_ANALYTICS_ENABLED"))
            sys.exit()

sys.meta_path.insert(0, Watch())
import inpaint.page.canvas
"""
    environment = {name: value for name, value in os.environ.items() if name != "GRADIO_ANALYTICS_ENABLED"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"INPAINT_OPS": "reference"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.stdout == "False\n", result.stderr


def test_only_the_page_imports_gradio() -> None:
    package = Path(inpaint.__file__).parent
    importers = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "gradio" for name in names):
                importers.add(path.relative_to(package).parts[0])
    assert importers == {"page"}
