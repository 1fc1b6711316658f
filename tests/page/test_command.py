"""The command line of `app.py`."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch

from inpaint.inference import Inpainter
from inpaint.page import build_page, command
from inpaint.page.command import main


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("--max-megapixels", "0"),
        ("--max-megabytes", "-1"),
        ("--max-queue", "0"),
        ("--max-megapixels", "inf"),
        ("--max-megabytes", "nan"),
    ],
)
def test_limits_must_be_positive_numbers(name: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, value])
    assert stop.value.code == 2
    assert f"{name} must be above 0" in capsys.readouterr().err


def test_a_port_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--port", "70000"])
    assert stop.value.code == 2
    assert "--port must be 0 to 65535, got 70000" in capsys.readouterr().err


def test_an_unknown_model_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(tmp_path / "nothing here")]) == 1
    assert "nothing here" in capsys.readouterr().err


def test_a_model_is_loaded_once_and_a_taken_port_is_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded, loads = [], []

    def from_pretrained(name: str, device: str) -> Inpainter:
        loaded.append(name)
        return Inpainter(torch.nn.Identity(), device, "photo")

    def note_load(models: list[str], load: Any, limits: Any) -> gr.Blocks:
        loads.append(load)
        return build_page(models, load, limits)

    monkeypatch.setattr(command, "model_names", lambda first: ["a model"])
    monkeypatch.setattr(command, "build_page", note_load)
    monkeypatch.setattr(Inpainter, "from_pretrained", from_pretrained)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert f"127.0.0.1:{port}" in error
    assert "--port" in error
    # A model is loaded once, with the photo's texture or without.
    textured, plain = (loads[0]("a model", detail) for detail in ("photo", "none"))
    assert (textured.detail, plain.detail) == ("photo", "none")
    assert textured.network is plain.network and loaded == ["a model"]
