"""`inpaint serve` and `inpaint doctor` as the command line gives them on, and `app.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from inpaint import cli
from inpaint.cli.arguments import build_parser
from inpaint.serving import command, doctor

ROOT = Path(__file__).resolve().parents[2]


def test_serve_gets_a_page_unless_it_is_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(command, "run", lambda arguments, page: calls.append((arguments, page)) or 0)
    assert cli.main(["serve", "--port", "8000", "--no-page"]) == 0
    ((arguments, page),) = calls
    assert (arguments.port, arguments.no_page) == (8000, True)
    assert callable(page)


def test_the_former_name_of_the_queues_limit_holds() -> None:
    assert build_parser().parse_args(["serve", "--max-queue", "5"]).waiting == 5


def test_a_device_may_have_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert build_parser().parse_args(["serve", "--device", "cuda:1"]).device == "cuda:1"
    with pytest.raises(SystemExit):
        build_parser().parse_args(["serve", "--device", "gpu"])
    assert "gpu" in capsys.readouterr().err


def test_doctor_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "run", lambda arguments: 1)
    assert cli.main(["doctor"]) == 1


@pytest.mark.parametrize("word", ["--help", "--port=70000"])
def test_app_is_serve(word: str) -> None:
    answer = subprocess.run(
        [sys.executable, "app.py", word], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == (0 if word == "--help" else 2)
    text = answer.stdout + answer.stderr
    assert "inpaint serve" in text
    for flag in ("--host", "--port", "--model", "--device", "--max-megapixels", "--max-megabytes"):
        assert flag in text
    assert "torch" not in text


def test_help_imports_neither_torch_nor_gradio() -> None:
    code = (
        "import sys; from inpaint.cli.arguments import build_parser; build_parser();"
        "assert not {'torch', 'gradio', 'fastapi'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120, check=True)
