"""data/places365: its commands on a stand-in of a few photos, and every command of its README."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import shlex
import shutil
import socketserver
import subprocess
import sys
import tarfile
import threading
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import cv2
import fsspec
import numpy as np
import pytest
from PIL import Image
from range_server import serve
from torchvision.datasets import Places365

from inpaint.datasets import TrainingBatches, open_photos

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "data" / "places365"
sys.path.insert(0, str(FOLDER))
import places  # noqa: E402
import shards as shards_module  # noqa: E402

BROKEN = {f"b/bedroom/{number:08d}.jpg" for number in (5, 6, 7, 8)}


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stand-in")
    assert places.main(["stand-in", "--root", str(folder), "--broken"]) == 0
    return folder


@pytest.fixture
def mirror(stand_in, tmp_path) -> Path:
    """A stand-in that a test may change."""
    return Path(shutil.copytree(stand_in, tmp_path / "mirror"))


@pytest.fixture
def torchvision_knows(stand_in, monkeypatch) -> Path:
    """Make torchvision's own class know the stand-in's URLs and MD5 sums."""
    ours, counts = places.stand_in.known(stand_in)
    for name in ("_BASE_URL", "_IMAGES_META", "_DEVKIT_META", "_FILE_LIST_META", "_CATEGORIES_META"):
        monkeypatch.setattr(Places365, name, getattr(ours, name))
    monkeypatch.setattr(places, "COUNTS", counts)
    return stand_in


def fetch(root: Path, *more: str, split: str = "val", size: str = "256") -> int:
    return places.main(["fetch", "--split", split, "--size", size, "--root", str(root), *more])


def contents(source) -> dict[str, bytes]:
    """The photos of a source by their path below the split's folder."""
    photos = open_photos(source)
    return {
        re.sub(r"^(data|val|test)_\w+/", "", name): photos.read_bytes(index)
        for index, name in enumerate(photos.names)
    }


# --- the stand-in, and one data set in every layout


def test_the_stand_in_is_what_torchvision_reads(torchvision_knows, tmp_path):
    for split, size in [
        ("train-standard", "large"),
        ("train-challenge", "256"),
        ("val", "large"),
        ("test", "256"),
    ]:
        assert fetch(tmp_path, "--unpack", split=split, size=size) == 0
        data = Places365(str(tmp_path), split=split, small=size == "256")
        assert len(data) == places.COUNTS[split]
        assert all(Path(path).is_file() for path, _ in data.imgs)
        picture, _ = data[0]
        assert picture.size == (256, 256) if size == "256" else min(picture.size) == 240
    assert (tmp_path / "data_large_standard/a/apartment_building/outdoor/00000001.jpg").is_file()
    assert (tmp_path / "val_large/Places365_val_00000001.jpg").is_file()
    standard = Places365(str(tmp_path), split="train-standard", small=False)
    assert standard.class_to_idx["/b/bedroom"] == 52
    assert {target for path, target in standard.imgs if "bedroom" in path} == {52}


def test_the_same_stand_in_is_made_again(stand_in, tmp_path):
    assert places.main(["stand-in", "--root", str(tmp_path), "--broken"]) == 0
    assert (tmp_path / "stand-in.json").read_bytes() == (stand_in / "stand-in.json").read_bytes()


def test_names_of_the_files_are_those_of_the_real_one(stand_in):
    names = {path.name for path in stand_in.iterdir()} - {"stand-in.json"}
    real = [
        *Places365._IMAGES_META.values(),
        *Places365._DEVKIT_META.values(),
        *Places365._FILE_LIST_META.values(),
    ]
    assert names == {name for name, _ in [*real, Places365._CATEGORIES_META]}


def test_every_layout_gives_the_same_photos_and_names_the_same_broken_ones(stand_in, tmp_path):
    assert fetch(tmp_path, "--stand-in", str(stand_in), "--unpack", split="train-standard", size="large") == 0
    tar = tmp_path / "train_large_places365standard.tar"
    tree = tmp_path / "data_large_standard"
    packed = tmp_path / "shards"
    assert places.main(["shard", str(tar), "--output", str(packed), "--photos-per-shard", "6"]) == 1
    memory = fsspec.filesystem("memory")
    for path in packed.glob("*.tar"):
        memory.pipe_file(f"/layouts/{path.name}", path.read_bytes())
    sources = [tree, tar, packed, f"{packed}/places-{{000000..000003}}.tar", "memory://layouts/places-*.tar"]
    of_tar = contents(tar)
    assert len(of_tar) == 20
    whole = {name: data for name, data in of_tar.items() if name not in BROKEN}
    with tarfile.open(tar) as archive:  # what is in it, from outside
        assert (
            archive.extractfile("data_large/k/kitchen/00000002.jpg").read() == whole["k/kitchen/00000002.jpg"]
        )
    for source in sources:
        found = contents(source)
        assert found == (of_tar if source in (tree, tar) else whole), source
        photos = open_photos(source)
        batches = TrainingBatches(photos, "box", 16, 4, 0)
        for step in range(len(photos) // 4):  # an epoch
            assert batches.batch(step).image.isfinite().all()
        named = {re.sub(r"^data_\w+/", "", name) for name in batches.broken}
        assert named == (BROKEN if source in (tree, tar) else set()), source
    memory.rm("/layouts", recursive=True)


# --- fetch


def test_fetch_leaves_the_tar_packed(torchvision_knows, tmp_path, capsys):
    assert fetch(tmp_path / "new") == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["val_256.tar"]
    assert (tmp_path / "new/val_256.tar").read_bytes() == (torchvision_knows / "val_256.tar").read_bytes()
    assert fetch(tmp_path / "new") == 0
    assert "is there already, MD5 sum right" in capsys.readouterr().out


def test_another_file_than_expected_is_not_kept(mirror, tmp_path, capsys):
    changed = bytearray((mirror / "val_256.tar").read_bytes())
    changed[5000] ^= 1
    (mirror / "val_256.tar").write_bytes(changed)
    assert fetch(tmp_path / "new", "--stand-in", str(mirror)) == 1
    error = capsys.readouterr().err
    assert re.search(
        r"val_256\.tar: what came has the MD5 sum \w{32} and should have \w{32}; it was deleted", error
    )
    assert list((tmp_path / "new").iterdir()) == []


def test_a_damaged_file_that_is_there_is_named_and_left(stand_in, tmp_path, capsys):
    (tmp_path / "val_256.tar").write_bytes(b"half")
    assert fetch(tmp_path, "--stand-in", str(stand_in)) == 1
    assert "delete it and fetch again" in capsys.readouterr().err
    assert (tmp_path / "val_256.tar").read_bytes() == b"half"


def test_a_missing_file_is_named(mirror, tmp_path, capsys):
    (mirror / "val_256.tar").unlink()
    assert fetch(tmp_path, "--stand-in", str(mirror)) == 1
    assert "val_256.tar" in capsys.readouterr().err


@pytest.mark.parametrize(("unpack", "free"), [((), 100), (("--unpack",), 500_000)])
def test_a_full_disk_is_noticed_before(stand_in, tmp_path, monkeypatch, capsys, unpack, free):
    assert 250_000 < (stand_in / "val_256.tar").stat().st_size < 500_000
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(places.shutil, "disk_usage", lambda folder: usage(10**9, 10**9 - free, free))
    assert fetch(tmp_path, "--stand-in", str(stand_in), *unpack) == 1
    assert re.search(r"\d GB are needed and 0\.0 GB are free; make room", capsys.readouterr().err)
    assert [path for path in tmp_path.iterdir() if path.stat().st_size] == []


@pytest.fixture
def server(stand_in, torchvision_knows, monkeypatch) -> Iterator:
    with serve(stand_in) as one:
        monkeypatch.setattr(Places365, "_BASE_URL", one.url)
        yield one


def test_a_broken_connection_is_gone_on_from(server, stand_in, tmp_path, capsys):
    whole = (stand_in / "val_256.tar").read_bytes()
    server.cut_after = 100_000
    assert fetch(tmp_path) == 1
    assert "ended after 100,000 of" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["val_256.tar.partial"]
    server.cut_after = None
    assert fetch(tmp_path) == 0
    assert (tmp_path / "val_256.tar").read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["val_256.tar"]
    assert [asked for _, _, asked in server.requests] == [None, "bytes=100000-"]


def test_all_that_was_missing_was_the_name(server, stand_in, tmp_path):
    shutil.copy(stand_in / "val_256.tar", tmp_path / "val_256.tar.partial")
    assert fetch(tmp_path) == 0
    assert (tmp_path / "val_256.tar").is_file()


def test_a_server_that_knows_no_ranges_sends_all_again(server, stand_in, tmp_path):
    (tmp_path / "val_256.tar.partial").write_bytes(b"x" * 1000)
    server.ranges = False
    assert fetch(tmp_path) == 0


def test_an_answer_that_is_no_file_is_an_error(server, tmp_path, capsys):
    server.failures = 1
    assert fetch(tmp_path) == 1
    assert "the server answers 503" in capsys.readouterr().err


@pytest.mark.parametrize(
    "answer", [b"no HTTP at all\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\nhalf"]
)
def test_an_answer_that_is_no_http_is_an_error(torchvision_knows, tmp_path, monkeypatch, capsys, answer):
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setattr(Places365, "_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}/")
        assert fetch(tmp_path) == 1
    assert "The same command goes on where this one stopped" in capsys.readouterr().err


def test_unpacking_that_was_cut_off_is_begun_again(stand_in, tmp_path):
    (tmp_path / ".val_large.unpacking" / "val_large").mkdir(parents=True)
    (tmp_path / ".val_large.unpacking" / "val_large" / "half.jpg").write_bytes(b"x")
    assert fetch(tmp_path, "--stand-in", str(stand_in), "--unpack", size="large") == 0
    assert len(list((tmp_path / "val_large").iterdir())) == 20
    assert not (tmp_path / ".val_large.unpacking").exists()


def test_two_splits_may_be_unpacked_at_a_time(stand_in, tmp_path, monkeypatch):
    extract, names = places.extract_archive, ["val_large", "val_256"]

    def in_the_middle(tar, stage):
        extract(tar, stage)
        if names:
            places.unpack_tar(stand_in / f"{names[0]}.tar", tmp_path / names.pop(0))

    monkeypatch.setattr(places, "extract_archive", in_the_middle)
    places.unpack_tar(stand_in / "test_256.tar", tmp_path / "test_256")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test_256", "val_256", "val_large"]
    assert all(len(list(path.iterdir())) == 20 for path in tmp_path.iterdir())


# --- check


def table(text: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}


def test_check_counts_and_compares(torchvision_knows, tmp_path, capsys):
    fetch(tmp_path, "--unpack", split="train-standard", size="large")
    fetch(tmp_path)
    capsys.readouterr()
    assert places.main(["check", "--root", str(tmp_path)]) == 0
    well = "as it should be"
    assert table(capsys.readouterr().out) == {
        "train_large_places365standard.tar": ["right", "20", "20", well],
        "val_256.tar": ["right", "20", "20", well],
        "data_large_standard/": ["", "20", "20", well],
    }
    (tmp_path / "data_large_standard/a/airfield/00000001.jpg").unlink()
    data = bytearray((tmp_path / "val_256.tar").read_bytes())
    data[5000] ^= 1
    (tmp_path / "val_256.tar").write_bytes(data)
    assert places.main(["check", "--root", str(tmp_path)]) == 1
    rows = table(capsys.readouterr().out)
    assert rows["data_large_standard/"] == ["", "19", "20", "**another number of photos**"]
    assert rows["val_256.tar"] == ["**wrong**", "20", "20", "**delete it and fetch it again**"]
    assert rows["train_large_places365standard.tar"][-1] == well


def test_check_with_nothing_to_check_is_an_error(tmp_path, capsys):
    assert places.main(["check", "--root", str(tmp_path)]) == 1
    assert "nothing of Places365 lies here" in capsys.readouterr().err
    assert places.main(["check", "--root", str(tmp_path), "--stand-in", str(tmp_path)]) == 1
    assert "no stand-in here; make one" in capsys.readouterr().err


def test_the_counts_are_those_of_the_paper():
    # Zhou et al., Places: A 10 million Image Database for Scene Recognition, and the development kit.
    assert places.COUNTS == {
        "train-standard": 1803460, "train-challenge": 8026628, "val": 36500, "test": 328500
    }  # fmt: skip


# --- shard


def pack(source: Path, output: Path, *more: str) -> int:
    return places.main(["shard", str(source), "--output", str(output), "--workers", "2", *more])


def test_shards_hold_smaller_photos(stand_in, tmp_path, capsys):
    tar = stand_in / "train_large_places365standard.tar"
    assert pack(tar, tmp_path, "--short-side", "128", "--photos-per-shard", "7") == 1
    out, err = capsys.readouterr()
    assert "16 photos in" in out
    assert "4 files left out" in out
    assert {
        re.sub(r"^data_large/", "", name) for name in re.findall(r"^left out (\S+):", err, re.MULTILINE)
    } == BROKEN
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "places-000000.tar", "places-000001.tar", "places-000002.tar", "places.json"
    ]  # fmt: skip
    photos, source = open_photos(tmp_path), open_photos(tar)
    for index, name in enumerate(photos.names):
        small, large = photos.read(index), source.read(source.names.index(name))
        assert min(small.shape[:2]) == 128
        # Averages over areas are the outside measure; JPEG, which is coarse about colours, stands between.
        expected = cv2.resize(large, small.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(small.mean(2) - expected.mean(2)).mean() < 4


def test_photos_that_are_small_enough_keep_their_bytes(stand_in, tmp_path):
    assert pack(stand_in / "val_256.tar", tmp_path, "--short-side", "256") == 1
    whole = contents(tmp_path)
    original = contents(stand_in / "val_256.tar")
    assert len(whole) == 16
    assert all(original[name] == data for name, data in whole.items())


def test_a_stopped_packing_goes_on(stand_in, tmp_path, monkeypatch, capsys):
    tar = stand_in / "train_256_places365standard.tar"
    assert pack(tar, tmp_path / "straight", "--photos-per-shard", "6") == 1
    encode, calls = shards_module.Packing.encode, []

    def stops(self, data, name):
        calls.append(name)
        if len(calls) > 9:
            raise KeyboardInterrupt
        return encode(self, data, name)

    monkeypatch.setattr(shards_module.Packing, "encode", stops)
    assert pack(tar, tmp_path / "stopped", "--photos-per-shard", "6") == 130
    assert capsys.readouterr().err.endswith(
        "stopped; what is finished stays, the same command does the rest\n"
    )
    assert sorted(path.name for path in (tmp_path / "stopped").iterdir()) == [
        "places-000000.tar",
        "places.json",
    ]
    monkeypatch.setattr(shards_module.Packing, "encode", encode)
    assert pack(tar, tmp_path / "stopped", "--photos-per-shard", "6") == 1
    for path in (tmp_path / "straight").iterdir():
        assert (tmp_path / "stopped" / path.name).read_bytes() == path.read_bytes()
    capsys.readouterr()
    assert pack(tar, tmp_path / "stopped", "--photos-per-shard", "5") == 1
    assert "made with other photos_per_shard" in capsys.readouterr().err


def test_shuffled_shards_mix_the_classes(stand_in, tmp_path):
    tar = stand_in / "train_256_places365challenge.tar"
    pack(tar, tmp_path / "a", "--shuffle", "1")
    pack(tar, tmp_path / "b", "--shuffle", "1")
    one, other = open_photos(tmp_path / "a"), open_photos(tmp_path / "b")
    assert one.names == other.names
    assert sorted(one.names) != list(one.names)
    assert contents(tmp_path / "a").items() <= contents(tar).items()


def grey_photos(folder: Path, **values: int) -> Path:
    """A folder of photos of one grey value each; in the names, `__` stands for `/` and `_` for a dot."""
    for name, value in values.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (value, value, value)).save(path)
    return folder


def members(shard: Path) -> list[str]:
    with tarfile.open(shard) as archive:
        return archive.getnames()


def greys(source) -> dict[str, int]:
    photos = open_photos(source)
    return {name: round(float(photos.read(index).mean())) for index, name in enumerate(photos.names)}


@pytest.mark.parametrize("shrunk", [True, False])
def test_every_photo_is_a_sample_of_its_own(tmp_path, shrunk):
    """webdataset takes members of one key, what is before the first dot, for one sample."""
    folder = grey_photos(
        tmp_path / "photos", a_png=10, a_jpg=200, a_1_jpg=30, a_2_jpg=40, c__a_png=50, **{"a-2_jpg": 60}
    )
    assert pack(folder, tmp_path / "shards", *(["--short-side", "32"] if shrunk else [])) == 0
    suffix = "jpg" if shrunk else "png"
    assert greys(tmp_path / "shards") == {
        "a-2.jpg": 60, "a_1.jpg": 30, "a_2.jpg": 40, "a.jpg": 200, f"a-3.{suffix}": 10, f"c/a.{suffix}": 50
    }  # fmt: skip
    names = members(tmp_path / "shards" / "places-000000.tar")
    keys = [re.fullmatch(r"((?:.*/)?[^.]+)\.([^/]*)", name)[1] for name in names]
    assert len(set(keys)) == 6


def test_members_do_not_tell_where_the_sources_lay(tmp_path, monkeypatch, capsys):
    for place in ("here", "there/deep"):
        one = grey_photos(tmp_path / place / "one" / "photos", cat__x_png=10, own_png=11)
        other = grey_photos(tmp_path / place / "two" / "photos", cat__x_png=20)
        output = tmp_path / place / "shards"
        monkeypatch.chdir(output.parent / "two")
        # The first time by whole paths, then by relative ones.
        sources = [str(one), str(other)] if place == "here" else ["../one/photos", "photos/../../two/photos"]
        assert places.main(["shard", *sources, "--output", str(output)]) == 0
        assert greys(output) == {"one/photos/cat/x.png": 10, "own.png": 11, "two/photos/cat/x.png": 20}
    for name in ("places-000000.tar", "places.json"):
        assert (tmp_path / "here/shards" / name).read_bytes() == (output / name).read_bytes()
    # Elsewhere it is the same packing, so there is nothing left to do.
    capsys.readouterr()
    assert places.main(["shard", *sources, "--output", str(tmp_path / "here/shards")]) == 0
    assert "3 photos in" in capsys.readouterr().out


def test_members_of_urls_are_named_below_what_the_urls_share(tmp_path):
    memory = fsspec.filesystem("memory")
    for place in ("bucket/one", "bucket/two"):
        folder = grey_photos(tmp_path / place, x_png=10 if place == "bucket/one" else 20)
        pack(folder, tmp_path / "packed" / place)
        shard = (tmp_path / "packed" / place / "places-000000.tar").read_bytes()
        memory.pipe_file(f"/members/{place}/x.tar", shard)
    sources = ["memory://members/bucket/one/x.tar", "memory://members/bucket/two/x.tar"]
    assert places.main(["shard", *sources, "--output", str(tmp_path / "shards")]) == 0
    assert greys(tmp_path / "shards") == {"one/x.tar/x.png": 10, "two/x.tar/x.png": 20}
    memory.rm("/members", recursive=True)


@pytest.mark.parametrize("name", ["/abs/x.png", "../../x.png", "a/../../x.png", "./b//x.png", "/x.png"])
def test_a_member_never_leads_out_of_the_folder_it_is_unpacked_in(tmp_path, name):
    data = (grey_photos(tmp_path, x_png=10) / "x.png").read_bytes()
    with tarfile.open(tmp_path / "source.tar", "w") as archive:
        for one in (name, "y.png"):
            shards_module.add_member(archive, one, data)
    assert pack(tmp_path / "source.tar", tmp_path / "shards") == 0
    found = members(tmp_path / "shards" / "places-000000.tar")
    assert found == ["b/x.png" if "b/" in name else "x.png", "y.png"]


def test_a_shard_is_on_the_disk_before_the_catalogue_tells_of_it(stand_in, tmp_path, monkeypatch):
    on_disk: list[tuple[int, int]] = []  # the file or folder, and its bytes at that time
    fsync, add = os.fsync, shards_module.Catalogue.add

    def note(descriptor):
        status = os.fstat(descriptor)
        on_disk.append((status.st_ino, status.st_size))
        fsync(descriptor)

    def look(self, name, *more):
        status = (tmp_path / name).stat()
        assert on_disk[0] == (status.st_ino, status.st_size)
        assert [inode for inode, _ in on_disk[1:]] == [tmp_path.stat().st_ino]
        add(self, name, *more)
        on_disk.clear()

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(shards_module.Catalogue, "add", look)
    assert pack(stand_in / "val_256.tar", tmp_path, "--photos-per-shard", "8") == 1
    assert len(list(tmp_path.glob("*.tar"))) == 3


@pytest.mark.parametrize("output", ["photos", "photos/sub/shards", "link/shards", "photos/../photos/shards"])
def test_shards_do_not_go_among_the_photos(tmp_path, monkeypatch, capsys, output):
    monkeypatch.chdir(tmp_path)
    grey_photos(tmp_path / "photos", a_png=10)
    (tmp_path / "link").symlink_to("photos")
    for source in ("photos", str(tmp_path / "photos"), "phot*", "link"):
        assert pack(Path(source), Path(output)) == 1
        assert f"--output {output}: lies in {source}, " in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.png"]


def test_shards_do_not_go_among_the_tars_they_are_made_of(tmp_path, capsys):
    packed = tmp_path / "packed"
    pack(grey_photos(tmp_path / "photos", a_png=10), packed)
    before = (packed / "places-000000.tar").read_bytes()
    for name in ("*.tar", "places-*.tar", "places-{000000..000001}.tar", "places-000000.tar"):
        assert pack(packed / name, packed) == 1
        assert f"{name}: names shards that are to be written to {packed}" in capsys.readouterr().err
    assert (packed / "places-000000.tar").read_bytes() == before
    assert pack(packed / "places-*.tar", packed, "--prefix", "again") == 0
    assert pack(packed / "places-*.tar", tmp_path / "photos-again") == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--short-side", "-4"], "--short-side: expected a whole number, 0 or more, got -4"),
        (["--short-side", "small"], "--short-side: expected a whole number, 0 or more, got 'small'"),
        (["--shuffle", "-1"], "--shuffle: expected a whole number, 0 or more, got -1"),
        (["--workers", "0"], "--workers: expected a whole number, 1 or more, got 0"),
        (["--quality", "96"], "--quality: expected a whole number from 1 to 95, got 96"),
        (["--prefix", "a/b"], "--prefix: expected a name such as places, got 'a/b'"),
        (["--output", "FILE"], "--output: FILE is a file; name a folder"),
        (["--output", "FILE/below/it"], "--output: FILE is a file; name a folder"),
    ],
)
def test_wrong_settings_are_one_sentence(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("")
    with pytest.raises(SystemExit) as stop:
        places.main(["shard", "photos", "--output", "shards", *words])
    assert stop.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: argument {told}\n")


@pytest.mark.parametrize("command", ["fetch --split val --size 256", "check", "stand-in"])
def test_a_root_that_is_a_file_is_one_sentence(tmp_path, capsys, command):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stop:
        places.main([*command.split(), "--root", str(tmp_path / "file")])
    assert stop.value.code == 2
    assert f"argument --root: {tmp_path / 'file'} is a file; name a folder\n" in capsys.readouterr().err


def test_shards_have_webdatasets_layout(stand_in, tmp_path):
    """Plain members, no links or folders, no empty names: what webdataset's reader takes."""
    pack(stand_in / "val_256.tar", tmp_path)
    with tarfile.open(tmp_path / "places-000000.tar") as archive:
        members = archive.getmembers()
    assert all(member.isfile() and re.fullmatch(r"(.*/)?[^./]+\.jpg", member.name) for member in members)
    catalogue = json.loads((tmp_path / "places.json").read_text())
    assert catalogue["shards"]["places-000000.tar"]["photos"] == len(members) == 16


# --- the README's commands

README = (FOLDER / "README.md").read_text("utf-8")

# What is put behind each script's own flags; of a flag that is given twice the last one counts.
TINY = {
    "train.py": """--schedule 32x2:2 --val-size 32 --val-count 2 --sample-every 0 --warmup 1 --device cpu
        --workers 1
        --network-config '{"widths": [8, 12], "kernel_sizes": [5, 3], "encoder_blocks": [[], []],
            "decoder_widths": [8], "decoder_blocks": [[]], "head_width": 4}' """,
    "evaluate.py": "--size 32 --limit 2 --device cpu --no-lpips",
    "decoding.py": "--seconds 0.01 --rounds 1 --photos 4 --stages 64x1 --sides 64",
}


def readme_commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def rehearsed(words: list[str], stand_in: Path) -> list[str]:
    """A command of the README as it is run here: on the stand-in, tiny, two processes for all GPUs."""
    program, *rest = words
    assert program in (".venv/bin/python", ".venv/bin/torchrun"), (
        f"{program}: name the environment's programs"
    )
    script = next(Path(word).name for word in rest if word.endswith(".py"))
    if program.endswith("torchrun"):
        rest = ["-m", "torch.distributed.run", *(word.replace("gpu", "2") for word in rest)]
    if rest[1] in ("fetch", "check"):
        rest += ["--stand-in", str(stand_in)]
    return [*rest, *shlex.split(TINY.get(script, ""))]


def run_here(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a script in this process, which has imported torch already; returns the exit code."""
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.syspath_prepend(str(Path(words[0]).parent.resolve()))
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def run_elsewhere(words: list[str]) -> int:
    """Run Python with these arguments; returns the exit code."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *words], env=environment, timeout=300, check=False).returncode


def test_every_command_of_the_readme_runs_on_the_stand_in(stand_in, tmp_path, monkeypatch, capfd):
    # A checkout of links, so that data/places365 and runs/ are made elsewhere.
    for path in ROOT.iterdir():
        if path.name not in ("data", "runs", ".git"):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "data" / "places365").mkdir(parents=True)
    for path in FOLDER.glob("*.py"):
        shutil.copy(path, tmp_path / "data" / "places365")
    monkeypatch.chdir(tmp_path)
    commands = readme_commands()
    programs = {Path(word).name for words in commands for word in words if word.endswith(".py")}
    assert {"places.py", "train.py", "evaluate.py"} <= programs
    assert any("--resume" in words for words in commands)
    assert any(words[0].endswith("torchrun") for words in commands)
    for words in commands:
        tiny = rehearsed(words, stand_in)
        code = run_elsewhere(tiny) if tiny[0] == "-m" else run_here(tiny, monkeypatch)
        told = "".join(capfd.readouterr())
        # Broken photos are left out, named, and make the exit code 1 where nothing else is wrong.
        assert code in ({0, 1} if "left out" in told else {0}), f"{words}\n{told}"
    assert len(list((tmp_path / "runs").rglob("best.safetensors"))) == 2
    assert (tmp_path / "runs/places-val/results.json").is_file()


def test_the_readme_states_the_counts():
    for split, count in places.COUNTS.items():
        assert re.search(rf"^\| {split} \| {count:,} ", README, re.MULTILINE), split


def test_the_hours_on_paper_are_arithmetic():
    rows = re.findall(
        r"^\| (train-\w+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$",
        (ROOT / "docs" / "places.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert len(rows) == 6
    for split, rate, *hours in rows:
        for gpus, stated in zip((1, 8, 64), hours, strict=True):
            exact = places.COUNTS[split] / (3600 * int(rate) * gpus)
            assert abs(float(stated) - exact) <= (0.05 if float(stated) >= 1 else 0.005), (split, rate, gpus)


def test_bombs_of_the_stand_in_are_bombs(stand_in):
    data = contents(stand_in / "train_large_places365standard.tar")
    assert Image.MAX_IMAGE_PIXELS
    with pytest.raises(Image.DecompressionBombError, match="3600000000 pixels"):
        Image.open(io.BytesIO(data["b/bedroom/00000008.jpg"]))
    assert data["b/bedroom/00000006.jpg"] == b""
