"""`inpaint trace`, from the arguments to the files it leaves."""

from __future__ import annotations

import numpy as np
import pytest
from command_line import MASK, PHOTO, load, save

from inpaint.cli import main


def trace(model, *more, at="50,45", output="trace.png"):
    given = ["--image", "photo.png", "--mask", "hole.png", "--at", at, "--output", output]
    return main(["trace", *given, "--model", str(model), "--device", "cpu", "--detail", "none", *more])


@pytest.fixture
def files(place):
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    return place


def test_a_pixel_is_drawn_told_and_kept_as_numbers(model, files, capsys):
    assert trace(model, "--weights", "new.npy", "--at", "42,33") == 0
    height, width = MASK.shape
    assert load("trace.png").shape == (height, 2 * width, 3)
    weights = np.load("new.npy", allow_pickle=False)
    assert weights.shape == (2, height, width) and weights.dtype == np.float32
    assert (weights[:, MASK > 0] == 0).all() and 0 < weights[1].sum() <= 1.001
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "50,45" and "42,33" in told
    assert any("%" in line and ("decoder.0" in line or "head" in line) for line in told)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"at": "50"}, "expected X,Y such as 120,45"),
        ({"output": "photo.png"}, "would overwrite photo.png"),
        ({"output": "trace.txt"}, "unknown format"),
        ({"output": "there.png"}, "exists"),
    ],
)
def test_arguments_that_make_no_sense(model, files, capsys, more, words):
    save("there.png", PHOTO)
    with pytest.raises(SystemExit) as stop:
        trace(model, **more)
    assert stop.value.code == 2 and words in capsys.readouterr().err
    assert trace(model, "--overwrite", output="there.png") == 0


def test_folders_and_known_pixels_are_refused(model, files, capsys):
    with pytest.raises(SystemExit):
        main(["trace", "--image", "photos", "--mask", "hole.png", "--at", "1,1", "--output", "x.png"])
    assert "one photo is traced at a time" in capsys.readouterr().err
    assert trace(model, at="5,5") == 1
    assert "row 5, column 5 is no pixel of the hole" in capsys.readouterr().err
    assert not (files / "trace.png").exists()
    (files / "there.npy").write_bytes(b"")
    with pytest.raises(SystemExit):
        trace(model, "--weights", "there.npy")
    assert "--weights there.npy: exists" in capsys.readouterr().err
