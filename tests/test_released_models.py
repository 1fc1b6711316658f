"""The weights in models/ do what their cards say: on photos that ship with scikit-image, against OpenCV."""

import cv2
import numpy as np
import pytest
import skimage.data
from skimage.metrics import peak_signal_noise_ratio

from inpaint import Inpainter
from inpaint.masks import generator_for, parse_recipe
from inpaint.weights import installed_models

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
SIDE = 256


def centre(photo: np.ndarray) -> np.ndarray:
    top, left = ((side - SIDE) // 2 for side in photo.shape[:2])
    return np.ascontiguousarray(photo[top : top + SIDE, left : left + SIDE])


@pytest.mark.parametrize("name", [model.name for model in installed_models()])
def test_fills_are_nearer_to_the_photo_than_diffusion(name: str) -> None:
    """By half a decibel and more, on strokes over 10 to 30 % of the picture."""
    fill = Inpainter.from_pretrained(name, device="cpu")
    gains = []
    for photo in PHOTOS:
        image = centre(getattr(skimage.data, photo)())
        mask = parse_recipe("free-form:0.1-0.3")(generator_for(0, photo), SIDE, SIDE)
        rivals = (
            cv2.inpaint(image, mask.astype(np.uint8), 3, method)
            for method in (cv2.INPAINT_TELEA, cv2.INPAINT_NS)
        )
        best = max(peak_signal_noise_ratio(image, rival) for rival in rivals)
        gains.append(peak_signal_noise_ratio(image, fill(image, mask)) - best)
    assert np.mean(gains) > 0.5, gains


def test_the_models_in_the_readme_are_installed() -> None:
    assert {"pconv-carafe", "pconv-carafe-sharp"} <= {model.name for model in installed_models()}
