"""Muon: updates of convolution kernels with all their singular values equal.

Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024. Adam's update of a kernel is
dominated by a few directions. For a network that begins from a smooth fill these hardly lower the loss.
Orthogonalised, the rare directions have as large an update as the frequent ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# The quintic iteration of the paper, which brings singular values from (0, 1] to about 1 in five rounds.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5


class Muon(torch.optim.AdamW):
    """AdamW whose groups with `"orthogonal": True` take orthogonalised momentum for their update.

    Such a group's parameters [out, in, k, k] are taken for matrices [out, in·k·k]. The update is scaled to
    the size that AdamW's has (Liu et al., Muon is scalable for LLM training, 2025, section 2.2), so that one
    learning rate and one weight decay serve both kinds of group.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        momentum: float = 0.95,
    ) -> None:
        super().__init__(groups, lr=lr, betas=betas, fused=True)
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update; the orthogonal groups' gradients are used up."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                if group.get("orthogonal") and parameter.grad is not None:
                    self._update(parameter, group)
                    parameter.grad = None  # so that AdamW passes it over
        super().step()

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
            state["step"] = torch.zeros(())  # of no use here; AdamW looks for it when it is restored
        state["momentum"].lerp_(gradient, 1 - self.momentum)
        matrix = gradient.lerp(state["momentum"], self.momentum).flatten(1)  # Nesterov's look ahead
        update = orthogonalized(matrix).reshape(parameter.shape)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"] * 0.2 * max(matrix.shape) ** 0.5)


def orthogonalized(matrix: Tensor) -> Tensor:
    """U·Vᵀ of the matrix U·S·Vᵀ [M, N], nearly: singular values between about 0.7 and 1.2; float32."""
    a, b, c = _COEFFICIENTS
    flat = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if flat else matrix.T).bfloat16()
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ROUNDS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if flat else x.T).float()
