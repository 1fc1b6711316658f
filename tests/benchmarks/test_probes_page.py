"""benchmarks/probes.py: its tables for both networks, and what it says to a wrong command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from inpaint.datasets import open_photos
from inpaint.evaluation import EvaluationSet
from inpaint.layers import push_pull
from inpaint.metrics import psnr
from inpaint.networks import CONFIGS, build_network
from inpaint.weights import save_weights

RECIPES = ["box:0.1-0.3", "free-form:0.1-0.5"]


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    """A U-Net as a file, Global&Local as a folder; both begin at the membrane and do not stay there."""
    torch.manual_seed(0)
    small_unet = {"widths": (4, 4, 6), "head_width": 4, "compressed_channels": 2}
    unet = build_network({**CONFIGS["partial-conv-unet"], **small_unet})
    other = build_network(
        {**CONFIGS["global-local"], "width": 4, "compressed_channels": 2, "dilations": (2,)}
    )
    paths = [tmp_path / "unet.safetensors", tmp_path / "other" / "model.safetensors"]
    for network, path in zip((unet, other), paths, strict=True):
        nn.init.normal_(network.to_image.weight, std=0.3)
        path.parent.mkdir(exist_ok=True)
        save_weights(network, path, dtype=torch.float32)
    return [str(paths[0]), str(paths[1].parent)]


def page(probing: Any, monkeypatch: pytest.MonkeyPatch, capsys, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["probes.py", *words])
    probing.main()
    return capsys.readouterr().out


def rows(text: str) -> dict[str, list[str]]:
    """A section's lines of tables, by their first cell."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    lines = [cells for cells in lines if cells[0].strip(" -")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_both_networks_are_probed(probing, photos, models, tmp_path, monkeypatch, capsys):
    file = tmp_path / "page.md"
    words = ["--images", str(photos), "--size", "64", "--models", *models, "--masks", *RECIPES]
    told = page(probing, monkeypatch, capsys, *words, "--batch", "1", "--output", str(file))
    assert file.read_text("utf-8") == told.removesuffix("\n")
    _, of_unet, of_other = told.split("\n## ")
    unet, other = rows(of_unet), rows(of_other)
    given = ["membrane alone", "given only: the residual zero", "the whole"]
    kernels = ["constant kernels", "nearest kernels", "random single taps"]
    levels = ["decoder.0", "decoder.1", "head"]
    assert [*unet] == [
        "PSNR, dB", *given, "all that comes up to 1/4 zero", *kernels, "level", *levels
    ]  # fmt: skip
    assert [*other][1:7] == [*given, *kernels]
    assert unet["PSNR, dB"] == [f"`{recipe}`" for recipe in RECIPES]

    # The membrane by hand; Global&Local without its residual is nothing else.
    for column, recipe in enumerate(RECIPES):
        scores = []
        for case in EvaluationSet(open_photos(photos), recipe, 0, 64):
            image = torch.from_numpy(case.image).permute(2, 0, 1)[None] / 255
            fill = push_pull(image, torch.from_numpy(~case.mask)[None, None].float())[0].permute(1, 2, 0)
            pixels = fill.clamp(0, 1).mul(255).round().byte().numpy()
            scores.append(psnr(case.image, np.where(case.mask[..., None], pixels, case.image)))
        membrane = float(unet["membrane alone"][column])
        assert membrane == pytest.approx(np.mean(scores), abs=2e-3)
        assert float(other["membrane alone"][column]) == membrane
        assert float(other["given only: the residual zero"][column]) == membrane
        assert float(unet["the whole"][column]) < float(unet["given only: the residual zero"][column])

    assert [unet[level][0] for level in levels] == ["1/4", "1/2", "1/1"]
    assert [other[level][0] for level in ("up_to_half", "up_to_full")] == ["1/2", "1/1"]
    for level in levels:
        entropy, relative = map(float, unet[level][1:3])
        assert relative == pytest.approx(entropy / np.log(25), abs=1e-3)
        assert 0 < float(unet[level][5]) < 100
    assert other["up_to_half"][5] == ""  # it has no merge


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "PHOTOS", "--size", "60"], "--size must be a multiple of 8, the stride of "),
        (["--images", "PHOTOS", "--count", "1"], "at least two readable photos are needed, got 1"),
        (["--images", "PHOTOS", "--batch", "0"], "--batch at least 1"),
        (["--images", "PHOTOS", "--masks", "stars"], "'stars' is neither a folder nor a recipe"),
        (["--images", "nowhere"], "nowhere"),
        (["--images", "PHOTOS", "--models", "none"], "none: neither an installed model nor a file"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(
    words, message, probing, photos, models, monkeypatch, capsys
) -> None:
    words = [str(photos) if word == "PHOTOS" else word for word in words]
    with pytest.raises(SystemExit) as stop:
        page(probing, monkeypatch, capsys, "--models", models[0], "--size", "64", *words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_network_without_carafe(probing, photos, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    config = {**CONFIGS["partial-conv-unet"], "widths": (4, 4), "upsampler": "nearest", "head_start": False}
    save_weights(build_network(config), tmp_path / "plain.safetensors")
    told = page(
        probing, monkeypatch, capsys,
        "--images", str(photos), "--size", "64", "--models", str(tmp_path / "plain.safetensors"),
    )  # fmt: skip
    found = rows(told)
    assert [name for name in found if "kernels" in name or "taps" in name or "given" in name] == []
    assert found["decoder.0"][:5] == [""] * 5 and 0 < float(found["decoder.0"][5]) < 100
