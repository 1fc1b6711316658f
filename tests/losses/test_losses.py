import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from random_backbones import save_squeezenet
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from inpaint.backbones import build_backbone
from inpaint.losses import (
    LOG_MSE_EPSILON,
    InpaintingLoss,
    LossWeights,
    composite,
    gram_matrix,
    hole_l1,
    hole_mse,
    log_mse,
    perceptual_l1,
    style_l1,
    total_variation,
    valid_l1,
)

HOLES = ["some", "none", "all"]


def sample(
    hole: str = "some", batch: int = 2, height: int = 7, width: int = 9
) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction, image and mask of an odd size."""
    generator = torch.Generator().manual_seed(height * width + batch)
    prediction, image = torch.rand(2, batch, 3, height, width, generator=generator)
    share = {"some": 0.4, "none": 0.0, "all": 1.0}[hole]
    return prediction, image, (torch.rand(batch, 1, height, width, generator=generator) < share).float()


def slow_error(prediction: Tensor, image: Tensor, mask: Tensor, wanted: float, power: int = 1) -> float:
    total = 0.0
    for n, c, y, x in np.ndindex(*prediction.shape):
        if mask[n, 0, y, x] == wanted:
            total += abs(float(prediction[n, c, y, x]) - float(image[n, c, y, x])) ** power
    return total / prediction.numel()


def slow_total_variation(picture: Tensor, mask: Tensor) -> float:
    batch, channels, height, width = picture.shape
    holes = mask.numpy()[:, 0] > 0

    def in_region(n: int, y: int, x: int) -> bool:
        return bool(holes[n, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].any())

    total = 0.0
    for n, c, y, x in np.ndindex(batch, channels, height, width):
        for dy, dx in ((0, 1), (1, 0)):
            inside = y + dy < height and x + dx < width
            if inside and in_region(n, y, x) and in_region(n, y + dy, x + dx):
                total += abs(float(picture[n, c, y + dy, x + dx]) - float(picture[n, c, y, x]))
    return total / picture.numel()


def slow_gram(features: Tensor) -> np.ndarray:
    maps = features.double().numpy()
    return np.einsum("nahw,nbhw->nab", maps, maps, optimize=True) / np.prod(maps.shape[1:])


@pytest.mark.parametrize("hole", HOLES)
def test_pixel_terms_against_loops(hole: str) -> None:
    prediction, image, mask = sample(hole)
    assert valid_l1(prediction, image, mask).item() == pytest.approx(
        slow_error(prediction, image, mask, 0), abs=1e-7
    )
    assert hole_l1(prediction, image, mask).item() == pytest.approx(
        slow_error(prediction, image, mask, 1), abs=1e-7
    )
    assert hole_mse(prediction, image, mask).item() == pytest.approx(
        slow_error(prediction, image, mask, 1, power=2), abs=1e-7
    )


@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("size", [(7, 9), (1, 1), (1, 6)])
def test_total_variation_against_loops(hole: str, size: tuple[int, int]) -> None:
    prediction, image, mask = sample(hole, height=size[0], width=size[1])
    filled = composite(prediction, image, mask)
    expected = slow_total_variation(filled, mask)
    assert total_variation(filled, mask).item() == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_total_variation_of_a_single_hole_pixel_counts_its_dilation() -> None:
    mask = torch.zeros(1, 1, 9, 9)
    mask[..., 4, 4] = 1
    ramp = torch.arange(9.0).expand(1, 3, 9, 9)  # every horizontal step is 1, every vertical one 0
    # The 3×3 region has 2 horizontal pairs in each of 3 rows, in 3 channels.
    assert total_variation(ramp, mask).item() == pytest.approx(3 * 2 * 3 / ramp.numel())


def test_composite_takes_the_hole_from_the_prediction() -> None:
    prediction, image, mask = sample()
    expected = np.where(mask.numpy() > 0, prediction.numpy(), image.numpy())
    np.testing.assert_array_equal(composite(prediction, image, mask).numpy(), expected)


def test_gram_matrix_and_style_against_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    a = [torch.randn(2, 4, 5, 3, generator=generator), torch.randn(2, 6, 2, 7, generator=generator)]
    b = [torch.randn(map_.shape, generator=generator) for map_ in a]
    np.testing.assert_allclose(gram_matrix(a[0]).numpy(), slow_gram(a[0]), atol=1e-6)
    expected = sum(np.abs(slow_gram(x) - slow_gram(y)).mean() for x, y in zip(a, b, strict=True))
    assert style_l1(a, b).item() == pytest.approx(expected, rel=1e-5)
    expected = sum(np.abs(x.numpy() - y.numpy()).mean() for x, y in zip(a, b, strict=True))
    assert perceptual_l1(a, b).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gram_matrix_of_large_half_precision_features_is_finite(dtype: torch.dtype) -> None:
    features = torch.full((1, 8, 64, 64), 6e4, dtype=dtype)  # squared and summed, far beyond float16
    gram = gram_matrix(features)
    assert gram.dtype == torch.float32
    expected = float(features[0, 0, 0, 0]) ** 2 / 8
    torch.testing.assert_close(gram, torch.full((1, 8, 8), expected), rtol=1e-4, atol=0)


def test_log_mse_is_the_negative_mean_psnr_up_to_scale() -> None:
    prediction, image, mask = sample(batch=4, height=16, width=16)
    filled = composite(prediction, image, mask)
    mean_psnr = np.mean(
        [
            peak_signal_noise_ratio(truth.numpy(), fill.numpy(), data_range=1)
            for truth, fill in zip(image, filled, strict=True)
        ]
    )
    assert -10 / math.log(10) * log_mse(filled, image, epsilon=0).item() == pytest.approx(mean_psnr, rel=1e-5)


def test_log_mse_of_an_exact_picture_is_finite_with_finite_gradient() -> None:
    image = torch.rand(2, 3, 5, 5)
    filled = image.clone().requires_grad_()
    loss = log_mse(filled, image)
    loss.backward()
    assert loss.item() == pytest.approx(2 * math.log(1 / 255), rel=1e-5)
    assert filled.grad is not None
    assert torch.equal(filled.grad, torch.zeros_like(image))


def test_memory_format_does_not_matter() -> None:
    prediction, image, mask = sample(height=10, width=6)
    weights = LossWeights(perceptual=0, style=0, log_mse=1)
    plain, _ = InpaintingLoss(weights)(prediction, image, mask)
    strided = [t.repeat_interleave(2, dim=-1)[..., ::2] for t in (prediction, image, mask)]
    assert not strided[0].is_contiguous()
    last = [t.contiguous(memory_format=torch.channels_last) for t in (prediction, image, mask)]
    for inputs in (strided, last):
        torch.testing.assert_close(InpaintingLoss(weights)(*inputs)[0], plain)


@pytest.fixture(scope="module")
def squeezenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backbone") / "squeezenet.safetensors"
    save_squeezenet(path)
    return path


def test_the_sum_is_that_of_the_terms_by_hand(squeezenet_file: Path) -> None:
    backbone = build_backbone(f"squeezenet:{squeezenet_file}")
    prediction, image, mask = sample(height=33, width=40)
    weights = LossWeights(valid=1, hole=6, perceptual=0.05, style=120, tv=0.1, hole_mse=2, log_mse=0.3)
    loss, terms = InpaintingLoss(weights, backbone)(prediction, image, mask)

    filled = composite(prediction, image, mask)
    truth, of_prediction, of_composite = backbone(image), backbone(prediction), backbone(filled)
    by_hand = {
        "valid": slow_error(prediction, image, mask, 0),
        "hole": slow_error(prediction, image, mask, 1),
        "perceptual": sum(
            (a - t).abs().mean().item() + (b - t).abs().mean().item()
            for a, b, t in zip(of_prediction, of_composite, truth, strict=True)
        ),
        "style": sum(
            np.abs(slow_gram(a) - slow_gram(t)).mean() + np.abs(slow_gram(b) - slow_gram(t)).mean()
            for a, b, t in zip(of_prediction, of_composite, truth, strict=True)
        ),
        "tv": slow_total_variation(filled, mask),
        "hole_mse": slow_error(prediction, image, mask, 1, power=2),
        "log_mse": log_mse(filled, image).item(),
    }
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(by_hand, rel=1e-4, abs=1e-6)
    total = sum(getattr(weights, name) * value for name, value in by_hand.items())
    assert loss.item() == pytest.approx(total, rel=1e-4)


def test_terms_of_weight_zero_are_not_computed() -> None:
    weights = LossWeights(valid=0, hole=2, perceptual=0, style=0, tv=0)
    loss, terms = InpaintingLoss(weights)(*sample())
    assert list(terms) == ["hole"]
    assert loss.item() == pytest.approx(2 * terms["hole"].item())


@pytest.mark.parametrize("weights", [LossWeights(style=0), LossWeights(perceptual=0)])
def test_feature_terms_without_a_backbone_are_an_error(weights: LossWeights) -> None:
    with pytest.raises(ValueError, match="backbone"):
        InpaintingLoss(weights)


def test_a_batch_is_the_mean_of_its_slices(squeezenet_file: Path) -> None:
    # What makes training on several processes minimise the loss of one.
    loss = InpaintingLoss(LossWeights(log_mse=1), build_backbone(f"squeezenet:{squeezenet_file}"))
    batch = sample(batch=4, height=32, width=32)
    whole, _ = loss(*batch)
    slices = [loss(*(t[start : start + 2] for t in batch))[0] for start in (0, 2)]
    torch.testing.assert_close(whole, (slices[0] + slices[1]) / 2, rtol=1e-4, atol=1e-5)


def test_under_autocast_terms_are_float32_and_gradients_reach_the_prediction(squeezenet_file: Path) -> None:
    backbone = build_backbone(f"squeezenet:{squeezenet_file}")
    prediction, image, mask = sample(height=32, width=32)
    exact, _ = InpaintingLoss(None, backbone)(prediction, image, mask)
    prediction = prediction.bfloat16().requires_grad_()
    autocast = InpaintingLoss(None, backbone, lambda: torch.autocast("cpu", torch.bfloat16))
    loss, terms = autocast(prediction, image, mask)
    loss.backward()
    assert all(term.dtype == torch.float32 and not term.requires_grad for term in terms.values())
    assert loss.item() == pytest.approx(exact.item(), rel=0.05)
    assert prediction.grad is not None and torch.isfinite(prediction.grad).all()


@pytest.mark.parametrize("weights", [{"hole": -1.0}, {"tv": math.nan}, {"style": math.inf}])
def test_impossible_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(weights))):
        LossWeights(**weights)


def test_coarser_octaves_are_compared_with_the_reduced_picture() -> None:
    """By loops over 2×2 blocks: an octave's pixel is charged where any pixel under it is hole."""
    prediction, image, mask = sample(height=12, width=8)
    coarser = [torch.rand(image.shape[0], 3, 12 >> octave, 8 >> octave) for octave in (1, 2)]
    weights = LossWeights(valid=0, hole=2, perceptual=0, style=0, tv=0, log_mse=0.4, coarser=0.5)
    alone, _ = InpaintingLoss(weights)(prediction, image, mask)
    loss, terms = InpaintingLoss(weights)(prediction, image, mask, coarser)

    expected = 0.0
    for octave, guess in enumerate(coarser, 1):
        side = 2**octave
        n, _, h, w = guess.shape
        error = np.zeros(guess.shape)
        for y, x in itertools.product(range(h), range(w)):
            block = (..., slice(side * y, side * y + side), slice(side * x, side * x + side))
            hole = (mask[block].amax((1, 2, 3)) > 0).double()
            truth = image[block].double().mean((2, 3))
            error[:, :, y, x] = (guess[:, :, y, x].double() - truth) * hole[:, None]
        squared = np.square(error).reshape(n, -1).mean(1)
        expected += 2 * np.abs(error).mean() + 0.4 * np.log(squared + LOG_MSE_EPSILON).mean()
    assert terms["coarser"].item() == pytest.approx(expected, rel=1e-4)
    assert loss.item() == pytest.approx(alone.item() + 0.5 * expected, rel=1e-4)


def test_no_term_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="all loss weights are 0"):
        LossWeights(valid=0, hole=0, perceptual=0, style=0, tv=0, coarser=1)
