"""evaluate.py from its command line to its files."""

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from random_backbones import save_squeezenet
from range_server import serve
from results_shape import check_shape
from skimage.data import astronaut, chelsea, coffee

from inpaint import weights
from inpaint.evaluation import METHODS, command
from inpaint.evaluation.schema import Results

SCRIPT = Path(__file__).parent.parent / "evaluate.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("evaluate_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    Image.fromarray(coffee()[100:220, 100:230]).save(folder / "coffee.png")
    Image.fromarray(chelsea()[50:150, 100:200]).save(folder / "sub" / "chelsea.webp", lossless=True)
    Image.fromarray(astronaut()[:150, 150:290]).save(folder / "astronaut.jpg")
    return folder


@pytest.fixture(autouse=True)
def no_lpips_weights(tmp_path, monkeypatch):
    """Results must not depend on what this machine has downloaded."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def arguments(photos, output, masks="free-form:0.1-0.5", methods="telea,ns", *more):
    words = ["--images", photos, "--masks", masks, "--methods", methods, "--output", output, "--size", 96]
    return [*map(str, words), *more]


def read(output):
    return json.loads((output / "results.json").read_text(encoding="utf-8"))


def test_results_follow_the_contract(script, photos, tmp_path, capsys):
    output = tmp_path / "out"
    assert script.main(arguments(photos, output)) == 0
    results = read(output)
    check_shape(results, Results)
    protocol = results["protocol"]
    assert protocol["images"] == "photos"
    assert protocol["masks"] == "free-form:0.1-0.5"
    assert (protocol["seed"], protocol["size"], protocol["image_count"]) == (0, 96, 3)
    assert protocol["skipped"] == {}
    assert len(protocol["sha256"]) == 64
    assert torch.__version__.startswith(protocol["versions"]["torch"].split("+")[0])
    assert "alexnet" in protocol["lpips_unavailable"]
    assert list(results["methods"]) == ["telea", "ns"]
    for entry in results["methods"].values():
        assert entry["count"] == 3
        assert entry["lpips"] is None
        assert entry["feature_distance"] is None
        assert 0 < entry["detail"] < 1  # both smear
        assert entry["patch_distance"] > protocol["truth_patch_distance"] > 0
        assert 15 < entry["psnr"] < 45
        assert entry["psnr_hole"] < entry["psnr"]
        assert 0.5 < entry["ssim"] < 1
        assert 0 < entry["l1"] < entry["l1_hole"]
        assert entry["seconds"] > 0
        assert sum(part["count"] for part in entry["by_hole_ratio"].values()) == 3
        for part in entry["by_hole_ratio"].values():
            assert set(part) == set(entry) - {"by_hole_ratio"}
    (difference,) = results["differences"]
    assert (difference["metric"], difference["method"], difference["over"]) == ("psnr", "ns", "telea")
    gain = results["methods"]["ns"]["psnr"] - results["methods"]["telea"]["psnr"]
    assert difference["mean"] == pytest.approx(gain)
    assert difference["interval"][0] <= gain <= difference["interval"][1]
    assert "--features" in protocol["features_unavailable"]
    assert set(protocol["metrics"]) >= {*results["methods"]["ns"], "differences"} - {"count", "by_hole_ratio"}
    printed = capsys.readouterr().out
    assert printed == (output / "table.md").read_text(encoding="utf-8")
    assert "alexnet" in printed
    assert Image.open(output / "sheet.png").size[1] > 3 * 96


def test_two_runs_agree_and_a_tar_is_the_same_as_its_folder(script, photos, tmp_path):
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        for file in ("sub/chelsea.webp", "coffee.png", "astronaut.jpg"):
            archive.add(photos / file, file)
    found = []
    for index, source in enumerate((photos, photos, tmp_path / "photos.tar")):
        assert script.main(arguments(source, tmp_path / str(index))) == 0
        results = read(tmp_path / str(index))
        for entry in results["methods"].values():
            entry.pop("seconds")
            for part in entry["by_hole_ratio"].values():
                part.pop("seconds")
        found.append((results["protocol"]["sha256"], results["methods"]))
    assert found[0] == found[1] == found[2]
    assert (
        script.main(arguments(photos, tmp_path / "other", "free-form:0.1-0.5", "telea", "--seed", "1")) == 0
    )
    assert read(tmp_path / "other")["protocol"]["sha256"] != found[0][0]


def test_exported_inputs_come_back_as_ready_results(script, photos, tmp_path):
    first = arguments(photos, tmp_path / "a", "box:0.1-0.3", "telea", "--export", str(tmp_path / "inputs"))
    assert script.main(first) == 0
    fills = tmp_path / "fills"
    fills.mkdir()
    for file in (tmp_path / "inputs" / "images").iterdir():
        image = np.asarray(Image.open(file))
        mask = np.asarray(Image.open(tmp_path / "inputs" / "masks" / file.name).convert("L")) > 127
        Image.fromarray(METHODS["telea"](image, mask)).save(fills / file.name)
    assert script.main(arguments(photos, tmp_path / "b", "box:0.1-0.3", f"telea,peer={fills}")) == 0
    methods = read(tmp_path / "b")["methods"]
    assert methods["peer"].pop("seconds") is None
    for key in ("psnr", "ssim", "l1", "psnr_hole", "l1_hole", "detail", "patch_distance"):
        assert methods["peer"][key] == methods["telea"][key]


def test_results_of_other_holes_are_refused(script, photos, tmp_path, capsys, monkeypatch):
    """Such results have scored above everything: most of a hole is then the photo itself."""
    words = arguments(photos, tmp_path / "a", "box:0.1-0.3", "telea", "--export", str(tmp_path / "inputs"))
    assert script.main(words) == 0
    fills = tmp_path / "inputs" / "fills"
    fills.mkdir()
    for file in (tmp_path / "inputs" / "images").iterdir():
        mask = np.asarray(Image.open(tmp_path / "inputs" / "masks" / file.name).convert("L")) > 127
        filled = Image.fromarray(METHODS["telea"](np.asarray(Image.open(file)), mask))
        filled.save(fills / f"{file.stem}_result.png")
        file.rename(fills / f"{file.stem}_masked.png")  # lies beside the result and is none
    monkeypatch.setattr(command, "evaluate", None)
    capsys.readouterr()
    suffix = ("--fill-suffix", "_result")

    def told(*more):
        words = arguments(
            photos, tmp_path / "b", "box:0.1-0.3", f"peer={fills}", *suffix, "--seed", "1", *more
        )
        assert script.main(words) == 2
        return capsys.readouterr().err

    manifest = tmp_path / "inputs" / "manifest.json"
    assert re.search(r"peer: .*another mask of .* \(exported with seed 0; this run has seed 1\)", told())
    manifest.rename(tmp_path / "moved.json")
    assert re.search(
        r"peer: these look like .* \d+\.\d% of the known .* \d+\.\d% of the holes' pixels", told()
    )
    assert "exported with seed 0" in told("--manifest", str(tmp_path / "moved.json"))
    (tmp_path / "empty.json").write_text("{}")
    assert "empty.json: is no manifest" in told("--manifest", str(tmp_path / "empty.json"))
    assert "nowhere.json" in told("--manifest", str(tmp_path / "nowhere.json"))


def test_a_backbone_gives_feature_distances_by_its_name(script, photos, tmp_path, capsys):
    save_squeezenet(tmp_path / "weights.safetensors")
    choice = f"squeezenet:{tmp_path / 'weights.safetensors'}"
    words = arguments(photos, tmp_path / "out", "box:0.1-0.3", "telea,ns", "--features", choice)
    assert script.main(words) == 0
    results = read(tmp_path / "out")
    digest = hashlib.sha256((tmp_path / "weights.safetensors").read_bytes()).hexdigest()
    check_shape(results, Results)
    assert results["protocol"]["features"] == {"backbone": "squeezenet1_1", "sha256": digest}
    assert results["protocol"]["features_unavailable"] is None
    assert all(entry["feature_distance"] > 0 for entry in results["methods"].values())
    assert [entry["metric"] for entry in results["differences"]] == ["psnr", "feature_distance"]
    assert f"squeezenet1_1, weights `{digest[:16]}`" in capsys.readouterr().out
    words[words.index(choice)] = "squeezenet:nowhere"
    assert script.main(words) == 2
    assert "nowhere" in capsys.readouterr().err


def test_detail_of_the_photo_is_a_method_of_its_own(script, photos, tmp_path, monkeypatch):
    module = types.ModuleType("inpaint.inference.detail")
    module.add_detail = lambda image, fill, mask, seed=0: np.where(mask[..., None], np.uint8(0), fill)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert script.main(arguments(photos, tmp_path / "out", "box:0.1-0.3", "telea,telea+photo")) == 0
    results = read(tmp_path / "out")
    assert list(results["methods"]) == ["telea", "telea+photo"]
    assert results["methods"]["telea+photo"]["psnr"] < results["methods"]["telea"]["psnr"]
    assert "| telea+photo | -" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")


def test_folder_of_masks(script, photos, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    square = np.zeros((96, 96), np.uint8)
    square[10:40, 10:40] = 255
    for stem in ("coffee", "chelsea", "astronaut"):
        Image.fromarray(square).save(masks / f"{stem}.png")
    assert script.main(arguments(photos, tmp_path / "out", str(masks))) == 0
    assert list(read(tmp_path / "out")["methods"]["ns"]["by_hole_ratio"]) == ["0.01-0.1"]


def test_broken_photo_is_named_and_the_rest_is_done(script, photos, tmp_path, capsys):
    (photos / "torn.jpg").write_bytes((photos / "astronaut.jpg").read_bytes()[:900])
    assert script.main(arguments(photos, tmp_path / "out")) == 1
    assert "left out torn.jpg" in capsys.readouterr().err
    results = read(tmp_path / "out")
    assert list(results["protocol"]["skipped"]) == ["torn.jpg"]
    assert results["methods"]["telea"]["count"] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": "telea,telae"}, "unknown method 'telae'.*telea, ns, biharmonic"),
        ({"methods": "telea,telea"}, "telea is named twice"),
        ({"methods": "telea,"}, "a name is empty"),
        ({"masks": "blobs:0.1-0.5"}, "neither a folder nor a recipe"),
        ({"photos": "nowhere"}, "nowhere"),
        ({"methods": "peer=nowhere"}, "no such folder of results"),
    ],
)
def test_errors_are_clear_and_come_before_the_work(script, photos, tmp_path, capsys, change, message):
    settings = {"photos": photos, "output": tmp_path / "out", **change}
    assert script.main(arguments(**settings)) == 2
    captured = capsys.readouterr()
    assert re.search(message, captured.err)
    assert captured.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": "typo"}, "--masks: 'typo' is neither a folder nor a recipe: .*free-form, box, object"),
        (
            {"methods": "telea,telae"},
            "--methods: .*'telae'.*telea, ns, biharmonic, harmonic, patchmatch.*installed",
        ),
        ({"methods": "telea,/nowhere/telae+photo"}, "--methods: unknown method '/nowhere/telae'"),
        (
            {"features": "resnet:FILE"},
            "--features: unknown perceptual backbone 'resnet': .*squeezenet, vgg16",
        ),
        ({"features": "squeezenet:nowhere"}, "--features: .*nowhere"),
        ({"device": "gpu"}, "device gpu: expected auto, cpu, cuda"),
    ],
)
def test_typing_errors_are_told_before_photos_are_opened_and_models_loaded(
    script, photos, tmp_path, capsys, monkeypatch, change, message
):
    for name in ("open_photos", "_load_lpips", "evaluate"):
        monkeypatch.setattr(command, name, lambda *_, **__: pytest.fail("the work began"))
    monkeypatch.setattr(weights, "load_weights", lambda *_: pytest.fail("a model was loaded"))
    words = {"masks": "box", "methods": "telea,pconv-carafe", **change}
    more = [word for flag in ("features", "device") if flag in words for word in (f"--{flag}", words[flag])]
    words = arguments(photos, tmp_path / "out", words["masks"], words["methods"], *more)
    assert script.main(words) == 2
    told = capsys.readouterr().err
    assert re.search(message, told) and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_report_tells_no_secret_of_a_url(script, photos, tmp_path, capsys):
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(photos / "coffee.png", "coffee.png")
    with serve(tmp_path) as server:
        # As stores do, the server takes the signature with the name.
        (tmp_path / "set.tar").rename(tmp_path / "set.tar?X-Sig=SECRET")
        url = server.url.replace("//", "//ann:PASSWORD@") + "set.tar?X-Sig=SECRET"
        assert script.main(arguments(url, tmp_path / "out", "box", "telea")) == 0
    assert read(tmp_path / "out")["protocol"]["images"] == "set.tar"
    captured = capsys.readouterr()
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir()).decode("latin-1")
    for told in (captured.out, captured.err, written):
        assert "SECRET" not in told
        assert "PASSWORD" not in told


def test_masks_that_cannot_be_read_are_named(script, photos, tmp_path, capsys):
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.fromarray(np.tril(np.full((96, 96), 255, np.uint8))).save(masks / "good.png")
    for number in range(9):  # so that one of them is drawn, whatever is drawn
        (masks / f"torn-{number}.png").write_bytes(b"torn")
    assert script.main(arguments(photos, tmp_path / "out", f"folder:{masks}", "telea")) == 1
    captured = capsys.readouterr()
    broken = read(tmp_path / "out")["protocol"]["broken_masks"]
    assert broken
    assert f"Masks passed over because they could not be read: {', '.join(broken)}." in captured.out
    for name in broken:
        assert f"passed over the mask {name}: " in captured.err
    (masks / "good.png").unlink()
    assert script.main(arguments(photos, tmp_path / "out", f"folder:{masks}", "telea")) == 2
    told = capsys.readouterr().err
    assert re.search(r"none of the photos could be used .*torn-\d\.png: not an image", told)


@pytest.mark.parametrize("output", ["file", "file/below"])
def test_a_folder_that_takes_no_report_is_refused_before_the_work(
    script, photos, tmp_path, capsys, monkeypatch, output
):
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(command, "evaluate", None)
    assert script.main(arguments(photos, tmp_path / output)) == 2
    told = capsys.readouterr().err
    assert re.search(r"--output .*: no report can be written there \(.+\); name another folder", told)


def test_a_report_that_cannot_be_written_is_printed_all_the_same(script, photos, tmp_path, capsys):
    output = tmp_path / "out"
    (output / "results.json").mkdir(parents=True)  # nothing tells before that this cannot be replaced
    assert script.main(arguments(photos, output)) == 2
    captured = capsys.readouterr()
    assert "| telea |" in captured.out
    assert "the report cannot be written (Is a directory)" in captured.err


def test_a_result_that_is_missing_is_told_before_the_work(script, photos, tmp_path, capsys, monkeypatch):
    fills = tmp_path / "fills"
    fills.mkdir()
    (fills / "coffee.png").write_bytes(b"")
    monkeypatch.setattr(command, "evaluate", None)
    assert script.main(arguments(photos, tmp_path / "out", "box", f"telea,peer={fills}")) == 2
    assert "no result is named astronaut.* for the photo astronaut.jpg" in capsys.readouterr().err


def test_a_name_that_is_no_utf8_does_not_end_the_evaluation(script, photos, tmp_path):
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(photos / "coffee.png", "lat\udce9in.png")
        archive.add(SCRIPT, "torn\udce9.png")
    words = arguments(tmp_path / "set.tar", tmp_path / "out", "box", "telea")
    ended = subprocess.run(
        [sys.executable, SCRIPT, *words],
        env={**os.environ, "PYTHONPATH": str(SCRIPT.parent), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1, ended.stderr
    assert r"left out torn\udce9.png" in ended.stderr
    assert r"could not be read: torn\udce9.png." in ended.stdout
    assert list(read(tmp_path / "out")["protocol"]["skipped"]) == ["torn\udce9.png"]


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "cpu:x"])
def test_a_device_that_is_not_there_is_told(script, photos, tmp_path, capsys, device):
    assert script.main([*arguments(photos, tmp_path / "out"), "--device", device]) == 2
    assert re.search(rf"device {device}: (expected|torch sees no)", capsys.readouterr().err)


def test_interrupting_takes_one_sentence(script, photos, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "evaluate", interrupted)
    assert script.main(arguments(photos, tmp_path / "out")) == 130
    assert capsys.readouterr().err == "evaluate.py: interrupted before the report was written\n"


def test_lpips_asked_for_by_name_must_be_there(script, photos, tmp_path, capsys):
    settings = (photos, tmp_path / "out", "box", "telea")
    assert script.main(arguments(*settings, "--lpips")) == 2
    assert "fetch it once" in capsys.readouterr().err
    assert script.main(arguments(*settings, "--no-lpips")) == 0
    assert read(tmp_path / "out")["protocol"]["lpips_unavailable"] == "switched off"


def test_sheet_and_limit(script, photos, tmp_path):
    output = tmp_path / "out"
    assert script.main(arguments(photos, output, "box", "telea", "--limit", "2", "--sheet-rows", "0")) == 0
    assert read(output)["protocol"]["image_count"] == 2
    assert not (output / "sheet.png").exists()


@pytest.mark.timeout(120)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
def test_damaged_photos_and_what_is_no_file_are_left_out_by_name(script, photos, tmp_path, capsys):
    whole = (photos / "coffee.png").read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 8
    (photos / "damaged.png").write_bytes(damaged)
    os.mkfifo(photos / "pipe.png")
    (photos / "zero.png").symlink_to("/dev/zero")
    assert script.main(arguments(photos, tmp_path / "out", "box", "telea")) == 1
    protocol = read(tmp_path / "out")["protocol"]
    assert protocol["image_count"] == 3
    assert list(protocol["skipped"]) == ["damaged.png", "pipe.png", "zero.png"]
    said = capsys.readouterr().err
    assert "left out damaged.png: the file is damaged" in said
    assert "is a pipe and not a file" in said and "is a device and not a file" in said

    masks = tmp_path / "masks"
    masks.mkdir()
    for name in ("astronaut", "chelsea", "coffee", "damaged", "pipe", "zero"):
        Image.fromarray(np.eye(96, dtype=np.uint8) * 255).save(masks / f"{name}.png")
    os.mkfifo(masks / "more.png")
    assert script.main(arguments(photos, tmp_path / "out", masks, "telea")) == 1
    assert "passed over the mask more.png: is a pipe and not a file" in capsys.readouterr().err


def test_a_size_that_no_photo_has_is_a_usage_error(script, photos, tmp_path, capsys):
    for size in ("999999999", "0", "-1", "7072"):
        words = arguments(photos, tmp_path / "out", "box", "telea", "--size", size)
        assert script.main(words) == 2
        assert f"size: expected a crop of 1 to 7071 pixels a side, got {size}" in capsys.readouterr().err


def test_names_do_not_steer_the_terminal(script, photos, tmp_path, capsys):
    (photos / "\x1b[2Jtorn\n.png").write_bytes(b"")
    leftover = tmp_path / "out" / ".table.md.0123abcd.partial"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")
    assert script.main(arguments(photos, tmp_path / "out", "box", "telea")) == 1
    said = capsys.readouterr()
    assert "\x1b" not in said.err + said.out
    assert r"left out \x1b[2Jtorn\n.png" in said.err
    assert r"could not be read: \x1b[2Jtorn\n.png." in said.out
    assert list(read(tmp_path / "out")["protocol"]["skipped"]) == ["\x1b[2Jtorn\n.png"]
    assert not leftover.exists()
