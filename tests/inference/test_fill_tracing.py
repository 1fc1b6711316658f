"""Where a pixel of a fill comes from, at any size of photo, and how it is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.data import chelsea

from inpaint.inference import Inpainter
from inpaint.inference.tracing import FillTrace, draw_trace, trace_fill
from inpaint.networks import build_network

SMALL = {
    "network": "PyramidUNet",
    "widths": [4, 8],
    "kernel_sizes": [3, 3],
    "decoder_widths": [4],
    "encoder_blocks": [[], []],
    "decoder_blocks": [[]],
    "head_width": 4,
}


def inpainter(detail: str = "none", follow: float = 1.0) -> Inpainter:
    """A fresh network that adds nothing, and follows its kernels so far."""
    network = build_network(SMALL)
    torch.nn.init.zeros_(network.to_image.weight)
    network.to_image.bias.data = torch.tensor([0, 0, 0, follow])
    return Inpainter(network, "cpu", detail, "float32")


def test_a_small_hole_is_the_traced_sum_of_known_pixels() -> None:
    grey = np.repeat(chelsea()[..., 1:2], 3, axis=2)
    mask = np.zeros(grey.shape[:2], bool)
    mask[101:140, 203:251] = True
    fill = inpainter()
    result = fill(grey, mask, grow=2)
    for pixel in ((120, 230), (101, 203), (100, 220)):  # the last in what the mask is grown by
        found = trace_fill(fill, grey, mask, pixel, grow=2)
        assert found.pixel == pixel and found.patch is None
        assert (found.weights[mask] == 0).all() and (found.weights[100, 220] == 0)
        assert found.weights.sum() + found.rest == pytest.approx(1, abs=1e-4)
        assert sum(share for _, _, share in found.levels) == pytest.approx(found.weights.sum(), abs=1e-4)
        assert (found.weights * grey[..., 0]).sum() == pytest.approx(result[pixel][0], abs=1)


def test_a_large_hole_is_traced_through_the_copy_that_it_was_filled_in() -> None:
    grey = np.repeat(np.kron(chelsea()[..., 1:2], np.ones((3, 3, 1), np.uint8)), 3, axis=2)
    mask = np.zeros(grey.shape[:2], bool)
    mask[203:798, 300:950] = True
    found = trace_fill(inpainter(), grey, mask, (500, 700))
    assert (found.weights[mask] == 0).all()
    assert found.weights.sum() + found.rest == pytest.approx(1, abs=1e-3) and abs(found.rest) < 1e-3
    assert found.weights.shape == mask.shape
    rows, columns = np.nonzero(found.weights)
    assert rows.min() < 203 and rows.max() > 797 and columns.min() < 300 and columns.max() > 949


def test_the_patch_over_a_pixel_is_known_and_like_the_fill() -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    mask = np.zeros((96, 96), bool)
    mask[30:66, 30:66] = True
    fill = inpainter("photo", follow=0.0)
    result = fill(photo, mask, seed=1).astype(int)
    near, far = [], []
    for pixel in ((40, 40), (48, 50), (55, 45), (60, 60)):
        found = trace_fill(fill, photo, mask, pixel, seed=1)
        assert found.patch is not None and not mask[found.patch]
        near.append(np.abs(result[pixel] - photo[found.patch]).mean())
        far.append(np.abs(result[pixel] - photo[found.patch[0], (found.patch[1] + 7) % 30]).mean())
    assert np.mean(near) < 30 < np.mean(far)
    thin = np.zeros_like(mask)
    thin[50, 20:60] = True
    assert trace_fill(fill, photo, thin, (50, 40)).patch is None


def test_what_cannot_be_traced_is_said() -> None:
    photo, mask = chelsea(), np.zeros(chelsea().shape[:2], bool)
    mask[100:120, 100:120] = True
    for pixel in ((99, 100), (100, 451), (-1, 100)):
        with pytest.raises(ValueError, match="no pixel of the hole"):
            trace_fill(inpainter(), photo, mask, pixel)
    with pytest.raises(ValueError, match="everything is hole"):
        trace_fill(inpainter(), photo, np.ones_like(mask), (5, 5))


def test_what_is_drawn() -> None:
    filled, mask = chelsea(), np.zeros(chelsea().shape[:2], bool)
    mask[100:140, 100:160] = True
    weights = np.zeros(mask.shape, np.float32)
    weights[98, 120], weights[200, 300] = 0.9, 0.1
    picture = draw_trace(filled, mask, FillTrace((120, 130), weights, 0.0, [], (180, 50)))
    assert picture.shape == filled.shape and picture.dtype == np.uint8
    inside = np.zeros_like(mask)
    inside[102:110, 102:158] = True
    assert (picture[inside] == filled[inside]).all()
    assert picture[250:, 400:].max() < 130 and (np.ptp(picture[250:, 400:].astype(int), axis=2) == 0).all()
    assert picture[98, 120].min() > 100 > picture[90, 120].max()  # the brightest, and none around it
    assert picture[200, 300].sum() > picture[210, 300].sum()
    assert (picture[120, 130] == 255).all()  # the cross
    frame = picture[180 - 12 : 180 + 13, 50 - 12 : 50 + 13]
    assert (frame == (80, 220, 255)).all(axis=2).sum() > 20
