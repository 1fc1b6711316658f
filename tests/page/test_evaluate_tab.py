"""What is scored on the Evaluate tab, and how it is shown."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from PIL import Image

from inpaint.masks import HOLE_GREY
from inpaint.page.evaluate_tab import score_table


def test_the_models_own_fill_of_what_is_painted_is_scored(table: SimpleNamespace) -> None:
    table.compare(table.work, table.paint(table.canvas), "a model")
    ((detail, seed, hole, _),) = table.calls
    assert (detail, seed) == ("none", 0) and (hole == table.canvas).all()


def test_no_method_sees_the_truth_in_the_hole(table: SimpleNamespace) -> None:
    text, _, *images = table.compare(table.work, table.paint(table.canvas), "a model")
    ((*_, seen),) = table.calls
    truth = table.work.photo.pixels
    assert (seen == np.where(table.canvas[..., None], np.uint8(HOLE_GREY), truth)).all()
    # The stand-in fills with 1; the known pixels are the photo's.
    shown = {image.label: np.asarray(Image.open(image.value["path"])) for image in images}
    assert list(shown) == ["Hole", "Truth", "a model", "Telea", "Harmonic"]
    filled = np.where(table.canvas[..., None], np.uint8(1), truth)
    assert (shown["Truth"] == truth).all() and (shown["a model"] == filled).all()
    squares = (truth[table.canvas].astype(float) - 1) ** 2
    whole, hole = (10 * np.log10(255**2 / mean) for mean in (squares.sum() / truth.size, squares.mean()))
    assert f"| a model | {whole:.2f} | {hole:.2f} |" in text
    assert "The hole is 8.3 % of 80 × 60 pixels." in text


def test_the_score_table_marks_the_best() -> None:
    table = score_table(
        {
            "ours": {"psnr": 31.234, "psnr_hole": 20.0, "ssim": None},
            "Telea": {"psnr": 30.0, "psnr_hole": 21.5, "ssim": None},
        }
    )
    lines = table.splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|") == 5
    assert lines[2] == "| ours | **31.23** | 20.00 | – |"
    assert lines[3] == "| Telea | 30.00 | **21.50** | – |"
