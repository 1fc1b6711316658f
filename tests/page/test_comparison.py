"""What the Evaluate tab's process does: photo and hole made ready, fills scored, table and sheet written."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import chelsea
from skimage.metrics import structural_similarity

from inpaint.masks import HOLE_GREY
from inpaint.page import comparison
from inpaint.page.pictures import png
from inpaint.serving.errors import ServiceError


def put(folder: Path, **files: np.ndarray) -> None:
    for name, pixels in files.items():
        (folder / name).write_bytes(png(pixels))


def do(folder: Path, task: str, **order: Any) -> dict[str, Any]:
    work = comparison.work({"max_pixels": 12_000_000})
    return work(folder, {"do": task, **order}, lambda fraction: None)


@pytest.fixture
def photo_and_hole(tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A photo of 451×300 and a hole, both put into the folder and prepared."""
    truth, mask = chelsea(), np.zeros(chelsea().shape[:2], bool)
    mask[50:90, 60:200] = True
    put(tmp_path, photo=truth, mask=mask)
    assert do(tmp_path, "prepare") == {
        "width": 451,
        "height": 300,
        "share": pytest.approx(40 * 140 / (300 * 451)),
        "box": [0, 0, 270, 160],
    }
    return truth, mask


def test_no_method_sees_the_truth_in_the_hole(
    tmp_path: Path, photo_and_hole: tuple[np.ndarray, np.ndarray]
) -> None:
    truth, mask = photo_and_hole
    seen = np.asarray(Image.open(tmp_path / comparison.BLANKED))
    assert (seen == np.where(mask[..., None], np.uint8(HOLE_GREY), truth)).all()
    assert (np.asarray(Image.open(tmp_path / comparison.HOLE)) == mask).all()
    shown = np.asarray(Image.open(tmp_path / comparison.SHOWN))
    assert (shown[~mask] == truth[~mask]).all() and len(np.unique(shown[mask], axis=0)) == 1


def test_the_scores_of_a_fill_that_is_there(
    tmp_path: Path, photo_and_hole: tuple[np.ndarray, np.ndarray]
) -> None:
    truth, mask = photo_and_hole
    fill = np.full_like(truth, 1)  # also where pixels are known: those are put back before it is scored
    put(tmp_path, given=fill)
    scores = do(tmp_path, "add", file="given", method="", seconds=2.5)
    picture = np.asarray(Image.open(tmp_path / "given"))
    assert (picture == np.where(mask[..., None], fill, truth)).all()
    squares = (truth[mask].astype(float) - 1) ** 2
    assert scores["psnr"] == pytest.approx(10 * np.log10(255**2 * truth.size / squares.sum()))
    assert scores["psnr_hole"] == pytest.approx(10 * np.log10(255**2 / squares.mean()))
    like = structural_similarity(
        truth, picture, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert scores["ssim"] == pytest.approx(like)
    assert scores["seconds"] == 2.5


def test_a_baseline_fills_and_all_of_it_is_written_down(
    tmp_path: Path, photo_and_hole: tuple[np.ndarray, np.ndarray]
) -> None:
    truth, mask = photo_and_hole
    scores = {name: do(tmp_path, "add", file=name, method=name) for name in ("telea", "ns")}
    for name, algorithm in (("telea", cv2.INPAINT_TELEA), ("ns", cv2.INPAINT_NS)):
        expected = cv2.inpaint(
            np.where(mask[..., None], np.uint8(HOLE_GREY), truth), mask.astype(np.uint8), 3, algorithm
        )
        assert (np.asarray(Image.open(tmp_path / name))[mask] == expected[mask]).all()
    rows = [
        {"method": name, "title": f"A title, of {name}", "file": name, "scores": scores[name]}
        for name in scores
    ]
    do(tmp_path, "finish", rows=rows)
    with (tmp_path / comparison.TABLE).open(encoding="utf-8", newline="") as stream:
        written = list(csv.DictReader(stream))
    assert [row["method"] for row in written] == ["telea", "ns"]
    assert [row["title"] for row in written] == ["A title, of telea", "A title, of ns"]
    for row in written:
        assert float(row["psnr_hole"]) == pytest.approx(scores[row["method"]]["psnr_hole"], rel=1e-5)
        assert (row["width"], row["height"]) == ("451", "300")
        assert float(row["hole_share"]) == pytest.approx(mask.mean(), abs=1e-6)
        assert "lpips" not in row  # nobody has it
    with Image.open(tmp_path / comparison.SHEET) as sheet:
        assert sheet.format == "PNG" and sheet.width > 5 * 451 and sheet.height > 300


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    truth, nothing = chelsea(), np.zeros(chelsea().shape[:2], bool)
    for mask, words in (
        (nothing, "Nothing is painted"),
        (~nothing, "Everything"),
        (nothing[1:], "another size"),
    ):
        put(tmp_path, photo=truth, mask=mask)
        with pytest.raises(ServiceError, match=words) as refused:
            do(tmp_path, "prepare")
        assert refused.value.status_code == 422
    (tmp_path / "photo").write_bytes(b"no photo")
    with pytest.raises(ServiceError) as refused:
        do(tmp_path, "prepare")
    assert refused.value.status_code == 415


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), (1, 1)), ((2048, 2048), (2048, 2048)), ((3000, 4000), (1536, 2048)), ((1, 9000), (1, 2048))],
)
def test_what_is_compared_is_the_photo_or_smaller(size: tuple, expected: tuple) -> None:
    assert comparison.reduced_size(*size) == expected


def test_a_reduced_mask_covers_every_hole_pixel() -> None:
    rng = np.random.default_rng(3)
    mask = np.zeros((2731, 4097), bool)
    mask[rng.integers(0, 2731, 300), rng.integers(0, 4097, 300)] = True
    small = comparison.reduced_mask(mask)
    assert small.shape == comparison.reduced_size(2731, 4097)
    large = np.asarray(Image.fromarray(small).resize((4097, 2731), Image.Resampling.NEAREST))
    assert large[mask].all()
    assert small.sum() <= mask.sum()
