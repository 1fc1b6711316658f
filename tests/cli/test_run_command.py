"""`inpaint run`, from the arguments to the files it leaves."""

import os

import numpy as np
import pytest
from command_line import MASK, PHOTO, load, run, save, usage_error
from PIL import ExifTags, Image

from inpaint.inference import inpainter


def test_one_photo_to_one_file(model, place):
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    assert run(model, "photo.png", "hole.png", "new/folder/result.png") == 0
    result = load("new/folder/result.png")
    np.testing.assert_array_equal(result[MASK == 0], PHOTO[MASK == 0])
    assert (result[MASK > 0] != PHOTO[MASK > 0]).any(axis=-1).mean() > 0.9
    assert [path.name for path in (place / "new/folder").iterdir()] == ["result.png"]


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
    assert detail == []
    told = usage_error(
        capsys, model, "photo.png", "hole.png", "out.png", "--detail", "none", "--candidates", "2"
    )
    assert "--candidates 2: the network alone has one fill of a hole" in told and "--detail photo" in told


def test_the_pixel_limit_can_be_set(model, place, capsys):
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    assert run(model, "photo.png", "hole.png", "out.png", "--max-megapixels", "0.01") == 1
    assert "limit" in capsys.readouterr().err
    assert not (place / "out.png").exists()


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
