"""The photos that the page offers to try."""

from __future__ import annotations

from pathlib import Path

EXAMPLES = {
    "astronaut.png": "Astronaut",
    "coffee.png": "Coffee",
    "chelsea.png": "Cat",
    "motorcycle_left.png": "Motorcycle",
    "rocket.jpg": "Rocket",
}
"""Photos that scikit-image installs with itself, by file name, and what they are called."""


def example_photos() -> dict[str, Path]:
    """Find the example photos; those that this version of scikit-image does not have are left out."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return {name: folder / name for name in EXAMPLES if (folder / name).is_file()}
