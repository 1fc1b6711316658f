"""inpaint.networks.probes against slow formulas, and that a probed network is left as it was."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.layers import CarafeUpsample, PartialConv2d, push_pull
from inpaint.networks import CONFIGS, build_network, probes

SMALL_UNET = {
    **CONFIGS["partial-conv-unet"],
    "widths": (8, 12, 16),
    "kernel_sizes": (5, 3),
    "head_width": 6,
    "compressed_channels": 8,
}
SMALL_GLOBAL_LOCAL = {
    **CONFIGS["global-local"],
    "width": 4,
    "compressed_channels": 4,
    "dilations": (1, 2),
}


def network(base: dict[str, Any] = SMALL_UNET, **changes: Any) -> nn.Module:
    """In evaluation mode; kernels are neither flat nor single taps, and the prediction counts."""
    torch.manual_seed(0)
    made = build_network({**base, **changes})
    for module in made.modules():
        if isinstance(module, CarafeUpsample):
            nn.init.normal_(module.content_encoder.weight, std=0.3)
            nn.init.normal_(module.content_encoder.bias)
        elif isinstance(module, PartialConv2d) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.1)
    last = made.to_image if made.to_image is not None else made.head.merge.conv
    nn.init.normal_(last.weight, std=0.1)
    return made.eval()


def photo(batch: int = 2, height: int = 32, width: int = 40) -> tuple[Tensor, Tensor]:
    """A picture with a hole so wide that some of it stays unknown on the way down."""
    image = torch.rand(batch, 3, height, width)
    mask = torch.zeros(batch, 1, height, width)
    mask[..., 3:30, 2:37] = 1
    return image, mask


def assert_leaves_no_trace(made: nn.Module, probe: Callable[[], probes.Probe | None]) -> Tensor:
    """What the network gives in the probe; the same bits as before come after it, and after an exception."""
    image, mask = photo()
    with torch.no_grad():
        before, state = made(image, mask), copy.deepcopy(made.state_dict())
        context = probe()
        assert context is not None
        with context:
            within = made(image, mask)
        assert torch.equal(made(image, mask), before)
        context = probe()
        assert context is not None
        with pytest.raises(KeyError), context:
            raise KeyError
        assert torch.equal(made(image, mask), before)
    for name, value in made.state_dict().items():
        assert torch.equal(value, state[name])
    assert not any("_logits" in vars(module) for module in made.modules())
    assert not any(module._forward_hooks for module in made.modules())
    return within


# ------------------------------------------------------------------------------------------------------------
# Parts taken away
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "changes"),
    [(SMALL_UNET, {}), (SMALL_UNET, {"head_width": 0}), (SMALL_GLOBAL_LOCAL, {})],
    ids=["unet", "unet without a head", "global-local"],
)
def test_without_its_residual_a_network_gives_the_membrane(
    base: dict[str, Any], changes: dict[str, Any]
) -> None:
    made = network(base, **changes)
    image, mask = photo()
    choice = getattr(made, "choice", None)
    if choice is not None:  # what it adds to the membrane is given, too
        choice.register_forward_hook(lambda _m, _i, output: 0 * output)
    with torch.no_grad():
        with probes.without_residual(made):
            given = made(image, mask)
        assert torch.equal(given, push_pull(image, 1 - mask))
        assert not torch.equal(made(image, mask), given)


@pytest.mark.parametrize("base", [SMALL_UNET, SMALL_GLOBAL_LOCAL])
def test_the_residual_comes_back(base: dict[str, Any]) -> None:
    made = network(base)
    assert_leaves_no_trace(made, lambda: probes.without_residual(made))


@pytest.mark.parametrize("base", [SMALL_UNET, SMALL_GLOBAL_LOCAL])
def test_without_a_head_start_there_is_no_residual(base: dict[str, Any]) -> None:
    assert probes.without_residual(network(base, head_start=False)) is None
    assert probes.without_residual(nn.Conv2d(3, 3, 1)) is None


@pytest.mark.parametrize("upsampler", ["carafe", "nearest", "bilinear_conv", "deconv"])
def test_below_a_scale_nothing_counts(upsampler: str) -> None:
    made = network(upsampler=upsampler)
    without = {
        scale: assert_leaves_no_trace(made, lambda scale=scale: probes.without_below(made, scale))
        for scale in (4, 2, 1)
    }
    image, mask = photo()
    other = copy.deepcopy(made)
    with torch.no_grad():
        for weight in other.encoder[2].parameters():  # at 1/8
            weight.add_(0.1)
        assert not torch.equal(other(image, mask), made(image, mask))
        fills = []
        for one in (made, other):
            with ExitStack() as stack:
                # Predicted kernels carry valid, too, which stays.
                constant = probes.constant_kernels(one, probes.nearest_kernels(one))
                for probe in (constant, probes.without_below(one, 4)):
                    if probe is not None:
                        stack.enter_context(probe)
                fills.append(one(image, mask))
        assert torch.equal(*fills)
    assert len({value.sum().item() for value in without.values()}) == 3


def test_levels_that_are_not_there() -> None:
    made = network()
    assert made.stride == 8
    for scale in (3, 8, 16):
        assert probes.without_below(made, scale) is None
    # No skip passes by what comes from below.
    assert probes.without_below(network(SMALL_GLOBAL_LOCAL), 2) is None


# ------------------------------------------------------------------------------------------------------------
# Constant kernels
# ------------------------------------------------------------------------------------------------------------

BASES = pytest.mark.parametrize("base", [SMALL_UNET, SMALL_GLOBAL_LOCAL], ids=["unet", "global-local"])
NORMALIZERS = pytest.mark.parametrize("upsampler", ["carafe", "carafe_sigmoid", "carafe_sigmoid_normalized"])


@BASES
@NORMALIZERS
def test_kernels_that_are_constant_already(base: dict[str, Any], upsampler: str) -> None:
    made = network(base, upsampler=upsampler)
    for level in probes.carafe_levels(made).values():
        nn.init.zeros_(level.content_encoder.weight)
    batches = [photo(), photo()]
    kernels = probes.mean_kernels(made, batches)
    image, mask = photo()
    with torch.no_grad():
        predicted = made(image, mask)
        with probes.constant_kernels(made, kernels):
            torch.testing.assert_close(made(image, mask), predicted, rtol=1e-4, atol=1e-4)
    for seen in probes.inspect_decoder(made, batches).kernels.values():
        assert seen.variance == pytest.approx(0, abs=1e-6)


@BASES
@NORMALIZERS
def test_constant_kernels_are_seen_as_they_were_given(base: dict[str, Any], upsampler: str) -> None:
    made = network(base, upsampler=upsampler)
    kernels = probes.mean_kernels(made, [photo()])
    assert_leaves_no_trace(made, lambda: probes.constant_kernels(made, kernels))
    with probes.constant_kernels(made, kernels):
        seen = probes.inspect_decoder(made, [photo(1)]).kernels
    for level, kernel in kernels.items():
        expected = kernel / kernel.sum(1, keepdim=True) if "normalized" in upsampler else kernel
        torch.testing.assert_close(seen[level].mean, expected, rtol=1e-4, atol=1e-5)
        assert seen[level].variance == pytest.approx(0, abs=1e-6)


@BASES
@NORMALIZERS
def test_nearest_kernels_upsample_as_nearest_does(base: dict[str, Any], upsampler: str) -> None:
    made, nearest = network(base, upsampler=upsampler), network(base, upsampler="nearest")
    nearest.load_state_dict(made.state_dict(), strict=False)
    image, mask = photo()
    with torch.no_grad():
        within = assert_leaves_no_trace(
            made, lambda: probes.constant_kernels(made, probes.nearest_kernels(made))
        )
        assert torch.isfinite(within).all()
        with probes.constant_kernels(made, probes.nearest_kernels(made)):
            torch.testing.assert_close(made(image, mask), nearest(image, mask), rtol=1e-4, atol=1e-4)


def test_random_kernels_are_single_taps_and_drawn_anew() -> None:
    made = network()
    drawn = probes.random_kernels(made, seed=1)
    for level, kernel in drawn.items():
        assert torch.equal(kernel.sum(1), torch.ones(1, 4)) and kernel.max() == 1, level
    assert torch.equal(drawn["head"], probes.random_kernels(made, seed=1)["head"])
    others = probes.random_kernels(made, seed=2)
    assert any(not torch.equal(drawn[level], others[level]) for level in drawn)


def test_kernels_that_do_not_fit_are_named() -> None:
    made = network()
    with pytest.raises(ValueError, match=r"no CARAFE level 'up'; there are decoder.0, decoder.1, head"):
        probes.constant_kernels(made, {"up": torch.ones(1, 25, 4)})
    with pytest.raises(ValueError, match=r"kernels of head must have shape \[1, 25, 4\], got \[25, 4\]"):
        probes.constant_kernels(made, {"head": torch.ones(25, 4)})
    assert probes.constant_kernels(network(upsampler="nearest"), {}) is None


# ------------------------------------------------------------------------------------------------------------
# Looking on
# ------------------------------------------------------------------------------------------------------------


def as_kernels(logits: Tensor, normalizer: str) -> np.ndarray:
    """Kernels [N, σH, σW, k²] of one group, each as long as the row of taps, and the shares they come to."""
    shuffled = F.pixel_shuffle(logits.double(), 2).permute(0, 2, 3, 1).numpy()
    if normalizer == "softmax":
        raised = np.exp(shuffled)
        return raised / raised.sum(-1, keepdims=True)
    open_gates = 1 / (1 + np.exp(-shuffled))
    return open_gates if normalizer == "sigmoid" else open_gates / open_gates.sum(-1, keepdims=True)


@BASES
@NORMALIZERS
def test_kernel_statistics_against_loops(base: dict[str, Any], upsampler: str) -> None:
    made = network(base, upsampler=upsampler)
    batches = [photo(), photo(1)]
    batches[0][1][1] = 1  # a picture of which nothing is known
    logits: dict[str, list[Tensor]] = {}
    known: dict[str, list[Tensor]] = {}
    with ExitStack() as stack, torch.no_grad():
        for level, module in probes.carafe_levels(made).items():
            logits[level], known[level] = [], []

            def keep(_module: nn.Module, _inputs: Any, output: Any, level: str = level) -> None:
                logits[level].append(output)

            def keep_valid(_module: nn.Module, _inputs: Any, output: Any, level: str = level) -> None:
                known[level].append(
                    torch.ones_like(output[:, :1]) if isinstance(output, Tensor) else output[1]
                )

            stack.enter_context(module.content_encoder.register_forward_hook(keep))
            stack.enter_context(module.register_forward_hook(keep_valid))
        for image, mask in batches:
            made(image, mask)
        seen = probes.inspect_decoder(made, batches).kernels
    assert seen.keys() == logits.keys()
    some_unknown = False
    for number, (level, module) in enumerate(probes.carafe_levels(made).items()):
        assert seen[level].scale == 2 ** (len(seen) - 1 - number)
        places: list[list[np.ndarray]] = [[], [], [], []]
        entropies, peaks = [], []
        for batch, valid in zip(logits[level], known[level], strict=False):  # the hooks saw them twice
            kernels = as_kernels(batch, module.normalizer)
            for n, y, x in np.ndindex(*kernels.shape[:3]):
                if valid[n, 0, y, x] == 0:
                    some_unknown = True
                    continue
                weights = kernels[n, y, x] / kernels[n, y, x].sum()
                places[2 * (y % 2) + x % 2].append(kernels[n, y, x])
                entropies.append(-sum(w * math.log(w) for w in weights if w > 0))
                peaks.append(weights.max() > probes.PEAKED)
        shares = [np.array([kernel / kernel.sum() for kernel in place]) for place in places]
        assert seen[level].entropy == pytest.approx(np.mean(entropies), rel=1e-4)
        assert seen[level].relative_entropy == pytest.approx(np.mean(entropies) / math.log(25), rel=1e-4)
        assert seen[level].peaked == pytest.approx(np.mean(peaks), abs=1e-6)
        variance = np.mean([place.var(axis=0).sum() for place in shares])
        assert seen[level].variance == pytest.approx(variance, rel=1e-3, abs=1e-6)
        means = np.stack([np.mean(place, axis=0) for place in places], axis=1)  # [k², σ²]
        np.testing.assert_allclose(seen[level].mean[0].numpy(), means, rtol=1e-3, atol=1e-6)
    assert some_unknown == (base is SMALL_UNET)  # the other one carries no valid


def test_kernels_on_one_tap_are_peaked_and_without_entropy() -> None:
    made = network()
    with probes.constant_kernels(made, probes.random_kernels(made)):
        seen = probes.inspect_decoder(made, [photo()]).kernels
    for one in seen.values():
        assert (one.entropy, one.peaked, one.variance) == (0, 1, 0)
    flat = {level: torch.full_like(one.mean, 1 / 25) for level, one in seen.items()}
    with probes.constant_kernels(made, flat):
        for one in probes.inspect_decoder(made, [photo()]).kernels.values():
            assert one.relative_entropy == pytest.approx(1) and one.peaked == 0


def test_a_merge_is_shared_out_among_its_parts() -> None:
    made = network(head_start=True)
    image, mask = photo()
    shares = probes.inspect_decoder(made, [(image, mask)]).from_below
    assert shares.keys() == {"decoder.0", "decoder.1", "head"}
    assert all(0 < share < 1 for share in shares.values())

    # From the other side: what comes through the skips is the rest.
    merge = made.decoder[1].merge.conv
    calls: list[tuple[Any, Any]] = []
    with merge.register_forward_hook(lambda _m, inputs, _o: calls.append(inputs[:2])), torch.no_grad():
        made(image, mask)
    (parts, valids) = calls[0]
    parts = [part * valid for part, valid in zip(parts, valids, strict=True)]
    mass = sum(valid * part.shape[1] for part, valid in zip(parts, valids, strict=True))
    window = F.conv2d(mass, torch.ones(1, 1, 3, 3), padding=1)
    factor = torch.where(window > 0, 9 * merge.in_channels / window.clamp(min=1e-9), 0)
    energies, first = [], 0
    for part in parts:
        weight = merge.weight.detach()[:, first : first + part.shape[1]]
        energies.append(float((F.conv2d(part, weight, padding=1) * factor).double().square().sum()))
        first += part.shape[1]
    assert shares["decoder.1"] == pytest.approx(energies[0] / sum(energies), rel=1e-4)
    assert 1 - shares["decoder.1"] == pytest.approx(sum(energies[1:]) / sum(energies), rel=1e-4)


def test_a_merge_that_does_not_read_its_skip() -> None:
    made = network()
    with torch.no_grad():
        made.decoder[0].merge.conv.weight[:, 16:] = 0
        made.decoder[1].merge.conv.weight[:, :12] = 0
    shares = probes.inspect_decoder(made, [photo(), photo(1)]).from_below
    assert shares["decoder.0"] == pytest.approx(1, abs=1e-9)
    assert shares["decoder.1"] == pytest.approx(0, abs=1e-9)


def test_looking_on_changes_nothing() -> None:
    made = network()
    image, mask = photo()
    with torch.no_grad():
        before = made(image, mask)
        probes.inspect_decoder(made, [(image, mask)])
        assert torch.equal(made(image, mask), before)
        with pytest.raises(ValueError, match="multiples of 8"):
            probes.inspect_decoder(made, [(image[..., 1:], mask[..., 1:])])
        assert torch.equal(made(image, mask), before)
    assert not any("_logits" in vars(module) or module._forward_hooks for module in made.modules())


def test_what_cannot_be_looked_at() -> None:
    made = network()
    with pytest.raises(ValueError, match="evaluation mode"):
        probes.inspect_decoder(made.train(), [photo()])
    with pytest.raises(ValueError, match="no batch"):
        probes.inspect_decoder(made.eval(), [])
    nothing = probes.inspect_decoder(nn.Conv2d(3, 3, 1).eval(), [photo()])
    assert nothing.kernels == nothing.from_below == {}


def test_the_weights_that_predict_kernels() -> None:
    for base in (SMALL_UNET, SMALL_GLOBAL_LOCAL):
        made = network(base)
        wanted = {name for name, _ in made.named_parameters() if "content_encoder" in name}
        found = {id(weight) for weight in probes.kernel_parameters(made)}
        assert found == {id(weight) for name, weight in made.named_parameters() if name in wanted}
        assert wanted
    assert probes.kernel_parameters(network(upsampler="bilinear")) == []
