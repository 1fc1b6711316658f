"""What a tar holds: found once, kept small, and read back from a cache that may be wrong in every way."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import range_server

from inpaint.datasets import index as index_module
from inpaint.datasets import open_photos
from inpaint.datasets.names import PackedText, PathNames, repeated_names
from inpaint.datasets.storage import LocalFile

NAMES = [
    "a/b/1.jpg",
    "a/b/2.jpg",
    "3.jpg",
    "a/ü-€.jpg",
    "/4.jpg",
    "a/b/1.png",
    "a\udcff/5.jpg",
    "a/b/c/1.jpg",
]


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


# --- names


def test_packed_names_are_the_names():
    names = PathNames.of(NAMES)
    assert list(names) == NAMES
    assert [names[index] for index in range(-len(NAMES), len(NAMES))] == NAMES * 2
    assert names == NAMES
    assert names != [*NAMES[:-1], "other.jpg"]
    assert names != NAMES[:-1]
    assert names[2:6:2] == NAMES[2:6:2]
    assert names.index("3.jpg") == 2
    assert "missing.jpg" not in names
    with pytest.raises(IndexError, match="of 8 names"):
        names[8]
    assert PathNames.from_arrays(names.arrays()) == NAMES
    assert PathNames.of([]) == []
    assert "8 names" in repr(names)


def test_more_names_than_are_unpacked_at_a_time():
    plain = [f"folder-{number % 700}/{number:08d}.jpg" for number in range(150_000)]
    names = PathNames.of(plain)
    assert list(names) == plain
    assert names[131_072] == plain[131_072]


def test_arrays_that_fit_no_names_are_refused():
    for name, wrong in [
        ("folder", np.array([0, 9], np.uint8)),
        ("base_ends", np.array([9, 3], np.uint8)),
        ("base_ends", np.array([1, 3], np.uint8)),
        ("folder", np.array([0], np.uint8)),
    ]:
        with pytest.raises(ValueError, match=r"folder|end to end"):
            PathNames.from_arrays({**PathNames.of(["a/xx", "b/yy"]).arrays(), name: wrong})


def test_repeated_names_are_found_even_where_hashes_deceive(monkeypatch):
    names = ["a", "b", "a", "c", "b", "a", "d"]
    expected = [True, True, True, False, True, True, False]
    assert repeated_names(names).tolist() == expected
    monkeypatch.setattr("builtins.hash", lambda name: 7)
    assert repeated_names(names).tolist() == expected
    assert repeated_names([]).tolist() == []


def test_a_photo_of_places_takes_some_thirty_bytes():
    number = 100_000
    names = PathNames.of(f"data_large/a/class_{n // 5000}/{n % 5000:08d}.jpg" for n in range(number))
    # The offsets of 105 GB and the sizes of real photos need the larger types.
    offsets = index_module.smallest(np.arange(number) * 1_050_000)
    sizes = index_module.smallest(np.full(number, 1_049_000))
    index = index_module.TarIndex(names, offsets, sizes)
    assert (offsets.dtype, sizes.dtype) == (np.uint64, np.uint32)
    assert index.nbytes / number < 32


def test_text_at_the_bounds():
    assert list(PackedText(np.zeros(0, np.uint8), np.zeros(3, np.uint8))) == ["", "", ""]


# --- the cache


@pytest.fixture
def scans(tmp_path, monkeypatch) -> list[str]:
    """The tars whose headers were read, while everything worth nothing else is kept too."""
    scanned: list[str] = []
    scan = index_module._scan

    def counted(stream, label, *others):
        scanned.append(Path(label).name)
        return scan(stream, label, *others)

    monkeypatch.setattr(index_module, "_scan", counted)
    monkeypatch.setattr(index_module, "WORTH_KEEPING", 0.0)
    monkeypatch.setenv("INPAINT_CACHE_DIR", str(tmp_path / "cache"))
    return scanned


@pytest.fixture
def tar(tmp_path) -> Path:
    return write_tar(tmp_path / "s.tar", {f"d/{n}.png": bytes([n]) * (n + 1) for n in range(5)})


def contents(path: Path | str) -> dict[str, bytes]:
    photos = open_photos(path)
    return {name: photos.read_bytes(index) for index, name in enumerate(photos.names)}


def kept(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_a_tar_is_indexed_once(scans, tar, tmp_path):
    expected = {f"d/{n}.png": bytes([n]) * (n + 1) for n in range(5)}
    for _ in range(3):
        assert contents(tar) == expected
    assert scans == ["s.tar"]
    assert len(kept(tmp_path)) == 1  # and no unfinished file beside it


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_the_cache_lies_where_caches_lie(scans, tar, tmp_path, monkeypatch, variable):
    monkeypatch.delenv("INPAINT_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "mine"))
    open_photos(tar)
    folder = tmp_path / "mine" / ("inpaint" if variable == "XDG_CACHE_HOME" else ".cache/inpaint")
    assert len(list((folder / "tars").glob("*.npz"))) == 1


def test_what_is_found_at_once_is_not_kept(scans, tar, tmp_path, monkeypatch):
    monkeypatch.setattr(index_module, "WORTH_KEEPING", 60.0)
    open_photos(tar)
    assert kept(tmp_path) == []


def test_a_tar_that_changed_is_indexed_again(scans, tar, tmp_path):
    contents(tar)
    write_tar(tar, {"other.png": b"of another size" * 9999})
    assert list(contents(tar)) == ["other.png"]
    # The same size, written later.
    time.sleep(0.01)
    write_tar(tar, {"again.png": b"of another size" * 9999})
    assert list(contents(tar)) == ["again.png"]
    assert scans == ["s.tar"] * 3
    assert len(kept(tmp_path)) == 1  # the outdated one was replaced


def test_a_tar_replaced_by_one_of_its_size_and_time_is_indexed_again(scans, tar):
    contents(tar)
    times = tar.stat()
    for name in ("x/0.png", "y/0.png"):
        write_tar(tar, {name: b"0", **{f"d/{n}.png": bytes([n]) * (n + 1) for n in range(1, 5)}})
        os.utime(tar, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert (tar.stat().st_size, tar.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)
        assert next(iter(contents(tar))) == name
    assert len(scans) == 3


def answering(monkeypatch, headers: dict[str, str]) -> None:
    """Make the web server send these headers with everything."""
    end_headers = range_server._Handler.end_headers

    def send(handler):
        for name, value in headers.items():
            handler.send_header(name, value)
        end_headers(handler)

    monkeypatch.setattr(range_server._Handler, "end_headers", send)


@pytest.mark.parametrize("header", ["Last-Modified", "ETag", "Content-MD5", "Digest"])
def test_over_http_an_index_is_kept_until_the_headers_tell_of_another_tar(scans, tar, monkeypatch, header):
    headers = {header: "one"}
    answering(monkeypatch, headers)
    with range_server.serve(tar.parent) as server:
        for _ in range(2):
            assert next(iter(contents(f"{server.url}s.tar"))) == "d/0.png"
        assert len(scans) == 1
        write_tar(tar, {f"e/{n}.png": bytes([n]) * (n + 1) for n in range(5)})  # as large as before
        headers[header] = "two"
        assert next(iter(contents(f"{server.url}s.tar"))) == "e/0.png"
        assert len(scans) == 2


def test_where_a_server_tells_nothing_but_the_size_no_index_is_kept(scans, tar, tmp_path):
    with range_server.serve(tar.parent) as server:
        for _ in range(2):
            assert len(contents(f"{server.url}s.tar")) == 5
    assert len(scans) == 2
    assert kept(tmp_path) == []


def test_two_tars_do_not_share_an_index(scans, tmp_path):
    one = write_tar(tmp_path / "a.tar", {"1.png": b"1"})
    other = write_tar(tmp_path / "b.tar", {"2.png": b"2"})
    os.utime(other, ns=(one.stat().st_atime_ns, one.stat().st_mtime_ns))
    assert contents(one) == {"1.png": b"1"}
    assert contents(other) == {"2.png": b"2"}


def damages(path: Path) -> dict[str, bytes]:
    whole = path.read_bytes()
    middle = bytearray(whole)
    at = whole.index(b"0.png1.png")  # the names: a flipped bit there changes nothing but a name
    middle[at] ^= 1
    packed = bytearray(whole)
    entry = whole.index(b"PK\1\2") + 10
    packed[entry] = 99  # a way of packing that zipfile does not know
    return {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"<html>" * 99,
        "flipped": bytes(middle),
        "packed": bytes(packed),
    }


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "flipped", "packed"])
def test_a_damaged_cache_is_built_again(scans, tar, tmp_path, kind, caplog):
    expected = contents(tar)
    (path,) = kept(tmp_path)
    path.write_bytes(damages(path)[kind])
    assert contents(tar) == expected
    assert contents(tar) == expected
    assert scans == ["s.tar"] * 2
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


@pytest.mark.parametrize("missing", ["offsets", "stamp", "base_text"])
def test_a_cache_that_lacks_something_is_built_again(scans, tar, tmp_path, missing):
    expected = contents(tar)
    (path,) = kept(tmp_path)
    with np.load(path) as stored:
        np.savez(path, **{name: stored[name] for name in stored.files if name != missing})
    assert contents(tar) == expected
    assert len(scans) == 2


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_nothing_in_the_cache_is_ever_unpickled(scans, tar, tmp_path):
    expected = contents(tar)
    (path,) = kept(tmp_path)
    trap = np.array([Trap(tmp_path / "sprung")], dtype=object)
    with np.load(path) as stored:
        np.savez(path, allow_pickle=True, **{**stored, "offsets": trap})
    assert contents(tar) == expected
    assert not (tmp_path / "sprung").exists()
    np.save(tmp_path / "proof.npy", trap, allow_pickle=True)
    np.load(tmp_path / "proof.npy", allow_pickle=True)
    assert (tmp_path / "sprung").exists()  # it would have


def test_without_a_folder_to_write_to_there_is_no_cache(scans, tar, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("INPAINT_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert contents(tar) == contents(tar)
    assert len(scans) == 2


def test_damage_of_a_tar_is_remembered_with_it(scans, tar, tmp_path):
    tar.write_bytes(tar.read_bytes()[:1800])
    first, again = open_photos(tar), open_photos(tar)
    assert len(scans) == 1
    assert again.broken == first.broken
    assert "damaged after" in first.broken[tar.as_posix()]


def test_progress_adds_up_to_the_size(scans, tar):
    for _ in range(2):  # scanned, and from the cache
        passed: list[int] = []
        index_module.index_tar(LocalFile(tar), passed.append)
        assert sum(passed) == tar.stat().st_size
