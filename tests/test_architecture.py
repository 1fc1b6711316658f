"""Imports run one way: which room of the package may import which, and no circle among its modules."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import inpaint

PACKAGE = Path(inpaint.__file__).parent

# Room -> the rooms that it may import, besides itself. A room is a folder or a file of the package.
# docs/architecture.md draws the same.
MAY_IMPORT = {
    "files": set(),
    "urls": set(),
    "terminal": set(),
    "devices": set(),
    "extras": set(),
    "ops": {"files"},
    "layers": {"ops"},
    "compat": {"ops", "layers"},
    "segmentation": {"layers"},
    "networks": {"layers", "ops"},
    "images": {"files"},
    "masks": {"images", "files"},
    "weights": {"networks", "files", "plugins"},
    "backbones": set(),
    "losses": {"layers", "backbones"},
    "plugins": {"layers", "networks", "losses"},
    "metrics": {"backbones"},
    "datasets": {"masks", "images", "files", "urls"},
    "inference": {"networks", "layers", "ops", "weights", "masks", "devices"},
    "evaluation": {
        *("inference", "metrics", "backbones", "datasets", "masks", "layers", "weights"),
        *("images", "devices", "files", "urls", "terminal", "plugins"),
    },
    "training": {
        *("networks", "layers", "ops", "losses", "backbones", "datasets", "masks", "evaluation", "metrics"),
        *("weights", "images", "devices", "files", "urls", "terminal", "plugins"),
    },
    "serving": {
        *("inference", "weights", "masks", "images", "devices", "files", "terminal", "ops"),
        *("plugins", "extras"),
    },
    "page": {"serving", "evaluation", "inference", "masks", "images", "plugins"},
    "cli": {
        *("page", "serving", "training", "evaluation", "inference", "weights", "masks", "images", "devices"),
        *("files", "terminal", "plugins", "extras"),
    },
    "__init__": {"inference"},
    "__main__": {"cli"},
}

# `inpaint.ops.mmcv` is a public name of what lies in `inpaint.compat`, and holds nothing of its own.
PUBLIC_ALIASES = {"inpaint.ops.mmcv"}

MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def room_of(module: str) -> str:
    """The folder or file of the package that a module lies in."""
    return "__init__" if module == "inpaint" else module.split(".")[1]


def imports_of(module: str) -> Iterator[str]:
    """The package's modules that a module imports, those for type checkers included."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            found = [start, *(f"{start}.{name.name}" for name in node.names)]
        else:
            continue
        yield from (name for name in found if name in MODULES)


def test_every_room_has_its_rule():
    assert {room_of(module) for module in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_what_they_may(room):
    wrong = {
        f"{module} imports {other}"
        for module in MODULES
        if room_of(module) == room and module not in PUBLIC_ALIASES
        for other in imports_of(module)
        # The package itself holds the version alone.
        if room_of(other) not in {room, "__init__", *MAY_IMPORT[room]}
    }
    assert not wrong


def test_no_circle_among_the_rooms():
    TopologicalSorter(MAY_IMPORT).prepare()


def test_no_circle_among_the_modules():
    graph = {}
    for module in MODULES:
        parents = {module.rsplit(".", count)[0] for count in range(1, module.count(".") + 1)}
        graph[module] = {other for other in imports_of(module) if other not in {module, *parents}}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' <- '.join(error.args[1])}")


def test_no_file_of_the_package_is_longer_than_400_lines():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
