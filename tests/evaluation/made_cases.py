"""Cases that the tests of the evaluation share, and files of photos."""

import numpy as np
from PIL import Image
from skimage.data import astronaut

from inpaint.evaluation import Case


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def keep_input(image, mask):
    return image


def random_case(name="x", size=40, ratio=0.25, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.zeros(size * size, bool)
    mask[: round(ratio * size * size)] = True
    image = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Case(name, image, rng.permutation(mask).reshape(size, size))


def box_case(name, left, photo=astronaut):
    mask = np.zeros((64, 64), bool)
    mask[20:44, left : left + 20] = True
    return Case(name, np.ascontiguousarray(photo()[40:104, 200:264]), mask)
