"""Photos read in place, and batches that depend on nothing but the seed and the step."""

from __future__ import annotations

import contextlib
import copy
import errno
import gzip
import io
import itertools
import os
import pickle
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from skimage import data
from skimage.transform import downscale_local_mean

from inpaint.datasets import PhotoCache, PhotoSet, TrainingBatches, open_photos
from inpaint.images import ImageError


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def flat(value: int, height: int = 12, width: int = 14) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def places(height: int, width: int) -> np.ndarray:
    """A photo whose pixels say where they are: red = row, green = column."""
    rows, columns = np.indices((height, width))
    return np.stack([rows, columns, rows * 0], -1).astype(np.uint8)


def write_tar(path: Path, members: list[tuple[str, bytes]], format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def offset_of(path: Path, name: str) -> int:
    """Where the bytes of a tar's member begin."""
    with tarfile.open(path) as archive:
        return archive.getmember(name).offset_data


@pytest.fixture
def flats(tmp_path: Path) -> PhotoSet:
    """Seven photos of one colour each: photo i is 10 i."""
    return open_photos(
        write_tar(tmp_path / "flats.tar", [(f"s/{i}.png", png(flat(10 * i))) for i in range(7)])
    )


def colours(batches: TrainingBatches, steps: range) -> list[int]:
    """Which photos of `flats` come, in order."""
    return [
        round(float(value) * 255) // 10 for step in steps for value in batches.batch(step).image[:, 0, 0, 0]
    ]


# --- photos


def test_a_folder_is_searched_with_its_subfolders_in_sorted_order(tmp_path):
    for name in ("b/2.png", "b/10.PNG", "a.png", "c/d/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(flat(len(name))))
    for ignored in ("notes.txt", "b/._2.png", "model.pt"):
        (tmp_path / ignored).write_text("x")
    photos = open_photos(str(tmp_path))
    assert photos.names == ["a.png", "b/10.PNG", "b/2.png", "c/d/e.png"]
    assert len(photos) == 4
    assert photos.read_bytes(0) == (tmp_path / "a.png").read_bytes()
    assert np.array_equal(photos.read(1), flat(8))


def test_links_to_folders_are_followed_without_going_round_in_circles(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.png").write_bytes(png(flat(1)))
    try:
        (tmp_path / "photos" / "linked").symlink_to(tmp_path / "disk")
        (tmp_path / "disk" / "back").symlink_to(tmp_path / "photos")
    except OSError:
        pytest.skip("this system does not let us make links")
    assert open_photos(tmp_path / "photos").names == ["linked/a.png"]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_photo_has_its_own_name_whatever_order_the_file_system_lists_in(tmp_path, monkeypatch, backwards):
    folder = tmp_path / "photos"
    for name in ("real/p.png", "a/deep/q.png"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(png(flat(1)))
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "r.png").write_bytes(png(flat(1)))
    for link, target in [("a/link", "real"), ("link", "real"), ("z", "../disk"), ("y", "../disk")]:
        (folder / link).symlink_to((folder / target).resolve())
    scandir = os.scandir

    class Listing:
        def __init__(self, path):
            self.entries = iter(sorted(scandir(path), key=lambda entry: entry.name, reverse=backwards))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.entries)

    monkeypatch.setattr(os, "scandir", Listing)
    assert open_photos(folder).names == ["a/deep/q.png", "real/p.png", "y/r.png"]


def test_hidden_folders_are_passed_over(tmp_path):
    names = ["a.png", ".thumbnails/b.png", "c/.cache/d.png", "c/e.png", "c/._e.png", ".f.png"]
    folder = tmp_path / ".photos"  # named by the user, it is meant
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(flat(1)))
    assert open_photos(folder).names == ["a.png", "c/e.png"]
    tar = write_tar(tmp_path / "s.tar", [(f"./{name}", png(flat(1))) for name in names])
    assert open_photos(tar).names == ["a.png", "c/e.png"]
    above = write_tar(tmp_path / "t.tar", [("../photos/a.png", png(flat(1)))])
    assert open_photos(above).names == ["../photos/a.png"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(png(flat(1)))
    scandir = os.scandir

    def refuses(path):
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuses)
    photos = open_photos(tmp_path)
    assert photos.names == ["a/1.png"]
    assert photos.broken == {(tmp_path / "b").as_posix(): "cannot be listed (Permission denied)"}
    with pytest.raises(ValueError, match=r"no photo here .*cannot be listed \(Permission denied\)"):
        open_photos(tmp_path / "b")


def test_a_pattern_may_be_longer_than_any_name(tmp_path):
    write_tar(tmp_path / "7.tar", [("a.png", png(flat(1)))])
    pattern = "{" + ",".join(map(str, range(200))) + "}.tar"
    assert len(pattern) > 255
    assert open_photos(f"{tmp_path}/{pattern}").names == ["a.png"]
    with pytest.raises(FileNotFoundError, match="no such folder or tar"):
        open_photos(f"{tmp_path}/{'x' * 300}")


@pytest.fixture
def tree(tmp_path) -> Path:
    """photos/ with train/1.png, train/2.png, val/3.png, s.tar (4.png, 5.png) and two kinds of links."""
    for name in ("train/1.png", "train/2.png", "val/3.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(png(flat(1)))
    write_tar(tmp_path / "photos" / "s.tar", [("4.png", png(flat(4))), ("5.png", png(flat(5)))])
    (tmp_path / "linked").symlink_to(tmp_path / "photos" / "train")
    (tmp_path / "chosen").mkdir()
    (tmp_path / "chosen" / "one.png").symlink_to("../photos/train/2.png")
    (tmp_path / "chosen" / "own.png").write_bytes(png(flat(1)))
    return tmp_path


@pytest.mark.parametrize(
    "sources",
    [
        ("photos", "photos"),
        ("photos", "photos/train"),
        ("photos/train", "photos"),
        ("photos/train", "photos/../photos/train"),
        ("linked", "photos"),
        ("photos", "photos/s.tar"),
        ("photos/s.tar", "photos/val/../s.tar"),
        ("photos/{train,val,train/.}",),
    ],
)
def test_the_same_photos_are_not_taken_twice_by_whatever_paths(tree, sources):
    with pytest.raises(ValueError, match=r"listed twice \(.*(png|tar)\): give each folder and tar once"):
        open_photos([f"{tree}/{source}" for source in sources])


def test_folders_beside_each_other_and_links_to_single_photos_are_not_the_same_photos(tree):
    assert len(open_photos([tree / "photos" / "train", tree / "photos" / "val"])) == 3
    assert len(open_photos([tree / "photos", tree / "chosen"])) == 7


@pytest.mark.parametrize(
    ("ours", "theirs", "shared"),
    [
        ("photos", "photos", 5),
        ("photos/train", "photos", 2),
        ("photos", "photos/train", 2),
        ("photos/val", "photos/train", 0),
        ("linked", "photos", 2),
        ("chosen", "photos", 1),
        ("photos", "chosen", 1),
        ("photos/s.tar", "photos", 2),
        ("photos/s.tar", "photos/val/../s.tar", 2),
        ("copy.tar", "photos", 0),
    ],
)
def test_how_many_photos_two_sets_share(tree, ours, theirs, shared):
    (tree / "copy.tar").write_bytes((tree / "photos" / "s.tar").read_bytes())
    assert open_photos(tree / ours).shares_with(open_photos(tree / theirs)) == shared


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_members_are_read_in_place(tmp_path, format):
    long = "deep/" * 18 + "photo.png" if format == tarfile.USTAR_FORMAT else "deep/" * 40 + "ü.png"
    members = [("./s/a.png", png(flat(1))), ("s/notes.txt", b"x" * 700), (long, png(places(5, 9)))]
    path = write_tar(tmp_path / "shard.tar", members, format)
    photos = open_photos(path)
    assert photos.names == ["s/a.png", long]
    assert photos.broken == {}
    for index, name in enumerate(["./s/a.png", long]):
        with tarfile.open(path) as archive:
            assert photos.read_bytes(index) == archive.extractfile(name).read()
    assert np.array_equal(photos.read(1), places(5, 9))


def test_real_photos_of_several_formats_come_out_as_pillow_decodes_them(tmp_path):
    members = []
    for name, pixels in [("cat.webp", data.chelsea()), ("astronaut.jpg", data.astronaut())]:
        Image.fromarray(pixels).save(tmp_path / name)
        members.append((f"real/{name}", (tmp_path / name).read_bytes()))
    photos = open_photos(write_tar(tmp_path / "real.tar", members))
    for index, (_, content) in enumerate(members):
        expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        assert np.array_equal(photos.read(index), expected)


def test_of_members_with_one_name_the_last_counts(tmp_path):
    path = write_tar(tmp_path / "s.tar", [("a.png", png(flat(1))), ("b.png", b""), ("a.png", png(flat(2)))])
    photos = open_photos(path)
    assert photos.names == ["a.png", "b.png"]
    assert photos.read(0)[0, 0, 0] == 2


def test_names_are_unique_over_several_tars(tmp_path):
    (tmp_path / "other").mkdir()
    shards = [
        write_tar(tmp_path / "x.tar", [("a.png", png(flat(1))), ("b.png", png(flat(2)))]),
        write_tar(tmp_path / "y.tar", [("a.png", png(flat(3))), ("c.png", png(flat(4)))]),
        write_tar(tmp_path / "other" / "y.tar", [("a.png", png(flat(5)))]),
    ]
    assert open_photos(shards[:2]).names == ["x/a.png", "b.png", "y/a.png", "c.png"]
    three = open_photos(shards)
    assert len(set(three.names)) == 5
    assert three.names[:2] == ["x/a.png", "b.png"]
    assert three.names[4].endswith("other/y.tar/a.png")
    assert [int(three.read(index)[0, 0, 0]) for index in range(5)] == [1, 2, 3, 4, 5]
    assert sorted(open_photos(tmp_path).names) == sorted(three.names)  # a folder of tars
    with pytest.raises(ValueError, match="listed twice"):
        open_photos([shards[0], shards[0]])


def test_wrong_sources_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_photos(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no photo here"):
        open_photos(tmp_path)
    with pytest.raises(ValueError, match="empty list"):
        open_photos([])
    (tmp_path / "one.png").write_bytes(png(flat(1)))
    with pytest.raises(ValueError, match="not a single file"):
        open_photos(tmp_path / "one.png")
    packed = write_tar(tmp_path / "s.tar", [("a.png", png(flat(1)))])
    for name in ("s.tar.gz", "renamed.tar"):
        (tmp_path / name).write_bytes(gzip.compress(packed.read_bytes()))
        with pytest.raises(ValueError, match="decompress it first"):
            open_photos(tmp_path / name)


def test_a_shard_that_is_cut_short_gives_what_lies_before_the_cut(tmp_path):
    content = png(np.frombuffer(generator_bytes(12 * 14 * 3), np.uint8).reshape(12, 14, 3))
    path = write_tar(tmp_path / "s.tar", [(f"{index}.png", content) for index in range(3)])
    whole = path.read_bytes()
    second = offset_of(path, "1.png")
    path.write_bytes(whole[: second + len(content) // 2])
    photos = open_photos(path)
    assert photos.names[0] == "0.png"
    assert np.array_equal(photos.read(0), np.asarray(Image.open(io.BytesIO(content))))
    assert list(photos.broken) == [path.as_posix()]
    with pytest.raises(ImageError, match=r"1\.png: .*s\.tar is cut short; fetch it again"):
        photos.read(1)
    assert "1.png" in photos.broken


def generator_bytes(number: int) -> bytes:
    return np.random.default_rng(0).bytes(number)


def test_a_damaged_header_in_a_shard_is_noticed(tmp_path):
    path = write_tar(tmp_path / "s.tar", [(f"{index}.png", png(flat(index))) for index in range(3)])
    content = bytearray(path.read_bytes())
    content[offset_of(path, "1.png") - 512] ^= 0xFF  # the first letter of the second name
    path.write_bytes(content)
    photos = open_photos(path)
    assert photos.names == ["0.png"]
    assert "damaged after 1 photos" in photos.broken[path.as_posix()]


def test_something_that_is_no_tar_does_not_hide_the_good_ones(tmp_path):
    write_tar(tmp_path / "good.tar", [("a.png", png(flat(1)))])
    (tmp_path / "bad.tar").write_bytes(b"<html>404</html>" * 99)
    photos = open_photos(tmp_path)
    assert photos.names == ["a.png"]
    assert list(photos.broken) == [(tmp_path / "bad.tar").as_posix()]
    with pytest.raises(ValueError, match=r"no photo here.*damaged"):
        open_photos(tmp_path / "bad.tar")


def test_a_bad_photo_is_an_error_with_its_name_and_listed(tmp_path):
    for name, content in [("bad.png", b"\x89PNG nonsense"), ("empty.jpg", b""), ("gone.png", png(flat(1)))]:
        (tmp_path / name).write_bytes(content)
    photos = open_photos(tmp_path)
    (tmp_path / "gone.png").unlink()
    for index, name in enumerate(["bad.png", "empty.jpg", "gone.png"]):
        with pytest.raises(ImageError, match=f"^{name}: "):
            photos.read(index)
        assert not photos.broken[name].startswith(name)
    assert list(photos.broken) == ["bad.png", "empty.jpg", "gone.png"]


def test_a_photo_of_floating_point_numbers_is_told_how_to_save_it(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", flat(1).astype(np.float32), photometric="rgb")
    with pytest.raises(ImageError, match=r"a\.tif: not an image .*TIFF.*, 8 or 16 bits a channel"):
        open_photos(tmp_path).read(0)


def test_photos_can_be_sent_to_processes_and_read_by_threads(tmp_path):
    members = [(f"{index}.png", png(places(20 + index, 30))) for index in range(40)]
    photos = pickle.loads(pickle.dumps(open_photos(write_tar(tmp_path / "s.tar", members))))
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(photos.read_bytes, list(range(40)) * 5))
    assert read == [content for _, content in members] * 5


# --- the cache


def test_cache_keeps_to_its_limit_and_decodes_kept_photos_once(flats, monkeypatch):
    decoded: list[int] = []
    read = flats.read
    monkeypatch.setattr(flats, "read", lambda index: decoded.append(index) or read(index))
    photo_bytes = 12 * 14 * 3
    cache = PhotoCache(flats, limit=3 * photo_bytes + 1)
    for _ in range(2):
        for index in range(7):
            photo = cache.read(index)
            assert np.array_equal(photo, flat(10 * index))
            with pytest.raises(ValueError, match="read-only"):
                photo[0] = 0
    assert len(cache) == 3
    assert cache.bytes_used == 3 * photo_bytes
    assert decoded == [0, 1, 2, 3, 4, 5, 6, 3, 4, 5, 6]
    off = PhotoCache(flats, limit=0)
    off.read(0)
    assert len(off) == off.bytes_used == 0
    with pytest.raises(ValueError, match="cache limit"):
        PhotoCache(flats, limit=-1)


def test_a_photo_that_two_threads_decode_at_once_is_counted_once(flats, monkeypatch):
    both_decoded = threading.Barrier(2)
    read = flats.read

    def read_together(index: int) -> np.ndarray:
        photo = read(index)
        both_decoded.wait(timeout=10)
        return photo

    monkeypatch.setattr(flats, "read", read_together)
    cache = PhotoCache(flats)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(cache.read, [3, 3])
    assert np.array_equal(one, other)
    assert len(cache) == 1
    assert cache.bytes_used == 12 * 14 * 3


# --- batches


def same(one, other) -> bool:
    return torch.equal(one.image, other.image) and torch.equal(one.mask, other.mask)


def test_a_batch_has_the_promised_form(tmp_path):
    (tmp_path / "cat.png").write_bytes(png(data.chelsea()))
    batch = TrainingBatches(open_photos(tmp_path), "free-form:0.2-0.4+box:0.2-0.4", 48, 5).batch(3)
    assert batch.image.shape == (5, 3, 48, 48)
    assert batch.mask.shape == (5, 1, 48, 48)
    assert batch.image.dtype == batch.mask.dtype == torch.float32
    assert batch.image.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= batch.image.min() < 0.2 < 0.8 < batch.image.max() <= 1
    assert set(batch.mask.unique().tolist()) == {0.0, 1.0}
    ratios = batch.mask.mean((1, 2, 3))
    assert bool(((ratios >= 0.2) & (ratios <= 0.4)).all())
    assert ratios.unique().numel() == 5


def test_a_batch_depends_on_seed_and_step_alone(tmp_path):
    members = [(f"{index}.png", png(places(40, 30 + 5 * index))) for index in range(9)]
    photos = open_photos(write_tar(tmp_path / "s.tar", members))
    straight = TrainingBatches(photos, "free-form", 16, 4, 7)
    expected = {step: straight.batch(step) for step in range(12)}
    for cache_bytes in (0, 5000, 1 << 20):
        other = TrainingBatches(photos, "free-form", 16, 4, 7, cache=PhotoCache(photos, cache_bytes))
        for step in (11, 3, 0, 7, 3):
            assert same(other.batch(step), expected[step])
        for threads, ahead in ((1, 1), (3, 5)):
            stream = other.stream(2, 12, threads=threads, ahead=ahead)
            assert all(same(batch, expected[2 + index]) for index, batch in enumerate(stream))
    assert not same(expected[0], expected[1])
    reseeded = TrainingBatches(photos, "free-form", 16, 4, 8).batch(0)
    assert not torch.equal(reseeded.image, expected[0].image)
    assert not torch.equal(reseeded.mask, expected[0].mask)


def test_each_photo_comes_once_an_epoch_in_a_new_order(flats):
    order = colours(TrainingBatches(flats, "box", 8, 3, 0), range(14))
    epochs = [tuple(order[start : start + 7]) for start in range(0, 42, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len(set(epochs)) == 6


def test_a_batch_larger_than_several_epochs_is_made(flats):
    order = colours(TrainingBatches(flats, "box", 8, 70, 0), range(2))
    assert np.bincount(order).tolist() == [20] * 7


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_batches_of_all_ranks_are_the_batch_of_one_process(flats, world_size):
    whole = TrainingBatches(flats, "thin", 8, 6, 5)
    ranks = [
        TrainingBatches(flats, "thin", 8, 6, 5, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    for step in range(5):
        parts = [rank.batch(step) for rank in ranks]
        assert torch.equal(torch.cat([part.image for part in parts]), whole.batch(step).image)
        assert torch.equal(torch.cat([part.mask for part in parts]), whole.batch(step).mask)


def test_broken_photos_are_replaced_by_the_next_readable_one_and_named(tmp_path):
    contents = [png(flat(10 * index)) for index in range(7)]
    for index in (2, 3, 6):
        contents[index] = contents[index][:40]
    path = write_tar(
        tmp_path / "s.tar", [(f"{index}.png", content) for index, content in enumerate(contents)]
    )
    replaced = {0: 0, 1: 1, 2: 4, 3: 4, 4: 4, 5: 5, 6: 0}
    sound = open_photos(
        write_tar(tmp_path / "t.tar", [(f"{index}.png", png(flat(10 * index))) for index in range(7)])
    )
    wanted = colours(TrainingBatches(sound, "box", 8, 4, 1), range(20))
    forwards = TrainingBatches(open_photos(path), "box", 8, 4, 1)
    assert colours(forwards, range(20)) == [replaced[photo] for photo in wanted]
    assert sorted(forwards.broken) == ["2.png", "3.png", "6.png"]
    backwards = TrainingBatches(open_photos(path), "box", 8, 4, 1)
    for step in range(19, -1, -1):
        assert same(backwards.batch(step), forwards.batch(step))


def test_a_broken_photo_is_tried_once(flats, monkeypatch):
    tried: list[int] = []
    read = flats.read

    def read_all_but_two(index: int) -> np.ndarray:
        tried.append(index)
        if index == 2:
            raise ImageError("2.png: broken")
        return read(index)

    monkeypatch.setattr(flats, "read", read_all_but_two)
    colours(TrainingBatches(flats, "box", 8, 7, cache=PhotoCache(flats, 0)), range(5))
    assert tried.count(2) == 1
    assert tried.count(3) == 10


def test_broken_ready_masks_are_named_with_the_broken_photos(flats, tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "bad.png").write_bytes(b"x")
    upper_half = np.zeros((8, 8, 3), np.uint8)
    upper_half[:4] = 255
    (tmp_path / "masks" / "good.png").write_bytes(png(upper_half))
    batches = TrainingBatches(flats, f"folder:{tmp_path / 'masks'}", 8, 4)
    for step in range(4):
        mask = batches.batch(step).mask
        assert mask[:, :, :4].all() and not mask[:, :, 4:].any()
    assert list(batches.broken) == ["bad.png"]


def test_only_a_set_with_no_readable_photo_at_all_is_an_error(tmp_path):
    photos = open_photos(write_tar(tmp_path / "s.tar", [("a.png", b"x"), ("b.png", b"")]))
    batches = TrainingBatches(photos, "box", 8, 2)
    for _ in range(2):
        with pytest.raises(ImageError, match=r"none of the 2 photos can be read .*[ab]\.png"):
            batches.batch(0)
    with pytest.raises(ImageError, match="none of the 2 photos"):
        next(batches.stream(0))


def crops_of(tmp_path: Path, pixels: np.ndarray, size: int, number: int, **settings) -> np.ndarray:
    (tmp_path / "photo.png").write_bytes(png(pixels))
    batches = TrainingBatches(open_photos(tmp_path), "box", size, number, **settings)
    image = batches.batch(0).image.permute(0, 2, 3, 1).numpy()
    return np.rint(image * 255).astype(np.uint8)


def test_crops_at_scale_one_are_windows_of_the_photo_or_mirrored_ones(tmp_path):
    photo = places(40, 60)
    found = []
    for crop in crops_of(tmp_path, photo, 16, 600, crop_scale=(1.0, 1.0)):
        mirrored = bool(crop[0, 0, 1] > crop[0, -1, 1])
        upright = crop[:, ::-1] if mirrored else crop
        top, left = upright[0, 0, :2].tolist()
        assert np.array_equal(upright, photo[top : top + 16, left : left + 16])
        found.append((top, left, mirrored))
    tops, lefts, mirrors = zip(*found, strict=True)
    assert {0, 24} <= set(tops)
    assert {0, 44} <= set(lefts)
    assert 230 < sum(mirrors) < 370


def test_crops_at_scale_zero_show_the_whole_short_side_averaged_down(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    expected = downscale_local_mean(photo, (3, 3, 1))
    for crop in crops_of(tmp_path, photo, 16, 8, crop_scale=(0.0, 0.0)):
        assert min(np.abs(crop - expected).max(), np.abs(crop[:, ::-1] - expected).max()) <= 0.51


def test_default_crops_mix_native_detail_with_wide_views(tmp_path):
    crops = crops_of(tmp_path, places(200, 250), 20, 400).astype(int)
    # The width of the view in the photo's pixels, from how fast the column number grows across the crop.
    views = np.abs(crops[:, 10, -1, 1] - crops[:, 10, 0, 1]) * 20 / 19
    assert 45 < (np.abs(views - 20) < 1).sum() < 140  # a fifth is native, some others come close
    assert views.max() > 150


def test_a_photo_of_the_size_itself_is_not_resampled(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    for crop in crops_of(tmp_path, photo, 16, 8):
        assert np.array_equal(crop, photo) or np.array_equal(crop, photo[:, ::-1])


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (9, 5), (15, 16)])
def test_small_photos_are_enlarged(tmp_path, shape):
    crops = crops_of(tmp_path, flat(77, *shape), 16, 4)
    assert crops.shape == (4, 16, 16, 3)
    assert (crops == 77).all()


def test_grey_and_transparent_photos_become_rgb(tmp_path):
    Image.new("L", (20, 20), 90).save(tmp_path / "grey.png")
    Image.new("RGBA", (20, 20), (90, 90, 90, 128)).save(tmp_path / "clear.png")
    Image.new("CMYK", (20, 20)).save(tmp_path / "press.jpg")
    batches = TrainingBatches(open_photos(tmp_path), "box", 16, 3)
    assert batches.batch(0).image.shape == (3, 3, 16, 16)
    assert batches.broken == {}


def test_sizes_can_change_over_one_cache(flats):
    cache = PhotoCache(flats)
    small = TrainingBatches(flats, "box", 4, 4, cache=cache)
    large = TrainingBatches(flats, "box", 8, 2, cache=cache)
    assert small.batch(0).image.shape == (4, 3, 4, 4)
    assert large.batch(0).image.shape == (2, 3, 8, 8)
    assert len(cache) >= 4
    with pytest.raises(ValueError, match="other photos"):
        TrainingBatches(copy.copy(flats), "box", 4, 4, cache=cache)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size 0"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"rank": 2, "world_size": 2}, "ranks run from 0 to 1"),
        ({"world_size": 3}, "shared evenly by 3"),
        ({"crop_scale": (1.0, 0.0)}, "lower bound first"),
        ({"recipe": "blob"}, "unknown kind"),
    ],
)
def test_settings_that_make_no_sense_are_refused(flats, settings, message):
    with pytest.raises(ValueError, match=message):
        TrainingBatches(**{"photos": flats, "recipe": "box", "size": 8, "batch_size": 4, **settings})


# --- the stream


def stream_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_stream_ends_where_it_should_and_leaves_no_thread(flats):
    batches = TrainingBatches(flats, "box", 8, 2)
    assert len(list(batches.stream(3, 8, threads=2))) == 5
    assert list(batches.stream(5, 5)) == []
    assert len(list(itertools.islice(batches.stream(0), 20))) == 20
    assert stream_threads() == []


def test_threads_end_when_the_consumer_stops_early_or_fails(flats):
    batches = TrainingBatches(flats, "box", 8, 2)
    for _ in batches.stream(0, threads=2):
        assert stream_threads()
        break
    assert stream_threads() == []

    def consume() -> None:
        for _ in batches.stream(0, threads=2):
            raise RuntimeError("the loss is not finite")

    with contextlib.suppress(RuntimeError):
        consume()
    assert stream_threads() == []


def test_an_error_while_a_batch_is_made_reaches_the_consumer(flats, monkeypatch):
    batches = TrainingBatches(flats, "box", 8, 2)
    batch = batches.batch

    def fails_at_three(step: int):
        if step == 3:
            raise RuntimeError("step three")
        return batch(step)

    monkeypatch.setattr(batches, "batch", fails_at_three)
    seen = []
    with pytest.raises(RuntimeError, match="step three"):
        for index, _ in enumerate(batches.stream(0, threads=2)):
            seen.append(index)
    assert seen == [0, 1, 2]
    assert stream_threads() == []


def test_stream_works_ahead_but_not_further_than_asked(flats, monkeypatch):
    batches = TrainingBatches(flats, "box", 8, 2)
    batch, made = batches.batch, []
    monkeypatch.setattr(batches, "batch", lambda step: made.append(step) or batch(step))
    stream = batches.stream(0, threads=2, ahead=3)
    next(stream)
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert sorted(made) == [0, 1, 2, 3]
    stream.close()
    for wrong in ({"threads": 0}, {"ahead": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            batches.stream(0, **wrong)
