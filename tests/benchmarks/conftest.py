import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import skimage.data
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@contextmanager
def imported(name: str) -> Iterator[ModuleType]:
    """A script of benchmarks/ as a module, which finds its neighbours as it does when it is run."""
    before = {*sys.modules}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module(name)
    for own in {path.stem for path in BENCHMARKS.glob("*.py")} - before:
        sys.modules.pop(own, None)


@pytest.fixture(scope="module")
def ablation() -> Iterator[ModuleType]:
    with imported("ablation") as module:
        yield module


@pytest.fixture(scope="module")
def comparison() -> Iterator[ModuleType]:
    with imported("comparison") as module:
        yield module


@pytest.fixture(scope="module")
def decoding() -> Iterator[ModuleType]:
    with imported("decoding") as module:
        yield module


@pytest.fixture(scope="module")
def detail_parts() -> Iterator[ModuleType]:
    with imported("detail_parts") as module:
        yield module


@pytest.fixture(scope="module")
def exemplar_times() -> Iterator[ModuleType]:
    with imported("exemplars") as module:
        yield module


@pytest.fixture(scope="module")
def picture() -> Iterator[ModuleType]:
    with imported("make_readme_picture") as module:
        yield module


@pytest.fixture(scope="module")
def probing() -> Iterator[ModuleType]:
    with imported("probes") as module:
        yield module


@pytest.fixture(scope="module")
def recognizing() -> Iterator[ModuleType]:
    with imported("compare_recognition") as module:
        yield module


@pytest.fixture(scope="module")
def made() -> Iterator[ModuleType]:
    with imported("recognition.made") as module:
        yield module


@pytest.fixture(scope="module")
def data_sets() -> Iterator[ModuleType]:
    with imported("recognition.data_sets") as module:
        yield module


@pytest.fixture(scope="module")
def label_scores() -> Iterator[ModuleType]:
    with imported("recognition.scores_of_labels") as module:
        yield module


@pytest.fixture(scope="module")
def instance_scores() -> Iterator[ModuleType]:
    with imported("recognition.scores_of_instances") as module:
        yield module


@pytest.fixture(scope="module")
def reference() -> Iterator[ModuleType]:
    with imported("recognition.reference") as module:
        yield module


@pytest.fixture(scope="module")
def upsampler_cost() -> Iterator[ModuleType]:
    with imported("upsampler_cost") as module:
        yield module


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two small photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("astronaut", "coffee"):
        Image.fromarray(getattr(skimage.data, name)()[100:180, 150:230]).save(folder / f"{name}.png")
    return folder
