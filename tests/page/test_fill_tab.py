"""The fills of one hole: their seeds and settings, and which are kept."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from stand_ins import photo_of

from inpaint.page.filling import LARGEST_GROWTH, suggested_growth
from inpaint.page.outcome import THUMBNAIL_SIDE, Work, thumbnail_of


def test_a_growth_is_suggested_by_the_photos_size() -> None:
    sizes = ((90, 120), (512, 512), (1000, 1500), (3000, 4000), (9000, 9000))
    assert [suggested_growth(*size) for size in sizes] == [2, 2, 4, 12, 16]
    assert LARGEST_GROWTH >= 16


def test_a_thumbnail_shows_the_hole() -> None:
    pixels = photo_of(900, 1200).pixels // 2
    for box in ((0, 0, 5, 9), (400, 20, 430, 1190), (0, 0, 900, 1200), (890, 1100, 900, 1200)):
        mask = np.zeros((900, 1200), bool)
        mask[box[0] : box[2], box[1] : box[3]] = True
        thumbnail = thumbnail_of(np.where(mask[..., None], np.uint8(255), pixels), mask)
        assert thumbnail.shape[0] == thumbnail.shape[1] <= THUMBNAIL_SIDE
        assert (thumbnail == 255).all(axis=2).any()


def test_another_fill_has_another_seed_and_all_are_kept(table: SimpleNamespace) -> None:
    layers = table.paint(table.canvas)
    outcome, _, _, report = table.fill(table.work, layers, None, "a model", 4, True)
    assert report.startswith("Filled ") and report.endswith("grown by 4 pixels · seed 0")
    for growth in (4, 2):
        outcome, _, strip, report = table.fill_otherwise(
            table.work, table.paint(table.canvas), outcome, "a model", growth, True
        )
        assert f"grown by {growth} pixels" in report
    assert [(detail, seed) for detail, seed, *_ in table.calls] == [("photo", 0), ("photo", 1), ("photo", 2)]
    assert len(outcome.fills) == len(strip.value) == 3 and strip.selected_index == outcome.shown == 2
    assert (outcome.mask == table.canvas).all()
    # Each is got back whole, the pixels around the mask that it grew over among them.
    for index, (_, seed, hole, _) in enumerate(table.calls):
        assert hole[20 - (4, 4, 2)[index], 40] and not hole[19 - (4, 4, 2)[index], 40]
        outcome, *_, report, save, _, save_mask = table.choose(outcome, SimpleNamespace(index=index))
        assert f"seed {seed}" in report
        wanted = np.where(hole[..., None], np.uint8(index + 1), table.work.photo.pixels)
        assert (outcome.pixels() == wanted).all()
        assert (np.asarray(Image.open(save.value["path"])) == wanted).all()
        assert (np.asarray(Image.open(save_mask.value["path"])).astype(bool) == table.canvas).all()
    # One more than are kept: the oldest goes, and no seed is taken twice. The next input is the chosen one.
    outcome, *_ = table.choose(outcome, SimpleNamespace(index=1))
    assert (table.use_as_input(outcome)[0].photo.pixels[30, 40] == 2).all()
    outcome, *_ = table.fill_otherwise(table.work, layers, outcome, "a model", 4, True)
    assert [kept.settings.seed for kept in outcome.fills] == [1, 2, 3]
    with pytest.raises(gr.Error, match="no longer kept"):
        table.choose(outcome, SimpleNamespace(index=3))
    # The same once more is not kept twice.
    for _ in range(2):
        outcome, *_ = table.fill(table.work, layers, outcome, "a model", 4, True)
    assert [kept.settings.seed for kept in outcome.fills] == [2, 3, 0]


def test_another_mask_or_photo_starts_anew(table: SimpleNamespace) -> None:
    first, *_ = table.fill(table.work, table.paint(table.canvas), None, "a model", 4, True)
    changed = table.paint(np.roll(table.canvas, 9, axis=1))
    copy = Work("photo", photo_of(60, 80))
    for event in (table.fill, table.fill_otherwise):
        for work, layers in ((table.work, changed), (copy, table.paint(table.canvas))):
            outcome, *_ = event(work, layers, first, "a model", 4, True)
            assert [kept.settings.seed for kept in outcome.fills] == [0]
    assert table.start_over(Work("wide", photo_of(1000, 1500)))[-1] == 4


def test_without_texture_there_is_one_fill(table: SimpleNamespace) -> None:
    layers = table.paint(table.canvas)
    outcome, *_ = table.fill(table.work, layers, None, "a model", 4, True)
    outcome, *_, report = table.fill_otherwise(table.work, layers, outcome, "a model", 4, False)
    assert "seed" not in report and table.calls[-1][:2] == ("none", 0)
    with pytest.raises(gr.Error, match="only one fill"):
        table.fill_otherwise(table.work, layers, outcome, "a model", 4, False)
    assert table.leave_on_offer(outcome)[0] == report
    outcome, *_ = table.fill_otherwise(table.work, layers, outcome, "a model", 4, True)
    assert [(kept.settings.detail, kept.settings.seed) for kept in outcome.fills] == [
        *(("photo", 0), ("none", 0), ("photo", 1))
    ]


def test_a_mask_that_grows_over_everything_is_refused(table: SimpleNamespace) -> None:
    with pytest.raises(gr.Error, match="grow it less"):
        table.fill(table.work, table.paint(table.canvas), None, "a model", 50, True)
