"""The page's functions without a browser: canvas, masks, files, scores, limits, the command line."""

from __future__ import annotations

import importlib
import io
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from skimage.data import chelsea

from inpaint.images import ImageError, Photo, read_photo

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def app() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(ROOT), *sys.path])
        return importlib.import_module("inpaint.page.page")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def photo_of(height: int, width: int, **parts: Any) -> Photo:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Photo(pixels, **parts)


# The canvas


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), (1, 1)),
        ((480, 640), (480, 640)),
        ((2048, 2048), (2048, 2048)),
        ((3000, 4000), (1536, 2048)),
        ((4000, 3000), (2048, 1536)),
        ((1, 9000), (1, 2048)),
    ],
)
def test_the_canvas_is_the_photo_or_smaller(app: ModuleType, size: tuple, expected: tuple) -> None:
    assert app.canvas_size(*size) == expected


def test_a_photo_that_fits_is_on_the_canvas_as_it_is(app: ModuleType) -> None:
    pixels = chelsea()
    assert (app.canvas_copy(pixels) == pixels).all()
    assert app.canvas_copy(np.zeros((2049, 100, 3), np.uint8)).shape == (2048, 100, 3)


def test_faint_strokes_count_and_the_mask_is_binary(app: ModuleType) -> None:
    alpha = np.array([[0, app.PAINTED_ALPHA - 1, app.PAINTED_ALPHA], [127, 153, 255]], np.uint8)
    other = np.zeros_like(alpha)
    other[0, 0] = 200
    assert app.painted([]) is None
    mask = app.painted([alpha, other])
    assert mask.dtype == bool
    assert mask.tolist() == [[True, False, True], [True, True, True]]


def test_masks_are_enlarged_by_nearest_neighbour(app: ModuleType, rng: np.random.Generator) -> None:
    mask = rng.random((7, 9)) < 0.4
    large = app.resize_mask(mask, 21, 27)
    assert large.dtype == bool
    assert (large == mask.repeat(3, 0).repeat(3, 1)).all()


def test_a_shrunk_mask_covers_every_hole_pixel(app: ModuleType, rng: np.random.Generator) -> None:
    mask = np.zeros((2731, 4097), bool)
    mask[rng.integers(0, 2731, 300), rng.integers(0, 4097, 300)] = True
    small = app.shrink_mask(mask)
    assert small.shape == app.canvas_size(2731, 4097)
    assert app.resize_mask(small, *mask.shape)[mask].all()
    assert small.sum() <= mask.sum()
    assert not app.shrink_mask(np.zeros((3000, 3000), bool)).any()


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_the_mask_has_the_photos_size_whatever_the_canvas_is(app: ModuleType, factor: int) -> None:
    work = app.Work("photo", photo_of(40, 60))
    canvas = np.zeros((40, 60), bool)
    canvas[10:20, 5:50] = True
    mask = app.photo_mask(work, canvas.repeat(factor, 0).repeat(factor, 1))
    assert (mask == canvas).all()


def test_a_canvas_without_strokes_or_layers_is_an_empty_mask(app: ModuleType) -> None:
    work = app.Work("photo", photo_of(4, 5))
    assert app.photo_mask(work, None).shape == (4, 5)
    assert not app.photo_mask(work, None).any()


def test_a_canvas_that_lost_the_photo_is_an_error(app: ModuleType) -> None:
    with pytest.raises(app.CanvasError):
        app.photo_mask(app.Work("photo", photo_of(400, 600)), np.ones((800, 800), bool))


def test_a_loaded_mask_holds_except_where_it_was_painted_over(
    app: ModuleType, rng: np.random.Generator
) -> None:
    loaded = rng.random((4096, 512)) < 0.01
    work = app.Work("photo", photo_of(4096, 512), loaded_mask=loaded)
    shown = app.shrink_mask(loaded)
    assert (app.photo_mask(work, shown) == loaded).all()
    edited = shown.copy()
    edited[:100] = True
    edited[500:600] = False
    mask = app.photo_mask(work, edited)
    assert (mask[:200] | loaded[:200])[shown[:100].repeat(2, 0).repeat(2, 1) == 0].all()
    assert not mask[1000:1200].any()
    assert (mask[1200:] == loaded[1200:]).all()


def test_mask_layers_come_back_as_they_went(
    app: ModuleType, tmp_path: Path, rng: np.random.Generator
) -> None:
    mask = rng.random((33, 47)) < 0.5
    assert (read_layers(app, tmp_path, [app.mask_layer(mask)]) == mask).all()


# The editor


def read_layers(app: ModuleType, folder: Path, layers: list[np.ndarray]) -> np.ndarray | None:
    paths = [folder / f"layer_{number}.png" for number in range(len(layers))]
    for path, layer in zip(paths, layers, strict=True):
        Image.fromarray(layer).save(path)
    mask: np.ndarray | None = app.read_strokes([str(path) for path in paths])
    return mask


def test_painted_layers_give_a_mask(app: ModuleType, tmp_path: Path) -> None:
    layer = np.zeros((6, 8, 4), np.uint8)
    layer[2:4, 1:5] = (255, 0, 0, 153)
    mask = read_layers(app, tmp_path, [layer])
    assert mask is not None and mask.dtype == bool
    assert (mask == (layer[..., 3] > 0)).all()
    assert read_layers(app, tmp_path, []) is None
    assert app.read_strokes(None) is None


def test_giant_unlike_and_broken_layers_are_refused(app: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(gr.Error, match="larger"):
        read_layers(app, tmp_path, [np.zeros((2, 4 * app.CANVAS_SIDE + 1, 4), np.uint8)])
    with pytest.raises(gr.Error, match="differ"):
        read_layers(app, tmp_path, [np.zeros((2, 3, 4), np.uint8), np.zeros((3, 2, 4), np.uint8)])
    cut = tmp_path / "cut.png"
    cut.write_bytes((tmp_path / "layer_0.png").read_bytes()[:20])
    with pytest.raises(gr.Error, match="arrive"):
        app.read_strokes([str(cut)])


def test_the_editor_takes_no_blobs(app: ModuleType) -> None:
    """Gradio's own would keep as many as a client sends, and grow a list to any index it names."""
    editor = app.MaskEditor()
    assert editor.accept_blobs._is_server_fn
    with pytest.raises(gr.Error):
        editor.accept_blobs(
            SimpleNamespace(data={"type": "layer", "index": 10**9, "id": "a"}, files=[("", b"")])
        )
    assert editor.blob_storage == {}


# Fills of one hole


def test_a_growth_is_suggested_by_the_photos_size(app: ModuleType) -> None:
    sizes = ((90, 120), (512, 512), (1000, 1500), (3000, 4000), (9000, 9000))
    assert [app.suggested_growth(*size) for size in sizes] == [2, 2, 4, 12, 16]
    assert app.LARGEST_GROWTH >= 16


def test_a_thumbnail_shows_the_hole(app: ModuleType) -> None:
    pixels = photo_of(900, 1200).pixels // 2
    for box in ((0, 0, 5, 9), (400, 20, 430, 1190), (0, 0, 900, 1200), (890, 1100, 900, 1200)):
        mask = np.zeros((900, 1200), bool)
        mask[box[0] : box[2], box[1] : box[3]] = True
        thumbnail = app.thumbnail_of(np.where(mask[..., None], np.uint8(255), pixels), mask)
        assert thumbnail.shape[0] == thumbnail.shape[1] <= app.THUMBNAIL_SIDE
        assert (thumbnail == 255).all(axis=2).any()


@pytest.fixture
def table(app: ModuleType, tmp_path: Path) -> SimpleNamespace:
    """The page's events as functions, a photo, a mask painted on it and the calls of the stand-in model."""
    calls: list[tuple[str, int, np.ndarray]] = []

    def load(name: str, detail: str) -> Callable[..., np.ndarray]:
        def paint(image: np.ndarray, mask: np.ndarray, *, seed: int = 0, progress: Any = None) -> np.ndarray:
            calls.append((detail, seed, mask))
            return np.where(mask[..., None], np.uint8(len(calls)), image)

        return paint

    page = app.build_page(["a model"], load, app.Limits(fills=3), examples=[])
    canvas = np.zeros((60, 80), bool)
    canvas[20:40, 30:50] = True

    def paint(mask: np.ndarray) -> list[str]:
        path = tmp_path / f"layer{len(list(tmp_path.iterdir()))}.png"
        Image.fromarray(app.mask_layer(mask)).save(path)
        return [str(path)]

    events = {event.name: event.fn for event in page.fns.values() if event.name}
    work = app.Work("photo", photo_of(60, 80))
    return SimpleNamespace(calls=calls, canvas=canvas, paint=paint, work=work, **events)


def test_another_fill_has_another_seed_and_all_are_kept(app: ModuleType, table: SimpleNamespace) -> None:
    layers = table.paint(table.canvas)
    outcome, _, _, report = table.fill(table.work, layers, None, "a model", 4, True)
    assert report.startswith("Filled ") and report.endswith("grown by 4 pixels · seed 0")
    for growth in (4, 2):
        outcome, _, strip, report = table.fill_otherwise(
            table.work, table.paint(table.canvas), outcome, "a model", growth, True
        )
        assert f"grown by {growth} pixels" in report
    assert [(detail, seed) for detail, seed, _ in table.calls] == [("photo", 0), ("photo", 1), ("photo", 2)]
    assert len(outcome.fills) == len(strip.value) == 3 and strip.selected_index == outcome.shown == 2
    assert (outcome.mask == table.canvas).all()
    # Each is got back whole, the pixels around the mask that it grew over among them.
    for index, (_, seed, hole) in enumerate(table.calls):
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


def test_another_mask_or_photo_starts_anew(app: ModuleType, table: SimpleNamespace) -> None:
    first, *_ = table.fill(table.work, table.paint(table.canvas), None, "a model", 4, True)
    changed = table.paint(np.roll(table.canvas, 9, axis=1))
    copy = app.Work("photo", photo_of(60, 80))
    for event in (table.fill, table.fill_otherwise):
        for work, layers in ((table.work, changed), (copy, table.paint(table.canvas))):
            outcome, *_ = event(work, layers, first, "a model", 4, True)
            assert [kept.settings.seed for kept in outcome.fills] == [0]
    assert table.start_over(app.Work("wide", photo_of(1000, 1500)))[-1] == 4


def test_without_texture_there_is_one_fill(app: ModuleType, table: SimpleNamespace) -> None:
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


def test_a_mask_that_grows_over_everything_is_refused(app: ModuleType, table: SimpleNamespace) -> None:
    with pytest.raises(gr.Error, match="grow it less"):
        table.fill(table.work, table.paint(table.canvas), None, "a model", 50, True)


def test_the_models_own_fill_of_what_is_painted_is_scored(app: ModuleType, table: SimpleNamespace) -> None:
    table.compare(table.work, table.paint(table.canvas), "a model")
    ((detail, seed, hole),) = table.calls
    assert (detail, seed) == ("none", 0) and (hole == table.canvas).all()


# Files


def test_uploads_beyond_a_limit_are_refused(app: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(chelsea()).save(path)
    height, width = chelsea().shape[:2]
    assert app.read_upload(path, app.Limits()).pixels.shape == (height, width, 3)
    with pytest.raises(ImageError, match="larger than 0 MB"):
        app.read_upload(path, app.Limits(file_bytes=1000))
    with pytest.raises(ImageError):
        app.read_upload(path, app.Limits(pixels=height * width - 1))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ImageError) as error:
        app.read_upload(path, app.Limits())
    assert str(tmp_path) not in str(error.value)


def test_downloads_keep_format_exif_and_profile(app: ModuleType, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "A camera maker"
    path = tmp_path / "cat.jpg"
    Image.fromarray(chelsea()).save(path, exif=exif, icc_profile=profile)
    photo = read_photo(path)
    fill = photo.pixels.copy()
    fill[50:90, 60:200] = 0

    (name, jpeg), (exact_name, exact) = app.downloads("cat", photo, fill)
    assert (name, exact_name) == ("cat-filled.jpg", "cat-filled.png")
    with Image.open(io.BytesIO(jpeg)) as image:
        assert (image.format, image.size) == ("JPEG", (fill.shape[1], fill.shape[0]))
        assert image.getexif()[0x010F] == "A camera maker"
        assert image.info["icc_profile"] == profile
    assert (np.asarray(Image.open(io.BytesIO(exact))) == fill).all()


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "BMP"])
def test_a_lossless_photo_is_one_download(app: ModuleType, format: str) -> None:
    photo = photo_of(30, 40, format=format)
    ((name, data),) = app.downloads("photo", photo, photo.pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == format
        assert (np.asarray(image.convert("RGB")) == photo.pixels).all()
    assert name.startswith("photo-filled.")


def test_a_photo_its_format_cannot_hold_is_a_png(app: ModuleType) -> None:
    photo = photo_of(2, 70_000, format="JPEG")  # JPEG ends at 65 535 pixels a side
    assert [name for name, _ in app.downloads("strip", photo, photo.pixels)] == ["strip-filled.png"]


def test_the_examples_are_installed(app: ModuleType) -> None:
    photos = app.example_photos()
    assert len(photos) >= 4
    for path in photos:
        assert min(read_photo(path).pixels.shape[:2]) >= 256


def test_what_was_opened_is_described_without_markup(app: ModuleType) -> None:
    text = app.describe(photo_of(3000, 4000, format="JPEG", notes=["<b>bold</b>"]))
    assert text.startswith("4000 × 3000 · JPEG")
    assert "full size" in text
    assert "<b>" not in text
    assert "full size" not in app.describe(photo_of(30, 40))


# Evaluation


def test_no_method_sees_the_truth_in_the_hole(app: ModuleType, rng: np.random.Generator) -> None:
    truth = chelsea()[:120, :160]
    mask = np.zeros(truth.shape[:2], bool)
    mask[30:70, 50:110] = True
    other = truth.copy()
    other[mask] = rng.integers(0, 256, (int(mask.sum()), 3))
    seen: list[np.ndarray] = []

    def spy(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        seen.append(image.copy())
        image[:] = 0  # a method that spoils what it is given
        return image

    results = app.comparison(truth, mask, {"spy": spy})
    app.comparison(other, mask, {"spy": spy})
    assert (seen[0] == seen[1]).all()
    filled, scores = results["spy"]
    assert (filled[~mask] == truth[~mask]).all()
    assert (filled[mask] == 0).all()
    squares = (truth[mask].astype(float)) ** 2
    assert scores["psnr_hole"] == pytest.approx(10 * np.log10(255**2 / squares.mean()))
    assert scores["psnr"] == pytest.approx(10 * np.log10(255**2 / (squares.sum() / truth.size)))


def test_the_score_table_marks_the_best(app: ModuleType) -> None:
    table = app.score_table(
        {
            "ours": {"psnr": 31.234, "psnr_hole": 20.0, "ssim": None},
            "Telea": {"psnr": 30.0, "psnr_hole": 21.5, "ssim": None},
        }
    )
    lines = table.splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|") == 5
    assert lines[2] == "| ours | **31.23** | 20.00 | – |"
    assert lines[3] == "| Telea | 30.00 | **21.50** | – |"


# The page and its command line


def stand_in(name: str, detail: str = "photo") -> Callable[..., np.ndarray]:
    return lambda image, mask, *, seed=0, progress=None: image.copy()


def test_the_page_names_no_other_host_for_fonts_or_styles(app: ModuleType) -> None:
    assert app.THEME._stylesheets == []
    assert "http" not in app.STYLE + app.PASTE
    page = app.build_page(["a model"], stand_in, examples=[])
    assert page.analytics_enabled is False


def test_a_page_without_models_is_refused(app: ModuleType) -> None:
    with pytest.raises(ValueError, match="model"):
        app.build_page([], stand_in)


def test_runs_wait_in_a_bounded_queue_one_at_a_time(app: ModuleType) -> None:
    page = app.build_page(["a model"], stand_in, app.Limits(queue=3), examples=[])
    assert page._queue.max_size == 3
    heavy = [event for event in page.fns.values() if event.concurrency_id == "model"]
    assert [event.name for event in heavy] == ["fill", "fill_otherwise", "compare"]
    assert {event.concurrency_limit for event in heavy} == {1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("--max-megapixels", "0"),
        ("--max-megabytes", "-1"),
        ("--max-queue", "0"),
        ("--max-megapixels", "inf"),
        ("--max-megabytes", "nan"),
    ],
)
def test_limits_must_be_positive_numbers(
    app: ModuleType, name: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        app.main([name, value])
    assert stop.value.code == 2
    assert f"{name} must be above 0" in capsys.readouterr().err


def test_an_unknown_model_is_named(
    app: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["--model", str(tmp_path / "nothing here")]) == 1
    assert "nothing here" in capsys.readouterr().err


def test_a_model_is_loaded_once_and_a_taken_port_is_said_so(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from inpaint.inference import Inpainter

    build_page, loaded, loads = app.build_page, [], []

    def from_pretrained(name: str, device: str) -> Inpainter:
        loaded.append(name)
        return Inpainter(torch.nn.Identity(), device, "photo")

    def note_load(models: list[str], load: Any, limits: Any) -> gr.Blocks:
        loads.append(load)
        return build_page(models, load, limits)

    monkeypatch.setattr(app, "model_names", lambda first: ["a model"])
    monkeypatch.setattr(app, "build_page", note_load)
    monkeypatch.setattr(Inpainter, "from_pretrained", from_pretrained)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert app.main(["--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert f"127.0.0.1:{port}" in error
    assert "--port" in error
    # A model is loaded once, with the photo's texture or without.
    textured, plain = (loads[0]("a model", detail) for detail in ("photo", "none"))
    assert (textured.detail, plain.detail) == ("photo", "none")
    assert textured.network is plain.network and loaded == ["a model"]
