"""Temporary files: their names, and what killed runs leave of them."""

import multiprocessing
import os

import pytest

from inpaint import files
from inpaint.files import lock, partial_path, remove_partials, write_atomically


@pytest.mark.parametrize(
    "name", ["a" * 251 + ".png", "é" * 125 + ".png", "a" * 236 + ".png", "b" * 196 + ".png"]
)
def test_the_longest_names_can_be_written(tmp_path, name):
    write_atomically(tmp_path / name, b"first")
    write_atomically(tmp_path / name, b"second")
    assert (tmp_path / name).read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_names_that_differ_at_their_end_have_temporary_files_of_their_own(tmp_path):
    one, other = ("a" * 250 + end for end in ("1.png", "2.png"))
    partial = partial_path(tmp_path / one)
    partial.touch()
    assert len(os.fsencode(partial.name)) < 255
    remove_partials(tmp_path, [other])
    assert partial.exists()
    remove_partials(tmp_path, [one])
    assert not partial.exists()


def test_only_our_own_leftovers_of_the_same_files_are_removed(tmp_path):
    stay = [
        *("photo.png", "photo.png.partial", ".photo.png.partial", ".photo.png.0123456.partial"),
        *(".photo.png.0123456g.partial", ".other.png.01234567.partial", ".photo.png.01234567.partial.png"),
        "..photo.png.01234567.partial",
    ]
    for name in stay:
        (tmp_path / name).write_bytes(b"theirs")
    (tmp_path / ".photo.png.89abcdef.partial").mkdir()
    (tmp_path / ".photo.png.11111111.partial").symlink_to(tmp_path / "photo.png")
    for _ in range(3):
        partial_path(tmp_path / "photo.png").write_bytes(b"half")
    remove_partials(tmp_path, {"photo.png"})
    kept = {*stay, ".photo.png.89abcdef.partial", ".photo.png.11111111.partial"}
    assert {path.name for path in tmp_path.iterdir()} == kept
    remove_partials(tmp_path / "gone", {"photo.png"})


def hold(path, told, done):
    with path.open("xb") as stream:
        lock(stream)
        told.set()
        done.wait(30)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no locks of this kind here")
def test_what_another_process_is_writing_stays(tmp_path):
    context = multiprocessing.get_context("spawn")
    told, done = context.Event(), context.Event()
    partial = partial_path(tmp_path / "photo.png")
    process = context.Process(target=hold, args=(partial, told, done))
    process.start()
    assert told.wait(60)
    remove_partials(tmp_path, {"photo.png"})
    assert partial.exists()
    process.kill()  # as by the system, so that nothing is tidied
    process.join()
    assert partial.exists()
    remove_partials(tmp_path, {"photo.png"})
    assert not partial.exists()


def test_write_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "photo.png"
    path.write_bytes(b"before")

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(OSError, match="space"):
        write_atomically(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="space"):
        write_atomically(path, lambda stream: stream.write(b"after"))
    assert path.read_bytes() == b"before"
    monkeypatch.undo()
    write_atomically(path, b"after")
    assert path.read_bytes() == b"after"
    write_atomically(path, lambda stream: stream.write(b"made while writing"))
    assert path.read_bytes() == b"made while writing"
    assert list(tmp_path.iterdir()) == [path]
