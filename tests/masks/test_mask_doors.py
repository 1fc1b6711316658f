"""Every way into the program tells the same of a mask that cannot be meant, or may not be."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from skimage.data import coffee

from inpaint.cli import main as command_line
from inpaint.inference import Inpainter
from inpaint.serving.errors import ServiceError
from inpaint.serving.tasks import MASK, PHOTO, reader

ROOT = Path(__file__).parents[2]
PIXELS = np.ascontiguousarray(coffee()[100:196, 100:196])
HOLE = np.zeros(PIXELS.shape[:2], bool)
HOLE[30:60, 20:70] = True
NEARLY = np.ones_like(HOLE)
NEARLY[:2, :9] = False
OTHER = np.ascontiguousarray(coffee()[200:296, 200:296])


def grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.asarray(values).astype(np.uint8))


def layer(colours: np.ndarray, alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([colours, alpha]).astype(np.uint8))


WHITE = np.full_like(PIXELS, 255)

REFUSED = {
    "covers all": (grey(WHITE[..., 0]), "the mask covers everything, which leaves nothing to fill from"),
    "values 0 and 1": (
        grey(HOLE),
        "the largest value is 1; white = fill. Values 0 and 1? Multiply them by 255",
    ),
    "empty": (grey(HOLE * 0), "a mask without a hole: all of it is black; white = fill"),
    "a photo with an erased part": (
        layer(PIXELS, np.where(HOLE, 0, 255)),
        "a photo with transparent parts is no mask",
    ),
}
ITSELF = (Image.fromarray(PIXELS), "the mask is the photo itself; it has to be black and white, white = fill")
NOTED = {
    "nearly all": (grey(NEARLY * 255), r"the mask covers 99\.8% of the photo; .* Is it inverted\?"),
    "another photo": (
        Image.fromarray(OTHER),
        r"\d+% of the mask is neither black nor white, as in a photo; .* is filled, \d+% of it",
    ),
    "transparency alone": (
        layer(WHITE, HOLE * 255),
        r"its colours leave nothing to fill from, so its transparency counts: opaque = fill",
    ),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with two equal photos, and one for their masks."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(PIXELS).save(tmp_path / "photos" / name)
    return tmp_path


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_at_the_doors", ROOT / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[bool, str]:
    monkeypatch.setattr(Inpainter, "from_pretrained", lambda *_, **__: _Copies())
    photos, masks, output = (str(place / name) for name in ("photos", "masks", "filled"))
    code = command_line(["run", "--image", photos, "--mask", masks, "--output", output])
    return code == 0, capsys.readouterr().err


class _Copies:
    """An inpainter that leaves photos as they are."""

    def candidates(self, image: np.ndarray, mask: np.ndarray, count: int, **_: object) -> list[np.ndarray]:
        return [image] * count


def serve(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[bool, str]:
    (place / PHOTO).write_bytes((place / "photos/a.png").read_bytes())
    (place / MASK).write_bytes((place / "masks/a.png").read_bytes())
    try:
        told = reader({"max_pixels": 1e6})(place, {"runs": False, "format": ""}, lambda fraction: None)
    except ServiceError as error:
        assert error.status_code == 422
        return False, error.detail
    return True, "\n".join(told["notes"])


def evaluate(masks: str) -> Callable[..., tuple[bool, str]]:
    def door(
        place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> tuple[bool, str]:
        words = [
            "--images",
            place / "photos",
            "--masks",
            masks.format(place / "masks"),
            "--methods",
            "harmonic",
        ]
        words += ["--size", 96, "--no-lpips", "--output", place / "report"]
        code = script("evaluate").main(list(map(str, words)))
        return code == 0, capsys.readouterr().err

    return door


def train(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[bool, str]:
    heard: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("inpaint.training")
    log.addHandler(handler)
    words = ["--data", place / "photos", "--masks", f"folder:{place / 'masks'}", "--schedule", "32x2:2"]
    words += ["--output", place / "run", "--device", "cpu", "--loss-perceptual", 0, "--loss-style", 0]
    words += ["--network-config", '{"widths": [8, 12], "head_width": 4}', "--workers", 1]
    try:
        return script("train").main(list(map(str, words))) == 0, "\n".join(heard)
    finally:
        log.removeHandler(handler)


DOORS = {
    "inpaint run": run,
    "service": serve,
    "evaluate.py by stem": evaluate("{}"),
    "evaluate.py by recipe": evaluate("folder:{}"),
    "train.py": train,
}
PAIRING = ("inpaint run", "service", "evaluate.py by stem")  # they know whose mask it is


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", [*REFUSED, "the photo itself"])
def test_what_cannot_be_meant_is_an_error(
    door: str,
    case: str,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture, told = REFUSED.get(case, ITSELF)
    for name in ("a.png", "b.png"):
        picture.save(place / "masks" / name)
    went_well, said = DOORS[door](place, capsys, monkeypatch)
    if case == "the photo itself" and door not in PAIRING:
        assert went_well and "as in a photo" in said
    else:
        assert not went_well and told in said


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", NOTED)
def test_what_may_not_be_meant_is_told_once(
    door: str,
    case: str,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture, told = NOTED[case]
    for name in ("a.png", "b.png"):
        picture.save(place / "masks" / name)
    went_well, said = DOORS[door](place, capsys, monkeypatch)
    lines = [line for line in said.splitlines() if re.search(told, line)]
    assert went_well and lines
    if door.startswith("evaluate"):
        (line,) = lines
        assert re.search(r"note: (2 masks, such as a|the mask [ab])\.png: ", line)
        assert ("folder-inverted:PATH takes black" in line) == (case == "nearly all" and "recipe" in door)
    if door == "train.py":
        assert len(lines) == 2  # when it is first seen, and with the number at the end
        assert lines[1].startswith("of the masks that were drawn: ")


def test_a_black_and_white_mask_needs_no_word(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        grey(HOLE * 255).save(place / "masks" / name)
    for door in DOORS.values():
        went_well, said = door(place, capsys, monkeypatch)
        assert went_well and "mask" not in said
