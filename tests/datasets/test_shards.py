"""Shards by pattern and by URL, those that get lost, and batches that many processes share."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import tarfile
import time
import traceback
import tracemalloc
from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image
from range_server import serve

from inpaint.datasets import PhotoCache, PhotoSet, TrainingBatches, open_photos, storage
from inpaint.datasets.storage import RemoteFile, expand_braces, expand_urls
from inpaint.images import ImageError, decode_rgb
from inpaint.urls import source_label, without_secrets

ROOT = Path(__file__).resolve().parents[2]


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (14, 12), (value, value, value)).save(stream, "PNG")
    return stream.getvalue()


def tar_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


PHOTOS = {f"class/{number:02d}.png": png(10 * number) for number in range(12)}
"""Twelve photos of one colour each: photo i is 10 i."""


def write_shards(folder: Path, photos_per_shard: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    items = list(PHOTOS.items())
    for start in range(0, len(items), photos_per_shard):
        part = dict(items[start : start + photos_per_shard])
        (folder / f"places-{start // photos_per_shard:06d}.tar").write_bytes(tar_of(part))
    return folder


@pytest.fixture
def shards(tmp_path) -> Path:
    return write_shards(tmp_path / "shards")


@pytest.fixture
def memory(shards):
    """The same shards in fsspec's memory, under memory://store/."""
    system = fsspec.filesystem("memory")
    for path in shards.iterdir():
        system.pipe_file(f"/store/{path.name}", path.read_bytes())
    yield system
    system.rm("/", recursive=True)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(storage, "WAITS", (0.0, 0.0, 0.0))


def contents(photos: PhotoSet) -> dict[str, bytes]:
    return {name: photos.read_bytes(index) for index, name in enumerate(photos.names)}


def drawn(batches: TrainingBatches, steps: range) -> list[int]:
    """Which of PHOTOS come, in order."""
    return [
        round(float(value) * 255) // 10 for step in steps for value in batches.batch(step).image[:, 0, 0, 0]
    ]


# --- patterns


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a-{000..002}.tar", ["a-000.tar", "a-001.tar", "a-002.tar"]),
        ("a-{8..11}.tar", ["a-8.tar", "a-9.tar", "a-10.tar", "a-11.tar"]),
        ("{x,y}/{0..1}.tar", ["x/0.tar", "x/1.tar", "y/0.tar", "y/1.tar"]),
        ("plain.tar", ["plain.tar"]),
        ("a-{5..5}.tar", ["a-5.tar"]),
    ],
)
def test_braces_stand_for_names(pattern, expected):
    assert expand_braces(pattern) == expected
    # Bash is the outside word on what braces mean; one word without a comma it leaves as it is.
    told = subprocess.run(["bash", "-c", f"echo {pattern}"], capture_output=True, text=True, check=True)
    assert told.stdout.split() == expected


def test_braces_that_run_backwards_are_refused():
    with pytest.raises(ValueError, match="smaller number first"):
        expand_braces("a-{3..1}.tar")


@pytest.mark.parametrize(
    "pattern",
    ["places-{000000..000003}.tar", "places-*.tar", "places-00000[0-3].tar", "pl*-{000000,00000[1-3]}.tar"],
)
def test_patterns_of_local_shards(shards, pattern):
    photos = open_photos(f"{shards}/{pattern}")
    assert photos.names == list(PHOTOS)
    assert contents(photos) == PHOTOS
    assert photos.broken == {}


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path):
    write_shards(tmp_path / "{a,b} [x]*")
    assert contents(open_photos(tmp_path / "{a,b} [x]*")) == PHOTOS


def test_a_shard_missing_from_a_pattern_is_named_and_the_rest_is_used(shards):
    (shards / "places-000001.tar").unlink()
    photos = open_photos(f"{shards}/places-{{000000..000003}}.tar")
    assert photos.names == [name for index, name in enumerate(PHOTOS) if index // 3 != 1]
    assert photos.broken == {f"{shards.as_posix()}/places-000001.tar": "there is no such shard"}
    for nothing in ("places-{000007..000009}.tar", "nothing-*.tar"):
        with pytest.raises(FileNotFoundError, match="no such"):
            open_photos(f"{shards}/{nothing}")


# --- URLs


@pytest.mark.parametrize(
    "source",
    [
        "memory://store/places-{000000..000003}.tar",
        "memory://store/places-*.tar",
        "simplecache::memory://store/places-{000000..000003}.tar",
        "simplecache::memory://store/places-*.tar",
    ],
)
def test_shards_by_url_are_the_same_photos(memory, shards, source):
    photos = open_photos(source)
    assert photos.names == open_photos(shards).names
    assert contents(photos) == PHOTOS
    assert np.array_equal(photos.read(3), decode_rgb(PHOTOS["class/03.png"]))


def test_sources_of_all_kinds_together(memory, shards):
    local = str(shards / "places-000000.tar")
    photos = open_photos([local, "memory://store/places-{000001..000003}.tar"])
    assert contents(photos) == PHOTOS
    twice = open_photos([local, "memory://store/places-000000.tar"])
    assert len(twice) == 6
    assert twice.names[0] == f"{local}/class/00.png"
    assert twice.names[3] == "memory://store/places-000000.tar/class/00.png"


def test_a_photo_is_one_request_for_its_own_bytes(memory, monkeypatch):
    photos = open_photos("memory://store/places-*.tar")
    asked = []
    cat_file = MemoryFileSystem.cat_file

    def noted(self, path, start=None, end=None, **others):
        asked.append((path, end - start))
        return cat_file(self, path, start, end, **others)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", noted)
    photos.read_bytes(4)
    assert asked == [("/store/places-000001.tar", len(PHOTOS["class/04.png"]))]


def test_what_cannot_be_had_by_url_is_named(memory):
    with pytest.raises(FileNotFoundError, match=r"memory://store/none\.tar: there is no such shard"):
        open_photos("memory://store/none.tar")
    with pytest.raises(FileNotFoundError, match="no shard fits"):
        open_photos("memory://store/none-*.tar")
    with pytest.raises(ValueError, match=r"only \.tar shards"):
        open_photos("memory://store/photo.jpg")
    with pytest.raises(ValueError, match="nowhere"):
        open_photos("nowhere://store/a.tar")
    memory.pipe_file("/store/packed.tar.gz", b"\x1f\x8b" + bytes(2000))
    with pytest.raises(ValueError, match="decompress it first"):
        open_photos("memory://store/packed.tar.gz")
    photos = open_photos("memory://store/places-{000003..000004}.tar")
    assert len(photos) == 3
    assert photos.broken == {"memory://store/places-000004.tar": "there is no such shard"}


def test_the_package_that_a_url_needs_is_named(monkeypatch):
    def missing(url: str):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(storage, "url_to_fs", missing)
    with pytest.raises(ValueError, match=r"pip install .*fsspec\[s3\]"):
        open_photos("s3://bucket/a.tar")


@pytest.mark.parametrize("error", [ImportError, ValueError])
def test_a_url_that_cannot_be_read_is_told_without_its_secrets(monkeypatch, error):
    def refuses(url: str):
        raise error(f"cannot read {url}")

    monkeypatch.setattr(storage, "url_to_fs", refuses)
    for name in ("a.tar", "*.tar"):
        with pytest.raises(ValueError, match=r"https://h/.*cannot read https://h/") as caught:
            open_photos(f"https://ann:PASSWORD@h/{name}?X-Sig=SECRET")
        assert_no_secret("".join(traceback.format_exception(caught.value)))
    with pytest.raises(ValueError, match="backwards") as caught:
        open_photos("https://ann:PASSWORD@h/{3..1}.tar?X-Sig=SECRET")
    assert_no_secret(str(caught.value))


def assert_no_secret(text: str) -> None:
    # The lines of this file in a traceback are not meant.
    told = [line for line in text.splitlines() if "open_photos(" not in line]
    assert not [line for line in told if "SECRET" in line or "PASSWORD" in line]


def test_secrets_in_a_url_are_not_shown():
    file = RemoteFile("https://ann:secret@host/a/places-000001.tar?signature=secret")
    assert file.label == "https://host/a/places-000001.tar"
    assert file.stem == "places-000001"
    assert "secret" not in repr(file)


def test_the_label_of_a_source_tells_no_secrets():
    signed = "simplecache::https://ann:pa@ss@host/{0..9}.tar?X-Amz-Signature=SECRET"
    assert source_label(signed) == "simplecache::https://host/{0..9}.tar"
    assert source_label("s3://bucket/a@2.tar") == "s3://bucket/a@2.tar"
    # In a path nothing is secret, and all of it may be the name.
    assert source_label("/photos/a@b?c=d.tar") == "/photos/a@b?c=d.tar"
    assert source_label(Path("photos")) == "photos"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("403, message='Forbidden', url='http://h/a.tar?X-Sig=SECRET'", "403, message='Forbidden', url='http://h/a.tar'"),
        ("url=\"http://h/a?it's=SECRET\", and on", 'url="http://h/a", and on'),
        ("(https://ann:SECRET@h/a.tar?SECRET).", "(https://h/a.tar)."),
        ("moved to https://elsewhere/b?X-Other=SECRET today", "moved to https://elsewhere/b today"),
        ("zip://a::https://bob:SECRET@h/b.zip", "zip://a::https://h/b.zip"),
        ("/a.tar?X-Sig=SECRET: timed out", "/a.tar: timed out"),
        ("'HIDDEN/KEY' is not signed, ann:PASSWORD neither", "'…' is not signed, … neither"),
        ("password PASSWORD, key HIDDEN%2FKEY", "password …, key …"),
        ("Is it there? a=b", "Is it there? a=b"),
        ("reset by peer", "reset by peer"),
    ],
)  # fmt: skip
def test_secrets_in_an_errors_text_are_not_shown(text, expected):
    url = "https://ann:PASSWORD@h/a.tar?X-Sig=HIDDEN%2FKEY&n=1"
    assert without_secrets(text, url) == expected


def test_urls_of_a_chain_keep_it(memory):
    found = expand_urls("simplecache::memory://store/places-00000[01]*.tar")
    assert [url.replace(":///", "://") for url in found] == [
        f"simplecache::memory://store/places-00000{number}.tar" for number in "01"
    ]


# --- a store that stumbles


class Stumbling:
    """`cat_file` of fsspec's memory that fails `failures` times with `error`."""

    def __init__(self, monkeypatch, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls = failures, error, 0
        whole = MemoryFileSystem.cat_file

        def cat_file(system, path, start=None, end=None, **others):
            self.calls += 1
            if self.failures:
                self.failures -= 1
                raise self.error
            return whole(system, path, start, end, **others)

        monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)


class AnswerError(Exception):
    """As aiohttp has it: no OSError, and the status in an attribute."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text or f"status {status}")
        self.status = status


@pytest.mark.parametrize(
    "error", [ConnectionResetError("reset"), TimeoutError(), AnswerError(503), AnswerError(429)]
)
def test_what_may_pass_is_tried_again(memory, monkeypatch, error):
    photos = open_photos("memory://store/places-*.tar")
    store = Stumbling(monkeypatch, 3, error)
    assert photos.read_bytes(0) == PHOTOS["class/00.png"]
    assert store.calls == 4
    assert photos.broken == {}


def test_a_shard_that_stays_out_of_reach_is_given_up_as_a_whole(memory, monkeypatch):
    photos = open_photos("memory://store/places-{000000..000003}.tar")
    store = Stumbling(monkeypatch, 4, ConnectionResetError("reset"))
    for index in (0, 1, 2, 1):
        with pytest.raises(ImageError, match=rf"class/0{index}\.png: .*reset \(tried 4 times\)"):
            photos.read(index)
    assert store.calls == 4  # by the first photo; the others did not ask
    assert list(photos.broken) == ["memory://store/places-000000.tar"]
    assert photos.read_bytes(3) == PHOTOS["class/03.png"]


def hiding(error: Exception | None) -> FileNotFoundError:
    """What fsspec makes over HTTP of every failure to tell a file's size."""
    missing = FileNotFoundError("http://store/a.tar?X-Sig=SECRET")
    missing.__cause__ = error
    return missing


def failing_info(monkeypatch, failures: int, error: Exception) -> list[str]:
    """Make `info` of fsspec's memory fail; returns the calls."""
    calls: list[str] = []
    whole = MemoryFileSystem.info

    def info(system, path, **others):
        calls.append(path)
        if len(calls) <= failures:
            raise error
        return whole(system, path, **others)

    monkeypatch.setattr(MemoryFileSystem, "info", info)
    return calls


@pytest.mark.parametrize("error", [AnswerError(503), TimeoutError(), ConnectionResetError("reset")])
def test_a_shard_said_to_be_missing_for_a_reason_that_may_pass_is_asked_for_again(memory, monkeypatch, error):
    calls = failing_info(monkeypatch, 3, hiding(error))
    photos = open_photos("memory://store/places-000000.tar")
    assert len(photos) == 3
    assert photos.broken == {}
    assert len(calls) == 4


def test_a_shard_said_to_be_missing_that_is_refused_is_told_so(memory, monkeypatch):
    calls = failing_info(monkeypatch, 1, hiding(AnswerError(403)))
    photos = open_photos("memory://store/places-{000000..000001}.tar")
    assert photos.broken == {"memory://store/places-000000.tar": "status 403"}
    assert len(calls) == 2


class AmazonError(Exception):
    response = {"ResponseMetadata": {"HTTPStatusCode": 404}}  # noqa: RUF012


@pytest.mark.parametrize("error", [None, AnswerError(404), AnswerError(410), KeyError("a"), AmazonError()])
def test_a_shard_that_is_missing_is_not_asked_for_again(memory, monkeypatch, error):
    calls = failing_info(monkeypatch, 1, hiding(error))
    with pytest.raises(FileNotFoundError, match=r"places-000000\.tar: there is no such shard"):
        open_photos("memory://store/places-000000.tar")
    assert len(calls) == 1


@pytest.mark.parametrize("status", [403, 503])
def test_secrets_reach_neither_the_log_nor_messages(memory, monkeypatch, caplog, status):
    error = AnswerError(status)
    error.args = (f"{status}, url='http://store/a.tar?X-Sig=SECRET'",)
    photos = open_photos("memory://store/places-{000000..000001}.tar")
    Stumbling(monkeypatch, 4, error)
    with caplog.at_level(logging.INFO, "inpaint.datasets"), pytest.raises(ImageError) as caught:
        photos.read(0)
    told = "".join(traceback.format_exception(caught.value))
    assert f"{status}, url='http://store/a.tar'" in told
    assert_no_secret(told + caplog.text + str(photos.broken))
    assert len(photos.broken) == 1


def test_an_error_without_text_is_told_by_its_kind(memory, monkeypatch):
    photos = open_photos("memory://store/places-000000.tar")
    Stumbling(monkeypatch, 4, TimeoutError())
    with pytest.raises(ImageError, match="TimeoutError"):
        photos.read(0)


def test_a_pattern_is_asked_for_again_and_told_without_secrets(memory, monkeypatch):
    calls, whole = [], MemoryFileSystem.glob

    def glob(system, path, **others):
        calls.append(path)
        if len(calls) != 4:
            raise AnswerError(503 if len(calls) < 4 else 403, "http://store/?X-Sig=SECRET")
        return whole(system, path, **others)

    monkeypatch.setattr(MemoryFileSystem, "glob", glob)
    assert len(open_photos("memory://store/places-*.tar")) == 12
    with pytest.raises(OSError, match=r"places-\*\.tar: http://store/") as caught:
        open_photos("memory://store/places-*.tar")
    assert_no_secret("".join(traceback.format_exception(caught.value)))


@pytest.mark.parametrize("error", [AnswerError(403), AnswerError(416), PermissionError("no")])
def test_a_refusal_is_not_asked_for_twice(memory, monkeypatch, error):
    photos = open_photos("memory://store/places-*.tar")
    store = Stumbling(monkeypatch, 1, error)
    with pytest.raises(ImageError, match=r"class/00\.png"):
        photos.read(0)
    assert store.calls == 1
    assert photos.read_bytes(1) == PHOTOS["class/01.png"]


def test_indexing_is_begun_again_where_the_connection_breaks(memory, monkeypatch):
    opened = []
    whole = MemoryFileSystem.open

    class Breaking(io.BytesIO):
        def read(self, *_):
            raise AnswerError(500)

    def breaks_once(system, path, *arguments, **others):
        opened.append(path)
        return Breaking() if len(opened) == 1 else whole(system, path, *arguments, **others)

    monkeypatch.setattr(MemoryFileSystem, "open", breaks_once)
    photos = open_photos("memory://store/places-000000.tar")
    assert len(photos) == 3
    assert photos.broken == {}
    assert len(opened) == 2


# --- a shard that is lost while a run goes on


def test_the_photos_of_a_lost_shard_are_replaced_by_those_of_the_next(shards):
    wanted = drawn(TrainingBatches(open_photos(shards), "box", 8, 4, 1), range(12))
    photos = open_photos(shards)
    batches = TrainingBatches(photos, "box", 8, 4, 1, cache=PhotoCache(photos, 0))
    assert drawn(batches, range(6)) == wanted[:24]
    (shards / "places-000001.tar").unlink()
    (shards / "places-000003.tar").unlink()
    # Photos 3, 4, 5 are lost, and 9, 10, 11; after the last shard comes the first.
    there = {photo: (photo + 3) % 12 if photo // 3 in (1, 3) else photo for photo in range(12)}
    assert drawn(batches, range(6, 12)) == [there[photo] for photo in wanted[24:]]
    lost = [f"{shards.as_posix()}/places-00000{number}.tar" for number in "13"]
    assert sorted(batches.broken) == lost
    assert all("there is no such shard" in batches.broken[name] for name in lost)
    # And a batch is still a function of its step alone.
    assert drawn(batches, range(6, 8)) == [there[photo] for photo in wanted[24:32]]


def test_a_lost_shard_by_url(memory):
    photos = open_photos("memory://store/places-{000000..000003}.tar")
    batches = TrainingBatches(photos, "box", 8, 4, 1)
    memory.rm("/store/places-000002.tar")
    times = Counter(drawn(batches, range(3)))
    assert times == Counter({**dict.fromkeys(range(6), 1), **dict.fromkeys((9, 10, 11), 2)})
    assert list(batches.broken) == ["memory://store/places-000002.tar"]


@pytest.mark.parametrize("remote", [False, True])
def test_a_shard_cut_while_the_run_goes_on(memory, shards, remote):
    name = "places-000002.tar"
    photos = open_photos("memory://store/places-*.tar" if remote else shards)
    with tarfile.open(shards / name) as archive:
        cut = archive.getmember("class/07.png").offset_data + 20
    data = (shards / name).read_bytes()[:cut]
    memory.pipe_file(f"/store/{name}", data)
    (shards / name).write_bytes(data)
    batches = TrainingBatches(photos, "box", 8, 4, 1)
    times = Counter(drawn(batches, range(3)))
    assert times == Counter({**dict.fromkeys([*range(7), 10, 11], 1), 9: 3})
    assert sorted(batches.broken) == ["class/07.png", "class/08.png"]
    assert "cut short; fetch it again" in batches.broken["class/07.png"]


def test_only_where_every_shard_is_lost_the_run_ends(shards):
    batches = TrainingBatches(open_photos(shards), "box", 8, 4, 1)
    for path in shards.iterdir():
        path.unlink()
    with pytest.raises(ImageError, match="none of the 12 photos can be read"):
        batches.batch(0)


# --- over HTTP


@pytest.fixture
def http():
    pytest.importorskip("aiohttp", reason="fsspec[http] is not installed")


def test_shards_over_http_are_read_by_ranges(http, shards):
    with serve(shards) as server:
        photos = open_photos(server.url + "places-{000000..000003}.tar")
        server.requests.clear()
        assert contents(photos) == PHOTOS
        assert len(server.requests) == len(PHOTOS)
        assert all(asked for _, _, asked in server.requests)
        server.failures = 2
        assert photos.read_bytes(5) == PHOTOS["class/05.png"]
        assert photos.broken == {}
        (shards / "places-000000.tar").unlink()
        with pytest.raises(ImageError, match="there is no such shard"):
            photos.read(0)
        assert list(photos.broken) == [server.url + "places-000000.tar"]


def test_a_server_that_stumbles_while_shards_are_indexed(http, shards):
    with serve(shards) as server:
        server.failures = 2  # fsspec asks with HEAD and then with GET, and takes both for a missing file
        assert len(open_photos(server.url + "places-000000.tar")) == 3
        server.failures = 100
        with pytest.raises(FileNotFoundError, match=r"503.* \(tried 4 times\)") as caught:
            open_photos(server.url + "places-000001.tar?X-Sig=SECRET")
        assert_no_secret("".join(traceback.format_exception(caught.value)))


def test_a_server_without_ranges_is_named_with_the_remedy(http, shards):
    with serve(shards, ranges=False) as server:
        with pytest.raises(ValueError, match=r"does not serve ranges of bytes; put simplecache::"):
            open_photos(server.url + "places-000000.tar")
        cached = open_photos(f"simplecache::{server.url}places-{{000000..000003}}.tar")
        assert contents(cached) == PHOTOS


# --- bombs


def bomb(side: int) -> bytes:
    """A small JPEG file whose header declares side × side pixels."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), (90, 120, 10)).save(stream, "JPEG")
    data = stream.getvalue()
    frame = data.index(b"\xff\xc0") + 5
    return data[:frame] + side.to_bytes(2, "big") * 2 + data[frame + 4 :]


@pytest.mark.parametrize("side", [7_100, 20_000, 60_000])
def test_a_photo_that_declares_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, side):
    (tmp_path / "s.tar").write_bytes(tar_of({"bomb.jpg": bomb(side), "good.png": png(50)}))
    batches = TrainingBatches(open_photos(tmp_path / "s.tar"), "box", 8, 2)
    tracemalloc.start()
    try:
        started = time.process_time()
        assert drawn(batches, range(1)) == [5, 5]
        spent, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert list(batches.broken) == ["bomb.jpg"]
    assert "pixels" in batches.broken["bomb.jpg"]
    assert peak < 20 << 20  # decoded, the smallest of them takes 150 MB
    assert spent < 2


def test_a_tar_header_that_declares_a_terabyte_is_not_believed(tmp_path):
    member = tarfile.TarInfo("large.jpg")
    member.size = 1 << 40
    first = tar_of({"a.png": png(10)})[: 512 * 2]
    (tmp_path / "s.tar").write_bytes(first + member.tobuf(tarfile.GNU_FORMAT) + b"x" * 700)
    photos = open_photos(tmp_path / "s.tar")
    index = list(photos.names).index("large.jpg")
    with pytest.raises(ImageError, match=r"large\.jpg: 1099\.5 GB are no photo"):
        photos.read(index)


def test_a_large_file_in_a_folder_is_not_read_as_a_photo(tmp_path):
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate((1 << 30) + 1)  # it takes no room on the disk
    with pytest.raises(ImageError, match=r"large\.jpg: 1\.1 GB are no photo"):
        open_photos(tmp_path).read(0)


# --- processes and threads that share the work


@pytest.mark.parametrize(("world_size", "threads"), [(1, 3), (2, 1), (4, 2)])
def test_all_ranks_and_threads_together_read_each_photo_once_an_epoch(shards, world_size, threads):
    alone = drawn(TrainingBatches(open_photos(shards), "box", 8, 4, 3), range(9))
    ranks = []
    for rank in range(world_size):
        batches = TrainingBatches(open_photos(shards), "box", 8, 4, 3, rank=rank, world_size=world_size)
        stream = batches.stream(0, 9, threads=threads)
        ranks.append([[round(float(v) * 255) // 10 for v in batch.image[:, 0, 0, 0]] for batch in stream])
    together = [photo for step in range(9) for rank in ranks for photo in rank[step]]
    assert together == alone
    for epoch in range(3):  # an epoch is three batches of four
        assert sorted(together[12 * epoch : 12 * (epoch + 1)]) == list(range(12))


def test_the_order_of_an_epoch_is_numpys_permutation():
    # In half the memory; a run that was begun with the larger numbers goes on with the same photos.
    numbers = np.arange(200_000, dtype=np.int32)
    assert np.array_equal(
        np.random.default_rng(5).permutation(numbers), np.random.default_rng(5).permutation(200_000)
    )


IN_TURN = """
import sys, time
from pathlib import Path
import torch.distributed as dist
import torch
from inpaint.datasets import index, open_photos
from inpaint.training.processes.world import World
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
scan = index._scan
def slow(*arguments):
    (folder / f"scanned-{rank}").touch()
    time.sleep(0.5)
    return scan(*arguments)
index._scan = slow
try:
    world = World(rank, 2, torch.device("cpu"), dist.group.WORLD)
    print(len(world.in_turn(lambda: open_photos(sys.argv[3]))))
finally:
    dist.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
@pytest.mark.parametrize("there", [True, False])
def test_of_several_processes_one_indexes_and_the_others_read_its_cache(shards, tmp_path, there):
    source = shards / ("places-000000.tar" if there else "missing.tar")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", IN_TURN, str(rank), str(tmp_path), str(source)],
            env={
                **os.environ,
                "LOCAL_RANK": str(rank),
                "INPAINT_CACHE_DIR": str(tmp_path / "cache"),
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(ROOT),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        told = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    scanned = sorted(path.name for path in tmp_path.glob("scanned-*"))
    if there:
        assert [out.strip() for out, _ in told] == ["3", "3"], told
        assert scanned == ["scanned-0"]
    else:
        assert [process.returncode for process in processes] == [1, 1]
        assert all("there is no such folder or tar" in error for _, error in told)
        assert scanned == []


def test_attempts_are_told_in_the_log(memory, monkeypatch, caplog):
    photos = open_photos("memory://store/places-*.tar")
    Stumbling(monkeypatch, 1, ConnectionResetError("reset"))
    with caplog.at_level(logging.INFO, "inpaint.datasets"):
        photos.read_bytes(0)
    assert "places-000000.tar: reset; trying again" in caplog.text
