"""The door that all networks share: pixels to tensors and back."""

import numpy as np
import pytest
import torch

from inpaint.networks import Network


def pixels(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (*shape, 3), np.uint8), rng.random(shape) < 0.4


@pytest.mark.parametrize("shape", [(5, 7), (1, 5, 7), (3, 8, 12)])
def test_input_is_scaled_blanked_and_padded_with_hole(shape: tuple[int, ...]) -> None:
    image, mask = pixels(*shape)
    before = image.copy(), mask.copy()
    x, hole = Network({}, stride=4).to_input(image, mask)
    n, (h, w) = (shape[0] if len(shape) == 3 else 1), shape[-2:]
    assert x.shape == (n, 3, 8, -(-w // 4) * 4) and hole.shape == (n, 1, *x.shape[2:])
    assert x.dtype == hole.dtype == torch.float32
    wanted = np.where(mask[..., None], 0, image).reshape(n, h, w, 3)
    np.testing.assert_array_equal(x[..., :h, :w].permute(0, 2, 3, 1), (wanted / 255).astype(np.float32))
    np.testing.assert_array_equal(hole[:, 0, :h, :w], mask.reshape(n, h, w))
    assert not x[..., h:, :].any() and not x[..., w:].any()
    assert hole[..., h:, :].all() and hole[..., w:].all()
    assert all(np.array_equal(*pair) for pair in zip(before, (image, mask), strict=True))


@pytest.mark.filterwarnings("error")
def test_any_array_is_taken() -> None:
    """Mirrored ones, ones that cannot be written, and levels that are no whole numbers."""
    image, mask = pixels(4, 4)
    network = Network({}, stride=4)
    wanted, _ = network.to_input(image, mask)
    image.flags.writeable = mask.flags.writeable = False
    for given, hole in (
        (image, mask),
        (np.ascontiguousarray(image[::-1])[::-1], mask),
        (image.astype(np.float32), mask),
    ):
        assert torch.equal(network.to_input(given, hole)[0], wanted)


def test_pixels_are_clamped_and_rounded_as_levels_are_not() -> None:
    prediction = torch.tensor([-0.2, 0.3, 1.1]).reshape(1, 3, 1, 1)
    assert Network.to_levels(prediction).shape == Network.to_pixels(prediction).shape == (1, 1, 1, 3)
    np.testing.assert_allclose(Network.to_levels(prediction).ravel(), [0, 76.5, 255], rtol=1e-6)
    assert Network.to_pixels(prediction.to(torch.bfloat16)).dtype == np.uint8
    values = torch.rand(2, 3, 8, 8) * 1.4 - 0.2
    torch_way = values.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)
    np.testing.assert_array_equal(Network.to_pixels(values), torch_way)


def test_pixels_survive_the_way_through() -> None:
    image, _ = pixels(8, 8)
    x, _ = Network({}, stride=8).to_input(image, np.zeros((8, 8), bool))
    np.testing.assert_array_equal(Network.to_pixels(x)[0], image)
