"""What networks are measured against: classical inpainting without learning. And how names become methods.

A method is any function (uint8 H×W×3 RGB, bool H×W mask, True = hole) -> uint8 H×W×3. The baselines read
known pixels only. Where a mask leaves no known pixel there is nothing to start from, and the image comes back
as given.
"""

import importlib.util
from functools import partial

import cv2
import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic

from inpaint.evaluation.fills import FillFolder
from inpaint.evaluation.protocol import Method, ReadyFills
from inpaint.weights import WeightsError, installed_models

OPENCV_RADIUS = 3
"""Radius, in pixels, of the neighbourhood that OpenCV's methods weigh for each hole pixel."""

PATCHMATCH_RADIUS = 3
"""Radius, in pixels, of the patches that PatchMatch compares: 7×7."""

PHOTO_DETAIL = "+photo"
"""Ends the name of a method whose fill is laid over with pieces of the photo itself."""


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


def patchmatch(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill with patches of the picture itself, 7×7 (PatchMatch, Barnes et al. 2009), PyPatchMatch.

    Its random search starts from one seed, so equal pictures give equal fills. Raises ValueError where the
    package is not installed.
    """
    check_patchmatch()
    if mask.all():
        return image.copy()
    from patchmatch import inpaint, set_random_seed

    set_random_seed(0)
    return inpaint(np.ascontiguousarray(image), np.ascontiguousarray(mask), patch_size=PATCHMATCH_RADIUS)


def check_patchmatch() -> None:
    """Raise ValueError, with the remedy, where PyPatchMatch is missing or its library does not load."""
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


def resolve_method(text: str, device: str = "auto", fill_suffix: str = "") -> tuple[str, Method | ReadyFills]:
    """Turn a word of the command line into a method and the name it has in the results.

    A baseline's name (see METHODS); `NAME=FOLDER` for ready results (see `FillFolder`, which `fill_suffix` is
    for); anything else is a model for `Inpainter.from_pretrained`, an installed name, a folder or a hub id,
    and means its network alone. A baseline or a model with `+photo` behind it guides a fill with pieces of
    the photo (`add_detail`). Raises ValueError, naming what is known, where none fits.
    """
    if not text:
        raise ValueError(f"methods: a name is empty; known baselines: {', '.join(METHODS)}")
    name, is_folder, folder = text.partition("=")
    if is_folder:
        if not name or not folder:
            raise ValueError(f"method {text!r}: expected NAME=FOLDER, such as lama=results/lama")
        if name.removesuffix(PHOTO_DETAIL) in METHODS:
            raise ValueError(f"method {text!r}: {name} is a baseline's name; call the results something else")
        return name, FillFolder(folder, fill_suffix)
    if not text.endswith(PHOTO_DETAIL):
        return text, _method(text, device)
    guide = text.removesuffix(PHOTO_DETAIL)
    if not guide or guide.endswith(PHOTO_DETAIL):
        raise ValueError(f"method {text!r}: expected NAME{PHOTO_DETAIL}, such as harmonic{PHOTO_DETAIL}")
    return text, partial(_fill_with_detail, _method(guide, device))


def _fill_with_detail(guide: Method, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill by a method, and lay patches of the photo's known pixels over it."""
    # Here, so that only these methods load it.
    from inpaint.inference.detail import add_detail

    fill = guide(image, mask)
    if mask.all() or not mask.any():  # there is nothing to take from, or nothing to lay it over
        return fill
    return add_detail(image, fill, mask, seed=0)


def _method(name: str, device: str) -> Method:
    """A baseline or a model's network alone."""
    if name == "patchmatch":
        check_patchmatch()  # before any photo is filled
    if name in METHODS:
        return METHODS[name]
    # Here, so that scoring baselines does not load the networks.
    from inpaint.inference import Inpainter

    try:
        return Inpainter.from_pretrained(name, device=device, detail="none")
    except WeightsError as error:
        models = ", ".join(model.name for model in installed_models()) or "none"
        raise ValueError(
            f"unknown method {name!r}: expected one of {', '.join(METHODS)}, a model (installed: {models}), "
            f"a model's folder, one of these with {PHOTO_DETAIL} behind it, or NAME=FOLDER of ready results "
            f"({error})"
        ) from error
