import copy

import pytest
import torch
from torch import nn

from inpaint.training.muon import Muon, orthogonalized


@pytest.mark.parametrize("shape", [(8, 8), (5, 40), (40, 5), (4, 900)])
def test_singular_values_become_equal(shape: tuple[int, int]) -> None:
    """Against the decomposition: the same singular vectors, values near 1 however far apart they were."""
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.logspace(0, -1.5, min(shape))
    result = orthogonalized(u @ torch.diag(values) @ v)
    inner = u.T @ result @ v.T
    assert (inner.diagonal() > 0.6).all() and (inner.diagonal() < 1.3).all()
    assert (inner - torch.diag(inner.diagonal())).abs().max() < 0.1


def test_a_gradient_of_nothing_moves_nothing() -> None:
    assert not orthogonalized(torch.zeros(4, 9)).any()


def test_it_is_torchs_muon_over_matrices_and_adamw_over_the_rest() -> None:
    """Ten steps of a small network beside torch.optim.Muon, which takes matrices alone, and AdamW."""
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(6, 12, 3), nn.ReLU(), nn.Conv2d(12, 3, 3)).to(
        memory_format=torch.channels_last
    )
    theirs = copy.deepcopy(ours)
    hidden = theirs[0].weight
    matrix = nn.Parameter(hidden.detach().flatten(1).clone())
    others = [p for p in theirs.parameters() if p is not hidden]
    muon = torch.optim.Muon([matrix], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(others, lr=0.01, betas=(0.9, 0.99), weight_decay=0.05)
    optimizer = Muon(
        [
            {
                "params": [p for p in ours.parameters() if p is not ours[0].weight],
                "weight_decay": 0.05,
            },
            {"params": [ours[0].weight], "weight_decay": 0.1, "orthogonal": True},
        ],
        lr=0.01,
        betas=(0.9, 0.99),
    )
    for _ in range(10):
        pictures = torch.randn(4, 6, 8, 8)
        for network in (ours, theirs):
            network.zero_grad()
            network(pictures).square().mean().backward()
        matrix.grad = hidden.grad.flatten(1)  # type: ignore[union-attr]
        muon.step()
        adam.step()
        optimizer.step()
        with torch.no_grad():
            hidden.copy_(matrix.reshape(hidden.shape))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        # Both round to bfloat16 on the way, in another order.
        torch.testing.assert_close(one, other, rtol=0, atol=2e-3)
    assert (ours[0].weight - theirs[0].weight).abs().mean() < 3e-4


def test_a_closure_is_refused() -> None:
    weight = nn.Parameter(torch.ones(4, 4))
    optimizer = Muon([{"params": [weight], "weight_decay": 0.0}], lr=0.1, betas=(0.9, 0.99))
    with pytest.raises(ValueError, match="closure"):
        optimizer.step(lambda: 0.0)
