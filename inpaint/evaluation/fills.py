"""Fills that another program made: finding them, and making sure that they are of these photos and holes."""

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm import tqdm

from inpaint.evaluation.cases import Case, EvaluationSet
from inpaint.evaluation.export import MANIFEST, Manifest, ManifestError
from inpaint.images import SUFFIXES, read_photo
from inpaint.masks import HOLE_GREY

KNOWN_TOLERANCE = 32
"""Grey levels that a known pixel may differ by; at JPEG quality 75 one of a thousand differs by more."""

MAX_KNOWN_CHANGED = 0.01
"""Share of the known pixels that may differ by more."""

MAX_HOLE_UNFILLED = 0.25
"""Share of the hole's pixels that may be the photo's own, or the grey that stood there."""


class FillFolder:
    """Fills that another program wrote, as a method: image files named as the photos are, of the crop's size.

    The photo `places/1.jpg` takes `places/1.*` of the folder, or else `1.*`; no file serves two photos. With
    a `suffix` such as `_result` it takes `1_result.*`, and files that do not end so are passed over.

    Raises:
        FileNotFoundError: there is no such folder.
    """

    def __init__(self, path: Path | str, suffix: str = "") -> None:
        self._path = Path(path)
        self._suffix = suffix
        if not self._path.is_dir():
            raise FileNotFoundError(f"{path}: there is no such folder of results")
        self._photo_of: dict[Path, str] = {}
        self._files: dict[str, list[Path]] = {}
        for file in sorted(self._path.rglob("*")):
            if file.suffix.lower() in SUFFIXES and file.stem.endswith(suffix) and file.stem != suffix:
                key = file.relative_to(self._path).with_suffix("").as_posix().removesuffix(suffix)
                self._files.setdefault(key, []).append(file)

    def read(self, name: str) -> np.ndarray:
        """Return the fill of the photo of that name, uint8 H×W×3.

        Raises:
            FileNotFoundError: there is none.
            ValueError: several files could be meant.
            ImageError: the file is not an image.
        """
        return read_photo(self._file(name, self._photo_of)).pixels

    def manifest(self) -> Manifest | None:
        """Return the manifest of the export that these are fills of: in the folder, or in its parent."""
        for folder in (self._path, self._path.resolve().parent):
            with contextlib.suppress(OSError, ManifestError):  # another program's file may have that name
                return Manifest.read(folder / MANIFEST)
        return None

    def check_names(self, cases: EvaluationSet) -> None:
        """Raise what `read` would raise for the first photo that lacks its fill; no fill is opened.

        A photo that is left out of the evaluation needs none.
        """
        found = {name: self._candidates(name) for name in cases.names}
        takers = Counter(files[0] for files in found.values() if files)
        doubtful = {name for name, files in found.items() if len(files) != 1 or takers[files[0]] > 1}
        photo_of: dict[Path, str] = {}
        for name in cases.readable(doubtful):
            self._file(name, photo_of)

    def _candidates(self, name: str) -> list[Path]:
        photo = PurePosixPath(name)
        return self._files.get(photo.with_suffix("").as_posix()) or self._files.get(photo.stem, [])

    def _file(self, name: str, photo_of: dict[Path, str]) -> Path:
        """Return the file of a photo's fill, and note that it is taken."""
        found = self._candidates(name)
        if not found:
            stem = PurePosixPath(name).stem + self._suffix
            raise FileNotFoundError(f"{self._path}: no result is named {stem}.* for the photo {name}")
        if len(found) > 1:
            names = ", ".join(file.name for file in found)
            raise ValueError(f"{self._path}: the photo {name} has more than one result ({names})")
        if photo_of.setdefault(found[0], name) != name:
            raise ValueError(
                f"{found[0]}: both {photo_of[found[0]]} and {name} would take this result; keep "
                "results in subfolders named as the photos' are"
            )
        return found[0]


def check_fills(
    folders: Mapping[str, FillFolder],
    cases: EvaluationSet,
    manifest: Manifest | None = None,
    *,
    progress: bool = False,
) -> None:
    """Make sure, before anything is scored, that the fills are of these photos and these holes.

    Where there is a manifest of the export that they were made from, every photo's crop and mask must be the
    manifest's. Without one the pixels are looked at, over all images: fills of other holes have changed known
    pixels, and left pixels of these holes as they were. They are refused where more than 1 % of the known
    pixels differ from the photo by more than 32 grey levels, or more than 25 % of the hole's pixels equal the
    photo's. With a manifest a program may repaint known pixels, and only both together are refused. Holes
    that are more than 25 % the grey they were given as are not filled.

    Args:
        folders: the fills, by the method's name.
        cases: what they should be fills of.
        manifest: of the export; None takes the one that each folder has, if any.
        progress: show a bar on stderr.

    Raises:
        ValueError: the fills are of other photos or holes, or of another size than the crop; the message has
            the shares of pixels, or the settings that differ.
        FileNotFoundError: a photo has no fill.
        ImageError: a fill is not an image.
    """
    if not folders:
        return
    for folder in folders.values():
        folder.check_names(cases)
    manifests = {name: manifest or folder.manifest() for name, folder in folders.items()}
    found = {name: _Comparison() for name in folders}
    for case in tqdm(cases, desc="checking fills", unit="photo", disable=not progress):
        for name, folder in folders.items():
            if known := manifests[name]:
                try:
                    known.check(case, cases.describe())
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error
            fill = folder.read(case.name)
            if fill.shape != case.image.shape:
                raise ValueError(
                    f"{name}: expected a fill of shape {case.image.shape} for {case.name}, got {fill.shape}"
                )
            found[name].add(case, fill)
    for name, comparison in found.items():
        if problem := comparison.problem(manifests[name]):
            raise ValueError(f"{name}: {problem}")


@dataclass
class _Comparison:
    """Counts of pixels over all images."""

    known: int = 0
    known_changed: int = 0
    hole: int = 0
    hole_kept: int = 0
    hole_grey: int = 0

    def add(self, case: Case, fill: np.ndarray) -> None:
        difference = np.abs(fill.astype(np.int16) - case.image).max(axis=2)
        kept = difference[case.mask] == 0
        grey = (fill[case.mask] == HOLE_GREY).all(axis=1) & ~kept
        self.hole += kept.size
        self.hole_kept += int(kept.sum())
        self.hole_grey += int(grey.sum())
        self.known += case.mask.size - kept.size
        self.known_changed += int((difference[~case.mask] > KNOWN_TOLERANCE).sum())

    def problem(self, manifest: Manifest | None) -> str | None:
        """Say why these are no fills of the holes; None where they may be."""
        changed, kept, grey = (
            part / max(whole, 1)
            for part, whole in (
                (self.known_changed, self.known),
                (self.hole_kept, self.hole),
                (self.hole_grey, self.hole),
            )
        )
        if grey > MAX_HOLE_UNFILLED:
            return (
                f"{grey:.1%} of the holes' pixels are the grey that stood there (at most "
                f"{MAX_HOLE_UNFILLED:.0%} may be): the holes were not filled, or others were"
            )
        signs = (changed > MAX_KNOWN_CHANGED, kept > MAX_HOLE_UNFILLED)
        if not (all(signs) if manifest else any(signs)):
            return None
        shares = (
            f"{changed:.1%} of the known pixels differ from the photo by more than {KNOWN_TOLERANCE} grey "
            f"levels (at most {MAX_KNOWN_CHANGED:.0%} may), {kept:.1%} of the holes' pixels are the photo's "
            f"(at most {MAX_HOLE_UNFILLED:.0%} may)"
        )
        if manifest:
            return f"these are no fills of the holes of {manifest.path}: {shares}"
        return (
            f"these look like fills of other photos or holes: {shares}. Score them with the --masks, --seed "
            "and --size they were made with. If they are of these holes, and a program repainted what was "
            f"known, name the {MANIFEST} of the export they were made from with --manifest"
        )
