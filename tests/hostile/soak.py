"""Put files of unknown origin through every door of the program, and say what went wrong.

    python tests/hostile/soak.py            all of them
    python tests/hostile/soak.py --every 8  every eighth

The doors are `read_photo`, `read_mask`, `inpaint run` with such photos and with such masks, `evaluate.py`,
and the reader of training, from a folder and from a tar. At each, a file is refused by its name, or what is
read is equal to what is known without Pillow. The process has 3 GB more than when it began; a file has 20
seconds and 600 MB. Linux only: elsewhere memory is not limited in this way. The exit code is 1 where anything
went wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib.util
import io
import json
import os
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from hostile.corpus import PIXELS, Hostile, corpus, decoded_elsewhere, difference, encoded  # noqa: E402

from inpaint import cli  # noqa: E402
from inpaint.cli import run  # noqa: E402
from inpaint.datasets import PhotoSet, TrainingBatches, open_photos  # noqa: E402
from inpaint.images import SUFFIXES, ImageError, read_mask, read_photo  # noqa: E402
from inpaint.inference import Inpainter  # noqa: E402
from inpaint.masks import read_checked_mask  # noqa: E402
from inpaint.terminal import printable  # noqa: E402

HEADROOM = 3 << 30
MOST_BYTES = 600_000_000
MOST_SECONDS = 20


class Watch:
    """Notes what every file takes at every door.

    Attributes:
        wrong: what went wrong, a line each.
        seconds, nbytes: the most that one file took, and at which door.
        peak: bytes, the most that the process had.
    """

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.seconds: tuple[float, str] = (0.0, "")
        self.nbytes: tuple[int, str] = (0, "")
        self.peak = 0

    @contextlib.contextmanager
    def __call__(self, door: str, name: str) -> Iterator[None]:
        """Measure one file at one door. The process ends where it takes too long: it may never come back."""
        place = f"{door}: {printable(name)}"
        # Whatever ends the process, the last line of these is where.
        print(place, flush=True)
        faulthandler.dump_traceback_later(MOST_SECONDS, exit=True, file=sys.__stderr__)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is forgotten
        before, started = _memory("VmRSS"), time.perf_counter()
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            self.seconds = max(self.seconds, (time.perf_counter() - started, place))
            self.peak = max(self.peak, _memory("VmHWM"))
            taken = _memory("VmHWM") - before
            self.nbytes = max(self.nbytes, (taken, place))
            if taken > MOST_BYTES:
                self.note(door, name, f"took {taken / 1e6:.0f} MB")

    def note(self, door: str, name: str, reason: str | bool | None) -> None:
        """Note a reason, if there is one, for which what happened was wrong."""
        if reason:
            self.wrong.append(f"{door}: {printable(name)}: {reason}")


def _memory(what: str) -> int:
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
    assert found
    return int(found[1]) << 10


class Soak:
    """One run over some inputs, which lie in a folder of their own.

    Attributes:
        pixels: name -> what was read from it; None for what was refused.
    """

    def __init__(self, inputs: Sequence[Hostile], place: Path) -> None:
        self.inputs, self.place = inputs, place
        self.folder = place / "inputs"
        self.folder.mkdir()
        for one in inputs:
            one.write(self.folder)
        self.watch = Watch()
        self.pixels: dict[str, np.ndarray | None] = {}

    def run(self) -> None:
        """Go through every door. The first one says what is to come through the others."""
        self.read_photos()
        self.read_masks()
        self.fill_photos()
        self.fill_by_masks()
        self.evaluate()
        self.train("train, folder", self.folder)
        self.train("train, tar", self.packed())

    def read_photos(self) -> None:
        """Read each as a photo, and compare."""
        door = "read_photo"
        for one in self.inputs:
            pixels = None
            with self.watch(door, one.name):
                try:
                    pixels = read_photo(self.folder / one.name).pixels
                except ImageError as error:
                    self.watch.note(door, one.name, self.bad_message(one, str(error)))
            self.pixels[one.name] = pixels
            self.watch.note(door, one.name, one.objection(pixels))

    def bad_message(self, one: Hostile, message: str) -> str | None:
        """Say what is wrong with the words of a refusal."""
        if "memory" in message:  # it was not refused for what it is
            return message
        return None if message.startswith(f"{self.folder / one.name}: ") else f"is not named: {message}"

    def read_masks(self) -> None:
        """Read each as a mask."""
        door = "read_mask"
        for one in self.inputs:
            mask = None
            with self.watch(door, one.name):
                try:
                    mask = read_mask(self.folder / one.name)
                except ImageError as error:
                    self.watch.note(door, one.name, self.bad_message(one, str(error)))
            wanted = holes(self.pixels[one.name])
            if (mask is None) != (wanted is None) or (mask is not None and not np.array_equal(mask, wanted)):
                self.watch.note(door, one.name, "is another picture than as a photo")

    def fill_photos(self) -> None:
        """Fill them as photos, with good masks."""
        masks, results = self.place / "masks", self.place / "filled"
        masks.mkdir()
        for one in self.inputs:
            height, width = self.shape_of(one)
            mask = np.zeros((height, width), np.uint8)
            mask[height // 4 : height // 2, width // 4 : width // 2] = 255
            (masks / f"{Path(one.name).stem}.png").write_bytes(encoded(mask, "PNG"))
        said = self.command("inpaint run, photos", self.folder, masks, results)
        for one in self.inputs:
            pixels = self.pixels[one.name]
            mask = holes(decoded_elsewhere("png", (masks / f"{Path(one.name).stem}.png").read_bytes()))
            wanted = None if pixels is None else inverted(pixels, mask)
            error = f"error: {self.folder / one.name}: "
            self.check_result("inpaint run, photos", one, wanted, results / one.name, error, said)

    def fill_by_masks(self) -> None:
        """Fill good photos, by them as masks."""
        photos, results = self.place / "photos", self.place / "filled by masks"
        photos.mkdir()
        for one in self.inputs:
            height, width = self.shape_of(one)
            photo = 255 - np.resize(PIXELS, (height, width, 3))  # a photo given as its own mask is refused
            (photos / f"{Path(one.name).stem}.png").write_bytes(encoded(photo, "PNG"))
        said = self.command("inpaint run, masks", photos, self.folder, results)
        for one in self.inputs:
            photo, mask = photos / f"{Path(one.name).stem}.png", usable_mask(self.folder / one.name)
            wanted = None if mask is None else inverted(decoded_elsewhere("png", photo.read_bytes()), mask)
            error = f"error: {photo}: {self.folder / one.name}: "
            self.check_result("inpaint run, masks", one, wanted, results / photo.name, error, said)

    def shape_of(self, one: Hostile) -> tuple[int, ...]:
        pixels = self.pixels[one.name]
        return (PIXELS if pixels is None else pixels).shape[:2]

    def command(self, door: str, image: Path, mask: Path, output: Path) -> str:
        """Run `inpaint run` and return what it said; in the network's stead, holes are inverted."""
        fill_one = run.fill_one

        def watched(fill: Any, task: Any, *rest: Any) -> None:
            path = task.photo if task.photo.parent == self.folder else task.masks[0]
            with self.watch(door, path.name):
                fill_one(fill, task, *rest)

        class Inverter:
            def candidates(
                self, pixels: np.ndarray, mask: np.ndarray, *_: Any, **__: Any
            ) -> list[np.ndarray]:
                return [inverted(pixels, mask)]

        said = io.StringIO()
        Inpainter.from_pretrained = lambda *_, **__: Inverter()
        run.fill_one = watched
        with contextlib.redirect_stderr(said):
            paths = ["--image", image, "--mask", mask, "--output", output]
            code = cli.main(["run", *map(str, paths)])
        run.fill_one = fill_one
        used = [usable_mask(self.folder / name) for name in self.pixels] if mask == self.folder else []
        refused = any(one is None for one in (*self.pixels.values(), *used))
        wanted = 1 if refused else 0
        self.watch.note(door, "all", None if code == wanted else f"the exit code is {code}")
        self.watch.note(door, "all", "\x1b" in said.getvalue() and "escapes were printed")
        return said.getvalue()

    def check_result(
        self, door: str, one: Hostile, wanted: np.ndarray | None, path: Path, error: str, said: str
    ) -> None:
        if wanted is None:
            self.watch.note(door, one.name, path.exists() and "was refused, and something was written")
            self.watch.note(door, one.name, printable(error) not in said and "no error names it")
            return
        if not path.exists():
            self.watch.note(door, one.name, "nothing was written")
            return
        format = SUFFIXES[path.suffix.lower()].lower()
        written = decoded_tiff(path) if format == "tiff" else decoded_elsewhere(format, path.read_bytes())
        if written is None:
            self.watch.note(door, one.name, "what was written cannot be read")
        elif format in ("jpeg", "gif"):  # what these lose depends on the picture
            self.watch.note(door, one.name, written.shape != wanted.shape and "has another size")
        else:
            self.watch.note(door, one.name, difference(written, wanted))

    def evaluate(self) -> None:
        """Score a baseline on them."""
        door, output = "evaluate.py", self.place / "scores"
        spec = importlib.util.spec_from_file_location("evaluate_script", ROOT / "evaluate.py")
        assert spec and spec.loader
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        words = ["--images", self.folder, "--masks", "box:0.1-0.3", "--methods", "telea", "--output", output]
        more = ["--size", "32", "--sheet-rows", "1", "--no-lpips", "--device", "cpu"]
        said, printed = io.StringIO(), io.StringIO()
        with self.watched_photos(door), contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
            code = script.main([*map(str, words), *more])
        refused = self.refused()
        if code != (1 if refused else 0):
            self.watch.note(door, "all", f"the exit code is {code}: {said.getvalue()}")
            return
        protocol = json.loads((output / "results.json").read_text("utf-8"))["protocol"]
        self.compare_refused(door, protocol["skipped"])
        for name in refused:
            told = f"left out {printable(name)}: " in said.getvalue()
            self.watch.note(door, name, None if told else "no line names it")

    def train(self, door: str, photos: Path) -> None:
        """Make batches of them for an epoch."""
        with self.watched_photos(door):
            batches = TrainingBatches(open_photos(photos), "box:0.1-0.3", size=16, batch_size=8)
            for step in range(-(-len(self.inputs) // 8)):
                batches.batch(step)
        self.compare_refused(door, batches.broken, in_tar=photos.suffix == ".tar")

    @contextlib.contextmanager
    def watched_photos(self, door: str) -> Iterator[None]:
        """Measure every photo that is read from a set, and compare it; all that are good have to be read."""
        read = PhotoSet.read
        found = set()

        def watched(photos: PhotoSet, index: int) -> np.ndarray:
            name = photos.names[index]
            with self.watch(door, name):
                pixels = read(photos, index)
            wanted = self.pixels[name]
            wrong = "was refused as a photo" if wanted is None else difference(pixels, wanted)
            self.watch.note(door, name, wrong)
            found.add(name)
            return pixels

        PhotoSet.read = watched
        try:
            yield
        finally:
            PhotoSet.read = read
        for name, pixels in self.pixels.items():
            self.watch.note(door, name, pixels is not None and name not in found and "was never read")

    def refused(self, in_tar: bool = False) -> set[str]:
        """The names of which a set of photos has to say that they are none."""
        return {
            one.name
            for one in self.inputs
            if self.pixels[one.name] is None
            # Photos in a folder would be found; a tar holds none that is no file.
            and not (self.folder / one.name).is_dir()
            and not (in_tar and one.make)
        }

    def compare_refused(self, door: str, told: dict[str, str], in_tar: bool = False) -> None:
        wanted = self.refused(in_tar)
        for name in wanted ^ set(told):
            self.watch.note(door, name, "is not told as broken" if name in wanted else "is told as broken")
        for name, reason in told.items():
            self.watch.note(door, name, "memory" in reason and reason)

    def packed(self) -> Path:
        """A tar of all that can be in one."""
        path = self.place / "inputs.tar"
        with tarfile.open(path, "w") as archive:
            for one in self.inputs:
                if not one.make:
                    archive.add(self.folder / one.name, one.name)
        return path


def usable_mask(path: Path) -> np.ndarray | None:
    """The mask that a file is to the command; None where it is none, or has no hole or nothing else."""
    try:
        return read_checked_mask(path).mask
    except ImageError:
        return None


def holes(pixels: np.ndarray | None) -> np.ndarray | None:
    """The mask that a picture is: its luminance by ITU-R 601, rounded, above 127."""
    if pixels is None:
        return None
    return (pixels.astype(np.int64) @ (19595, 38470, 7471) + 0x8000 >> 16) > 127


def decoded_tiff(path: Path) -> np.ndarray:
    """A TIFF that the program wrote, without its alpha, by which OpenCV would multiply."""
    values = tifffile.imread(path)
    if values.dtype == np.uint16:
        values = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.repeat(values[..., None], 3, axis=-1) if values.ndim == 2 else values[..., :3]


def inverted(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A stand-in for a network's fill."""
    return np.where(mask[..., None], 255 - pixels, pixels)


def work(every: int) -> int:
    """Do all of it in this process."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    inputs = corpus()[::every]
    here = _memory("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (here + HEADROOM, here + HEADROOM))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(inputs, Path(folder))
        soak.run()
    seconds, slowest = soak.watch.seconds
    nbytes, largest = soak.watch.nbytes
    refused = sum(pixels is None for pixels in soak.pixels.values())
    report = {
        "files": len(inputs),
        "refused": refused,
        "read": len(inputs) - refused,
        "seconds": round(time.perf_counter() - started, 1),
        "longest for one file": f"{seconds:.2f} s, {slowest}",
        "most memory for one file": f"{nbytes / 1e6:.0f} MB, {largest}",
        "peak of the process": f"{soak.watch.peak / 1e6:.0f} MB",
        "wrong": soak.watch.wrong,
    }
    print(json.dumps(report))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Have it done by a process that may die of it, and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth file (default: all)")
    parser.add_argument("--here", action="store_true", help="in this process, with its limits")
    arguments = parser.parse_args(argv)
    if arguments.here:
        return work(arguments.every)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--here", "--every", str(arguments.every)],
        capture_output=True,  # decoders say much of their own
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    last = done.stdout.splitlines()[-1] if done.stdout else "before the first file"
    if done.returncode:
        print(done.stderr[-5000:])
        print(f"the process ended with {done.returncode} at {last}")
        return 1
    report = json.loads(last)
    wrong = report.pop("wrong")
    for what, value in report.items():
        print(f"{what}: {value}")
    for line in wrong:
        print(f"wrong: {line}")
    print(f"{len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
