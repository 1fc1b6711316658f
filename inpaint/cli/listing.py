"""What lies in a folder of photos or masks, subfolders included."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from inpaint.files import why_not_regular
from inpaint.images import SUFFIXES


@dataclass
class Listing:
    """The files of a folder by their paths in it, sorted; none that is hidden.

    Attributes:
        folder: the folder.
        images: what is named as an image is. A pipe or a link to nothing is among them: reading it is an
            error that names it.
        others: the names of all else, with what is wrong where it is no file.
    """

    folder: Path
    images: list[Path] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def list_images(folder: Path, without: Iterable[Path] = ()) -> Listing:
    """List a folder and its subfolders; links to folders are followed, once each.

    Args:
        folder: the folder.
        without: folders that are not entered where they lie in it.

    Raises:
        OSError: a folder cannot be listed.
    """
    listing = Listing(folder)
    entered = {os.path.realpath(path) for path in without} - {os.path.realpath(folder)}
    # Sorted, so that of two links to one folder the same one is entered whatever the system lists first.
    for parent, subfolders, names in os.walk(folder, followlinks=True, onerror=_raise):
        real = os.path.realpath(parent)
        if real in entered:
            subfolders.clear()
            continue
        entered.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() in SUFFIXES:
                listing.images.append(path.relative_to(folder))
            else:
                reason = why_not_regular(path)
                told = path.relative_to(folder).as_posix()
                listing.others.append(f"{told} ({reason})" if reason else told)
    listing.images.sort()
    listing.others.sort()
    return listing


def enumeration(names: list[str], most: int = 10) -> str:
    """Join names for a message, the first ones only where there are many.

    >>> enumeration(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = len(names) - most
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:most])} and {more} more"


def _raise(error: OSError) -> None:
    raise error
