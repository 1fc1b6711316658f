import importlib.util
from pathlib import Path
from types import ModuleType

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


def load_script(name: str) -> ModuleType:
    """A script of the project's top folder as a module."""
    spec = importlib.util.spec_from_file_location(f"{name}_script", Path(__file__).parents[2] / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def script() -> ModuleType:
    """train.py as a module."""
    return load_script("train")


@pytest.fixture(scope="session")
def evaluate_script() -> ModuleType:
    """evaluate.py as a module."""
    return load_script("evaluate")
