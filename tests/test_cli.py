"""The `inpaint` command, from the arguments to the files it leaves."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
import torch
from PIL import ExifTags, Image

from inpaint import cli, weights
from inpaint.cli import main
from inpaint.inference import inpainter
from inpaint.networks import build_network
from inpaint.weights import save_weights


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    network = build_network({"network": "PartialConvUNet", "widths": (4, 8), "head_width": 4})
    save_weights(network, folder / "model.safetensors")
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder, which is also the working folder, with photos/ and masks/."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


PHOTO = skimage.data.astronaut()[100:190, 150:270]
MASK = np.zeros(PHOTO.shape[:2], np.uint8)
MASK[30:60, 40:70] = 255


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)


def load(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def run(model, image, mask, output, *more):
    paths = ["--image", str(image), "--mask", str(mask), "--output", str(output)]
    return main(["run", *paths, "--model", str(model), "--device", "cpu", *more])


@pytest.fixture
def detail(monkeypatch):
    """A stand-in for the second stage: it fills with what the seed says, and its calls are listed here."""
    seeds = []

    def paint(image, guide, mask, seed=0, progress=None):
        seeds.append(seed)
        result = guide.copy()
        result[mask] = (seed % 256, len(seeds), 0)
        progress(1.0)
        return result

    monkeypatch.setattr(inpainter, "add_detail", paint)
    return seeds


def usage_error(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_one_photo_to_one_file(model, place):
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    assert run(model, "photo.png", "hole.png", "new/folder/result.png") == 0
    result = load("new/folder/result.png")
    np.testing.assert_array_equal(result[MASK == 0], PHOTO[MASK == 0])
    assert (result[MASK > 0] != PHOTO[MASK > 0]).any(axis=-1).mean() > 0.9
    assert [path.name for path in (place / "new/folder").iterdir()] == ["result.png"]


def test_one_photo_into_a_folder_keeps_its_name(model, place):
    save("photo.png", PHOTO)
    save("masks/photo.bmp", MASK)
    assert run(model, "photo.png", "masks", "results") == 0
    np.testing.assert_array_equal(load("results/photo.png")[MASK == 0], PHOTO[MASK == 0])


def test_a_folder_with_bad_files_is_done_as_far_as_it_goes(model, place, capsys):
    for name in ("good.png", "twin.png", "twin.bmp", "small.png", "lonely.png", "double.png", "Upper.PNG"):
        save(f"photos/{name}", PHOTO)
    save("photos/photo.jpg", PHOTO, quality=95)
    (place / "photos/broken.jpg").write_bytes((place / "photos/photo.jpg").read_bytes()[:2000])
    (place / "photos/notes.txt").write_text("not a photo")
    (place / "photos/.hidden.png").write_text("not a photo")
    for name in ("good", "twin", "broken", "photo", "double", "Upper"):
        save(f"masks/{name}.png", MASK)
    save("masks/double.bmp", MASK)
    save("masks/small.png", MASK[:-1])

    assert run(model, "photos", "masks", "results") == 1
    written = sorted(path.name for path in (place / "results").iterdir())
    assert written == ["Upper.PNG", "good.png", "photo.jpg", "twin.bmp", "twin.png"]
    for name in ("Upper.PNG", "good.png", "twin.bmp", "twin.png"):
        np.testing.assert_array_equal(load(f"results/{name}")[MASK == 0], PHOTO[MASK == 0])
    said = capsys.readouterr().err
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(errors) == 4
    for name, reason in (
        ("broken.jpg", "damaged or cut short"),
        ("double.png", "several masks"),
        ("lonely.png", "no mask"),
        ("small.png", "120×89"),
    ):
        assert any(name in line and reason in line for line in errors)
    assert "4 of 9 photos failed, 5 written" in said
    assert "notes.txt" in said and "hidden" not in said
    assert said.count("JPEG does not keep") == 1


def test_one_mask_for_a_folder(model, place):
    save("photos/a.png", PHOTO)
    save("photos/b.png", PHOTO[:, ::-1].copy())
    save("hole.png", MASK)
    assert run(model, "photos", "hole.png", "results") == 0
    np.testing.assert_array_equal(load("results/b.png")[MASK == 0], PHOTO[:, ::-1][MASK == 0])


def test_the_mask_refers_to_the_upright_photo(model, place):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "somebody"
    save("photo.png", np.rot90(PHOTO).copy(), exif=exif)  # stored lying on its side
    save("hole.png", MASK)
    assert run(model, "photo.png", "hole.png", "result.png") == 0
    np.testing.assert_array_equal(load("result.png")[MASK == 0], PHOTO[MASK == 0])
    with Image.open("result.png") as image:
        assert image.getexif()[ExifTags.Base.Artist] == "somebody"
        assert image.getexif().get(ExifTags.Base.Orientation, 1) == 1


def test_alpha_is_kept_and_its_loss_is_said(model, place, capsys):
    alpha = np.arange(PHOTO.shape[0] * PHOTO.shape[1], dtype=np.uint32).astype(np.uint8).reshape(MASK.shape)
    save("photo.png", np.dstack([PHOTO, alpha]))
    save("hole.png", MASK)
    assert run(model, "photo.png", "hole.png", "result.png") == 0
    with Image.open("result.png") as image:
        np.testing.assert_array_equal(np.asarray(image)[..., 3], alpha)
        np.testing.assert_array_equal(np.asarray(image)[..., :3][MASK == 0], PHOTO[MASK == 0])
    assert "transparency" not in capsys.readouterr().err
    assert run(model, "photo.png", "hole.png", "result.jpg") == 0
    assert "transparency" in capsys.readouterr().err


def test_a_grey_photo_stays_grey(model, place):
    save("photo.png", PHOTO[..., 1].copy())
    save("hole.png", MASK)
    assert run(model, "photo.png", "hole.png", "result.png") == 0
    with Image.open("result.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image)[MASK == 0], PHOTO[..., 1][MASK == 0])


def test_what_was_lost_in_reading_is_said(model, place, capsys):
    save("photo.png", PHOTO[..., 0].astype(np.uint16) * 257)
    save("hole.png", np.zeros_like(MASK))
    assert run(model, "photo.png", "hole.png", "result.png") == 0
    said = capsys.readouterr().err
    assert "photo.png: 16-bit pixels were read as 8-bit" in said
    assert "hole.png has no pixel above 127" in said
    np.testing.assert_array_equal(load("result.png")[..., 0], PHOTO[..., 0])


def test_candidates_are_numbered_files_of_consecutive_seeds(model, place, detail, monkeypatch, capsys):
    networks = []
    fill = inpainter.Inpainter._fill
    monkeypatch.setattr(inpainter.Inpainter, "_fill", lambda *a: networks.append(1) or fill(*a))
    # Neither its name nor that of its results is another's, though it ends in a number.
    for name in ("a.png", "a-1.png", "a.jpg"):
        save(f"photos/{name}", PHOTO)
    save("hole.png", MASK)
    assert run(model, "photos", "hole.png", "results", "--candidates", "2", "--seed", "7") == 0
    assert sorted(path.name for path in (place / "results").iterdir()) == [
        *("a-1-1.png", "a-1-2.png", "a-1.jpg", "a-1.png", "a-2.jpg", "a-2.png")
    ]
    assert detail == [7, 8] * 3 and len(networks) == 3
    for number in (1, 2):
        for name in ("a", "a-1"):
            result = load(f"results/{name}-{number}.png")
            np.testing.assert_array_equal(result[MASK == 0], PHOTO[MASK == 0])
            assert (result[MASK > 0][:, 0] == 6 + number).all()
    said = capsys.readouterr().err
    assert "3/3 a.png" in said and "100%" in said and said.count("JPEG does not keep") == 1

    assert run(model, "photos/a.png", "hole.png", "new/fill.png", "--candidates", "2") == 0
    assert sorted(path.name for path in (place / "new").iterdir()) == ["fill-1.png", "fill-2.png"]
    assert run(model, "photos/a.png", "hole.png", "new/one.png", "--seed", "9", "--candidates", "1") == 0
    assert (load("new/one.png")[MASK > 0][:, 0] == 9).all()


def test_no_candidate_overwrites_what_is_read(model, place, detail, capsys):
    for name in ("a.png", "a-2.png"):
        save(f"photos/{name}", PHOTO)
        save(f"masks/{name}", MASK)
    (place / "results").mkdir()
    (place / "results/a-1.png").hardlink_to(place / "masks/a-2.png")
    for output, candidate, source in (
        ("photos", "a-2.png", "photos/a-2.png"),
        ("masks", "a-2.png", "masks/a-2.png"),
        ("results", "a-1.png", "masks/a-2.png"),
    ):
        told = usage_error(capsys, model, "photos", "masks", output, "--candidates", "2")
        assert f"--output {output}: {candidate} would overwrite {source}; name another" in told
    told = usage_error(capsys, model, "photos/a.png", "photos/a-2.png", "photos/a.png", "--candidates", "2")
    assert "--output photos/a.png: a-2.png would overwrite photos/a-2.png" in told
    assert detail == []
    save("hole.png", MASK)
    # A photo's own name is free where its results have others.
    assert run(model, "photos/a.png", "hole.png", "photos/a.png", "--candidates", "2") == 0


def test_a_grown_mask_takes_up_the_rim_of_a_soft_object(place):
    """A mask at half of a soft edge leaves magenta outside itself, and the fill goes on from it."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:160, :192]
    away = np.hypot(rows - 80, columns - 96) - 30  # the disc's half-way edge is at 0, and is 6 pixels wide
    share = np.clip(0.5 - away / 6, 0, 1)[..., None]
    grey = rng.normal(120, 8, (160, 192, 1)).repeat(3, axis=2)
    photo = np.rint(grey * (1 - share) + np.array((255, 0, 255)) * share).clip(0, 255).astype(np.uint8)
    save("photo.png", photo)
    save("hole.png", ((away < 0) * 255).astype(np.uint8))

    def magenta(*more):
        assert run("pconv-carafe", "photo.png", "hole.png", "filled.png", *more) == 0
        filled = load("filled.png").astype(int)
        return (filled[..., [0, 2]].min(axis=2) - filled[..., 1]).max()

    assert magenta("--grow", "4") < 12
    assert magenta() > 100


def test_a_mask_that_grows_over_everything_is_said(model, place, capsys):
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    assert run(model, "photo.png", "hole.png", "out.png", "--grow", "200") == 0
    assert (
        "hole.png, grown by 200 pixels, leaves nothing to fill from, so all is grey"
        in capsys.readouterr().err
    )


def test_without_detail_the_network_alone_fills(model, place, detail, capsys):
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    assert run(model, "photo.png", "hole.png", "out.png", "--detail", "none") == 0
    assert detail == [] and cli._DETAILS == inpainter.DETAILS
    told = usage_error(
        capsys, model, "photo.png", "hole.png", "out.png", "--detail", "none", "--candidates", "2"
    )
    assert "--candidates 2: the network alone has one fill of a hole" in told and "--detail photo" in told


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--seed", "-1", "a whole number from 0 to 9223372036854775807, got '-1'"),
        ("--seed", str(2**63), "a whole number from 0 to"),
        ("--seed", "9" * 5000, "a whole number from 0 to"),
        ("--seed", "0.5", "a whole number from 0 to"),
        ("--grow", "-4", "a whole number from 0 to 1000, got '-4'"),
        ("--grow", "1001", "a whole number from 0 to 1000"),
        ("--candidates", "0", "a whole number from 1 to 99, got '0'"),
        ("--candidates", "100", "a whole number from 1 to 99"),
        ("--detail", "mine", "invalid choice: 'mine'"),
        ("--max-megabytes", "0", "megabytes above 0, such as 500, got '0'"),
        *(
            ("--max-megapixels", value, f"megapixels above 0, such as 50, got {value!r}")
            for value in ("inf", "nan", "1e303", "0", "-1", "many")
        ),
    ],
    ids=lambda part: part[:16],
)
def test_values_that_make_no_sense_are_usage_errors(model, place, capsys, flag, value, expected):
    told = usage_error(capsys, model, "photo.png", "hole.png", "out.png", flag, value)
    assert f"argument {flag}: " in told and expected in told


def test_seeds_end_where_the_last_candidate_has_one(model, place, detail, capsys):
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    last = str(2**63 - 1)
    assert run(model, "photo.png", "hole.png", "out.png", "--seed", last) == 0
    assert detail == [2**63 - 1]
    told = usage_error(capsys, model, "photo.png", "hole.png", "out.png", "--seed", last, "--candidates", "2")
    assert f"--seed {last}: no room for 2 seeds" in told


def test_the_photo_is_never_overwritten(model, place, capsys):
    save("photos/a.png", PHOTO)
    save("masks/a.png", MASK)
    before = (place / "photos/a.png").read_bytes(), (place / "masks/a.png").read_bytes()
    (place / "link.png").hardlink_to(place / "photos/a.png")
    for image, mask, output in (
        ("photos/a.png", "masks/a.png", "photos/../photos/a.png"),
        ("photos/a.png", "masks/a.png", "link.png"),
        ("photos", "masks", "photos"),
        ("photos/a.png", "masks", "photos"),
        ("photos", "masks", "masks"),
    ):
        assert "would overwrite" in usage_error(capsys, model, image, mask, output)
    assert before == ((place / "photos/a.png").read_bytes(), (place / "masks/a.png").read_bytes())


def test_usage_errors(model, place, capsys):
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    assert "no such file" in usage_error(capsys, model, "missing.png", "hole.png", "out.png")
    assert "no such file" in usage_error(capsys, model, "photo.png", "missing", "out.png")
    assert "holds no photos" in usage_error(capsys, model, "photos", "hole.png", "out")
    assert "unknown format" in usage_error(capsys, model, "photo.png", "hole.png", "out.xyz")
    assert "installed models" in usage_error(capsys, "no-such-model", "photo.png", "hole.png", "out.png")
    save("photos/a.png", PHOTO)
    assert "is a file" in usage_error(capsys, model, "photos", "hole.png", "photo.png")
    with pytest.raises(SystemExit) as stop:
        main(["run", "--image", "photo.png"])
    assert stop.value.code == 2


def test_the_pixel_limit_can_be_set(model, place, capsys):
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    assert run(model, "photo.png", "hole.png", "out.png", "--max-megapixels", "0.01") == 1
    assert "limit" in capsys.readouterr().err
    assert not (place / "out.png").exists()


def test_models_are_listed(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weights, "models_folder", lambda: tmp_path)
    assert main(["models"]) == 0
    assert "no models" in capsys.readouterr().err
    (tmp_path / "tiny").symlink_to(model)
    entries = [
        {"name": "tiny", "description": "Small.", "parameters": 4_700_000, "scores": {"psnr": 24.61}},
        {"name": "lost", "description": "Gone.", "parameters": 1_000_000, "scores": {"ssim": 0.844}},
    ]
    (tmp_path / "index.json").write_text(json.dumps({"models": entries}), encoding="utf-8")
    assert main(["models"]) == 0
    header, tiny, lost = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "weights", "size", "psnr", "ssim", "description"]
    assert tiny.split() == ["tiny", "4.7", "M", tiny.split()[3], "MiB", "24.61", "–", "Small."]
    assert lost.split() == ["lost", "1.0", "M", "missing", "–", "0.844", "Gone."]
    (tmp_path / "index.json").write_text("{", encoding="utf-8")
    assert main(["models"]) == 1


def test_python_m_inpaint_starts_without_torch():
    code = "import sys, inpaint.cli; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    done = subprocess.run([sys.executable, "-m", "inpaint", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("inpaint ")


@pytest.mark.timeout(60)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
def test_what_is_no_file_is_named_and_not_waited_for(model, place, capsys):
    save("photos/good.png", PHOTO)
    save("photos/other.png", PHOTO)
    save("masks/good.png", MASK)
    for name in ("photos/pipe.png", "masks/other.png", "photos/plain", "hole.png"):
        os.mkfifo(name)
    (place / "photos/zero.png").symlink_to("/dev/zero")
    (place / "photos/lost.png").symlink_to("nothing")
    for name in ("pipe", "zero", "lost"):
        save(f"masks/{name}.png", MASK)
    assert run(model, "photos", "masks", "results") == 1
    assert [path.name for path in (place / "results").iterdir()] == ["good.png"]
    said = capsys.readouterr().err
    assert "plain (is a pipe and not a file)" in said
    for reason in (
        "photos/pipe.png: is a pipe and not a file",
        "photos/zero.png: is a device and not a file",
        "photos/lost.png: there is no such file",
        "masks/other.png: is a pipe and not a file",
    ):
        assert reason in said
    assert run(model, "photos/good.png", "hole.png", "out.png") == 1
    assert "hole.png: is a pipe and not a file" in capsys.readouterr().err
    assert not (place / "out.png").exists()


def test_a_link_in_a_circle_or_to_nothing_is_named_and_the_rest_is_done(model, place, capsys):
    """The comparison of places with one another ended in a traceback, and nothing was done."""
    for name in ("circle", "good", "lost"):
        save(f"masks/{name}.png", MASK)
    save("photos/good.png", PHOTO)
    (place / "photos/circle.png").symlink_to("circle.png")
    (place / "photos/lost.png").symlink_to("nothing")
    (place / "results").mkdir()
    save("results/lost.png", PHOTO)  # of an earlier run, when the link led somewhere
    assert run(model, "photos", "masks", "results") == 1
    assert sorted(path.name for path in (place / "results").iterdir()) == ["good.png", "lost.png"]
    said = capsys.readouterr().err
    for name in ("circle.png", "lost.png"):
        assert f"error: photos/{name}: " in said
    assert "2 of 3 photos failed, 1 written" in said


def test_a_damaged_photo_or_mask_is_an_error_and_nothing_is_written(model, place, capsys):
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    for name in ("photo.png", "hole.png"):
        whole = (place / name).read_bytes()
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 8
        (place / name).write_bytes(damaged)
        assert run(model, "photo.png", "hole.png", "out.png") == 1
        assert f"{name}: the file is damaged" in capsys.readouterr().err
        assert not (place / "out.png").exists()
        (place / name).write_bytes(whole)
    assert run(model, "photo.png", "hole.png", "out.png") == 0


def test_limits_are_on_by_default_and_named_by_the_flag_that_lifts_them(model, place, capsys):
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    with (place / "sparse.webp").open("wb") as file:
        file.truncate(3_000_000_000)
    assert run(model, "sparse.webp", "hole.png", "out.png") == 1
    told = (
        "sparse.webp: the file has 3000.0 MB, more than the limit of 512.0; make it smaller first, or raise"
    )
    assert f"{told} --max-megabytes" in capsys.readouterr().err
    assert run(model, "photo.png", "hole.png", "out.png", "--max-megapixels", "0.01") == 1
    assert "or raise --max-megapixels" in capsys.readouterr().err
    assert run(model, "photo.png", "hole.png", "out.png", "--max-megabytes", "0.0001") == 1
    assert "or raise --max-megabytes" in capsys.readouterr().err
    assert not (place / "out.png").exists()


@pytest.mark.parametrize("length", [240, 255])
def test_long_names_are_written(model, place, length):
    name = "p" * (length - 4) + ".png"
    save(f"photos/{name}", PHOTO)
    save(f"masks/{name}", MASK)
    assert run(model, "photos", "masks", "results") == 0
    np.testing.assert_array_equal(load(f"results/{name}")[MASK == 0], PHOTO[MASK == 0])
    assert [path.name for path in (place / "results").iterdir()] == [name]


def test_names_do_not_steer_the_terminal(model, place, capsys):
    save("photos/\x1b[2Jred\n.png", PHOTO[:5])
    save("photos/\x9b31m.png", PHOTO)
    save("masks/\x1b[2Jred\n.png", MASK)
    save("masks/\x9b31m.png", MASK)
    assert run(model, "photos", "masks", "results") == 1
    said = capsys.readouterr().err
    assert not {"\x1b", "\x9b"} & set(said)
    assert r"error: photos/\x1b[2Jred\n.png: its mask" in said
    assert r"\x1b[2J" in usage_error(capsys, model, "\x1b[2J", "masks", "out")


def test_leftovers_of_killed_runs_go_when_their_results_are_written_again(model, place):
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    (place / "results").mkdir()
    for name in (".photo.png.0123abcd.partial", ".theirs.png.0123abcd.partial", "photo.partial"):
        (place / "results" / name).write_bytes(b"half")
    assert run(model, "photo.png", "hole.png", "results") == 0
    left = sorted(path.name for path in (place / "results").iterdir())
    assert left == [".theirs.png.0123abcd.partial", "photo.partial", "photo.png"]


def test_an_output_that_cannot_be_written_is_noticed_before_the_first_fill(model, place, capsys, monkeypatch):
    monkeypatch.setattr(inpainter.Inpainter, "candidates", lambda *_, **__: pytest.fail("a photo was filled"))
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    too_long = "o" * 300 + ".png"
    assert "too long" in usage_error(capsys, model, "photo.png", "hole.png", too_long)
    (place / "folder" / "photo.png").mkdir(parents=True)
    assert "is a folder" in usage_error(capsys, model, "photo.png", "hole.png", "folder")
    assert "can be written there" in usage_error(capsys, model, "photo.png", "hole.png", "hole.png/x/out.png")
    save("wide.png", np.zeros((2, 16_384), np.uint8))
    save("thin.png", np.full((2, 16_384), 255, np.uint8))
    assert run(model, "wide.png", "thin.png", "wide.webp") == 1
    assert "WEBP holds at most 16383 pixels a side" in capsys.readouterr().err

    def refused(**_):
        raise PermissionError(13, "Permission denied", "out")

    monkeypatch.setattr("inpaint.files.tempfile.TemporaryFile", refused)
    told = usage_error(capsys, model, "photo.png", "hole.png", "new/out.png")
    assert "--output new: no photo can be written there (Permission denied)" in told
