import contextlib
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_training import TinyJudge
from torch import Tensor, nn

from inpaint.losses import discriminator_loss, generator_loss, gradient_penalty
from inpaint.training import adversary
from inpaint.training.adversary import Adversary, AdversarySettings, Phase
from inpaint.training.presets import PRESETS
from inpaint.training.processes.world import World

ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversary, "_build", lambda settings: TinyJudge())


def made(**settings: Any) -> Adversary:
    return Adversary(
        AdversarySettings(**{"discriminator": "patch", "r1": 0, **settings}),
        ALONE,
        contextlib.nullcontext,  # type: ignore[arg-type]
    )


def pictures(batch: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    mask = torch.zeros(batch, 1, 12, 12)
    mask[..., 3:8, 4:9] = 1
    image = torch.rand(batch, 3, 12, 12)
    return image, image * (1 - mask) + mask * torch.rand_like(image), mask


# ------------------------------------------------------------------------------------------------------------
# Losses
# ------------------------------------------------------------------------------------------------------------


def test_bce_is_the_cross_entropy_of_real_and_filled() -> None:
    real, filled = torch.randn(3, 5), torch.randn(3, 5)
    entropy = F.binary_cross_entropy_with_logits
    wanted = entropy(real, torch.ones(3, 5)) + entropy(filled, torch.zeros(3, 5))
    torch.testing.assert_close(discriminator_loss(real, filled, "bce"), wanted)
    torch.testing.assert_close(generator_loss(filled, "bce"), entropy(filled, torch.ones(3, 5)))


def test_hinge_asks_for_a_margin_of_1_on_either_side() -> None:
    real, filled = torch.tensor([2.0, 0.5]), torch.tensor([-1.5, 0.25])
    assert discriminator_loss(real, filled, "hinge").item() == (0 + 0.5) / 2 + (0 + 1.25) / 2
    assert generator_loss(filled, "hinge").item() == (1.5 - 0.25) / 2


def test_the_gradient_penalty_of_a_known_function() -> None:
    """Logits a·Σx² and b·Σx of each picture: their mean's gradient is a·x + b/2."""
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    a = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    logits = torch.stack([a * x.square().sum((1, 2, 3)), 0.4 * x.sum((1, 2, 3))], 1)
    penalty = gradient_penalty(logits, x)
    wanted = (0.7 * x.detach() + 0.2).square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(penalty, wanted)
    (slope,) = torch.autograd.grad(penalty, a)
    torch.testing.assert_close(slope, (2 * (0.7 * x + 0.2) * x).sum((1, 2, 3)).mean().detach())


# ------------------------------------------------------------------------------------------------------------
# Who learns
# ------------------------------------------------------------------------------------------------------------


def test_the_three_phases_of_global_and_local() -> None:
    settings = AdversarySettings(discriminator="global-local", start=5, alone=2)
    phases = [settings.phase(step) for step in range(7)]
    assert phases == [Phase.NETWORK] * 3 + [Phase.DISCRIMINATOR] * 2 + [Phase.BOTH] * 2
    assert AdversarySettings(discriminator="patch").phase(0) is Phase.BOTH
    assert AdversarySettings().phase(10**6) is Phase.NETWORK


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"discriminator": "big"}, "--adversary-discriminator must be one of none, patch, global-local"),
        ({"objective": "mse"}, "--adversary-objective must be one of hinge, bce, got 'mse'"),
        ({"weight": float("nan")}, "--adversary-weight must be finite"),
        ({"lr": 0}, "--adversary-lr must be positive"),
        ({"kernel_size": 2}, "--adversary-kernel-size must be at least 3"),
        ({"r1_every": 0}, "--adversary-r1-every must be at least 1"),
        ({"alone": 3, "start": 2}, "--adversary-alone: 3 steps do not fit before --adversary-start 2"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdversarySettings(**settings)


@pytest.mark.parametrize("kind", ["patch", "global-local"])
@pytest.mark.parametrize(("settings", "side"), [({}, 4), (PRESETS["gl-paper"]["adversary"], 5)])
def test_kernels_are_even_but_in_the_papers_preset(kind: str, settings: dict[str, Any], side: int) -> None:
    judge = made(**{**settings, "discriminator": kind}).network
    kernels = {m.kernel_size for m in judge.modules() if isinstance(m, nn.Conv2d)}
    assert kernels - {(1, 1)} == {(side, side)}


# ------------------------------------------------------------------------------------------------------------
# A step
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("judged")
@pytest.mark.parametrize("objective", ["hinge", "bce"])
def test_the_charge_leaves_the_discriminator_as_it_is(objective: str) -> None:
    judge, (_, filled, mask) = made(objective=objective), pictures()
    filled.requires_grad_()
    term = judge.generator_term(filled, mask)
    term.backward()
    assert filled.grad is not None and filled.grad.any()
    assert all(p.grad is None and p.requires_grad for p in judge.network.parameters())
    torch.testing.assert_close(term, generator_loss(judge.network(filled, mask), objective))


@pytest.mark.usefixtures("judged")
def test_the_blame_leaves_the_network_as_it_is() -> None:
    # Not with hinge: within its margin the gradients of the last bias cancel.
    judge, (image, filled, mask) = made(objective="bce"), pictures()
    filled.requires_grad_()
    loss, terms = judge.discriminator_loss(image, filled, mask, step=0)
    loss.backward()
    assert filled.grad is None
    assert all(p.grad is not None and p.grad.any() for p in judge.network.parameters())
    wanted = discriminator_loss(judge.network(image, mask), judge.network(filled, mask), "bce")
    torch.testing.assert_close(loss, wanted)
    assert terms.keys() == {"discriminator"}


@pytest.mark.usefixtures("judged")
def test_the_penalty_comes_every_so_often_and_for_the_steps_between() -> None:
    judge, (image, filled, mask) = made(r1=0.5, r1_every=4), pictures()
    plain, terms = judge.discriminator_loss(image, filled, mask, step=3)
    assert "r1" not in terms
    loss, terms = judge.discriminator_loss(image, filled, mask, step=4)
    slopes = []
    for picture, hole in zip(image, mask, strict=True):
        own = picture[None].clone().requires_grad_()
        judge.network(own, hole[None]).mean().backward()
        assert own.grad is not None
        slopes.append(own.grad.square().sum())
    torch.testing.assert_close(terms["r1"], torch.stack(slopes).mean())
    torch.testing.assert_close(loss, plain + 0.5 * 0.5 * 4 * terms["r1"])


@pytest.mark.usefixtures("judged")
def test_updates_teach_it_to_tell_filled_from_untouched() -> None:
    judge = made(lr=1e-2, r1=0.01)
    for step in range(150):
        image, _, mask = pictures(8)
        loss, _ = judge.discriminator_loss(image, image * (1 - mask), mask, step)
        loss.backward()
        judge.update(rate=1.0)
    image, _, mask = pictures(8)
    real, filled = judge.network(image, mask).mean(), judge.network(image * (1 - mask), mask).mean()
    assert real > filled + 1
    assert all(p.grad is None for p in judge.network.parameters())


@pytest.mark.usefixtures("judged")
def test_the_rate_scales_the_discriminators_own() -> None:
    moved = []
    for rate in (1.0, 0.25):
        torch.manual_seed(0)
        judge, (image, filled, mask) = made(lr=1e-3), pictures()
        before = [p.detach().clone() for p in judge.network.parameters()]
        judge.discriminator_loss(image, filled, mask, 0)[0].backward()
        judge.update(rate)
        moved.append([p.detach() - b for p, b in zip(judge.network.parameters(), before, strict=True)])
    for whole, quarter in zip(*moved, strict=True):
        torch.testing.assert_close(quarter, whole / 4, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("name", ["patch", "global-local"])
@pytest.mark.parametrize("size", [64, 96])
def test_both_discriminators_take_a_step_with_the_penalty(name: str, size: int) -> None:
    judge = Adversary(
        AdversarySettings(discriminator=name, r1=1),
        ALONE,
        lambda: torch.autocast("cpu", torch.bfloat16),
    )
    image, mask = torch.rand(2, 3, size, size), torch.zeros(2, 1, size, size)
    mask[..., 5:20, 5:20] = 1
    loss, terms = judge.discriminator_loss(image, 1 - image, mask, 0)
    loss.backward()
    judge.update(1.0)
    assert torch.isfinite(loss) and terms["r1"] > 0
    assert torch.isfinite(judge.generator_term(image, mask))


@pytest.mark.parametrize("name", ["patch", "global-local"])
def test_parts_of_a_batch_have_the_gradient_of_the_whole(name: str) -> None:
    """Also in the first steps, while the spectral norms' power iterations are far from their end."""
    gradients = []
    image, mask = torch.rand(4, 3, 64, 64), torch.zeros(4, 1, 64, 64)
    mask[..., 5:40, 5:40] = 1
    for parts in (1, 4):
        torch.manual_seed(0)
        judge = made(discriminator=name, r1=1.0, r1_every=2, objective="bce")
        for step in range(2):
            for picture, hole in zip(image.chunk(parts), mask.chunk(parts), strict=True):
                judge.generator_term(1 - picture, hole)
                loss, _ = judge.discriminator_loss(picture, 1 - picture, hole, step)
                (loss / parts).backward()
            if step:
                gradients.append([p.grad for p in judge.network.parameters()])
            else:
                judge.update(1.0)
    for whole, summed in zip(*gradients, strict=True):
        torch.testing.assert_close(summed, whole, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["patch", "global-local"])
def test_updates_bring_the_spectral_norms_to_1(name: str) -> None:
    judge = made(discriminator=name, lr=1e-30)
    image, mask = torch.rand(2, 3, 64, 64), torch.ones(2, 1, 64, 64)
    for step in range(60):
        if not step:
            judge.discriminator_loss(image, 1 - image, mask, step)[0].backward()
        judge.update(1.0)
    for module in judge.network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            norm = torch.linalg.matrix_norm(module.weight.flatten(1), ord=2)
            assert norm.item() == pytest.approx(1, abs=0.05)
