"""The route of the Trace tab."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from page_server import Served, page_served
from PIL import Image

from inpaint.page.pictures import png
from inpaint.serving.limits import Limits

PHOTO = np.random.default_rng(0).integers(0, 256, (160, 200, 3), dtype=np.uint8)
MASK = np.zeros((160, 200), bool)
MASK[50:110, 60:130] = True
FILL = np.where(MASK[..., None], np.uint8(77), PHOTO)
SETTINGS = {"model": "pconv-carafe", "detail": "none", "seed": "0", "grow": "0", "x": "85", "y": "80"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with page_served(tmp_path_factory.mktemp("page"), Limits(max_megapixels=1)) as served:
        yield served


def ask(served: Served, mask: np.ndarray = MASK, **settings: str) -> httpx.Response:
    files = {"photo": ("photo", png(PHOTO)), "mask": ("mask", png(mask)), "fill": ("fill", png(FILL))}
    return httpx.post(f"{served.address}page/trace", files=files, data={**SETTINGS, **settings}, timeout=120)


def test_a_pixel_of_the_released_model_is_traced(served: Served) -> None:
    told = ask(served).json()
    assert told["patch"] is None  # the network's own fill
    assert sum(share for _, _, share in told["levels"]) + told["rest"] == pytest.approx(1, abs=1e-3)
    assert {"head", "smooth fill"} == {name for name, _, _ in told["levels"]}
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(told["picture"]))))
    assert picture.shape == PHOTO.shape and (picture[53:60, 63:80] == 77).all()
    told = ask(served, detail="photo", grow="2").json()
    x, y = told["patch"]
    assert not MASK[y, x]
    assert not [path for path in served.service.storage.folder.iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"x": "5"}, "row 80, column 5 is no pixel of the hole"),
        ({"x": "-1"}, "x has to be a whole number"),
        ({"y": "many"}, "y has to be a whole number"),
        ({"detail": "much"}, "detail has to be one of photo, none"),
        ({"model": "lama"}, "There is no such model"),
    ],
)
def test_what_cannot_be_traced(served: Served, settings: dict[str, Any], words: str) -> None:
    answer = ask(served, **settings)
    assert answer.status_code == 422 and words in answer.json()["detail"]


def test_files_that_do_not_fit(served: Served) -> None:
    assert "different sizes" in ask(served, mask=MASK[1:]).json()["detail"]
    answer = httpx.post(f"{served.address}page/trace", data=SETTINGS, files={"photo": ("photo", b"x")})
    assert answer.status_code == 422 and "no file named mask" in answer.json()["detail"]
