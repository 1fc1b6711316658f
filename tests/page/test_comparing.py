"""The route of the Evaluate tab: which methods there are, the lines of an answer, and its end."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from page_server import Served, page_served
from PIL import Image

from inpaint.evaluation.methods import parse_method
from inpaint.page import comparing
from inpaint.page.pictures import png
from inpaint.serving.errors import BusyError
from inpaint.serving.limits import Limits
from inpaint.serving.models import Models

PHOTO = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
MASK = np.zeros((60, 80), bool)
MASK[20:40, 30:50] = True


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with page_served(tmp_path_factory.mktemp("page"), Limits(max_megapixels=1, jobs_per_client=2)) as served:
        yield served


def form(*methods: str, mask: np.ndarray = MASK) -> dict[str, Any]:
    files = {"photo": ("photo", png(PHOTO)), "mask": ("mask", png(mask))}
    return {"files": files, "data": {"method": list(methods)}, "timeout": 60}


def decoded(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_every_method_is_one_that_evaluation_has(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [method.name for method in comparing.compared_methods(Models())]
    assert {"pconv-carafe", "pconv-carafe+photo", "harmonic", "telea", "ns"} < set(names)
    for name in names:
        word = parse_method(name)
        assert (word.kind == "model") == name.startswith("pconv")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "patchmatch" not in [method.name for method in comparing.compared_methods(Models())]


def test_methods_are_compared_line_by_line(served: Served) -> None:
    answer = httpx.post(
        f"{served.address}page/compare", **form("pconv-carafe", "telea", "pconv-carafe+photo")
    )
    assert answer.status_code == 200
    first, *lines, last = [json.loads(line) for line in answer.text.splitlines()]
    assert first["state"] == "begun" and (first["width"], first["height"]) == (80, 60)
    assert first["share"] == pytest.approx(MASK.mean()) and first["box"] == [20, 10, 60, 50]
    assert (decoded(first["truth"]) == PHOTO).all()
    done = {line["method"]: line for line in lines if line["state"] == "done"}
    assert list(done) == ["pconv-carafe", "telea", "pconv-carafe+photo"]
    for line in done.values():
        assert (decoded(line["picture"])[~MASK] == PHOTO[~MASK]).all()
        assert 3 < line["scores"]["psnr_hole"] < line["scores"]["psnr"] < 40
    # The stand-in paints green, with a little red where no texture is asked for.
    assert (decoded(done["pconv-carafe"]["picture"])[MASK] == (10, 160, 90)).all()
    assert (decoded(done["pconv-carafe+photo"]["picture"])[MASK] == (0, 160, 90)).all()
    assert base64.b64decode(last["table"]).decode().count("\r\n") == 4
    assert decoded(last["sheet"]).shape[1] > 6 * 80
    assert served.jobs() == [] and not left_folders(served)


def left_folders(served: Served) -> list[Path]:
    return [path for path in served.service.storage.folder.iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (form(), 422, "at least one method"),
        (form("lama"), 422, "no method 'lama'"),
        (form("telea", mask=np.zeros_like(MASK)), 422, "Nothing is painted"),
        (form("telea", mask=MASK[1:]), 422, "another size"),
        ({"data": {"method": "telea"}, "files": {"photo": ("photo", b"GIF8")}}, 422, "no file named mask"),
        ({"data": {"method": "telea"}}, 422, "no file named photo"),
    ],
)
def test_what_cannot_be_compared(served: Served, sent: dict[str, Any], status: int, words: str) -> None:
    answer = httpx.post(f"{served.address}page/compare", **sent)
    assert answer.status_code == status and words in answer.json()["detail"]
    assert not left_folders(served)


def test_a_method_that_fails_does_not_end_the_others(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(client: str) -> None:
        raise BusyError("The server is busy: its queue is full; try again later.", 5)

    monkeypatch.setattr(served.service.queue, "slot", busy)
    answer = httpx.post(f"{served.address}page/compare", **form("pconv-carafe", "ns"))
    lines = {line.get("method"): line for line in map(json.loads, answer.text.splitlines())}
    assert lines["pconv-carafe"]["state"] == "failed"
    assert "its queue is full" in lines["pconv-carafe"]["detail"]
    assert lines["ns"]["state"] == "done"
    assert base64.b64decode(lines[None]["table"]).decode().count("\r\n") == 2


def test_a_browser_that_goes_away_ends_its_comparison(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = comparing.Comparison._fill

    def fill(self: Any, method: Any, file: str, tell: Any) -> float:
        queue, submit = self._service.queue, self._service.queue.submit
        with monkeypatch.context() as patch:
            patch.setattr(queue, "submit", lambda slot, order: submit(slot, {**order, "grow": 50}))
            return slow(self, method, file, tell)

    monkeypatch.setattr(comparing.Comparison, "_fill", fill)
    with httpx.stream("POST", f"{served.address}page/compare", **form("pconv-carafe")) as answer:
        for line in answer.iter_lines():
            if json.loads(line)["state"] == "running" and served.jobs() == ["running"]:
                break
    served.wait_for(lambda: served.jobs() == [] and not left_folders(served))
