"""The training loop with a discriminator beside the network."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from several_processes import ADVERSARY, ALONE, SCHEDULE, train_adversarially
from tiny_training import TinyJudge, TinyNetwork, last_tensors, tiny_settings, tiny_trainer
from torch import Tensor

from inpaint.datasets import TrainingBatches, open_photos
from inpaint.losses import LossWeights
from inpaint.training import adversary
from inpaint.training.adversary import AdversarySettings, Phase
from inpaint.training.run_log import RunLog
from inpaint.training.saving.checkpoint import CheckpointError, list_checkpoints, read_checkpoint
from inpaint.training.trainer import NonFiniteLossError, Stop, Trainer


@pytest.fixture(autouse=True)
def _judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversary, "_build", lambda settings: TinyJudge())


def made(photos: Path, output: Path, **changes: Any) -> Trainer:
    settings = tiny_settings(
        photos, output, **{"schedule": SCHEDULE, "adversary": ADVERSARY, "checkpoint_every": 1, **changes}
    )
    return tiny_trainer(settings, TinyNetwork(batch_norm=False))


def tensors_after(output: Path, step: int) -> dict[str, Tensor]:
    return read_checkpoint(dict(list_checkpoints(output / "checkpoints"))[step]).tensors


def below(tensors: dict[str, Tensor], name: str) -> list[Tensor]:
    return [tensor for key, tensor in sorted(tensors.items()) if key.startswith(f"{name}.")]


@pytest.fixture(scope="module")
def uninterrupted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adversary, "_build", lambda settings: TinyJudge())
        assert made(photos, output).run() is Stop.FINISHED
    return output


def test_each_side_learns_in_its_phases(uninterrupted: Path) -> None:
    """Steps 0 and 1: the network. 2 and 3: the discriminator. From 4 on: both."""
    for step in range(1, 8):
        before, after = (tensors_after(uninterrupted, count) for count in (step, step + 1))
        phase = ADVERSARY.phase(step)
        for names, still in (
            (("network", "average", "optimizer"), phase is Phase.DISCRIMINATOR),
            (("discriminator", "discriminator_optimizer"), phase is Phase.NETWORK),
        ):
            for name in names:
                pairs = list(zip(below(before, name), below(after, name), strict=False))
                assert pairs or name == "discriminator_optimizer"
                same = all(torch.equal(a, b) for a, b in pairs)
                assert same == still or not pairs, (step, name)


@pytest.mark.parametrize("step", [1, 3, 4, 6])
def test_interrupted_and_resumed_equals_uninterrupted(
    step: int, photos: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    earlier = dict(list_checkpoints(uninterrupted / "checkpoints"))[step]
    (checkpoints / earlier.name).write_bytes(earlier.read_bytes())
    resumed = made(photos, tmp_path, resume=True)
    assert resumed.step == step and resumed.run() is Stop.FINISHED
    ours, theirs = last_tensors(tmp_path), last_tensors(uninterrupted)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_other_adversaries_are_another_run(photos: Path, uninterrupted: Path) -> None:
    other = AdversarySettings("global-local", weight=0.5)
    with pytest.raises(CheckpointError, match="--adversary"):
        made(photos, uninterrupted, resume=True, adversary=other)


def test_accumulation_changes_nothing_but_rounding(photos: Path, tmp_path: Path) -> None:
    runs = [
        train_adversarially(ALONE, photos, tmp_path / str(parts), accumulate=parts)["losses"]
        for parts in (1, 2)
    ]
    assert len(runs[0]) == 8 and runs[1] == pytest.approx(runs[0], rel=1e-4, abs=1e-6)
    ours, theirs = (last_tensors(tmp_path / str(parts)) for parts in (1, 2))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=1e-5, msg=name)


def test_the_loop_against_a_plain_one(photos: Path, tmp_path: Path) -> None:
    against = AdversarySettings("patch", weight=0.3, objective="bce", lr=5e-3, r1=0.5, r1_every=2)
    trainer = made(
        photos, tmp_path, precision="fp32", adversary=against, warmup=0, lr_floor=1.0, grad_clip=0,
        weight_decay=0, loss=LossWeights(valid=1, hole=6, perceptual=0, style=0, tv=0),
    )  # fmt: skip
    network, judge = TinyNetwork(batch_norm=False), TinyJudge()
    network.load_state_dict(trainer.network.state_dict())
    assert trainer.adversary is not None
    judge.load_state_dict(trainer.adversary.network.state_dict())
    trainer.run()

    of_network = torch.optim.Adam(network.parameters(), lr=1e-2, betas=(0.9, 0.99))
    of_judge = torch.optim.Adam(judge.parameters(), lr=5e-3, betas=(0.0, 0.99))
    entropy = F.binary_cross_entropy_with_logits
    for step in range(8):
        size, number = (16, 8) if step < 4 else (32, 4)
        image, mask = TrainingBatches(open_photos([photos]), "box:0.1-0.5", size, number, 0).batch(step)
        prediction = network(image * (1 - mask), mask)
        error = (prediction - image).abs()
        filled = torch.where(mask > 0, prediction, image)
        opinion = judge(filled, mask)
        loss = (error * (1 - mask)).mean() + 6 * (error * mask).mean()
        loss = loss + 0.3 * entropy(opinion, torch.ones_like(opinion))
        of_network.zero_grad()
        loss.backward()
        of_network.step()

        real, fake = judge(image, mask), judge(filled.detach(), mask)
        loss = entropy(real, torch.ones_like(real)) + entropy(fake, torch.zeros_like(fake))
        if step % 2 == 0:
            image = image.clone().requires_grad_()
            (slope,) = torch.autograd.grad(judge(image, mask).mean(1).sum(), image, create_graph=True)
            loss = loss + 0.5 / 2 * 2 * slope.square().flatten(1).sum(1).mean()
        of_judge.zero_grad()
        loss.backward()
        of_judge.step()
    for trained, wanted in ((trainer.network, network), (trainer.adversary.network, judge)):
        for ours, theirs in zip(trained.parameters(), wanted.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_pictures_too_small_for_the_discriminator_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="--adversary-discriminator patch: it needs pictures of at least 8 px"
    ):
        made(photos, tmp_path, schedule=type(SCHEDULE).parse("4x8:10"))


def test_a_discriminator_whose_gradient_is_not_finite_stops_before_anything_is_written(
    photos: Path, tmp_path: Path
) -> None:
    trainer = made(photos, tmp_path)
    assert trainer.adversary is not None
    first = next(trainer.adversary.network.parameters())
    first.register_hook(lambda slope: slope * torch.nan if trainer.step == 5 else slope)
    with pytest.raises(NonFiniteLossError, match=r"step 5: .*gradient/discriminator = nan"):
        trainer.run()
    steps = [step for step, _ in list_checkpoints(tmp_path / "checkpoints")]
    assert steps[-1] == 5 and all(
        torch.isfinite(value).all() for value in tensors_after(tmp_path, 5).values()
    )


def test_curves_show_the_penalty_between_its_steps(photos: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "scalars", lambda log, step, values: seen.append(values.get("loss/r1", 0)))
        made(photos, tmp_path, log_every=1).run()
    # Nothing until step 6, the first of the third phase that 3 divides or a step 3 of the second has had one.
    assert [value > 0 for value in seen] == [False] * 3 + [True] * 5
    assert seen[3] == seen[4] == seen[5] != seen[6] == seen[7]
