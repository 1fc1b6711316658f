"""What networks are measured against: classical inpainting without learning, and fills made elsewhere.

A method is any function (uint8 H×W×3 RGB, bool H×W mask, True = hole) -> uint8 H×W×3. The baselines read
known pixels only. Where a mask leaves no known pixel there is nothing to start from, and the image comes back
as given.
"""

from collections import Counter
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic

from inpaint.evaluation.protocol import EvaluationSet, Method, ReadyFills
from inpaint.images import SUFFIXES, read_photo
from inpaint.weights import WeightsError, installed_models

OPENCV_RADIUS = 3
"""Radius, in pixels, of the neighbourhood that OpenCV's methods weigh for each hole pixel."""


def telea(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill by fast marching (Telea 2004), OpenCV, radius 3."""
    return _opencv(image, mask, cv2.INPAINT_TELEA)


def navier_stokes(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill by continuing isophotes (Bertalmio, Bertozzi and Sapiro 2001), OpenCV, radius 3."""
    return _opencv(image, mask, cv2.INPAINT_NS)


def biharmonic(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill with the smoothest surface, Δ²u = 0 (Damelin and Hoang 2018), scikit-image.

    Each connected hole is solved by itself, which bounds the memory by the largest one.
    """
    if not mask.any() or mask.all():
        return image.copy()
    filled = inpaint_biharmonic(image, mask, split_into_regions=True, channel_axis=2)  # float in [0, 1]
    return np.rint(filled * 255).astype(np.uint8)


def harmonic(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill with a membrane, Δu = 0, spanned over the hole and free at the picture's border.

    The networks' head start begins from it (`inpaint.layers.push_pull`), so what a network gains over it is
    what it has learnt. The sweeps of the pyramid end about one grey level from the exact solution.
    """
    if mask.all():
        return image.copy()
    # Here, so that the other baselines do not load the layers and their operator.
    from inpaint.layers import push_pull

    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]  # [1, 3, H, W]
    filled = push_pull(pixels, torch.from_numpy(~mask)[None, None])
    return filled[0].permute(1, 2, 0).round().to(torch.uint8).numpy()


def _opencv(image: np.ndarray, mask: np.ndarray, algorithm: int) -> np.ndarray:
    if mask.all():
        return image.copy()
    return cv2.inpaint(np.ascontiguousarray(image), mask.astype(np.uint8), OPENCV_RADIUS, algorithm)


METHODS: dict[str, Method] = {
    "telea": telea,
    "ns": navier_stokes,
    "biharmonic": biharmonic,
    "harmonic": harmonic,
}
"""The baselines by the names they have on the command line."""


class FillFolder:
    """Fills that another program wrote, as a method: image files named as the photos are, of the crop's size.

    The photo `places/1.jpg` takes `places/1.*` of the folder, or else `1.*`; no file serves two photos.
    Raises FileNotFoundError for a folder that does not exist.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        if not self._path.is_dir():
            raise FileNotFoundError(f"{path}: there is no such folder of results")
        self._photo_of: dict[Path, str] = {}
        self._files: dict[str, list[Path]] = {}
        for file in sorted(self._path.rglob("*")):
            if file.suffix.lower() in SUFFIXES:
                key = file.relative_to(self._path).with_suffix("").as_posix()
                self._files.setdefault(key, []).append(file)

    def read(self, name: str) -> np.ndarray:
        """Return the fill of the photo of that name, uint8 H×W×3.

        Raises FileNotFoundError where there is none, ValueError where several files could be meant, and
        ImageError where the file is not an image.
        """
        return read_photo(self._file(name, self._photo_of)).pixels

    def check(self, cases: EvaluationSet) -> None:
        """Raise what `read` would raise for the first photo that lacks its fill, before any is scored.

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
        """The fill of a photo, which is noted as taken."""
        found = self._candidates(name)
        if not found:
            stem = PurePosixPath(name).stem
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


def resolve_method(text: str, device: str = "auto") -> tuple[str, Method | ReadyFills]:
    """Turn a word of the command line into a method and the name it has in the results.

    A baseline's name (see METHODS); `NAME=FOLDER` for ready results (see `FillFolder`); anything else is a
    model for `Inpainter.from_pretrained`: an installed name, a folder or a hub id. Raises ValueError, naming
    what is known, where none fits.
    """
    if not text:
        raise ValueError(f"methods: a name is empty; known baselines: {', '.join(METHODS)}")
    name, is_folder, folder = text.partition("=")
    if is_folder:
        if not name or not folder:
            raise ValueError(f"method {text!r}: expected NAME=FOLDER, such as lama=results/lama")
        if name in METHODS:
            raise ValueError(f"method {text!r}: {name} is a baseline's name; call the results something else")
        return name, FillFolder(folder)
    if text in METHODS:
        return text, METHODS[text]
    # Here, so that scoring baselines does not load the networks.
    from inpaint.inference import Inpainter

    try:
        return text, Inpainter.from_pretrained(text, device=device)
    except WeightsError as error:
        models = ", ".join(model.name for model in installed_models()) or "none"
        raise ValueError(
            f"unknown method {text!r}: expected one of {', '.join(METHODS)}, a model (installed: {models}), "
            f"a model's folder, or NAME=FOLDER of ready results ({error})"
        ) from error
