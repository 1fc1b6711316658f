"""Which photo `inpaint run` pairs with which mask, and where it writes the results."""

from pathlib import Path

import numpy as np
import pytest
from command_line import MASK, PHOTO, load, run, save, usage_error

from inpaint.cli import main
from inpaint.cli.listing import list_images
from inpaint.cli.matching import MaskMatcher
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
    assert run(model, "photos/a.png", "hole.png", "photos/b.png", "--candidates", "2") == 0


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
    assert run(model, "photos", "masks", "results", "--overwrite") == 1
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


def names_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_subfolders_are_entered_and_keep_their_layout(model, place, capsys):
    for name in ("a", "trip1/a", "trip1/b", "trip2/c"):
        for folder, pixels in (("photos", PHOTO), ("masks", MASK)):
            (place / folder / name).parent.mkdir(exist_ok=True)
            save(f"{folder}/{name}.png", pixels)
    save("masks/beach2.png", MASK)
    (place / "photos/trip1/notes.txt").write_text("not a photo")
    (place / "photos/trip2/lost.jpg").symlink_to("nothing")
    assert run(model, "photos", "masks", "photos/filled") == 1
    assert names_below(place / "photos/filled") == ["a.png", "trip1/a.png", "trip1/b.png", "trip2/c.png"]
    said = capsys.readouterr().err
    assert "no photo takes these masks of masks: beach2.png" in said
    assert "ignored in photos, not an image by its suffix: trip1/notes.txt" in said
    assert "error: photos/trip2/lost.jpg: there is no mask named lost.png" in said
    # The results that now lie in the folder of photos are no photos.
    assert run(model, "photos", "masks", "photos/filled", "--overwrite") == 1
    assert len(names_below(place / "photos/filled")) == 4


def test_a_link_to_nothing_is_a_failed_photo(model, place, capsys):
    save("masks/lost.png", MASK)
    (place / "photos/lost.jpg").symlink_to("nothing")
    assert run(model, "photos", "masks", "results") == 1
    assert "error: photos/lost.jpg: there is no such file" in capsys.readouterr().err


def test_links_to_folders_are_followed_once(place):
    (place / "photos/inner").mkdir()
    save("photos/inner/a.png", PHOTO)
    (place / "photos/again").symlink_to("inner", target_is_directory=True)
    (place / "photos/inner/up").symlink_to("..", target_is_directory=True)
    assert len(list_images(place / "photos").images) == 1


def test_names_pair_whatever_their_unicode_form_and_capitals(model, place, capsys):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    save(f"photos/{composed}.png", PHOTO)
    save(f"masks/{decomposed}.png", MASK)
    save("photos/DSC_1.PNG", PHOTO)
    save("masks/dsc_1.png", MASK)
    assert run(model, "photos", "masks", "results") == 0
    assert names_below(place / "results") == sorted(["DSC_1.PNG", f"{composed}.png"])
    assert "no photo takes" not in capsys.readouterr().err


def test_capitals_count_where_another_photo_has_the_name():
    matcher = MaskMatcher([Path("a.png"), Path("B.png")], [Path("A.jpg"), Path("a.jpg"), Path("b.jpg")])
    assert [matcher.masks_of(Path(name)) for name in ("A.jpg", "a.jpg", "b.jpg")] == [
        *([], [Path("a.png")], [Path("B.png")])
    ]


@pytest.mark.parametrize("suffix", ["_mask", "-mask"])
def test_masks_may_lie_beside_their_photos(model, place, capsys, suffix):
    for name in ("a", "b"):
        save(f"photos/{name}.png", PHOTO)
        save(f"photos/{name}{suffix}.png", MASK)
    told = usage_error(capsys, model, "photos", "photos", "results")
    assert f"say how the masks' names end with --mask-suffix={suffix}" in told
    assert run(model, "photos", "photos", "results", f"--mask-suffix={suffix}") == 0
    assert names_below(place / "results") == ["a.png", "b.png"]
    assert run(model, "photos/a.png", "photos", "one.png", f"--mask-suffix={suffix}") == 0
    save(f"masks/a{suffix}.png", MASK)
    capsys.readouterr()
    assert run(model, "photos/a.png", "masks", "two.png") == 1
    assert (
        f"there is a{suffix}: are the masks named so? Then add --mask-suffix={suffix}"
        in capsys.readouterr().err
    )
    assert "is for a folder" in usage_error(
        capsys, model, "photos", "photos/a.png", "results", "--mask-suffix=_m"
    )


def test_nothing_that_is_there_is_overwritten_unless_it_is_asked_for(model, place, capsys):
    for name in ("a.png", "b.png"):
        save(f"photos/{name}", PHOTO)
    save("hole.png", MASK)
    assert run(model, "photos/a.png", "hole.png", "results/a.png") == 0
    (place / "results/a.png").write_bytes(b"edited since")
    for image, output, told in (
        ("photos/a.png", "results/a.png", "--output results/a.png: exists; --skip-existing"),
        (
            "photos",
            "results",
            "--output results: 1 of 2 results exist, such as results/a.png; --skip-existing",
        ),
    ):
        said = usage_error(capsys, model, image, "hole.png", output)
        assert told in said and "--overwrite makes all anew" in said
    assert not (place / "results/b.png").exists()
    assert run(model, "photos", "hole.png", "results", "--skip-existing") == 0
    assert "1 of 2 photos have their results in results already, and are skipped" in capsys.readouterr().err
    assert (place / "results/a.png").read_bytes() == b"edited since"
    np.testing.assert_array_equal(load("results/b.png")[MASK == 0], PHOTO[MASK == 0])
    assert run("no-such-model", "photos", "hole.png", "results", "--skip-existing") == 0  # nothing to do
    assert run(model, "photos", "hole.png", "results", "--overwrite") == 0
    np.testing.assert_array_equal(load("results/a.png")[MASK == 0], PHOTO[MASK == 0])


def test_candidates_that_are_there_stay(model, place, detail):
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    (place / "out-1.png").write_bytes(b"kept")
    assert run(model, "photo.png", "hole.png", "out.png", "--candidates", "2", "--skip-existing") == 0
    assert (place / "out-1.png").read_bytes() == b"kept"
    assert (load("out-2.png")[MASK > 0][:, 0] == 1).all()  # of the second seed
