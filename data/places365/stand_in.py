"""A data set of a few small photos with the files, folders and lists of Places365, to rehearse on."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image
from shards import add_member
from torchvision.datasets import Places365
from torchvision.datasets.utils import calculate_md5

from inpaint.files import write_atomically

CLASSES = {"/a/airfield": 0, "/a/apartment_building/outdoor": 9, "/b/bedroom": 52, "/k/kitchen": 203}
"""Some of the 365 categories, and their numbers there."""

FACTS = "stand-in.json"

# One of Places365's photos cut short, an empty file, a page that says 404, and 3,600 declared megapixels.
_KINDS = ("cut short", "empty", "text", "bomb")


def make(root: Path, photos_per_class: int, broken: bool) -> None:
    """Make the stand-in in a folder, from pieces of the photos that scikit-image ships.

    Challenge has twice as many photos as standard. `broken` adds four that cannot be read to each tar.
    """
    root.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    for split, (listed, _) in Places365._FILE_LIST_META.items():
        photos = list(_photos(split, photos_per_class, broken))
        counts[split] = len(photos)
        (root / listed).write_text("".join(f"{line}\n" for _, line, _ in photos))
        for size in ("256", "large"):
            name, _ = Places365._IMAGES_META[split, size == "256"]
            top = f"data_{size}" if split.startswith("train") else f"{split}_{size}"
            _write_tar(root / name, {f"{top}/{path}": files[size] for path, _, files in photos})
    categories = Places365._CATEGORIES_META[0]
    (root / categories).write_text("".join(f"{name} {number}\n" for name, number in CLASSES.items()))
    lists = [categories, *(name for name, _ in Places365._FILE_LIST_META.values())]
    for name, _ in Places365._DEVKIT_META.values():
        _write_tar(root / name, {one: (root / one).read_bytes() for one in lists})
    _write_facts(root, counts)


def known(root: Path) -> tuple[Any, dict[str, int]]:
    """Return a stand-in of torchvision's class with the URLs and MD5 sums, and the photos in each split."""
    try:
        facts = json.loads((root / FACTS).read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{root}: no stand-in here; make one: places.py stand-in --root {root}") from error
    md5 = facts["md5"]

    def ours(table: dict[Any, tuple[str, str]]) -> dict[Any, tuple[str, str]]:
        return {key: (name, md5[name]) for key, (name, _) in table.items()}

    (categories,) = ours({0: Places365._CATEGORIES_META}).values()
    metadata = {
        "_BASE_URL": f"{root.resolve().as_uri()}/",
        "_IMAGES_META": ours(Places365._IMAGES_META),
        "_DEVKIT_META": ours(Places365._DEVKIT_META),
        "_FILE_LIST_META": ours(Places365._FILE_LIST_META),
        "_CATEGORIES_META": categories,
    }
    return type("StandIn", (Places365,), metadata), facts["counts"]


def _write_facts(root: Path, counts: dict[str, int]) -> None:
    tables = (Places365._IMAGES_META, Places365._DEVKIT_META, Places365._FILE_LIST_META)
    names = [Places365._CATEGORIES_META[0], *(name for table in tables for name, _ in table.values())]
    facts = {"counts": counts, "md5": {name: calculate_md5(root / name) for name in names}}
    write_atomically(root / FACTS, json.dumps(facts, indent=1).encode())


def _photos(split: str, per_class: int, broken: bool) -> Iterator[tuple[str, str, dict[str, bytes]]]:
    """Each photo of a split: its path below the top folder, its line in the list, its file at each size."""
    per_class *= 2 if split == "train-challenge" else 1
    wanted = [(folder, number, "") for folder in CLASSES for number in range(1, per_class + 1)]
    if broken:
        wanted += [("/b/bedroom", per_class + 1 + number, kind) for number, kind in enumerate(_KINDS)]
    rng = np.random.default_rng(len(split))
    for place, (folder, number, kind) in enumerate(wanted, 1):
        files = {size: _spoilt(data, kind) for size, data in _files(rng).items()}
        if split.startswith("train"):
            path = f"{folder}/{number:08d}.jpg"
            yield path[1:], f"{path} {CLASSES[folder]}", files
        else:
            path = f"Places365_{split}_{place:08d}.jpg"
            yield path, path if split == "test" else f"{path} {CLASSES[folder]}", files


def _files(rng: np.random.Generator) -> dict[str, bytes]:
    """One photo as JPEG: large, and squeezed to 256×256."""
    source = getattr(skimage.data, str(rng.choice(["astronaut", "chelsea", "coffee"])))()
    height, width = (240, 288) if rng.random() < 0.7 else (288, 240)
    top, left = rng.integers(source.shape[0] - height + 1), rng.integers(source.shape[1] - width + 1)
    large = Image.fromarray(source[top : top + height, left : left + width])
    files = {}
    for size, picture in (("256", large.resize((256, 256))), ("large", large)):
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=85)
        files[size] = stream.getvalue()
    return files


def _spoilt(data: bytes, kind: str) -> bytes:
    """Return a JPEG file, broken in the way that `kind` names."""
    if kind == "cut short":
        return data[: len(data) // 2]
    if kind == "empty":
        return b""
    if kind == "text":
        return b"<html><body>404 Not Found</body></html>\n"
    if kind == "bomb":
        frame = data.index(b"\xff\xc0") + 5  # marker, length and precision stand before height and width
        return data[:frame] + (60_000).to_bytes(2, "big") * 2 + data[frame + 4 :]
    return data


def _write_tar(path: Path, members: dict[str, bytes]) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members.items():
            add_member(archive, name, data)
    write_atomically(path, stream.getvalue())
