"""Photos that the tests of the evaluation share."""

import pytest
from made_cases import save
from skimage.data import astronaut, chelsea, coffee

from inpaint.datasets import open_photos


@pytest.fixture
def photo_folder(tmp_path):
    folder = tmp_path / "photos"
    save(folder / "b.png", coffee()[:120, :90])
    save(folder / "a" / "z.png", astronaut()[:80, :101])
    save(folder / "c.png", chelsea()[:64, :64])
    return folder


@pytest.fixture
def photos(photo_folder):
    return open_photos(photo_folder)
