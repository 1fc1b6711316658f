"""What a run says of its network's parts: at each validation, in the curves, and at its end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import TinyNetwork, tiny_settings, tiny_trainer
from torch import nn

from inpaint.datasets import open_photos
from inpaint.evaluation import iter_cases
from inpaint.metrics import psnr
from inpaint.networks import CONFIGS, Network, build_network
from inpaint.networks.probes import (
    Decoder,
    carafe_levels,
    constant_kernels,
    mean_kernels,
    without_below,
    without_residual,
)
from inpaint.training.results import Results
from inpaint.training.run_log import RunLog
from inpaint.training.schedule import Schedule
from inpaint.training.settings import TrainSettings
from inpaint.training.trainer import Stop, Trainer
from inpaint.training.validation import Probes, Validator


def small_unet(**changes: Any) -> Network:
    """Four halvings, so that there is something below 1/8."""
    torch.manual_seed(0)
    widths = {"widths": (4, 4, 6, 6), "kernel_sizes": (3,), "head_width": 4, "compressed_channels": 2}
    return build_network({**CONFIGS["partial-conv-unet"], **widths, "decoder_blocks": (0,), **changes})


def small_pyramid() -> Network:
    torch.manual_seed(0)
    sizes = {"widths": (4, 6), "kernel_sizes": (3, 3), "decoder_widths": (4,), "head_width": 4}
    blocks = {"encoder_blocks": ((), (1,)), "decoder_blocks": ((),), "compressed_channels": 2}
    return build_network({**CONFIGS["pyramid-unet"], **sizes, **blocks, "smallest": 4})


def settings_of(photos: Path, output: Path, **changes: Any) -> TrainSettings:
    validation = {"val_data": (str(photos),), "val_size": 32, "val_every": 2, "log_every": 1}
    return tiny_settings(photos, output, schedule=Schedule.parse("32x2:4"), **validation, **changes)


def of_the_run(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


@pytest.mark.parametrize("build", [small_unet, small_pyramid])
def test_a_run_probes_its_network(
    build: Callable[[], Network], photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    caplog.set_level(logging.INFO, "inpaint.training")
    assert tiny_trainer(settings_of(photos, tmp_path), build()).run() is Stop.FINISHED
    lines = of_the_run(caplog, "worth of the residual")
    assert [line.partition(":")[0] for line in lines] == ["step 2", "step 4"]
    for part in ("the residual", "what is below 1/8", "predicted kernels"):
        assert f"of {part} " in lines[0]

    curves = EventAccumulator(str(tmp_path / "curves"))
    curves.Reload()
    levels = list(carafe_levels(build()))
    whole = {"validation/psnr", "validation/psnr_probed"}
    without = {
        f"validation/psnr_{part}" for part in ("without_residual", "without_below_8", "constant_kernels")
    }
    kernels = {f"kernels/{level}/{what}" for level in levels for what in ("entropy", "peaked", "variance")}
    merges = {f"merges/{level}/from_below" for level in levels}
    for tag in whole | without | kernels | merges:
        assert [point.step for point in curves.Scalars(tag)] == [2, 4], tag
    of_kernels = [point.value for point in curves.Scalars("gradient/kernels")]
    of_all = [point.value for point in curves.Scalars("gradient/norm")]
    assert len(of_kernels) == 4
    assert all(0 < kernels < norm for kernels, norm in zip(of_kernels, of_all, strict=True))
    # Four steps teach it nothing.
    (warning,) = of_the_run(caplog, "next to nothing")
    assert "without its own prediction its fills score " in warning


def test_a_run_without_probes(photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "inpaint.training")
    trainer = tiny_trainer(settings_of(photos, tmp_path, probe_count=0), small_unet())
    trainer.run()
    assert of_the_run(caplog, "worth") == of_the_run(caplog, "next to nothing") == []
    assert len(of_the_run(caplog, "step 4: psnr")) == 1
    assert trainer.results.probes is None


def test_probes_change_no_weights(photos: Path, tmp_path: Path) -> None:
    trainers: list[Trainer] = []
    for count in (0, 3):
        output = tmp_path / str(count)
        trainers.append(tiny_trainer(settings_of(photos, output, probe_count=count), small_unet()))
        trainers[-1].run()
    for name, value in trainers[0].network.state_dict().items():
        assert torch.equal(trainers[1].network.state_dict()[name], value), name


def test_networks_without_such_parts_are_only_scored(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "inpaint.training")
    trainer = tiny_trainer(settings_of(photos, tmp_path), TinyNetwork())
    trainer.run()
    assert trainer.results.probes is None
    assert of_the_run(caplog, "worth") == []


def composites(network: Network, cases: list[Any]) -> list[np.ndarray]:
    filled = []
    for case in cases:
        image = torch.from_numpy(case.image).permute(2, 0, 1)[None] / 255
        mask = torch.from_numpy(case.mask)[None, None].float()
        with torch.no_grad():
            prediction = network(image * (1 - mask), mask)[0].permute(1, 2, 0)
        pixels = prediction.clamp(0, 1).mul(255).round().byte().numpy()
        filled.append(np.where(case.mask[..., None], pixels, case.image))
    return filled


@pytest.mark.parametrize("count", [6, 2])
def test_what_parts_are_worth_against_fills_one_by_one(photos: Path, count: int) -> None:
    cases = list(iter_cases(open_photos([photos]), "box:0.2-0.5", 0, 32))
    network = small_unet().eval()
    nn.init.normal_(network.to_image.weight, std=0.3)
    plain = Validator(cases, torch.device("cpu"), lambda: torch.autocast("cpu", enabled=False), count)
    scores, probes = plain.validate(network)
    assert scores == pytest.approx(plain.score(network))
    assert probes is not None
    chosen = cases if count == 6 else [cases[0], cases[5]]

    def score() -> float:
        return float(
            np.mean([psnr(c.image, f) for c, f in zip(chosen, composites(network, chosen), strict=True)])
        )

    assert probes.psnr == pytest.approx(score(), abs=1e-3)
    images = torch.stack([torch.from_numpy(case.image).permute(2, 0, 1) / 255 for case in chosen])
    masks = torch.stack([torch.from_numpy(case.mask)[None].float() for case in chosen])
    kernels = mean_kernels(network, [(images * (1 - masks), masks)])
    for name, probe in {
        "without_residual": without_residual(network),
        "without_below_8": without_below(network, 8),
        "constant_kernels": constant_kernels(network, kernels),
    }.items():
        assert probe is not None
        with probe:
            assert probes.without[name] == pytest.approx(score(), abs=1e-3)
        assert probes.worth[name] == probes.psnr - probes.without[name]


def test_parts_that_are_not_there_are_not_probed(photos: Path) -> None:
    cases = list(iter_cases(open_photos([photos]), "box:0.2-0.5", 0, 32))
    validator = Validator(cases, torch.device("cpu"), lambda: torch.autocast("cpu", enabled=False), 6)
    _, probes = validator.validate(small_unet(head_start=False).eval())
    assert probes is not None and probes.without.keys() == {"without_below_8", "constant_kernels"}
    _, probes = validator.validate(small_unet(upsampler="nearest").eval())
    assert probes is not None and probes.without.keys() == {"without_residual", "without_below_8"}


@pytest.mark.parametrize(("worth", "warned"), [(-1.0, True), (0.04, True), (0.06, False), (None, False)])
def test_nothing_learnt_is_warned_of(
    worth: float | None, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results = Results(tmp_path, TinyNetwork())
    results.warn_of_nothing_learnt()
    without = {} if worth is None else {"without_residual": 25 - worth}
    results.probes = Probes(25.0, {**without, "constant_kernels": 25.001}, Decoder())
    assert str(results.probes).endswith("of predicted kernels 0.00 dB")
    results.warn_of_nothing_learnt()
    assert bool(of_the_run(caplog, "next to nothing")) == warned


def test_an_interrupted_run_is_not_judged(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = tiny_trainer(settings_of(photos, tmp_path), small_unet())
    judged: list[Stop] = []
    monkeypatch.setattr(trainer.results, "warn_of_nothing_learnt", lambda: judged.append(Stop.FINISHED))
    monkeypatch.setattr(trainer, "_agreed_stop", lambda *_: Stop.TERMINATED)
    assert trainer.run() is Stop.TERMINATED
    assert judged == []


def test_the_curves_of_a_run_without_a_writer(tmp_path: Path) -> None:
    log = RunLog(tmp_path, Schedule.parse("16x4:5"), enabled=False)
    log.validation(1, {"psnr": 20.0}, Probes(20.0, {"without_residual": 19.0}, Decoder()))
    log.close()
