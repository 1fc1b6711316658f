"""Which photo `inpaint run` pairs with which mask, and where it writes the results."""

import numpy as np
import pytest
from command_line import MASK, PHOTO, load, run, save, usage_error

from inpaint.cli import main
from inpaint.inference import inpainter


def test_one_photo_into_a_folder_keeps_its_name(model, place):
    save("photo.png", PHOTO)
    save("masks/photo.bmp", MASK)
    assert run(model, "photo.png", "masks", "results") == 0
    np.testing.assert_array_equal(load("results/photo.png")[MASK == 0], PHOTO[MASK == 0])


def test_one_mask_for_a_folder(model, place):
    save("photos/a.png", PHOTO)
    save("photos/b.png", PHOTO[:, ::-1].copy())
    save("hole.png", MASK)
    assert run(model, "photos", "hole.png", "results") == 0
    np.testing.assert_array_equal(load("results/b.png")[MASK == 0], PHOTO[:, ::-1][MASK == 0])


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


@pytest.mark.parametrize("length", [240, 255])
def test_long_names_are_written(model, place, length):
    name = "p" * (length - 4) + ".png"
    save(f"photos/{name}", PHOTO)
    save(f"masks/{name}", MASK)
    assert run(model, "photos", "masks", "results") == 0
    np.testing.assert_array_equal(load(f"results/{name}")[MASK == 0], PHOTO[MASK == 0])
    assert [path.name for path in (place / "results").iterdir()] == [name]


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
