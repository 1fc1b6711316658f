"""The extras of the installation: which packages a command needs beyond those that every install has."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection

EXTRAS = {
    "app": (
        *("gradio", "fastapi", "starlette", "pydantic", "uvicorn", "h11", "python_multipart"),
        *("prometheus_client", "scipy", "skimage", "fsspec"),
    ),
    "train": ("torchvision", "scipy", "skimage", "fsspec", "tensorboard", "lpips"),
}
"""Extra -> the modules that its packages bring. pyproject.toml has the packages themselves."""

PAGE_ALONE = ("gradio", "scipy", "skimage", "fsspec")
"""What the page needs and the REST API does not."""

DISPENSABLE = ("tensorboard", "lpips")
"""What training and evaluation do without: they say themselves that curves or LPIPS are left out."""


class MissingExtraError(RuntimeError):
    """Packages are missing that only an extra installs; the message says how to install it."""


def missing_modules(extra: str) -> list[str]:
    """Return the modules of an extra that are not installed; nothing of them is imported."""
    return [name for name in EXTRAS[extra] if not _is_installed(name)]


def require_extra(extra: str, command: str, without: Collection[str] = ()) -> None:
    """Check that an extra is installed.

    Args:
        extra: one of `EXTRAS`.
        command: that needs it, for the message.
        without: modules of it that the command has no need of.

    Raises:
        MissingExtraError: something of it is not.
    """
    if missing := [name for name in missing_modules(extra) if name not in without]:
        raise MissingExtraError(
            f"{command} needs the {extra} extra: {how_to_install(extra)} (missing: {', '.join(missing)})"
        )


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra.

    >>> how_to_install("app")
    "pip install 'carafe-inpaint[app]'"
    """
    return f"pip install 'carafe-inpaint[{extra}]'"


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False
