"""benchmarks/ablation.py: trains what it says, goes on from what is there, and says how sure it is."""

import argparse
import dataclasses
import json
import statistics
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import scipy.stats


def tiny(ablation: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """One small network with two upsamplers and one seed."""
    changes = {"width": 4, "compressed_channels": 4, "dilations": [1, 2]}
    budget = ablation.Budget(
        schedule="32x2:2",
        networks={"Global&Local": ("global-local-paper", changes)},
        settings=(*ablation.BUDGETS["cpu"].settings, "--device", "cpu"),
        size=32,
        seeds=(0,),
    )
    monkeypatch.setitem(ablation.BUDGETS, "cpu", budget)
    monkeypatch.setattr(ablation, "FIRST", ("carafe", "deconv"))
    monkeypatch.setattr(ablation, "UPSAMPLERS", {"carafe": None, "deconv": None})


def arguments(ablation: ModuleType, folder: Path, photos: Path, *changes: str) -> argparse.Namespace:
    """What the command line gives, with everything kept under `folder`."""
    line = f"run --scores {folder}/scores --work {folder}/runs --data {photos} --val-data {photos}"
    line += f" --threads 1 --cache-gib 0.1 --seconds 0.01 --output {folder}/table.md"
    return ablation.parse([*line.split(), *changes])


def test_it_trains_scores_and_tabulates(
    ablation: ModuleType, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(ablation, monkeypatch)
    assert ablation.run_all(arguments(ablation, tmp_path, photos)) == 0
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "scores").iterdir())]
    assert [record["upsampler"] for record in records] == ["carafe", "deconv"]
    for record in records:
        assert record["config"]["upsampler"] == record["upsampler"]
        assert (record["config"]["norm"], record["config"]["head_start"]) == ("batch", False)  # the paper's
        mean = statistics.fmean(record["psnr_by_image"])
        assert record["scores"]["count"] == 2 and record["scores"]["psnr"] == pytest.approx(mean, abs=1e-3)
    assert records[0]["psnr_by_image"] != records[1]["psnr_by_image"]
    assert records[0]["holes_sha256"] == records[1]["holes_sha256"]

    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "scores").iterdir()}
    assert ablation.run_all(arguments(ablation, tmp_path, photos)) == 0
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "scores").iterdir()}

    assert ablation.print_table(arguments(ablation, tmp_path, photos)) == 0
    page = (tmp_path / "table.md").read_text()
    assert "## Global&Local" in page and "20.71" in page and "CARAFE − deconv" in page


def test_scores_of_another_budget_are_refused(
    ablation: ModuleType, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(ablation, monkeypatch)
    budget = ablation.BUDGETS["cpu"]
    config = ablation.build_network(ablation.config_of(budget, "Global&Local", "carafe")).config
    record = {"network": "Global&Local", "upsampler": "carafe", "seed": 0, "schedule": "32x2:2"}
    record |= {"settings": " ".join(budget.settings), "config": config}
    scores = tmp_path / "scores"
    scores.mkdir()
    (scores / "global-local.carafe.0.json").write_text(json.dumps(record))
    assert len(ablation.finished_runs(budget, scores)) == 1
    for changed in ({"schedule": "32x2:3"}, {"settings": ""}, {"config": {**config, "width": 5}}):
        (scores / "global-local.carafe.0.json").write_text(json.dumps({**record, **changed}))
        for act in (ablation.run_all, ablation.print_table):
            with pytest.raises(ValueError, match="are of another budget"):
                act(arguments(ablation, tmp_path, photos))


def test_a_run_that_fails_is_named_and_the_rest_is_done(
    ablation: ModuleType, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    tiny(ablation, monkeypatch)
    budget = dataclasses.replace(ablation.BUDGETS["cpu"], settings=("--lr", "0"))
    monkeypatch.setitem(ablation.BUDGETS, "cpu", budget)
    assert ablation.run_all(arguments(ablation, tmp_path, photos)) == 1
    told = capsys.readouterr().out
    assert "global-local.carafe.0: train.py ended with 2" in told
    assert "global-local.deconv.0: train.py ended with 2" in told
    assert "--lr must be positive" in (tmp_path / "runs/global-local.carafe.0/log.txt").read_text()


def test_a_run_that_another_process_does_is_left_to_it(
    ablation: ModuleType, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(ablation, monkeypatch)
    monkeypatch.setattr(ablation, "train", lambda *_: pytest.fail("trained"))
    with (
        ablation.claimed(tmp_path / "runs" / "global-local.carafe.0") as ours,
        ablation.claimed(tmp_path / "runs" / "global-local.deconv.0"),
    ):
        assert ours
        assert ablation.run_all(arguments(ablation, tmp_path, photos)) == 0
    assert not (tmp_path / "scores").exists()


def test_what_matters_first_comes_first_and_nothing_twice(ablation: ModuleType) -> None:
    for budget in ablation.BUDGETS.values():
        runs = ablation.runs_of(budget)
        networks, upsamplers, seeds = len(budget.networks), len(ablation.UPSAMPLERS), len(budget.seeds)
        assert len({run.name for run in runs}) == len(runs) == networks * upsamplers * seeds
        assert {run.upsampler for run in runs[:18]} == {"carafe", "deconv", "nearest"}
        assert {run.seed for run in runs[:6]} == {0}
        one_seed_of_each = runs[: 18 + networks * (upsamplers - 3)]
        assert {(run.network, run.upsampler) for run in one_seed_of_each} == {
            (run.network, run.upsampler) for run in runs
        }


def test_only_the_runs_that_are_asked_for_are_done(
    ablation: ModuleType, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(ablation, monkeypatch)
    trained: list[str] = []
    monkeypatch.setattr(ablation, "train", lambda run, *_: trained.append(run.name))  # None: not to its end
    assert ablation.run_all(arguments(ablation, tmp_path, photos, "--only", "*.deconv.*")) == 0
    assert trained == ["global-local.deconv.0"]
    with pytest.raises(ValueError, match=r"--only: there is no run pconv\.\*"):
        ablation.run_all(arguments(ablation, tmp_path, photos, "--only", "pconv.*"))


def test_the_interval_is_that_of_the_t_test(ablation: ModuleType) -> None:
    """Of two groups it is scipy's own, which takes equal variances."""
    a, b = [1.0, 2.0, 3.5], [0.5, 4.0, 2.0, 2.5]
    spread, freedom = ablation.spread_of_seeds([a, b])
    known = scipy.stats.ttest_ind(a, b).confidence_interval(0.95)
    half = (known.high - known.low) / 2
    assert ablation.interval(spread, freedom, len(a), len(b)) == pytest.approx(half, rel=1e-9)


def test_the_spread_is_pooled_over_groups_and_one_seed_adds_nothing(ablation: ModuleType) -> None:
    assert ablation.spread_of_seeds([[1.0, 3.0], [5.0]]) == (pytest.approx(2**0.5), 1)
    assert ablation.spread_of_seeds([[1.0], [5.0]]) == (0.0, 0)


def test_the_verdict_pairs_seeds_and_photos(ablation: ModuleType) -> None:
    def record(seed: int, by_image: list[float]) -> dict[str, Any]:
        return {
            "seed": seed,
            "scores": {"psnr": statistics.fmean(by_image)},
            "psnr_by_image": by_image,
        }

    groups = {
        "carafe": [record(0, [20, 22]), record(1, [24, 24]), record(2, [30, 30])],
        "deconv": [record(1, [23, 23]), record(0, [18, 23])],
    }
    text = ablation.verdict("Global&Local", groups)
    # Means over the seeds of 25 and 21.75 dB; better on three of the four photos of the seeds that both have.
    spread = ((4**2 + 1**2 + 5**2 + 1.25**2 + 1.25**2) / 3) ** 0.5
    half = scipy.stats.t.ppf(0.975, 3) * spread * (1 / 3 + 1 / 2) ** 0.5
    assert f"CARAFE − deconv: +3.250 dB ± {half:.3f}, better on 75% of the photos" in text
    assert f"spread by {spread:.3f} dB" in text and "(3 degrees of freedom)" in text
    assert "the network's own upsampler" in text
    alone = ablation.verdict("Global&Local", {name: group[:1] for name, group in groups.items()})
    assert "±" not in alone
