"""Files of unknown origin at every route that takes pictures: refused with a sentence, or read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest
from hostile.corpus import GREY, PIXELS, Hostile, corpus, encoded
from page_server import Served, page_served

from inpaint.serving.limits import Limits

PHOTO = encoded(PIXELS, "PNG")
HOLE = np.zeros(GREY.shape, bool)
HOLE[10:20, 15:40] = True
MASK = encoded(HOLE, "PNG")
FINE = {200, 202}
REFUSED = {413, 415, 422}

Files = dict[str, tuple[str, bytes]]


def some() -> list[Hostile]:
    """A few of each kind, more of those that are to take much memory; no pipes: they cannot be sent."""
    every = {"bomb": 4, "cut": 45, "flipped": 80}
    kinds = Counter[str]()
    few = [Hostile("empty.png", "nothing"), Hostile("text.png", "text", b"<html>no photo</html>" * 99)]
    for one in corpus():
        if one.make is None:
            if kinds[one.kind] % every.get(one.kind, 11) == 0:
                few.append(one)
            kinds[one.kind] += 1
    return few


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    limits = Limits(max_megapixels=0.3, memory_megabytes=600, job_seconds=20, connections_per_client=100)
    with page_served(tmp_path_factory.mktemp("hostile"), limits) as running:
        yield running


def fill(client: httpx.Client, picture: Files) -> httpx.Response:
    return client.post("/api/v1/inpaint", files=picture)


def job(client: httpx.Client, picture: Files) -> httpx.Response:
    answer = client.post("/api/v1/jobs", files=picture)
    if answer.status_code != 202:
        return answer
    address = f"/api/v1/jobs/{answer.json()['id']}"
    client.get(f"{address}/events")  # ends with the job
    result = client.get(f"{address}/result")
    client.delete(address)
    return result


def select(client: httpx.Client, picture: Files) -> httpx.Response:
    return client.post("/api/v1/select", files=picture)


def show(client: httpx.Client, picture: Files) -> httpx.Response:
    return client.post("/page/show", files={"photo": picture["image"]})


def save(client: httpx.Client, picture: Files) -> httpx.Response:
    return client.post("/page/save", files={"photo": picture["image"], "fill": ("fill.png", PHOTO)})


def save_fill(client: httpx.Client, picture: Files) -> httpx.Response:
    return client.post("/page/save", files={"photo": ("photo.png", PHOTO), "fill": picture["image"]})


def as_mask(door: Callable[[httpx.Client, Files], httpx.Response]) -> Callable[..., httpx.Response]:
    return lambda client, picture: door(client, {"image": ("photo.png", PHOTO), "mask": picture["image"]})


DOORS = {
    "inpaint": fill,
    "inpaint, the mask": as_mask(fill),
    "jobs": job,
    "select": select,
    "select, the mask": as_mask(select),
    "show": show,
    "save": save,
    "save, the fill": save_fill,
}


@pytest.mark.parametrize("door", DOORS)
def test_a_file_of_unknown_origin_is_refused_with_a_sentence_or_read(served: Served, door: str) -> None:
    queue = served.service.queue
    with httpx.Client(base_url=served.address, timeout=60) as client:
        for one in some():
            answer = DOORS[door](client, {"image": (one.name, one.data), "mask": ("mask.png", MASK)})
            told = (door, one.name, one.kind, answer.status_code, answer.text[:200])
            assert answer.status_code in FINE | REFUSED, told
            if answer.status_code in REFUSED:
                detail = answer.json()["detail"]
                assert detail[0].isupper() and detail.endswith(".") and len(detail) > 20, told
                assert not one.is_whole or answer.status_code == 422, told  # does not fit the other
            else:
                assert one.pixels is not None, told
        good = {"image": ("good.png", MASK if "mask" in door else PHOTO), "mask": ("mask.png", MASK)}
        answer = DOORS[door](client, good)
        assert answer.status_code in FINE, answer.text
        assert client.get("/health").status_code == 200
    # No process crashed, took too much memory or had to be replaced.
    assert (queue.reader.starts, queue.filler.starts) == (1, 1)
    assert served.service.selecting._worker.starts <= 1
