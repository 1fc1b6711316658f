"""The recipe for shards in data/photos/README.md packs a folder's photos, the same way each time."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from inpaint.datasets import open_photos

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT / "data" / "photos" / "README.md"


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    lines = text.replace("\\\n", " ").splitlines()
    return [line.split() for line in lines if re.search(r"\S+\.py\b|^\S*python\b", line)]


def recipe() -> str:
    (text,) = (block for block in blocks(PHOTOS) if "tar --create" in block)
    assert "--lines=5000" in text
    return text.replace("--lines=5000", "--lines=4")  # several shards of a few photos


def pack(folder: Path) -> None:
    result = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", recipe()], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with photos/train and photos/val, among them what a shell or a tar may stumble over."""
    train = tmp_path / "one" / "photos" / "train"
    (train / "sub folder").mkdir(parents=True)
    (train / ".hidden").mkdir()
    (tmp_path / "one" / "photos" / "val").mkdir()
    names = ["-1.jpg", "a b.JPG", "back\\nslash.png", "line\nbreak.webp", "sub folder/é.bmp", "c.tif"]
    for value, name in enumerate([*names, "d.TIFF", "e.gif", "f.jpeg", ".not.jpg", ".hidden/not.jpg"]):
        Image.new("L", (8, 8), value).save(train / name)
    (train / "notes.txt").write_text("no photo\n")
    os.link(train / "c.tif", train / "hard link.tif")
    (train / "soft link.gif").symlink_to("e.gif")
    Image.new("L", (8, 8), 99).save(tmp_path / "one" / "photos" / "val" / "only.png")
    return tmp_path / "one"


def test_the_recipe_packs_the_photos_of_the_folder(photos):
    pack(photos)
    names = sorted(path.name for path in (photos / "shards").iterdir())
    assert names == ["train-000000.tar", "train-000001.tar", "train-000002.tar", "val-000000.tar"]
    for part in ("train", "val"):
        folder, shards = open_photos(photos / "photos" / part), open_photos(f"{photos}/shards/{part}-*.tar")
        # What folders hold below a hidden folder is for their own tests.
        known = {name: index for index, name in enumerate(folder.names) if not name.startswith(".hidden/")}
        assert sorted(shards.names) == sorted(known)
        assert list(shards.names) != sorted(shards.names) or part == "val"
        for index, name in enumerate(shards.names):
            assert shards.read_bytes(index) == folder.read_bytes(known[name])


def test_the_same_photos_give_the_same_bytes(photos, tmp_path):
    other = shutil.copytree(photos, tmp_path / "two", symlinks=True)
    for number, path in enumerate(sorted(other.rglob("*.*"))):
        if not path.is_symlink():
            path.chmod(0o600 if path.is_file() and number % 2 else 0o755)
            os.utime(path, (number, number))
    pack(photos)
    pack(other)
    shards = sorted((photos / "shards").iterdir())
    assert len(shards) == 4
    for path in shards:
        assert (other / "shards" / path.name).read_bytes() == path.read_bytes()


def test_shards_are_named_as_the_training_command_expects(photos):
    pack(photos)
    words = next(words for words in commands("\n".join(blocks(PHOTOS))) if '"shards/' in " ".join(words))
    for flag in ("--data", "--val-data"):
        (pattern,) = shlex.split(words[words.index(flag) + 1])
        assert len(open_photos(str(photos / pattern))) == (11 if flag == "--data" else 1)
