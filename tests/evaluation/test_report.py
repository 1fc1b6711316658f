"""results.json, the Markdown of the same numbers, the picture sheet and the export for other programs."""

import json

import numpy as np
import pytest
from PIL import Image

from inpaint.evaluation.protocol import Case, SheetRow, evaluate
from inpaint.evaluation.report import (
    HEADINGS,
    export_cases,
    gains,
    markdown,
    picture_sheet,
    write_report,
)
from inpaint.images import prepare_folder

METRIC_KEYS = {"psnr", "ssim", "l1", "psnr_hole", "l1_hole", "lpips", "seconds", "count"}


def cases(count=4, size=32):
    rng = np.random.default_rng(0)
    for index in range(count):
        mask = np.zeros((size, size), bool)
        mask[2 : 6 + 5 * index, 3:20] = True
        yield Case(f"set/{index}.jpg", rng.integers(0, 256, (size, size, 3), dtype=np.uint8), mask)


def results_of(evaluation, **protocol):
    return {
        "protocol": {
            "images": "set",
            "image_count": len(evaluation.records),
            "masks": "box",
            "seed": 0,
            "size": 32,
            "sha256": evaluation.sha256,
            "date": "2026-01-02T03:04:05+00:00",
            "device": "cpu",
            "threads": 1,
            "lpips_unavailable": None,
            "skipped": {},
            **protocol,
        },
        "methods": evaluation.summary(),
    }


@pytest.fixture
def evaluation():
    methods = {
        "grey": lambda image, mask: image,
        "white": lambda image, mask: np.full_like(image, 255),
    }
    return evaluate(methods, cases(), lpips=lambda truth, prediction: 0.25, sheet_rows=3)


def tables(text):
    """Read every Markdown table back: {heading above it: {method: {column: text}}}."""
    found, title = {}, ""
    for block in text.split("\n\n"):
        if not block.startswith("|"):
            title = block.strip()
            continue
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.strip().splitlines()]
        assert all(set(cell) <= set("-:") for cell in lines[1])
        found[title] = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[2:]}
    return found


def test_json_and_markdown_hold_the_same_numbers(evaluation, tmp_path):
    write_report(tmp_path, results_of(evaluation))
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert set(results) == {"protocol", "methods"}
    assert list(results["methods"]) == ["grey", "white"]
    blocks = tables((tmp_path / "table.md").read_text(encoding="utf-8"))
    whole = next(iter(blocks.values()))
    bins = {title.removeprefix("Hole ratio ").rstrip(":"): table for title, table in list(blocks.items())[1:]}
    for name, entry in results["methods"].items():
        assert set(entry) == METRIC_KEYS | {"by_hole_ratio"}
        assert set(entry["by_hole_ratio"]) == set(bins)
        assert len(bins) >= 2
        for numbers, table in [(entry, whole), *((entry["by_hole_ratio"][b], bins[b]) for b in bins)]:
            for key in METRIC_KEYS:
                shown = table[name][HEADINGS[key]]
                decimals = len(shown.partition(".")[2])
                assert float(shown) == pytest.approx(numbers[key], abs=0.5 * 10**-decimals + 1e-12)
    assert sum(entry["count"] for entry in results["methods"]["grey"]["by_hole_ratio"].values()) == 4


def test_gains_are_over_the_best_baseline():
    psnr = {"telea": 23.0, "mine": 24.48, "harmonic": 24.0, "ns": 23.5, "runs/other": 23.875}
    assert gains(psnr) == "mine: +0.48 dB, runs/other: -0.12 dB over harmonic, the best of the baselines."
    # The best on these pictures, not one that is the best on others.
    assert gains({"harmonic": 20.0, "biharmonic": 21.0, "mine": 22.0}) == (
        "mine: +1.00 dB over biharmonic, the best of the baselines."
    )
    assert gains({"telea": 20.0, "mine": 22.5}) == (
        "mine: +2.50 dB over telea, the only baseline that was scored."
    )
    assert gains({"telea": 20.0, "ns": 21.0}) == gains({"mine": 20.0, "other": 21.0}) == gains({}) == ""


def test_gains_stand_below_the_table_of_all_images(evaluation):
    results = results_of(evaluation)
    assert " dB over " not in markdown(results)  # there is no baseline
    results["methods"] = {"grey": results["methods"]["grey"], "telea": results["methods"]["white"]}
    gain = results["methods"]["grey"]["psnr"] - results["methods"]["telea"]["psnr"]
    blocks = markdown(results).split("\n\n")
    assert blocks[1].startswith("| method |")
    assert blocks[2] == f"grey: {gain:+.2f} dB over telea, the only baseline that was scored."
    assert markdown(results).count(" dB over ") == 1


def test_reasons_are_in_the_markdown(evaluation):
    text = markdown(
        results_of(
            evaluation,
            lpips_unavailable="no backbone",
            skipped={"torn.jpg": "cut short"},
            broken_masks={"blot.png": "empty"},
        )
    )
    assert "Masks passed over because they could not be read: blot.png." in text
    assert "LPIPS was not computed: no backbone." in text
    assert "torn.jpg" in text
    assert evaluation.sha256[:16] in text


def test_absent_numbers_are_null_and_dashes(tmp_path):
    class Ready:
        def read(self, name):
            return np.zeros((32, 32, 3), np.uint8)

    evaluation = evaluate({"live": lambda image, mask: image, "ready": Ready()}, cases())
    write_report(tmp_path, results_of(evaluation))
    entry = json.loads((tmp_path / "results.json").read_text())["methods"]["ready"]
    assert entry["lpips"] is None
    assert entry["seconds"] is None
    whole = next(iter(tables((tmp_path / "table.md").read_text(encoding="utf-8")).values()))
    assert whole["ready"][HEADINGS["seconds"]] == "–"
    assert HEADINGS["lpips"] not in whole["ready"]  # nobody has it: no column


def test_names_that_are_no_utf8_are_escaped(tmp_path):
    name = "lat\udce9in.jpg"
    case = next(cases())
    evaluation = evaluate(
        {name: lambda image, mask: image}, [Case(name, case.image, case.mask)], sheet_rows=1
    )
    write_report(tmp_path, results_of(evaluation, skipped={name: "torn"}), evaluation.rows)
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert list(results["protocol"]["skipped"]) == list(results["methods"]) == [name]
    assert r"could not be read: lat\udce9in.jpg." in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert (tmp_path / "sheet.png").exists()


def test_without_rows_no_older_sheet_stays(evaluation, tmp_path):
    write_report(tmp_path, results_of(evaluation), evaluation.rows)
    assert (tmp_path / "sheet.png").exists()
    write_report(tmp_path, results_of(evaluation))
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "table.md"}


def test_a_folder_that_takes_no_report_is_refused(tmp_path):
    prepare_folder(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"exists|Not a directory"):
            prepare_folder(path)


def test_a_failed_write_leaves_the_old_report(evaluation, tmp_path):
    write_report(tmp_path, results_of(evaluation))
    before = (tmp_path / "results.json").read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        write_report(tmp_path, results_of(evaluation, seed=float("nan")))
    assert (tmp_path / "results.json").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "table.md"}


def test_sheet_shows_input_mask_methods_truth(evaluation, tmp_path):
    write_report(tmp_path, results_of(evaluation), evaluation.rows)
    with Image.open(tmp_path / "sheet.png") as file:
        sheet = np.asarray(file.convert("RGB"))
    for row in evaluation.rows:
        coloured = row.case.image.copy()
        coloured[row.case.mask] = (255, 0, 160)
        black_white = np.repeat(row.case.mask[..., None].astype(np.uint8) * 255, 3, axis=2)
        wanted = [coloured, black_white, row.fills["grey"], row.fills["white"], row.case.image]
        places = [place_of(picture, sheet) for picture in wanted]
        assert len({top for top, _ in places}) == 1
        assert [left for _, left in places] == sorted({left for _, left in places})


def place_of(picture, sheet):
    """Top and left of the only place where a picture lies on the sheet, pixel for pixel."""
    height, width = picture.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (height, width, 3))[:, :, 0]
    corners = (windows[:, :, 0, 0] == picture[0, 0]).all(axis=2)
    corners &= (windows[:, :, -1, -1] == picture[-1, -1]).all(axis=2)
    places = [place for place in np.argwhere(corners) if (windows[tuple(place)] == picture).all()]
    assert len(places) == 1
    return tuple(places[0])


def test_sheet_of_large_pictures_is_shrunk():
    image, mask = np.zeros((1024, 600, 3), np.uint8), np.zeros((1024, 600), bool)
    scores = {"m": {"psnr": 78.1, "psnr_hole": None}}
    sheet = picture_sheet(
        [SheetRow(Case("a name that is far too long" * 9, image, mask), {"m": image}, scores)]
    )
    assert 512 < sheet.height < 600
    assert 4 * 300 < sheet.width < 4 * 320
    with pytest.raises(ValueError, match="at least one row"):
        picture_sheet([])


def test_export_holds_what_methods_see(tmp_path):
    export_cases(cases(), tmp_path)
    for case in cases():
        stem = case.name.split("/")[1].removesuffix(".jpg")
        image = np.asarray(Image.open(tmp_path / "images" / f"{stem}.png"))
        mask = np.asarray(Image.open(tmp_path / "masks" / f"{stem}.png").convert("L"))
        np.testing.assert_array_equal(image, case.destroyed())
        np.testing.assert_array_equal(mask, case.mask * np.uint8(255))


def test_export_refuses_to_merge_two_photos(tmp_path):
    first = next(iter(cases(1)))
    with pytest.raises(ValueError, match=r"set/0.jpg and other/0.png would be exported to one file"):
        export_cases([first, Case("other/0.png", first.image, first.mask)], tmp_path)
