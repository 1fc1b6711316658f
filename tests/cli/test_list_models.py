"""`inpaint models`, from the index to what is printed."""

import json

from inpaint import weights
from inpaint.cli import main


def test_models_are_listed(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weights, "models_folder", lambda: tmp_path)
    assert main(["models"]) == 0
    assert "no models" in capsys.readouterr().err
    (tmp_path / "tiny").symlink_to(model)
    entries = [
        {"name": "tiny", "description": "Small.", "parameters": 4_700_000, "scores": {"psnr": 24.61}},
        {"name": "lost", "description": "Gone.", "parameters": 1_000_000, "scores": {"ssim": 0.844}},
    ]
    (tmp_path / "index.json").write_text(json.dumps({"models": entries}), encoding="utf-8")
    assert main(["models"]) == 0
    header, tiny, lost = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "weights", "size", "psnr", "ssim", "description"]
    assert tiny.split() == ["tiny", "4.7", "M", tiny.split()[3], "MiB", "24.61", "–", "Small."]
    assert lost.split() == ["lost", "1.0", "M", "missing", "–", "0.844", "Gone."]
    (tmp_path / "index.json").write_text("{", encoding="utf-8")
    assert main(["models"]) == 1
