"""Objects found under rough masks, through the API: apart from fills, within limits, by plug-ins too."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_client import MASK, PHOTO, Running, form, png, serving, wait_for
from serving_fakes import DEAF

from inpaint.masks import selection
from inpaint.serving.errors import ServiceError
from inpaint.serving.limits import Limits
from inpaint.serving.runs import encode_runs
from inpaint.serving.selecting import selector
from inpaint.serving.side_work import MOST_OF_CLIENT, MOST_WAITING, SideWork
from inpaint.serving.storage import Storage

PATH = "/api/v1/select"

PLUG_IN = '''
import ctypes
import time

import numpy as np

def box(image, stroke):
    """The bounding box of a stroke."""
    rows, columns = np.flatnonzero(stroke.any(axis=1)), np.flatnonzero(stroke.any(axis=0))
    found = np.zeros_like(stroke)
    found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return found

def nothing(image, stroke):
    return None

def grey(image, stroke):
    return stroke * np.uint8(255)

def sleeps(image, stroke):
    time.sleep(60)

def crashes(image, stroke):
    ctypes.string_at(0)
'''
NAMES = ("box", "nothing", "grey", "sleeps", "crashes", "lost")


def scene(side: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A red disk on a green ground, both with noise; the disk, and a rough stroke over it."""
    rows, columns = np.mgrid[:side, :side]
    disk = (rows - side // 2) ** 2 + (columns - side // 2) ** 2 < (side // 6) ** 2
    pixels = np.where(disk[..., None], (190, 60, 50), (70, 130, 80))
    pixels = pixels + np.random.default_rng(0).integers(-15, 16, pixels.shape)
    middle, high, wide = side // 2, side // 12, side // 8
    rough = np.zeros_like(disk)
    rough[middle - high : middle + high, middle - wide : middle + wide] = True
    return pixels.astype(np.uint8), disk, rough


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def mask_of(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("L")) > 127


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that offers methods, as pip leaves it."""
    packages = tmp_path / "packages"
    (packages / "boxes-1.0.dist-info").mkdir(parents=True)
    (packages / "boxes.py").write_text(PLUG_IN)
    (packages / "boxes-1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: boxes\nVersion: 1.0\n"
    )
    points = "\n".join(f"{name} = boxes:{name}" for name in NAMES)
    (packages / "boxes-1.0.dist-info/entry_points.txt").write_text(f"[{selection.GROUP}]\n{points}\n")
    monkeypatch.syspath_prepend(packages)


@pytest.fixture
def with_plug_in(plug_in: None, tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "service").mkdir()
    with serving(tmp_path / "service", Limits(job_seconds=1.0)) as running:
        yield running


# --- the work -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [301, 1400])
def test_the_object_is_found_that_a_rough_mask_lies_on(tmp_path: Path, side: int) -> None:
    pixels, disk, rough = scene(side)
    (tmp_path / "photo").write_bytes(png(pixels))
    (tmp_path / "mask").write_bytes(png(rough))
    told = selector({"max_pixels": 2e6})(
        tmp_path, {"method": "grabcut", "runs": False}, lambda fraction: None
    )
    found = mask_of((tmp_path / "result").read_bytes())
    assert found.shape == disk.shape and told == {"pixels": int(found.sum())}
    assert overlap(found, disk) > 0.9


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((301, 301), bool), "a mask without a hole: all of it is black"),
        (np.ones((301, 301), bool), "the mask covers everything"),
        (np.eye(300, 301, dtype=bool), "The mask is 301×300, but the upright photo is 301×301"),
    ],
)
def test_what_no_object_can_be_found_for_is_refused(tmp_path: Path, mask: np.ndarray, words: str) -> None:
    (tmp_path / "photo").write_bytes(png(scene(301)[0]))
    (tmp_path / "mask").write_bytes(png(mask))
    with pytest.raises(ServiceError, match=words) as refused:
        selector({"max_pixels": 2e6})(tmp_path, {"method": "grabcut", "runs": False}, lambda fraction: None)
    assert refused.value.status_code == 422


def test_methods_of_other_packages_are_found_by_name(plug_in: None) -> None:
    assert selection.methods() == ["grabcut", *sorted(NAMES)]
    image, _, rough = scene(40)
    assert selection.find_method("box")(image, rough).sum() == rough.sum()
    assert selection.find_method("grabcut") is selection.fit_to_object
    with pytest.raises(ImportError, match="boxes:lost"):
        selection.find_method("lost")
    with pytest.raises(LookupError, match="no method sam is installed; there are: grabcut, box, "):
        selection.find_method("sam")


# --- the route ----------------------------------------------------------------------------------------------


def test_a_mask_is_answered_while_fills_wait(service: Running) -> None:
    pixels, disk, rough = scene(201)
    busy = service.job(seed=DEAF)
    service.wait_for_state(busy, "running")
    for rough_mask in ({"mask": png(rough)}, {"mask": None, "mask_rle": encode_runs(rough)}):
        answer = service.post(PATH, image=png(pixels), **rough_mask)
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
        assert overlap(mask_of(answer.content), disk) > 0.9
    service.queue.cancel(service.queue.find(busy))
    assert "grabcut" in service.client.get("/api/v1/models").json()["methods"]
    left = [path for path in service.service.storage.folder.iterdir() if path.is_dir()]
    assert {path.name for path in left} <= set(service.queue._jobs)


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"method": "sam"}, 422, "There is no such method installed; method has to be one of grabcut."),
        ({"seed": 1}, 422, "known are image, mask, mask_rle, method"),
        ({"mask": None}, 422, "Send the hole either as a file"),
        ({"mask": b"no picture"}, 415, "The mask cannot be read"),
        ({"image": b"no picture"}, 415, "The photo cannot be read"),
        ({"image": png(np.zeros((400, 300), np.uint8))}, 413, "photo"),
        ({"image": bytes(600_000)}, 413, "The request is larger than 0.5 MB"),
    ],
)
def test_what_cannot_be_used_is_refused(service: Running, fields: Any, status: int, words: str) -> None:
    answer = service.post(PATH, **fields)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert service.client.post(PATH, json={}).status_code == 415


def test_a_plug_in_is_asked_by_name_and_its_faults_end_one_selection(with_plug_in: Running) -> None:
    _, _, rough = scene(61)
    picture = {"image": png(scene(61)[0]), "mask": png(rough)}

    def ask(method: str) -> tuple[int, str]:
        answer = with_plug_in.post(PATH, method=method, **picture)
        return answer.status_code, "" if answer.status_code == 200 else answer.json()["detail"]

    assert ask("box") == (200, "")
    assert with_plug_in.client.get("/api/v1/models").json()["methods"] == ["grabcut", *sorted(NAMES)]
    for method, status, words in (
        ("nothing", 422, "Nothing stands out there"),
        ("grey", 500, "The method grey failed"),
        ("lost", 500, "The method lost cannot be loaded (ImportError)"),
        ("crashes", 500, "The selection crashed"),
        ("sleeps", 504, "The selection took longer than the 1 seconds"),
    ):
        told = ask(method)
        assert told[0] == status and words in told[1], told
    assert ask("box") == (200, "")
    assert with_plug_in.post(seed=1).status_code == 200


def test_a_client_that_is_gone_ends_its_selection(with_plug_in: Running) -> None:
    object.__setattr__(with_plug_in.service.selecting, "_seconds", 60)
    request = with_plug_in.client.build_request("POST", PATH, **form(method="sleeps"))
    body = b"".join(request.stream)  # type: ignore[arg-type]
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: {request.headers['Content-Type']}\r\n\r\n"
    side = with_plug_in.service.selecting
    with with_plug_in.socket() as connection:
        connection.sendall(head.encode() + body)
        wait_for(lambda: side._clients.total() == 1 and side._worker.pid)
    wait_for(lambda: side._clients.total() == 0, 30)


def test_places_are_few_and_shared(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    side = SideWork("serving_fakes:reader", {}, "selection", Limits(), storage)
    held = [side.place(f"client {number // MOST_OF_CLIENT}") for number in range(MOST_WAITING)]
    for number, place in enumerate(held):
        place.__enter__()
        if number + 1 == MOST_OF_CLIENT:
            with pytest.raises(ServiceError) as refused, side.place("client 0"):
                pass
            assert refused.value.status_code == 429 and refused.value.headers == {"Retry-After": "5"}
    with pytest.raises(ServiceError), side.place("another client"):
        pass
    for place in held:
        place.__exit__(None, None, None)
    with side.place("client 0") as folder:
        assert list(folder.iterdir()) == []
    assert not folder.exists() and not side._clients
    side.close()
    storage.close()


def test_waiting_selections_hold_up_no_other_answers(with_plug_in: Running) -> None:
    """They wait in a thread of their own, not in those that asyncio lends to all."""
    side = with_plug_in.service.selecting
    release = threading.Event()
    side._thread.submit(release.wait, 30)
    threads = [
        threading.Thread(target=with_plug_in.post, args=(PATH,), kwargs={"method": "box"}) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: side._clients.total() == 2)
        assert with_plug_in.post(seed=1).status_code == 200
        assert with_plug_in.post(PATH, image=PHOTO, mask=MASK).status_code == 429
    finally:
        release.set()
        for thread in threads:
            thread.join(30)
