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


# --- damage, and what is left out


SPACE = 512 + 1024  # of a member of 700 bytes, with its header


def photo(number: int) -> bytes:
    return bytes([number]) * 700


def three_photos(format: int = tarfile.GNU_FORMAT) -> bytearray:
    """A tar of 0.jpg, 1.txt and 2.jpg, each of 700 bytes."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as archive:
        for number, suffix in enumerate((".jpg", ".txt", ".jpg")):
            member = tarfile.TarInfo(f"{number}{suffix}")
            member.size = 700
            archive.addfile(member, io.BytesIO(photo(number)))
    return bytearray(stream.getvalue())


def opened(tmp_path: Path, data: bytes) -> tuple[dict[str, bytes], str]:
    """The photos that a tar of these bytes gives, and what is said of it."""
    path = tmp_path / "made.tar"
    path.write_bytes(data)
    photos = open_photos(path)
    assert set(photos.broken) <= {path.as_posix()}
    told = "".join(photos.broken.values())
    return {name: photos.read_bytes(index) for index, name in enumerate(photos.names)}, told


BOTH = {"0.jpg": photo(0), "2.jpg": photo(2)}


@pytest.mark.parametrize(
    ("members", "tail", "told"),
    [
        (3, b"", "damaged after 2 photos (it has no end mark)"),
        (2, b"", "damaged after 1 photos (it has no end mark)"),
        (3, bytes(100), "damaged after 2 photos (it has no end mark)"),
        (3, bytes(1 << 20), "damaged after 2 photos (nothing but zeros from byte 4608 on)"),
        (3, bytes(1024) + b"x", "damaged after 2 photos (more follows its end mark"),
        (3, bytes(512) + b"x" * 512, "damaged after 2 photos (more follows its end mark"),
        (3, bytes(10_240) + bytes(three_photos()), "of tars that were put together give each by itself"),
    ],
)
def test_a_tar_that_does_not_end_as_tars_do_is_named(tmp_path, members, tail, told):
    found, damage = opened(tmp_path, three_photos()[: members * SPACE] + tail)
    assert found == dict(list(BOTH.items())[: members - 1])
    assert told in damage


@pytest.mark.parametrize("zeros", [512, 1024, 10_240, 65_536, (1 << 20) - 3 * SPACE, (1 << 24) - 3 * SPACE])
def test_the_zeros_with_which_tools_fill_a_tar_are_no_damage(tmp_path, zeros):
    assert opened(tmp_path, three_photos()[: 3 * SPACE] + bytes(zeros)) == (BOTH, "")


def test_a_copy_made_in_its_full_size_before_it_was_fetched_is_named(tmp_path):
    data = three_photos()[: 3 * SPACE]
    data[2 * SPACE + 600 :] = bytes(3 << 20)  # from within the last photo
    found, damage = opened(tmp_path, data)
    assert found["0.jpg"] == photo(0)
    assert "nothing but zeros from byte 4608 on" in damage


@pytest.mark.parametrize("kept", [700, 699, 1])
def test_a_photo_that_is_itself_cut_is_not_counted(tmp_path, kept):
    (tmp_path / "cut.tar").write_bytes(three_photos()[: 2 * SPACE + 512 + kept])
    photos = open_photos(tmp_path / "cut.tar")
    assert f"damaged after {1 + (kept == 700)} photos" in photos.broken[(tmp_path / "cut.tar").as_posix()]


def with_size(data: bytearray, member: int, size: int) -> bytearray:
    """The tar with another size in the header of a member, and a checksum that fits."""
    header = data[member * SPACE : member * SPACE + 512]
    header[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data[member * SPACE : member * SPACE + 512] = header
    return data


@pytest.mark.parametrize(
    "size", [-1, -512, -1024, -512 - SPACE, -(1 << 40), 1 << 40, 1 << 62, 1 << 63, 1 << 80]
)
@pytest.mark.parametrize("member", [1, 2])
def test_a_size_that_makes_no_sense_ends_the_tar_there(tmp_path, member, size):
    path = tmp_path / "made.tar"
    path.write_bytes(with_size(three_photos(), member, size))
    photos = open_photos(path)
    assert photos.names[0] == "0.jpg"
    assert photos.read_bytes(0) == photo(0)
    assert "damaged after 1 photos" in photos.broken[path.as_posix()]


@pytest.mark.parametrize(
    "record",
    [
        b"17 size=-1024000\n",
        b"22 size=-10000000000\n",
        b"20 GNU.sparse.map=a\n",
        b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n",
        b"29 size=%d\n" % (1 << 64),
    ],
)
def test_attributes_that_make_no_sense_end_the_tar_there(tmp_path, record):
    attributes = tarfile.TarInfo("attributes")
    attributes.type, attributes.size = tarfile.XHDTYPE, len(record)
    data = three_photos()
    data[SPACE:SPACE] = attributes.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0")
    found, damage = opened(tmp_path, data)
    assert found == {"0.jpg": photo(0)}
    assert "damaged after 1 photos" in damage


def test_a_name_of_any_length_is_not_read_at_once(tmp_path):
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 1 << 50
    data = three_photos()
    data[SPACE:SPACE] = name.tobuf(tarfile.GNU_FORMAT)
    found, damage = opened(tmp_path, data)
    assert found == {"0.jpg": photo(0)}
    assert "damaged after 1 photos (a header that makes no sense)" in damage


def tar_with_links(path: Path, *entries: tuple[str, str | bytes], kind: bytes = tarfile.LNKTYPE) -> Path:
    """A tar in which a text is the name that is linked to, and bytes are a file."""
    with tarfile.open(path, "w") as archive:
        for name, content in entries:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = kind, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def test_a_hard_link_is_the_photo_that_it_names(tmp_path):
    path = tar_with_links(
        tmp_path / "s.tar",
        ("./a.jpg", b"first"),
        ("b.jpg", "a.jpg"),
        ("a.jpg", b"second"),
        ("c/d.jpg", "./a.jpg"),
        ("e.jpg", "b.jpg"),
        ("e.jpg", "e.jpg"),
    )
    photos = open_photos(path)
    assert photos.broken == {}
    # As in extraction, a link means what has its target's name by then, and of one name the last counts.
    assert contents(path) == {
        "a.jpg": b"second",
        "b.jpg": b"first",
        "c/d.jpg": b"second",
        "e.jpg": b"first",
    }


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("missing.jpg", tarfile.LNKTYPE),
        ("later.jpg", tarfile.LNKTYPE),
        ("notes.txt", tarfile.LNKTYPE),
        ("a.jpg", tarfile.SYMTYPE),
    ],
)
def test_links_that_lead_to_no_photo_are_counted(tmp_path, target, kind):
    path = tar_with_links(
        tmp_path / "s.tar",
        ("a.jpg", b"a"),
        ("notes.txt", b"text"),
        ("b.jpg", target),
        ("c.jpg", "b.jpg"),
        ("later.jpg", b"z"),
        kind=kind,
    )
    assert contents(path) == {"a.jpg": b"a", "later.jpg": b"z"}
    assert "2 photos are left out (links" in open_photos(path).broken[path.as_posix()]


def test_sparse_photos_are_counted(tmp_path):
    data = three_photos()
    header = data[2 * SPACE : 2 * SPACE + 512]
    header[156:157] = tarfile.GNUTYPE_SPARSE
    data[2 * SPACE : 2 * SPACE + 512] = header
    found, damage = opened(tmp_path, with_size(data, 2, 700))
    assert found == {"0.jpg": photo(0)}
    assert "1 photos are left out" in damage
    assert "--sparse" in damage
    assert "damaged" not in damage
