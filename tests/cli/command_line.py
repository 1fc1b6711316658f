"""A photo, its mask, and `inpaint run` on files, for the tests of the command."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from inpaint.cli import main

PHOTO = skimage.data.astronaut()[100:190, 150:270]
MASK = np.zeros(PHOTO.shape[:2], np.uint8)
MASK[30:60, 40:70] = 255


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)


def load(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def run(model, image, mask, output, *more):
    paths = ["--image", str(image), "--mask", str(mask), "--output", str(output)]
    return main(["run", *paths, "--model", str(model), "--device", "cpu", *more])


def usage_error(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err
