"""What `torch.jit.script` is told."""

from __future__ import annotations

from typing import NoReturn


class NotScriptable:
    """A module that `torch.jit.script` refuses with a sentence, also where it is a part of another one.

    The operator's checks and its choice of kernels are Python that TorchScript cannot compile; its own error
    would name a line of them, and no way out.
    """

    def __prepare_scriptable__(self) -> NoReturn:
        """Raise: this is what `torch.jit.script` calls first for a module and all its parts."""
        raise NotImplementedError(
            f"torch.jit.script cannot compile {type(self).__name__}: CARAFE is not written in TorchScript. "
            "Take torch.jit.trace or torch.onnx.export for a program that runs without this package, "
            "torch.export for one that uses its operator, or torch.compile for speed"
        )
