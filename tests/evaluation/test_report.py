"""The files of a report: results.json, the Markdown of the same numbers, the sheet."""

import itertools
import json

import numpy as np
import pytest
from PIL import Image

from inpaint.evaluation import Case, evaluate
from inpaint.evaluation.averages import METRICS
from inpaint.evaluation.report import HEADINGS, difference_table, markdown, write_report
from inpaint.files import prepare_folder

METRIC_KEYS = {*METRICS, "count"}


def cases(count=4, size=32):
    rng = np.random.default_rng(0)
    for index in range(count):
        mask = np.zeros((size, size), bool)
        mask[2 : 6 + 5 * index, 3:18] = True  # leaves known patches
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
        "differences": evaluation.differences(),
    }


@pytest.fixture
def evaluation():
    methods = {
        "grey": lambda image, mask: image,
        "white": lambda image, mask: np.full_like(image, 255),
    }
    return evaluate(
        methods,
        cases(),
        lpips=lambda truth, prediction: 0.25,
        feature_distance=lambda truth, prediction, mask: float(prediction[mask].mean()),
        sheet_rows=3,
    )


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
    assert set(results) == {"protocol", "methods", "differences"}
    assert list(results["methods"]) == ["grey", "white"]
    blocks = tables((tmp_path / "table.md").read_text(encoding="utf-8"))
    whole = next(iter(blocks.values()))
    bins = {
        title.removeprefix("Hole ratio ").rstrip(":"): table
        for title, table in blocks.items()
        if title.startswith("Hole ratio")
    }
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


def compared(*names, metric="psnr", **means):
    """Differences as results.json has them, ±0.5 about the difference of the means."""
    return [
        {
            "metric": metric,
            "method": method,
            "over": over,
            "mean": means[method] - means[over],
            "interval": [means[method] - means[over] - 0.5, means[method] - means[over] + 0.25],
            "count": 9,
        }
        for over, method in itertools.combinations(names, 2)
    ]


def read_table(psnr, metric="psnr"):
    """The difference table of methods with these scores: {(row, column): cell}, empty cells left out."""
    methods = {name: {metric: value} for name, value in psnr.items()}
    text = difference_table(compared(*psnr, metric=metric, **psnr), methods, metric)
    (table,) = tables(text).values() if text else ({},)
    return {
        (row, column.removeprefix("over ")): cell
        for row, cells in table.items()
        for column, cell in cells.items()
        if column and cell
    }


def test_each_model_is_compared_with_the_best_baseline_and_the_models_before_it():
    psnr = {"telea": 23.0, "mine": 24.5, "harmonic": 24.0, "ns": 23.5, "other": 23.75}
    assert read_table(psnr) == {
        ("mine", "harmonic"): "+0.50 [+0.25, +1.00]",  # turned round: harmonic comes later
        ("other", "harmonic"): "-0.25 [-0.75, +0.00]",
        ("other", "mine"): "-0.75 [-1.25, -0.50]",
    }
    # The best on these pictures, not one that is the best on others.
    assert set(read_table({"harmonic": 20.0, "biharmonic": 21.0, "mine": 22.0})) == {("mine", "biharmonic")}
    assert set(read_table({"mine": 22.0, "other": 20.0})) == {("other", "mine")}
    assert set(read_table({"telea": 20.0, "ns": 21.0, "harmonic": 22.0})) == {
        ("telea", "harmonic"),
        ("ns", "harmonic"),
    }
    assert read_table({"telea": 20.0}) == read_table({"mine": 20.0}) == read_table({}) == {}


def test_of_feature_distances_the_lowest_is_the_best():
    table = read_table({"telea": 3.0, "patchmatch": 2.0, "mine": 1.0}, "feature_distance")
    assert table == {("mine", "patchmatch"): "-1.000 [-1.500, -0.750]"}


def test_differences_stand_below_the_table_of_all_images(evaluation):
    results = results_of(evaluation)
    blocks = markdown(results).split("\n\n")
    assert blocks[1].startswith("| method |")
    titles = [block for block in blocks if "95 % interval" in block]
    assert [title.split(",")[0].split(" (")[0] for title in titles] == [
        "PSNR gained",
        "Feature distance added",
    ]
    found = tables(markdown(results))
    for title, metric, decimals in zip(titles, ("psnr", "feature_distance"), (2, 3), strict=True):
        means = {name: entry[metric] for name, entry in results["methods"].items()}
        cell = found[title]["white"]["over grey"]
        assert cell.startswith(f"{means['white'] - means['grey']:+.{decimals}f} [")


def test_reasons_are_in_the_markdown(evaluation):
    text = markdown(
        results_of(
            evaluation,
            lpips_unavailable="no backbone",
            features_unavailable="none was given",
            truth_patch_distance=3.456,
            skipped={"torn.jpg": "cut short"},
            broken_masks={"blot.png": "empty"},
        )
    )
    assert "Masks passed over because they could not be read: blot.png." in text
    assert "LPIPS was not computed: no backbone." in text
    assert "The feature distance was not computed: none was given." in text
    assert "Patches: the photos themselves are at 3.46." in text
    named = markdown(results_of(evaluation, features={"backbone": "squeezenet1_1", "sha256": "0123" * 16}))
    assert "Features: squeezenet1_1, weights `0123012301230123`; not LPIPS." in named
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
