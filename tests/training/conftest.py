from pathlib import Path

import pytest
import skimage.data
from PIL import Image


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six small photos of odd sizes."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "chelsea"):
        picture = getattr(skimage.data, name)()
        for number, top in enumerate((20, 120)):
            Image.fromarray(picture[top : top + 71, 150:243]).save(folder / f"{name}-{number}.png")
    return folder
