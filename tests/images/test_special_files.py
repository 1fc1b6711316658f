"""Files that are none: pipes, devices, sockets, folders, links to them. None is waited for or read."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hostile.corpus import SPECIAL
from PIL import Image

from inpaint.datasets import TrainingBatches, open_photos
from inpaint.files import NotRegularError, open_regular, why_not_regular
from inpaint.images import ImageError, read_mask, read_photo
from inpaint.masks import MaskFolder, generator_for

pytestmark = [
    pytest.mark.timeout(60),  # what these tests are about would take for ever
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here"),
]

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.fixture(params=SPECIAL)
def special(request, tmp_path):
    """A folder in which b.png is a photo and a.png is none, and what it is."""
    folder = tmp_path / "folder"
    folder.mkdir()
    SPECIAL[request.param](folder / "a.png")
    Image.fromarray(PIXELS).save(folder / "b.png")
    return folder, " ".join(request.param.split())


def test_only_regular_files_are_opened(special, tmp_path, monkeypatch):
    folder, kind = special
    path = folder / "a.png"
    with pytest.raises(NotRegularError, match=f"is {kind} and not a file"):
        open_regular(path)
    # Where it becomes one after it was looked at, it is not waited for either.
    if kind != "a socket":  # the system itself opens none
        regular = (folder / "b.png").stat()
        with monkeypatch.context() as patch, pytest.raises(NotRegularError, match=f"is {kind}"):
            patch.setattr(Path, "stat", lambda _: regular)
            open_regular(path)
    assert why_not_regular(path) == f"is {kind} and not a file"
    (tmp_path / "link.png").symlink_to(folder / "b.png")
    with open_regular(tmp_path / "link.png") as stream:
        assert stream.read() == (folder / "b.png").read_bytes()
    assert why_not_regular(tmp_path / "link.png") is None
    assert "No such file" in why_not_regular(tmp_path / "gone.png")


@pytest.mark.parametrize("read", [read_photo, read_mask])
def test_as_a_photo_or_a_mask_they_are_errors(special, read):
    folder, kind = special
    with pytest.raises(ImageError, match=rf"a\.png: is {kind} and not a file"):
        read(folder / "a.png")


def test_in_training_they_count_as_broken(special):
    folder, kind = special
    photos = open_photos(folder)
    batches = TrainingBatches(photos, "box:0.1-0.3", size=16, batch_size=4)
    assert batches.batch(0).image.shape == (4, 3, 16, 16)
    if kind == "a folder":  # photos in it would be found
        assert list(photos.names) == ["b.png"]
        return
    assert list(batches.broken) == ["a.png"]
    assert f"is {kind} and not a file" in batches.broken["a.png"]


def test_a_shard_that_is_a_pipe_is_named(tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "b.png")
    with tarfile.open(folder / "one.tar", "w") as archive:
        archive.add(tmp_path / "b.png", "b.png")
    os.mkfifo(folder / "two.tar")
    photos = open_photos(folder)
    np.testing.assert_array_equal(photos.read(0), PIXELS)
    assert "is a pipe and not a file" in photos.broken[(folder / "two.tar").as_posix()]


def test_among_masks_they_are_named_and_left_out(special):
    path, kind = special
    folder = MaskFolder(path)
    assert folder.names == ["b.png"]
    assert folder.broken == {"a.png": f"is {kind} and not a file"}
    assert folder.draw(generator_for(0), 40, 50).shape == (40, 50)
    (path / "b.png").unlink()
    with pytest.raises(ValueError, match=rf"no mask in this folder.*a\.png is {kind}"):
        MaskFolder(path)
