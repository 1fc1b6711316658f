"""benchmarks/comparison.py and large_photos.py: the hole, what peers see of it, the page and the sheets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from PIL import Image

from inpaint.weights import installed_models

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("seed", range(8))
def test_the_hole_is_one_smooth_blob_of_five_percent(comparison: ModuleType, seed: int) -> None:
    mask = comparison.object_hole(seed, "beach.jpg", 1500, 2000)
    assert mask.shape == (1500, 2000) and mask.dtype == np.bool_
    assert 0.047 < mask.mean() < 0.053
    assert cv2.connectedComponents(mask.view(np.uint8))[0] == 2
    # Opening by a disc of many times the enlargement takes stairs and spikes; there are next to none.
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (31, 31))
    opened = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, disc) > 0
    assert (mask & ~opened).sum() < 0.002 * mask.sum()


def test_seed_and_name_decide_the_hole(comparison: ModuleType) -> None:
    first = comparison.object_hole(0, "a.jpg", 300, 400)
    assert np.array_equal(first, comparison.object_hole(0, "a.jpg", 300, 400))
    assert not np.array_equal(first, comparison.object_hole(1, "a.jpg", 300, 400))
    assert not np.array_equal(first, comparison.object_hole(0, "b.jpg", 300, 400))


def test_a_peer_sees_nothing_of_the_hole(comparison: ModuleType) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (1200, 1600, 3)).astype(np.uint8)
    mask = comparison.object_hole(0, "a.jpg", 1200, 1600)
    seen = []

    def peer(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
        seen.append(image)
        return np.where(hole[..., None], np.uint8(7), image)

    result = comparison.filled_small(peer, photo, mask)
    comparison.filled_small(peer, np.where(mask[..., None], np.uint8(0), photo), mask)
    assert seen[0].shape == (768, 1024, 3)
    assert np.array_equal(*seen)
    assert np.array_equal(result[~mask], photo[~mask])
    inside = cv2.erode(mask.view(np.uint8), np.ones((15, 15), np.uint8)) > 0
    assert (result[inside] == 7).all()


def test_squares_stay_in_the_photo(comparison: ModuleType) -> None:
    mask = np.zeros((300, 400), bool)
    mask[0:40, 380:400] = True
    box = comparison.square_around(mask)
    assert (box.top, box.left, box.bottom, box.right) == (0, 340, 60, 400)


@pytest.mark.skipif(not installed_models(), reason="no model is in this checkout")
def test_page_and_sheets(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "large"
    words = ["--photos", photos, "--output", output, "--rounds", "1", "--threads", "1"]
    run = subprocess.run(
        [sys.executable, BENCHMARKS / "large_photos.py", *words],
        cwd=BENCHMARKS.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    page = (output / "large_photos.md").read_text("utf-8")
    for name in ("astronaut", "coffee", "mean"):
        assert page.count(f"\n| {name} ") == 2
    assert "distance" not in page.partition("Scores")[2]  # no network was named
    assert Image.open(output / "fills.jpg").width == 5 * 480 + 4 * 8
    assert (output / "rims.jpg").is_file()


def test_a_folder_without_photos_is_named(tmp_path: Path) -> None:
    words = ["--photos", tmp_path / "none", "--output", tmp_path / "out"]
    run = subprocess.run(
        [sys.executable, BENCHMARKS / "large_photos.py", *words],
        cwd=BENCHMARKS.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 2
    assert "none: no photo there" in run.stderr
