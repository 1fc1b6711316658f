"""Where networks run: what `--device` and `device=` name, found on this machine."""

from __future__ import annotations

import torch


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device of that name: "auto" (a CUDA GPU where there is one), "cpu", "cuda", "cuda:1".

    A GPU has its index. Raises ValueError for what is no such name, and for a GPU that is not here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device {device}: expected auto, cpu, cuda or cuda:NUMBER")
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
    if device.type != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):  # not in the oldest torch that is supported
        return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())
