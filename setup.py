"""Everything is in pyproject.toml, except for the wheel with the compiled operator (`make wheel`).

With `INPAINT_WHEEL_LIBRARIES=1`, and torch in the environment that builds (`--no-build-isolation`), the
wheel holds the libraries that `inpaint.ops.library` uses instead of compiling them. They keep to the
stable ABI of torch and do not know Python: one wheel serves every CPython and torch that is supported.
"""

import os
import shutil
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

WITH_LIBRARIES = os.environ.get("INPAINT_WHEEL_LIBRARIES") == "1"


class BuildPackage(build_py):
    """Puts the libraries beside the modules."""

    def run(self) -> None:
        """Copy the modules and the libraries, after compiling what is not in the cache."""
        super().run()
        if not WITH_LIBRARIES:
            return
        os.environ["INPAINT_OPS"] = "reference"  # what is imported here need not load a library
        sys.path.insert(0, str(Path(__file__).resolve().parent))
        from inpaint.ops import library

        folder = Path(self.build_lib, "inpaint", "_lib")
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in library.build_all():
            shutil.copyfile(path, folder / name)


class BuildWheel(bdist_wheel):
    """Names the platform, but no Python or ABI."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tag of setuptools, or with libraries one without Python and ABI."""
        python, abi, platform = super().get_tag()
        return ("py3", "none", platform) if WITH_LIBRARIES else (python, abi, platform)


class Package(Distribution):
    """Belongs to a platform if it has libraries."""

    def has_ext_modules(self) -> bool:
        """Return whether the wheel belongs to one platform."""
        return WITH_LIBRARIES


setup(distclass=Package, cmdclass={"build_py": BuildPackage, "bdist_wheel": BuildWheel})
