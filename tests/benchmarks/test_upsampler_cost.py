"""benchmarks/upsampler_cost.py: its figures are the paper's where both count the same."""

from __future__ import annotations

import sys
from typing import Any

import pytest


def rows(text: str) -> dict[str, list[str]]:
    """The tables' rows: what stands in the first column, or in the first two, and the rest."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line
    ]
    return {
        " ".join(line[: 2 if len(line) == 4 else 1]): line[2 if len(line) == 4 else 1 :] for line in lines
    }


@pytest.mark.parametrize("words", [["--size", "70x100"], ["--channels", "32", "--size", "64x64"]], ids=str)
def test_the_costs_are_those_of_the_formulas(
    upsampler_cost: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["upsampler_cost.py", *words])
    upsampler_cost.main()  # stops where what is counted and a formula differ
    found = rows(capsys.readouterr().out)
    if "--channels" in words:
        assert found["carafe"][:3] == ["125,696", "125,696", ""]
        return
    assert found["carafe"] == ["199,168", "199,168", "199k", "74,148", "74k"]
    assert found["nearest_conv"] == ["4,718,592", "4,718,592", "4.7M", "590,080", "590k"]
    assert found["gum"][3:] == ["131,848", "132k"]
    assert found["Faster R-CNN growth"][0] == "+222,444"  # three CARAFEs of 74,148
    assert found["Mask R-CNN growth"][0] == "+34,192"  # four, less a deconvolution of 2·2·256·256 + 256


def test_a_size_that_is_none_is_refused(
    upsampler_cost: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("800", "8x8"):
        monkeypatch.setattr(sys, "argv", ["upsampler_cost.py", "--size", text])
        with pytest.raises(SystemExit):
            upsampler_cost.main()
        assert "--size" in capsys.readouterr().err
