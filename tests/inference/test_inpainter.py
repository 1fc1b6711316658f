"""Inpainter: any size, known pixels untouched, the photo's own resolution, no seams."""

import itertools
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from torch import nn

from inpaint import Inpainter
from inpaint.inference import plan, scales
from inpaint.networks import Network, build_network


class Recorder(Network):
    """Predicts one grey and remembers what it was shown."""

    def __init__(self, stride=32, value=0.5):
        super().__init__({}, stride)
        self.value, self.seen = value, []

    def forward(self, image, mask):
        assert image.shape[1:] == (3, *mask.shape[2:]) and mask.shape[:2] == (1, 1)
        assert image.shape[2] % self.stride == 0 and image.shape[3] % self.stride == 0
        assert image.dtype == mask.dtype == torch.float32
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        self.seen.append((image.clone(), mask.clone()))
        return torch.full_like(image, self.value)


class MeanColour(Network):
    """Predicts the mean of the colours it is shown, so that every window is filled differently."""

    def __init__(self):
        super().__init__({}, stride=32)

    def forward(self, image, mask):
        known = 1 - mask
        mean = (image * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True)
        return mean.expand_as(image)


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def hole(height, width, *boxes):
    mask = np.zeros((height, width), bool)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def fill(image, mask, network=None):
    """Fill and check what must hold every time."""
    network = network or Recorder()
    before, mask_before = image.copy(), mask.copy()
    result = Inpainter(network, device="cpu")(image, mask)
    assert result.shape == image.shape and result.dtype == np.uint8 and result.flags.c_contiguous
    assert not np.shares_memory(result, image)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(mask, mask_before)
    np.testing.assert_array_equal(result[~mask], image[~mask])
    return result, network


def place_of(window, image, mask):
    """Return where the known pixels of a network's window are found in the photo, bit for bit."""
    pixels, holes = window
    shown = pixels[0].permute(1, 2, 0).numpy()
    known = holes[0, 0].numpy() == 0
    levels = np.rint(shown * 255)
    np.testing.assert_allclose(shown[known] * 255, levels[known], atol=1e-4)
    height, width = min(known.shape[0], image.shape[0]), min(known.shape[1], image.shape[1])
    for top in range(image.shape[0] - height + 1):
        for left in range(image.shape[1] - width + 1):
            part = np.s_[top : top + height, left : left + width]
            if np.array_equal(mask[part], ~known[:height, :width]) and np.array_equal(
                image[part][~mask[part]], levels[:height, :width][known[:height, :width]]
            ):
                assert not known[height:].any() and not known[:, width:].any()  # beyond the photo: unknown
                return top, left
    raise AssertionError("the network was not shown a piece of the photo")


SIZES = [(1, 1), (1, 70), (70, 1), (3, 5), (64, 64), (513, 511), (700, 90)]


@pytest.mark.parametrize("height, width", SIZES)
def test_any_size_with_a_hole_anywhere(height, width):
    image = photo(height, width)
    corner = hole(height, width, (0, 0, -(-height // 3), -(-width // 3)))
    most = ~hole(height, width, (height // 2, width // 2, height // 2 + 1, width // 2 + 1))
    right = hole(height, width, (0, width - 1, height, width))
    for mask in (corner, most, right):
        fill(image, mask)


@pytest.mark.parametrize("height, width", SIZES)
def test_empty_and_full_masks(height, width):
    image = photo(height, width)
    result, network = fill(image, np.zeros((height, width), bool))
    np.testing.assert_array_equal(result, image)
    assert network.seen == []
    result, network = fill(image, np.ones((height, width), bool), Recorder(value=0.9))
    assert (result == 128).all()  # nothing is known, so nothing is claimed


def test_the_prediction_is_composited_and_rounded():
    image, mask = photo(40, 40), hole(40, 40, (10, 10, 20, 20))
    for value, wanted in ((0.3, 76), (-2.0, 0), (5.0, 255), (100.6 / 255, 101)):
        result, _ = fill(image, mask, Recorder(value=value))
        assert (result[mask] == wanted).all()


@pytest.mark.parametrize(
    "height, width, box",
    [
        (800, 1100, (300, 400, 340, 460)),
        (800, 1100, (200, 300, 584, 684)),  # 384 + 2·64 = 512
        (800, 1100, (0, 0, 448, 448)),  # at the corner the photo ends on one side
        (512, 512, (1, 1, 511, 511)),  # the whole photo fits
        (300, 1100, (10, 200, 290, 500)),
        (1100, 70, (500, 5, 800, 60)),
    ],
)
def test_a_hole_whose_surroundings_fit_is_never_shrunk(height, width, box):
    image, mask = photo(height, width), hole(height, width, box)
    _, network = fill(image, mask)
    (window,) = network.seen
    top, left = place_of(window, image, mask)
    assert max(window[0].shape[2:]) <= 512
    shown_height, shown_width = window[0].shape[2:]
    assert top <= max(box[0] - 64, 0) and left <= max(box[1] - 64, 0)
    assert top + shown_height >= min(box[2] + 64, height)
    assert left + shown_width >= min(box[3] + 64, width)


def test_a_larger_hole_is_shrunk_to_the_working_size():
    image, mask = photo(1500, 1500), hole(1500, 1500, (400, 400, 1168, 1168))
    _, network = fill(image, mask)
    (window,) = network.seen
    assert window[0].shape[2:] == (512, 512)
    side = window[1].sum().sqrt().item()
    assert 382 <= side <= 384  # half the scale: 768 -> 384


def test_shrinking_keeps_the_hole_out_of_the_known_pixels():
    """Around a huge hole full of white, a black photo must look black to the network."""
    mask = hole(1500, 1500, (301, 305, 1203, 1199))
    image = np.where(mask[..., None], 255, 0).astype(np.uint8).repeat(3, axis=2)
    result, network = fill(image, mask, Recorder(value=0.0))
    assert all(not pixels.any() for pixels, _ in network.seen)
    assert not result.any()


def test_shrunk_pixels_are_means_of_the_known_pixels_below():
    image, mask = photo(48, 60), np.random.default_rng(1).random((48, 60)) < 0.7
    mask[4:8, 8:12] = True  # one shrunk pixel with nothing known
    small, small_hole = scales.shrink(image, mask, 0.25)
    for row, column in np.ndindex(12, 15):
        part = np.s_[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert small_hole[row, column] == mask[part].all()
        if not small_hole[row, column]:
            np.testing.assert_allclose(
                small[row, column], image[part][~mask[part]].mean(axis=0), rtol=1e-4, atol=1e-2
            )
    assert small_hole[1, 2]


def test_a_thin_hole_across_a_large_photo_is_filled_at_full_resolution():
    image = photo(900, 2100)
    mask = np.zeros((900, 2100), np.uint8)
    cv2.line(mask, (30, 30), (2070, 870), 1, thickness=9)
    mask = mask.astype(bool)
    _, network = fill(image, mask)
    assert len(network.seen) > 3
    for window in network.seen:
        known = window[1][0, 0].numpy() == 0
        levels = window[0][0].permute(1, 2, 0).numpy()[known] * 255
        np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)  # means of noise would not be integers


def test_windows_along_one_hole_meet_without_a_step():
    """Neighbouring windows predict different greys; the fill must go smoothly from one to the next."""
    image = np.linspace(0, 255, 2100).astype(np.uint8)[None, :, None].repeat(500, 0).repeat(3, 2)
    mask = hole(500, 2100, (200, 60, 240, 2040))
    result, _ = fill(image, mask, MeanColour())
    row = result[220, 60:2040, 0].astype(int)
    assert row[-1] - row[0] > 100  # the windows do differ
    assert np.abs(np.diff(row)).max() <= 4
    assert np.ptp(result[200:240, 60:2040].astype(int), axis=0).max() <= 1


@pytest.mark.parametrize("length, size", [(600, 2000), (1900, 2000), (5000, 7000)])
def test_cells_cover_a_hole_with_weights_that_sum_to_one(length, size):
    total = np.zeros(length)
    for span, weights in plan.cells(50, 50 + length, size):
        assert span.stop - span.start <= 384
        total[span] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_a_shrunk_fill_meets_the_photo_without_a_seam():
    """A network whose colours are off must leave no step at the edge of a hole that is filled shrunk."""
    image = cv2.resize(skimage.data.astronaut(), (1400, 1400), interpolation=cv2.INTER_CUBIC)
    mask = hole(1400, 1400, (300, 350, 1100, 1150))
    result, network = fill(image, mask, Recorder(value=0.5))
    assert network.seen[0][0].shape[2:] == (512, 512)

    def step(picture):
        """Mean difference across the hole's four edges."""
        p = picture.astype(int)
        pairs = [
            (p[299, 350:1150], p[300, 350:1150]),
            (p[1100, 350:1150], p[1099, 350:1150]),
            (p[300:1100, 349], p[300:1100, 350]),
            (p[300:1100, 1150], p[300:1100, 1149]),
        ]
        return np.mean([np.abs(a - b).mean() for a, b in pairs])

    plain = image.copy()
    plain[mask] = 128
    assert step(plain) > 25
    assert step(result) < 1.5 * step(image)


def test_push_pull_is_exact_where_known_and_smooth_elsewhere():
    rng = np.random.default_rng(2)
    weights = (rng.random((67, 91)) < 0.02).astype(np.float32)
    values = np.full((67, 91), 42.0, np.float32) * weights
    np.testing.assert_allclose(scales.weighted_push_pull(values, weights), 42, rtol=1e-5)
    values = rng.normal(size=(67, 91)).astype(np.float32) * weights
    spread = scales.weighted_push_pull(values, weights)
    np.testing.assert_allclose(spread[weights > 0], values[weights > 0], rtol=1e-5)
    assert values.min() <= spread.min() and spread.max() <= values.max()
    for shape in ((1, 1), (1, 40), (40, 1)):
        weights = np.zeros(shape, np.float32)
        weights[0, 0] = 1
        np.testing.assert_allclose(scales.weighted_push_pull(weights * 7, weights), 7, rtol=1e-5)


def test_distant_holes_are_filled_each_on_its_own():
    """Every hole reads the original photo: filling them together or one by one is the same."""
    image = photo(900, 1300, seed=3)
    boxes = [(10, 10, 40, 60), (700, 1200, 800, 1290), (20, 1100, 25, 1105), (400, 500, 600, 700)]
    together, _ = fill(image, hole(900, 1300, *boxes), MeanColour())
    for box in boxes:
        alone, _ = fill(image, hole(900, 1300, box), MeanColour())
        part = np.s_[box[0] : box[2], box[1] : box[3]]
        np.testing.assert_array_equal(together[part], alone[part])


def test_what_lies_in_the_hole_has_no_influence():
    torch.manual_seed(0)
    network = build_network({"network": "PartialConvUNet", "widths": (4, 8), "head_width": 4})
    for height, width, box in ((90, 120, (20, 30, 70, 80)), (1200, 1300, (200, 200, 1000, 1100))):
        mask = hole(height, width, box)
        image = photo(height, width)
        other = image.copy()
        other[mask] = photo(height, width, seed=9)[mask]
        first, _ = fill(image, mask, network)
        second, _ = fill(other, mask, network)
        np.testing.assert_array_equal(first, second)


def test_close_specks_share_windows():
    rng = np.random.default_rng(4)
    mask = np.zeros((1000, 1000), bool)
    for top, left in rng.integers(0, 990, (300, 2)):
        mask[top : top + 3, left : left + 3] = True
    _, network = fill(photo(1000, 1000), mask)
    assert len(network.seen) < 60
    pairs = hole(1000, 1000, (500, 500, 505, 505), (500, 540, 505, 545))
    _, network = fill(photo(1000, 1000), pairs)
    assert len(network.seen) == 1


@pytest.mark.parametrize("dots", [27, 100])
def test_a_grid_of_dots_costs_little_more_than_the_whole_picture(dots):
    """A window for each dot was many times the picture: minutes for what a click in another program makes."""
    side = 4000
    mask = np.zeros((side, side), bool)
    for row, column in itertools.product(np.linspace(30, side - 30, dots).astype(int), repeat=2):
        mask[row - 4 : row + 5, column - 4 : column + 5] = True
    jobs, groups = plan.plan(mask)
    assert (groups[mask] > 0).all()
    work = 0
    for job in jobs:
        box = job.box
        assert job.scale == 1
        assert len(list(plan.cells(box.top, box.bottom, side))) == 1  # it is one window
        assert len(list(plan.cells(box.left, box.right, side))) == 1
        window = plan.window_around(box, side, side, 32)
        work += (window.bottom - window.top) * (window.right - window.left)
    assert work < 2.5 * side * side


def test_a_photo_that_fits_in_one_window_costs_one():
    corners = [(y, x, y + 9, x + 9) for y in (0, 240, 491) for x in (0, 240, 491)]
    _, network = fill(photo(500, 500), hole(500, 500, *corners))
    assert len(network.seen) == 1


def test_forty_megapixels_with_a_few_holes():
    image = np.zeros((5000, 8000, 3), np.uint8)
    image[:] = np.arange(256, dtype=np.uint8)[np.arange(8000) % 256][None, :, None]
    mask = hole(5000, 8000, (2500, 4000, 2540, 4060), (0, 0, 3, 3), (4990, 7990, 5000, 8000))
    result = Inpainter(network := Recorder(value=1.0), device="cpu")(image, mask)
    assert (result[mask] == 255).all()
    result[mask] = image[mask]
    assert np.array_equal(result, image)
    assert [tuple(pixels.shape[2:]) for pixels, _ in network.seen] == [(256, 256)] * 3


def test_strided_read_only_and_fortran_inputs():
    base, mask = photo(120, 90), hole(120, 90, (30, 20, 60, 70))
    wanted, _ = fill(base, mask, MeanColour())
    spread = np.zeros((240, 180, 4), np.uint8)
    spread[::2, ::2, 2::-1] = base
    wide_mask = np.zeros((240, 90), bool)
    wide_mask[::2] = mask
    frozen = base.copy()
    frozen.flags.writeable = False
    for image, same_mask in (
        (spread[::2, ::2, 2::-1], wide_mask[::2]),
        (np.asfortranarray(base), np.asfortranarray(mask)),
        (frozen, mask),
        (base[::-1][::-1], mask[:, ::-1][:, ::-1]),
    ):
        result, _ = fill(image, same_mask, MeanColour())
        np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize(
    "image, mask, error, message",
    [
        (photo(4, 4).astype(np.float32), np.zeros((4, 4), bool), TypeError, "uint8, not float32"),
        ("photo.png", np.zeros((4, 4), bool), TypeError, "not str"),
        (photo(4, 4)[..., 0], np.zeros((4, 4), bool), ValueError, r"H×W×3.*\(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), bool), ValueError, r"\(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), np.zeros((0, 4), bool), ValueError, r"\(0, 4, 3\)"),
        (photo(4, 4), np.full((4, 4), 255, np.uint8), TypeError, r"bool.*uint8.*mask > 127"),
        (photo(4, 4), np.zeros((4, 5), bool), ValueError, r"\(4, 4\).*\(4, 5\)"),
        (photo(4, 4), np.zeros((4, 4, 1), bool), ValueError, r"\(4, 4, 1\)"),
    ],
)
def test_wrong_inputs_are_named(image, mask, error, message):
    with pytest.raises(error, match=message):
        Inpainter(Recorder(), device="cpu")(image, mask)


def test_a_network_that_returns_nan_is_an_error():
    with pytest.raises(RuntimeError, match="NaN"):
        fill(photo(40, 40), hole(40, 40, (1, 1, 5, 5)), Recorder(value=float("nan")))


def test_asking_for_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="use cpu or auto"):
        Inpainter(Recorder(), device="cuda")
    assert Inpainter(Recorder(), device="auto").device.type == "cpu"


def test_progress_rises_from_zero_to_one():
    line = hole(300, 2000, (100, 10, 110, 1990))  # one hole, many windows
    holes = hole(300, 2000, (10, 10, 20, 20), (10, 1000, 20, 1010), (100, 400, 290, 600))
    for mask, least in ((line, 5), (holes, 4), (np.zeros((300, 2000), bool), 2)):
        fractions = []
        Inpainter(Recorder(), device="cpu")(photo(300, 2000), mask, progress=fractions.append)
        assert fractions[0] == 0 and fractions[-1] == 1 and len(fractions) >= least
        assert all(a <= b for a, b in itertools.pairwise(fractions))


def test_calls_are_repeatable_also_from_several_threads():
    torch.manual_seed(0)
    network = build_network({"network": "PartialConvUNet", "widths": (4, 8), "head_width": 4})
    inpainter = Inpainter(network, device="cpu")
    image, mask = photo(150, 170), hole(150, 170, (20, 30, 90, 100))
    wanted = inpainter(image, mask)
    results = []
    threads = [threading.Thread(target=lambda: results.append(inpainter(image, mask))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, wanted)


def test_inference_loads_no_training_code():
    code = (
        "import sys, inpaint; assert 'torch' not in sys.modules; inpaint.Inpainter; "
        "print([m for m in sys.modules if m.startswith(('inpaint.training', 'inpaint.losses', "
        "'inpaint.datasets', 'inpaint.evaluation', 'gradio', 'tensorboard', 'lpips'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Convolution(Network):
    """Remembers in which type it convolved."""

    def __init__(self):
        super().__init__({}, stride=8)
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, image, mask):
        made = self.conv(image)
        self.seen = image.dtype, made.dtype
        return made


@pytest.mark.parametrize("precision, dtype", [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_precision_is_that_of_the_convolutions(precision, dtype):
    network = Convolution()
    assert Inpainter(network, device="cpu", precision=precision).precision == precision
    Inpainter(network, device="cpu", precision=precision)(photo(16, 16), hole(16, 16, (2, 2, 5, 5)))
    assert network.seen == (torch.float32, dtype)
    assert network.conv.weight.dtype == torch.float32
    assert Inpainter(network, device="cpu").precision in ("float32", "bfloat16")
    with pytest.raises(ValueError, match="precision half: expected one of auto"):
        Inpainter(network, device="cpu", precision="half")
