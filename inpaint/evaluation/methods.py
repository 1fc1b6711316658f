"""The baselines, classical inpainting without learning, and how words of `--methods` become methods.

A method is any function (uint8 H×W×3 RGB, bool H×W mask, True = hole) -> uint8 H×W×3. The baselines read
known pixels only. Where a mask leaves no known pixel there is nothing to start from, and the image comes back
as given.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import cv2
import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic

from inpaint.evaluation.fills import FillFolder
from inpaint.evaluation.scoring import Method, ReadyFills
from inpaint.weights import WeightsError, find_model, installed_models

OPENCV_RADIUS = 3
"""Radius, in pixels, of the neighbourhood that OpenCV's methods weigh for each hole pixel."""

PATCHMATCH_RADIUS = 3
"""Radius, in pixels, of the patches that PatchMatch compares: 7×7."""

PHOTO_DETAIL = "+photo"
"""Ends the name of a method whose fill is laid over with pieces of the photo itself."""


def telea(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill by fast marching (Telea 2004), OpenCV, radius 3.

    >>> image, mask = np.full((5, 5, 3), 90, np.uint8), np.zeros((5, 5), bool)
    >>> mask[2, 2] = True
    >>> telea(image, mask)[2, 2].tolist()
    [90, 90, 90]
    """
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

    The networks' head start is this fill (`inpaint.layers.push_pull`), so what a network gains over it is
    what it has learnt. It is about one grey level from the exact solution.
    """
    if mask.all():
        return image.copy()
    # Here, so that the other baselines do not load the layers and their operator.
    from inpaint.layers import push_pull

    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]  # [1, 3, H, W]
    filled = push_pull(pixels, torch.from_numpy(~mask)[None, None])
    return filled[0].permute(1, 2, 0).round().to(torch.uint8).numpy()


def patchmatch(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill with patches of the picture itself, 7×7 (PatchMatch, Barnes et al. 2009), PyPatchMatch.

    Its random search starts from one seed, so equal pictures give equal fills.

    Raises:
        ValueError: the package is not installed.
    """
    check_patchmatch()
    if mask.all():
        return image.copy()
    from patchmatch import inpaint, set_random_seed

    set_random_seed(0)
    return inpaint(np.ascontiguousarray(image), np.ascontiguousarray(mask), patch_size=PATCHMATCH_RADIUS)


def check_patchmatch() -> None:
    """Check that PyPatchMatch can be used.

    Raises:
        ValueError: it is missing, or its library does not load; the message has the remedy.
    """
    if importlib.util.find_spec("patchmatch") is None:
        raise ValueError("method patchmatch: PyPatchMatch is not installed; pip install pypatchmatch")
    from patchmatch import patchmatch_available

    if not patchmatch_available:
        raise ValueError(
            "method patchmatch: the library of PyPatchMatch does not load; "
            "pip install --force-reinstall pypatchmatch"
        )


def _opencv(image: np.ndarray, mask: np.ndarray, algorithm: int) -> np.ndarray:
    if mask.all():
        return image.copy()
    return cv2.inpaint(np.ascontiguousarray(image), mask.astype(np.uint8), OPENCV_RADIUS, algorithm)


METHODS: dict[str, Method] = {
    "telea": telea,
    "ns": navier_stokes,
    "biharmonic": biharmonic,
    "harmonic": harmonic,
    "patchmatch": patchmatch,
}
"""The baselines by the names they have on the command line; `patchmatch` needs the package of that name."""


@dataclass(frozen=True)
class MethodWord:
    """A word of `--methods`, read but not loaded.

    Attributes:
        name: the method's name in the results.
        kind: what it is.
        source: the baseline's name, what `Inpainter.from_pretrained` takes, or the folder of ready results.
        detail: whether pieces of the photo are laid over its fill.
    """

    name: str
    kind: Literal["baseline", "model", "folder"]
    source: str
    detail: bool = False

    def load(self, device: str = "auto", fill_suffix: str = "") -> Method | ReadyFills:
        """Return the method; of a model its network alone.

        Args:
            device: where a model runs.
            fill_suffix: ends the stems of ready results, see `FillFolder`.

        Raises:
            ValueError: there is no such model; the message names those that there are.
            FileNotFoundError: there is no such folder of ready results.
        """
        if self.kind == "folder":
            return FillFolder(self.source, fill_suffix)
        method = METHODS[self.source] if self.kind == "baseline" else _load_model(self.source, device)
        return partial(_fill_with_detail, method) if self.detail else method


def parse_method(text: str) -> MethodWord:
    """Read a word of `--methods`, without loading anything.

    Args:
        text: a baseline's name (see METHODS), or a model: an installed name, a folder, a file or a hub id.
            With `+photo` behind it, its fill guides one with pieces of the photo (`add_detail`). Or
            `NAME=FOLDER` for ready results.

    Raises:
        ValueError: it is none of these, or cannot be used here; the message says what there is.

    >>> parse_method("telea+photo")
    MethodWord(name='telea+photo', kind='baseline', source='telea', detail=True)
    >>> parse_method("other=runs/theirs")
    MethodWord(name='other', kind='folder', source='runs/theirs', detail=False)
    """
    if not text:
        raise ValueError(f"method {text!r}: a name is empty; known baselines: {', '.join(METHODS)}")
    name, is_folder, folder = text.partition("=")
    if is_folder:
        if not name or not folder:
            raise ValueError(f"method {text!r}: expected NAME=FOLDER, such as lama=results/lama")
        if name.removesuffix(PHOTO_DETAIL) in METHODS:
            raise ValueError(f"method {text!r}: {name} is a baseline's name; call the results something else")
        return MethodWord(name, "folder", folder)
    source = text.removesuffix(PHOTO_DETAIL)
    if not source or source.endswith(PHOTO_DETAIL):
        raise ValueError(f"method {text!r}: expected NAME{PHOTO_DETAIL}, such as harmonic{PHOTO_DETAIL}")
    if source == "patchmatch":
        check_patchmatch()
    if source in METHODS:
        return MethodWord(text, "baseline", source, detail=source != text)
    if source.count("/") != 1:  # else it may be a hub id, and only a download can tell
        try:
            find_model(source)
        except WeightsError as error:
            raise _unknown_method(source, error) from error
    return MethodWord(text, "model", source, detail=source != text)


def parse_methods(texts: Iterable[str]) -> list[MethodWord]:
    """Read the words of `--methods`.

    Raises:
        ValueError: what `parse_method` raises, and where two methods have one name.

    >>> [word.name for word in parse_methods(["telea", "harmonic+photo"])]
    ['telea', 'harmonic+photo']
    """
    words: dict[str, MethodWord] = {}
    for word in map(parse_method, texts):
        if word.name in words:
            raise ValueError(f"method {word.name} is named twice")
        words[word.name] = word
    return list(words.values())


def resolve_method(text: str, device: str = "auto", fill_suffix: str = "") -> tuple[str, Method | ReadyFills]:
    """Return the name and the method of a word of `--methods`; see `parse_method` and `MethodWord.load`."""
    word = parse_method(text)
    return word.name, word.load(device, fill_suffix)


def _fill_with_detail(guide: Method, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill by a method, and lay patches of the photo's known pixels over it."""
    # Here, so that only these methods load it.
    from inpaint.inference.detail import add_detail

    fill = guide(image, mask)
    if mask.all() or not mask.any():  # there is nothing to take from, or nothing to lay it over
        return fill
    return add_detail(image, fill, mask, seed=0)


def _load_model(name: str, device: str) -> Method:
    # Here, so that scoring baselines does not load the networks.
    from inpaint.inference import Inpainter

    try:
        return Inpainter.from_pretrained(name, device=device, detail="none")
    except WeightsError as error:
        raise _unknown_method(name, error) from error


def _unknown_method(name: str, error: WeightsError) -> ValueError:
    models = ", ".join(model.name for model in installed_models()) or "none"
    return ValueError(
        f"unknown method {name!r}: expected one of {', '.join(METHODS)}, a model (installed: {models}), "
        f"a model's folder, one of these with {PHOTO_DETAIL} behind it, or NAME=FOLDER of ready results "
        f"({error})"
    )
