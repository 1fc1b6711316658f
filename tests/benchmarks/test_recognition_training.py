"""Short trainings of benchmarks/recognition with CARAFE reach a score, and the page sums runs up."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import get_model

from inpaint.layers import CarafeUpsample


def train(recognizing: Any, task: str, steps: int) -> dict[str, float]:
    tasks = sys.modules["recognition.tasks"]
    made = tasks.make_task(task, tasks.Data(), seed=0)
    made.validation.count = 32
    recipe = tasks.recipe_for(task, tasks.Data(), steps=steps)
    return recognizing.train_and_score(made, "carafe", recipe, seed=0)


def test_segmentation_learns_thin_structures(recognizing: Any) -> None:
    scores = train(recognizing, "segmentation", steps=80)
    # All ground would have an mIoU of 0.19 and no boundary.
    assert scores["miou"] > 0.24 and scores["boundary_f"] > 0.3


def test_mask_rcnn_learns_small_shapes(recognizing: Any) -> None:
    scores = train(recognizing, "masks", steps=80)
    assert scores["box_ap50"] > 0.08 and scores["mask_ap50"] > 0.08  # of a fifth of the steps


@pytest.mark.parametrize("task", ["masks", "detection"])
def test_detectors_differ_in_the_upsampling_alone(recognizing: Any, task: str) -> None:
    tasks = sys.modules["recognition.tasks"]
    made = tasks.make_task(task, tasks.Data(), seed=0)
    made_networks = {}
    for upsampler in ("baseline", "carafe"):
        torch.manual_seed(7)
        made_networks[upsampler] = made.network(upsampler)
    weights = {name: network.state_dict() for name, network in made_networks.items()}
    shared = weights["baseline"].keys() & weights["carafe"].keys()
    assert all(torch.equal(weights["baseline"][name], weights["carafe"][name]) for name in shared)
    gone = {name.rpartition(".")[0] for name in weights["baseline"].keys() - shared}
    assert gone == ({"roi_heads.mask_predictor.conv5_mask"} if task == "masks" else set())
    carafe = [
        name for name, part in made_networks["carafe"].named_modules() if isinstance(part, CarafeUpsample)
    ]
    assert len(carafe) == (4 if task == "masks" else 3)
    with pytest.raises(ValueError, match="detectors come with baseline and carafe, not deconv"):
        made.network("deconv")


def test_every_upsampler_gets_the_same_pictures(recognizing: Any) -> None:
    training = sys.modules["recognition.training"]

    class Numbers:
        train = range(10)
        collate = staticmethod(list)

    recipe = training.Recipe(steps=5, batch=3, rate=1)
    torch.manual_seed(1)
    once = [*training._batches(Numbers, recipe, 4, 0)]
    torch.manual_seed(2)
    assert [*training._batches(Numbers, recipe, 4, 0)] == once
    assert [*training._batches(Numbers, recipe, 5, 0)] != once
    drawn = [number for batch in once for number in batch]
    assert len(drawn) == 15 and sorted(drawn[:10]) == [*range(10)]


def record(upsampler: str, seed: int, **scores: float) -> dict[str, Any]:
    return {"upsampler": upsampler, "seed": seed, "scores": {**scores, "seconds": 1.0}}


def test_the_table_has_means_deviations_and_differences_seed_by_seed(recognizing: Any) -> None:
    baseline, carafe = [0.31, 0.42, 0.35], [0.33, 0.41, 0.40]
    records = [record("baseline", seed, miou=value) for seed, value in enumerate(baseline)]
    records += [record("carafe", seed, miou=value) for seed, value in enumerate(carafe)]
    _, _, *rows = recognizing.table(records).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    gains = [100 * (one - other) for one, other in zip(carafe, baseline, strict=True)]
    assert [row[:3] for row in cells] == [
        ["baseline", "3", "36.0 ± 5.6"],
        ["carafe", "3", f"{100 * statistics.mean(carafe):.1f} ± {100 * statistics.stdev(carafe):.1f}"],
        ["carafe − baseline", "3", f"{statistics.mean(gains):+.1f} ± {statistics.stdev(gains):.1f}"],
    ]


def test_a_finished_run_is_not_done_again(
    recognizing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def train(task: Any, upsampler: str, recipe: Any, seed: int, *_: Any, **__: Any) -> dict[str, float]:
        calls.append((upsampler, seed))
        return {"box_ap": 0.5, "box_ap50": 0.6, "seconds": 1.0}

    monkeypatch.setattr(recognizing, "train_and_score", train)
    words = ["--task", "detection", "--seeds", "3", "--device", "cpu", "--runs", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["compare_recognition.py", *words])
    recognizing.main()
    first = capsys.readouterr().out
    assert calls == [("baseline", 3), ("carafe", 3)]
    recognizing.main()
    assert capsys.readouterr().out == first and len(calls) == 2
    kept = json.loads((tmp_path / "made-detection-carafe-3.json").read_text("utf-8"))
    assert kept["scores"]["box_ap"] == 0.5

    monkeypatch.setattr("sys.argv", ["compare_recognition.py", *words, "--steps", "9"])
    with pytest.raises(
        SystemExit, match=r"is of a run with other settings; name another folder with --runs$"
    ):
        recognizing.main()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--upsamplers", "carafe,magic"], "no upsampler is called magic"),
        (["--data", "voc:here"], "data voc:here: expected made, coco:DIR or ade20k:DIR"),
        (["--data", "coco:nowhere"], "data coco:nowhere: there is no folder nowhere"),
        (["--data", "coco:.", "--task", "segmentation"], "coco has no labels for segmentation"),
        (["--data", "ade20k:.", "--task", "masks"], "ade20k has no labels for masks"),
    ],
)
def test_wishes_that_cannot_be_met(
    recognizing: Any, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setattr("sys.argv", ["compare_recognition.py", *words])
    with pytest.raises(SystemExit, match=f"^compare_recognition.py: {message}$"):
        recognizing.main()


def test_torchvisions_own_script_finds_the_models_with_carafe(
    reference: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "neighbour.py").write_text("built = []\n", "utf-8")
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, torch, torchvision, neighbour\n"
        "with torch.device('meta'):\n"
        "    neighbour.built.append(torchvision.models.get_model(\n"
        "        sys.argv[2], weights=None, weights_backbone=None, num_classes=5))\n",
        "utf-8",
    )
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setattr("sys.argv", ["reference.py", str(script), "--model", "maskrcnn_resnet50_fpn_carafe"])
    reference.main()
    [network] = sys.modules.pop("neighbour").built
    assert sum(isinstance(part, CarafeUpsample) for part in network.modules()) == 4
    assert network.roi_heads.box_predictor.cls_score.out_features == 5
    plain = get_model("maskrcnn_resnet50_fpn", weights=None, weights_backbone=None)
    assert not any(isinstance(part, CarafeUpsample) for part in plain.modules())
