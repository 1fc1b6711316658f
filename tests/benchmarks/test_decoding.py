"""benchmarks/decoding.py and training_step.py: what they print, and what they say to a wrong command line."""

from __future__ import annotations

import sys
import tarfile
from typing import Any

import pytest
import torch
from range_server import serve

TINY = ["--seconds", "0.001", "--rounds", "1", "--photos", "2", "--sides", "64", "--threads", "1"]


def page(decoding: Any, monkeypatch: pytest.MonkeyPatch, capsys, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["decoding.py", *words, *TINY])
    decoding.main()
    return capsys.readouterr().out


def network_row(text: str) -> dict[str, str]:
    """What the network takes, by the column's name."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    head = next(line for line in lines if "a core" in line)
    row = next(line for line in lines if "the network takes" in line)
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in (head, row))
    return dict(list(zip(*cells, strict=True))[2:])


def test_a_rate_stands_under_its_own_size(decoding, photos, monkeypatch, capsys):
    told = page(decoding, monkeypatch, capsys, "--data", str(photos), "--images-per-second", "256:300")
    columns = {
        "128 px, 1 worker": "",
        "256 px, 1 worker": "**300.0**",
        "128 px, a core": "",
        "256 px, a core": "",
    }
    assert network_row(told) == columns
    assert "nan" not in told
    told = page(
        decoding, monkeypatch, capsys, "--data", str(photos), "--images-per-second", "256:300", "128:900"
    )
    assert network_row(told) == {**columns, "128 px, 1 worker": "**900.0**"}


def test_sizes_that_were_not_measured_stay_empty(decoding, photos, monkeypatch, capsys):
    monkeypatch.setattr(
        decoding, "network_rates", lambda *_: {128: decoding.Rate(15, 16), 64: decoding.Rate(1, 1)}
    )
    row = network_row(page(decoding, monkeypatch, capsys, "--data", str(photos), "--stages", "128x1", "64x1"))
    assert (row["128 px, 1 worker"], row["128 px, a core"]) == ("**15.0**", "**16.0**")
    assert row["256 px, 1 worker"] == row["256 px, a core"] == ""


@pytest.mark.parametrize("rate", ["300", "64:300", "256:0", "256:-1", "256:nan", "256:inf", "256:fast"])
def test_a_rate_names_its_size(decoding, monkeypatch, capsys, rate):
    with pytest.raises(SystemExit) as stop:
        page(decoding, monkeypatch, capsys, "--data", "photos", "--images-per-second", rate)
    assert stop.value.code == 2
    assert f"expected SIZE:RATE with a size of 128 or 256, got '{rate}'" in capsys.readouterr().err


def test_secrets_of_urls_are_not_printed(decoding, photos, tmp_path, monkeypatch, capsys):
    query = "X-Signature=c0ffee4711&Expires=99"
    with tarfile.open(tmp_path / f"train.tar?{query}", "w") as archive:
        archive.add(photos, "")
    note = f"as in https://ann:passw0rd@example.org/list?{query} of May"
    with serve(tmp_path) as server:
        url = server.url.replace("//", "//ann:passw0rd@") + f"train.tar?{query}"
        rate = ["--images-per-second", "256:300", "--output", str(tmp_path / "page.md"), "--note", note]
        told = page(decoding, monkeypatch, capsys, "--data", url, *rate)
    told += (tmp_path / "page.md").read_text("utf-8")
    assert "photos: 2 of train.tar, " in told
    assert f"--data {server.url}train.tar " in told
    assert "as in https://example.org/list of May" in told
    assert [word for word in ("ann:", "passw0rd", "c0ffee4711", "Expires") if word in told] == []


def test_missing_photos_are_one_sentence(decoding, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        page(decoding, monkeypatch, capsys, "--data", str(tmp_path / "none"))
    assert stop.value.code == 2
    assert f"error: --data: {tmp_path / 'none'}: there is no such folder" in capsys.readouterr().err


def test_a_step_on_a_gpu_that_is_not_there_is_one_sentence(decoding, monkeypatch, capsys):
    import training_step

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["training_step.py", "--device", "cuda"])
    with pytest.raises(SystemExit) as stop:
        training_step.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.endswith("error: --device cuda: torch sees no GPU\n")
