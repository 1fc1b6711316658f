"""Pictures and holes for other programs to fill, with a manifest by which their fills are known again."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

import inpaint
from inpaint.evaluation.cases import Case, EvaluationSet
from inpaint.files import open_regular, remove_partials, write_atomically

MANIFEST = "manifest.json"
"""Name of the manifest in the folder of an export."""

FORMAT = "carafe-inpaint export 1"
"""Stands in every manifest; what lacks it is another program's file."""

SETTINGS = ("masks", "seed", "size")
"""What decides, beside the photos, which holes there are."""


class ManifestError(ValueError):
    """A file is no manifest of an export."""


def export_cases(cases: Iterable[Case], folder: Path) -> None:
    """Write what methods see into `folder`: images/STEM.png (holes grey), masks/STEM.png, manifest.json.

    The manifest holds the settings of an `EvaluationSet` and the SHA-256 of every photo's crop and mask, by
    the photo's name: see `Manifest`.

    Raises:
        ValueError: two photos have the same file stem.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    photos: dict[str, dict[str, str]] = {}
    seen: dict[str, str] = {}
    for case in cases:
        stem = PurePosixPath(case.name).stem
        if stem in seen:
            raise ValueError(
                f"{seen[stem]} and {case.name} would be exported to one file; rename one of them"
            )
        seen[stem] = case.name
        for kind, pixels in (("images", case.destroyed()), ("masks", case.mask)):
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, format="PNG")
            write_atomically(folder / kind / f"{stem}.png", stream.getvalue())
        photos[case.name] = {"file": f"{stem}.png", **digests(case)}
    settings = cases.describe() if isinstance(cases, EvaluationSet) else {}
    manifest = {
        "format": FORMAT,
        "version": inpaint.__version__,
        **{key: settings.get(key) for key in SETTINGS},
        "photos": photos,
    }
    # Last: a manifest stands for an export that is whole. Names that are no UTF-8 are escaped by JSON itself.
    write_atomically(folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    remove_partials(folder, (MANIFEST,))
    for kind in ("images", "masks"):
        remove_partials(folder / kind, {f"{stem}.png" for stem in seen})


def digests(case: Case) -> dict[str, str]:
    """Return SHA-256 of a case's pixels, row by row: the crop as RGB bytes, the mask as bytes 0 and 255."""
    return {
        "photo_sha256": hashlib.sha256(case.image.tobytes()).hexdigest(),
        "mask_sha256": hashlib.sha256((case.mask * np.uint8(255)).tobytes()).hexdigest(),
    }


@dataclass(frozen=True)
class Manifest:
    """What an export says of itself.

    Attributes:
        path: its file.
        settings: `masks`, `seed` and `size` of the export; None where they are not known.
        photos: by name, the `file` that was written, and its `photo_sha256` and `mask_sha256`.
    """

    path: Path
    settings: Mapping[str, Any]
    photos: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read a manifest.

        Raises:
            OSError: the file cannot be opened.
            ManifestError: it is no manifest.
        """
        with open_regular(path) as stream:
            data = stream.read()
        try:
            content = json.loads(data)
            if content["format"] != FORMAT:
                raise ValueError(content["format"])
            photos = {
                name: {key: str(entry[key]) for key in ("file", "photo_sha256", "mask_sha256")}
                for name, entry in content["photos"].items()
            }
            settings = {key: content[key] for key in SETTINGS}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ManifestError(f"{path}: is no manifest that --export of evaluate.py wrote") from error
        return cls(path, settings, photos)

    def check(self, case: Case, settings: Mapping[str, Any]) -> None:
        """Check that a case is one of the export.

        Args:
            case: what is checked.
            settings: `masks`, `seed` and `size` of this run, for the message.

        Raises:
            ValueError: it is not; the message has the settings that differ.
        """
        entry = self.photos.get(case.name)
        if entry is None:
            problem = f"has no photo {case.name}"
        else:
            differing = [key for key, digest in digests(case).items() if entry[key] != digest]
            if not differing:
                return
            what = " and ".join(key.removesuffix("_sha256") for key in differing)
            problem = f"has another {what} of {case.name}"
        there = [f"{key} {self.settings[key]}" for key in SETTINGS if self.settings[key] != settings.get(key)]
        here = [f"{key} {settings.get(key)}" for key in SETTINGS if self.settings[key] != settings.get(key)]
        why = f" (exported with {', '.join(there)}; this run has {', '.join(here)})" if there else ""
        raise ValueError(
            f"{self.path} {problem}{why}; score fills with the photos and holes they were made of"
        )
