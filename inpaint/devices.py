"""Where networks run: what `--device` and `device=` name, found on this machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch  # late elsewhere, so that a wrong name is answered before torch is loaded

_NAME = re.compile(r"auto|cpu|cuda(?::\d{1,3})?")


def check_device_name(device: str) -> str:
    """Return the name of a device as it is; whether there is such a device is not looked at.

    Raises:
        ValueError: it is none of "auto", "cpu", "cuda" and "cuda:NUMBER".

    Example:
        >>> check_device_name("cuda:1")
        'cuda:1'
    """
    if not _NAME.fullmatch(device):
        raise ValueError(f"device {device}: expected auto, cpu, cuda or cuda:NUMBER")
    return device


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device of that name: "auto" (a CUDA GPU where there is one), "cpu", "cuda", "cuda:1".

    A GPU has its index.

    Raises:
        ValueError: there is no such name, or no such GPU here.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    import torch

    check_device_name(str(device))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = torch.device(device)
    if chosen.type == "cpu":
        return chosen
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise ValueError(
            f"device {device}: torch sees no CUDA GPU here; use cpu or auto, or install a CUDA build of torch"
        )
    index = torch.cuda.current_device() if chosen.index is None else chosen.index
    if index >= count:
        raise ValueError(f"device {device}: there is no GPU {index}, torch sees {count}, the first is 0")
    return torch.device("cuda", index)


def prefers_bfloat16(device: torch.device) -> bool:
    """Return whether convolutions are faster in bfloat16 at inference: on CPUs with AMX they are.

    CPUs that only have vector products of bfloat16 (AVX512-BF16) gain less than the conversions cost.
    """
    import torch

    if device.type != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):  # not in the oldest torch that is supported
        return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())
