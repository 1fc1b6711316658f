#!/usr/bin/env python
r"""Fetch Places365, check it, and repack it into shards; or make a stand-in of a few photos to rehearse on.

    python data/places365/places.py fetch --split val --size 256
    python data/places365/places.py fetch --split train-standard --size large --root /data/places365
    python data/places365/places.py check --root /data/places365
    python data/places365/places.py shard /data/places365/train_large_places365standard.tar \
        --output /data/places365-384 --short-side 384

The same without the download, in seconds:

    python data/places365/places.py stand-in --root runs/stand-in --broken
    python data/places365/places.py fetch --stand-in runs/stand-in --root runs/places --split val --size 256
    python data/places365/places.py check --stand-in runs/stand-in --root runs/places

URLs, file names and MD5 sums are torchvision's. Exit codes: 0 all well; 1 something is missing, damaged or
not as many as expected; 2 a wrong command line; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import fnmatch
import http.client
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import shards
import stand_in
from torchvision.datasets import Places365
from torchvision.datasets.utils import calculate_md5, check_integrity, extract_archive
from tqdm import tqdm

from inpaint.datasets import open_photos
from inpaint.datasets.storage import expand_braces, expand_paths
from inpaint.urls import is_url

HERE = Path(__file__).parent
COUNTS = {"train-standard": 1_803_460, "train-challenge": 8_026_628, "val": 36_500, "test": 328_500}
SPLITS, SIZES = tuple(COUNTS), ("256", "large")


class PlacesError(Exception):
    """What went wrong, on which file, and what to do."""


@dataclass(frozen=True)
class Facts:
    """What is known about the data set.

    Attributes:
        torchvision: the class that holds the URLs, names and MD5 sums.
        counts: photos in each split.
    """

    torchvision: Any = Places365
    counts: dict[str, int] = field(default_factory=lambda: COUNTS)

    def archive(self, split: str, size: str) -> tuple[str, str]:
        """Name and MD5 sum of a tar of photos."""
        return self.torchvision._IMAGES_META[split, size == "256"]

    def lists(self, split: str) -> tuple[str, str]:
        """Name and MD5 sum of the tar with the categories and file lists."""
        return self.torchvision._DEVKIT_META["challenge" if "challenge" in split else "standard"]

    def url(self, name: str) -> str:
        """Where a file is to be had."""
        return self.torchvision._BASE_URL + name


def unpacked_folder(split: str, size: str) -> str:
    """Return the folder in which torchvision looks for the photos of a split."""
    return f"data_{size}_{split.removeprefix('train-')}" if split.startswith("train") else f"{split}_{size}"


# ---------------------------------------------------------------------------------------------------------
# fetch


def fetch(facts: Facts, split: str, size: str, root: Path, unpack: bool) -> Path:
    """Bring a split to `root`, as a tar or laid out as torchvision does; returns the tar or the folder.

    Nothing half-done ever has its final name. What is there already, and whole, is not fetched again.
    """
    root.mkdir(parents=True, exist_ok=True)
    name, md5 = facts.archive(split, size)
    folder = root / unpacked_folder(split, size)
    if unpack and folder.exists():
        print(f"{folder}: is there already")
        return folder
    tar = obtain(facts.url(name), root / name, md5, copies=2 if unpack else 1)
    if not unpack:
        return tar
    lists, lists_md5 = facts.lists(split)
    extract_archive(obtain(facts.url(lists), root / lists, lists_md5), root)
    unpack_tar(tar, folder)
    # torchvision compares the lists' MD5 sums and looks for what it needs.
    facts.torchvision(str(root), split=split, small=size == "256", download=False)
    print(f"{folder}: unpacked; {tar} is not needed any more")
    return folder


def obtain(url: str, path: Path, md5: str, copies: int = 1) -> Path:
    """Download a file, unless it is there, and compare its MD5 sum; `copies` of it must fit on the disk."""
    if path.exists():
        if not check_integrity(path, md5):
            raise PlacesError(
                f"{path}: its MD5 sum is {calculate_md5(path)} and should be {md5}; it is damaged or another "
                "file: delete it and fetch again"
            )
        need_space(path.parent, (copies - 1) * path.stat().st_size)
        print(f"{path}: is there already, MD5 sum right")
        return path
    unfinished = path.with_name(f"{path.name}.partial")
    download(url, unfinished, copies)
    if not check_integrity(unfinished, md5):
        found = calculate_md5(unfinished)
        unfinished.unlink()
        raise PlacesError(
            f"{url}: what came has the MD5 sum {found} and should have {md5}; it was deleted. Fetch again; "
            "if it happens twice, something on the way changes the file, or the server has another one"
        )
    unfinished.replace(path)
    print(f"{path}: fetched, MD5 sum right")
    return path


def download(url: str, unfinished: Path, copies: int) -> None:
    """Append to `unfinished` what it lacks of the file at `url`; some servers send all of it again."""
    begun = unfinished.stat().st_size if unfinished.exists() else 0
    headers = {"User-Agent": "carafe-inpaint", **({"Range": f"bytes={begun}-"} if begun else {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as response:
            if response.status != 206:
                begun = 0
            total = begun + int(response.headers.get("Content-Length", 0))
            need_space(unfinished.parent, copies * total - begun)
            bar = tqdm.wrapattr(
                response, "read", total=total, initial=begun, unit="B", desc=unfinished.stem, disable=None
            )
            with unfinished.open("ab" if begun else "wb") as file, bar as source:
                shutil.copyfileobj(source, file, 1 << 20)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing follows what is here: it was whole already
            raise PlacesError(f"{url}: the server answers {error.code} {error.reason}") from error
        return
    except (OSError, http.client.HTTPException) as error:
        raise PlacesError(f"{url}: {error}. The same command goes on where this one stopped") from error
    have = unfinished.stat().st_size
    if have < total:
        raise PlacesError(
            f"{url}: the connection ended after {have:,} of {total:,} bytes. The same command goes on there"
        )


def need_space(folder: Path, needed: int) -> None:
    """Raise PlacesError where so many bytes do not fit."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise PlacesError(
            f"{folder}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free; make room, or "
            "name a folder on another disk with --root"
        )


def unpack_tar(tar: Path, folder: Path) -> None:
    """Unpack a tar's only top folder as `folder`, all or nothing."""
    stage = folder.with_name(f".{folder.name}.unpacking")  # other processes may be unpacking other splits
    shutil.rmtree(stage, ignore_errors=True)
    extract_archive(tar, stage)
    tops = [path for path in stage.iterdir() if path.is_dir()]
    if len(tops) != 1:
        raise PlacesError(f"{tar}: expected one folder in it, found {len(tops)}; is this Places365?")
    tops[0].rename(folder)
    shutil.rmtree(stage)


# ---------------------------------------------------------------------------------------------------------
# check


def check(facts: Facts, root: Path) -> bool:
    """Compare what lies in `root` with what is known; prints a table, returns whether all is well."""
    splits = [(split, size) for split in SPLITS for size in SIZES]
    tars = [one for one in splits if (root / facts.archive(*one)[0]).exists()]
    folders = [one for one in splits if (root / unpacked_folder(*one)).exists()]
    if not tars and not folders:
        raise PlacesError(f"{root}: nothing of Places365 lies here; fetch it, or name its folder with --root")
    print("| what | MD5 sum | photos | expected | |\n|---|---|---:|---:|---|")
    # A large tar takes minutes, so each line is shown when it is known.
    well = [check_tar(root, *facts.archive(*one), facts.counts[one[0]]) for one in tars]
    well += [check_folder(root / unpacked_folder(*one), facts.counts[one[0]]) for one in folders]
    return all(well)


def check_tar(root: Path, name: str, md5: str, expected: int) -> bool:
    """Print a line about a tar; returns whether it is as it should be."""
    whole = check_integrity(root / name, md5)
    photos, fault = count_photos(root / name, expected)
    if not whole:
        fault = "delete it and fetch it again"
    print_line(name, "right" if whole else "**wrong**", photos, expected, fault)
    return not fault


def check_folder(folder: Path, expected: int) -> bool:
    """Print a line about an unpacked split; returns whether it is as it should be."""
    photos, fault = count_photos(folder, expected)
    print_line(f"{folder.name}/", "", photos, expected, fault)
    return not fault


def print_line(name: str, md5: str, photos: int, expected: int, fault: str) -> None:
    """One line of the table."""
    verdict = f"**{fault}**" if fault else "as it should be"
    print(f"| {name} | {md5} | {photos:,} | {expected:,} | {verdict} |", flush=True)


def count_photos(source: Path, expected: int) -> tuple[int, str]:
    """How many photos a tar or folder has, and what is wrong with that."""
    try:
        photos = open_photos(source)
    except ValueError as error:
        return 0, str(error)
    if photos.broken:
        return len(photos), "; ".join(photos.broken.values())
    return len(photos), "" if len(photos) == expected else "another number of photos"


# ---------------------------------------------------------------------------------------------------------
# shard


def check_output(sources: list[str], output: Path, prefix: str) -> None:
    """Raise PlacesError where the shards would be found among the sources, by the next run or by training."""
    for source in sources:
        if is_url(source):
            continue
        if any(Path(one).is_dir() and is_inside(output, Path(one)) for one in expand_paths(source)):
            raise PlacesError(
                f"--output {output}: lies in {source}, whose photos would be there twice then; name a folder "
                "outside it"
            )
        if any(names_shards(Path(one), output, prefix) for one in expand_braces(source)):
            raise PlacesError(
                f"{source}: names shards that are to be written to {output}; give another --output or "
                "another --prefix"
            )


def is_inside(path: Path, other: Path) -> bool:
    """Return whether a folder, which need not exist yet, is another one or lies below it."""
    return path.resolve().is_relative_to(other.resolve())


def names_shards(pattern: Path, output: Path, prefix: str) -> bool:
    """Return whether a tar's path, or a pattern, names any of the shards of this prefix in `output`."""
    if pattern.parent.resolve() != output.resolve():
        return False
    is_shard = re.fullmatch(rf"{re.escape(prefix)}-\d{{6,}}\.tar", pattern.name)
    return bool(is_shard) or fnmatch.fnmatchcase(f"{prefix}-000000.tar", pattern.name)


# ---------------------------------------------------------------------------------------------------------
# The command line


def parser() -> argparse.ArgumentParser:
    """Every flag of every subcommand."""
    top = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = partial(commands.add_parser, allow_abbrev=False)

    one = add("fetch", help="download a split, check it, and unpack it if asked")
    one.add_argument("--split", required=True, choices=SPLITS)
    one.add_argument("--size", required=True, choices=SIZES, help="squeezed to 256×256, or large")
    one.add_argument("--unpack", action="store_true", help="lay the photos out as torchvision does")
    add_place(one)

    add_place(add("check", help="MD5 sums and numbers of photos of what lies in a folder"))

    one = add("shard", help="repack photos into shards of a few thousand")
    one.add_argument("source", nargs="+", help="tars, folders, patterns or URLs of photos")
    one.add_argument("--output", required=True, type=folder, help="folder for the shards")
    one.add_argument(
        "--prefix", type=plain_name, default="places", help="the shards' name (default: %(default)s)"
    )
    one.add_argument(
        "--photos-per-shard", type=positive, default=5000, metavar="N", help="(default: %(default)s)"
    )
    one.add_argument(
        "--short-side", type=natural, default=0, metavar="PX",
        help="shrink larger photos to this; 0, the default, keeps them",
    )  # fmt: skip
    one.add_argument(
        "--quality", type=quality, default=90, metavar="Q",
        help="of the JPEG files of photos that were shrunk, 1 to 95 (default: %(default)s)",
    )  # fmt: skip
    one.add_argument(
        "--shuffle", type=natural, metavar="SEED",
        help="mix the classes; the source is then read out of order",
    )  # fmt: skip
    one.add_argument("--workers", type=positive, default=4, help="threads (default: %(default)s)")

    one = add("stand-in", help="make a tiny data set of the same layout")
    one.add_argument("--root", required=True, type=folder, help="folder to make it in")
    one.add_argument(
        "--photos-per-class", type=positive, default=4, metavar="N", help="(default: %(default)s)"
    )
    one.add_argument("--broken", action="store_true", help="with photos that cannot be read")
    return top


def add_place(command: argparse.ArgumentParser) -> None:
    """Where the data set lies, and which it is."""
    command.add_argument(
        "--root", type=folder, default=HERE, help="folder of the data set (default: this script's)"
    )
    command.add_argument(
        "--stand-in", type=Path, metavar="DIR", help="rehearse: the stand-in in DIR instead of Places365"
    )


def positive(text: str) -> int:
    """Parse a whole number above 0."""
    return whole_number(text, least=1)


def natural(text: str) -> int:
    """Parse a whole number, 0 or more."""
    return whole_number(text, least=0)


def quality(text: str) -> int:
    """Parse a quality of JPEG files."""
    return whole_number(text, least=1, most=95)


def whole_number(text: str, least: int, most: int | None = None) -> int:
    """Parse a whole number within bounds."""
    wanted = f"a whole number from {least} to {most}" if most else f"a whole number, {least} or more"
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}") from None
    if value < least or (most is not None and value > most):
        raise argparse.ArgumentTypeError(f"expected {wanted}, got {value}")
    return value


def folder(text: str) -> Path:
    """Parse the path of a folder that is there or can be made."""
    path = Path(text)
    for one in (path, *path.parents):
        if os.path.isfile(one):  # noqa: PTH113 (Path's asks for permission, which is not the point here)
            raise argparse.ArgumentTypeError(f"{one} is a file; name a folder")
    return path


def plain_name(text: str) -> str:
    """Parse the beginning of a file's name, without folders."""
    if not text or text.startswith(".") or set(text) & set("/\\*?[]{}"):
        raise argparse.ArgumentTypeError(f"expected a name such as places, got {text!r}")
    return text


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    given = parser().parse_args(arguments)
    try:
        return run(given)
    except (PlacesError, OSError, ValueError, RuntimeError) as error:
        print(f"places.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("places.py: stopped; what is finished stays, the same command does the rest", file=sys.stderr)
        return 130


def run(given: argparse.Namespace) -> int:
    """Do what the command line says."""
    if given.command == "stand-in":
        stand_in.make(given.root, given.photos_per_class, given.broken)
        return 0
    if given.command == "shard":
        check_output(given.source, given.output, given.prefix)
        packing = shards.Packing(given.photos_per_shard, given.short_side, given.quality, given.shuffle)
        photos = open_photos(given.source)
        catalogue = shards.write_shards(photos, given.output, packing, given.prefix, given.workers)
        left_out = {**photos.broken, **catalogue.broken}
        print(f"{catalogue.photos:,} photos in {given.output}, {len(left_out)} files left out")
        return 1 if left_out else 0
    facts = Facts(*stand_in.known(given.stand_in)) if given.stand_in else Facts()
    if given.command == "fetch":
        fetch(facts, given.split, given.size, given.root, given.unpack)
        return 0
    return 0 if check(facts, given.root) else 1


if __name__ == "__main__":
    sys.exit(main())
