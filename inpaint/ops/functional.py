"""CARAFE's public functions: checks, and the choice between the compiled operators and plain PyTorch.

CARAFE: Content-Aware ReAssembly of FEatures, Wang et al., ICCV 2019; downsampling is from CARAFE++: Unified
Content-Aware ReAssembly of FEatures, Wang et al., IEEE TPAMI 2021. Masked reassembly carries the validity
of partial convolution (Liu et al., ECCV 2018) through the reassembly kernels; `csrc/README.md` derives it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import library, reference

NORMALIZERS = ("softmax", "sigmoid", "sigmoid_normalized")
_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def carafe(
    features: Tensor, kernels: Tensor, kernel_size: int = 5, groups: int = 1, scale: int = 2
) -> Tensor:
    """Reassemble features with ready, normalised kernels: y[o] = Σₖ w[o, k]·x[⌊o/σ⌋ + k].

    The argument order and the layout are those of mmcv's `carafe`.

    Args:
        features: [N, C, H, W]; float32, float64, bfloat16 or float16; any strides.
        kernels: [N, groups·k², σH, σW], channel g·k² + i·k + j; its type may differ from that of features.
        kernel_size: k, odd.
        groups: channels c of group ⌊c·groups/C⌋ share kernels; divides C.
        scale: σ, the up-sampling factor, at least 1.

    Returns:
        [N, C, σH, σW] in the type and memory format of features. Sums are kept in float32, in float64 if one
        of the two is float64. Pixels outside the image count as zero.

    Raises:
        ValueError: a shape or number does not fit; the message names it.
        TypeError: an unsupported dtype.

    Flat kernels of one tap repeat every pixel, which is nearest-neighbour upsampling:

    >>> features = torch.tensor([[[[1.0, 2.0]]]])
    >>> carafe(features, torch.ones(1, 1, 2, 4), kernel_size=1)
    tensor([[[[1., 1., 2., 2.],
              [1., 1., 2., 2.]]]])
    """
    _check("carafe", features, kernel_size, groups, "scale", scale)
    _check_tensor(
        "carafe", "kernels", kernels, _kernels_shape(features, kernel_size, groups, scale), features
    )
    if runs_compiled(features.device.type):
        return torch.ops.inpaint.carafe(features, kernels, kernel_size, groups, scale)
    return reference.carafe(features, kernels, kernel_size, groups, scale)


def carafe_fused(
    features: Tensor,
    logits: Tensor,
    kernel_size: int = 5,
    groups: int = 1,
    scale: int = 2,
    normalizer: str = "softmax",
    valid: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Normalise, pixel-shuffle and reassemble in one pass; the shuffled kernels are never written to memory.

    With w = normalizer(pixel_shuffle(logits, σ)) over the k² taps of a group this is `carafe(features, w)`.
    Given valid it is the masked reassembly, for each output pixel and group

        W = Σₖ wₖ,   s = Σₖ wₖ·vₖ,   y = (W/s)·Σₖ wₖ·vₖ·xₖ  (0 where s = 0),   v' = s/W  (mean over groups).

    Pixels outside the image are zero features in the plain form, unknown in the masked one. What features
    hold where valid is 0 is never read into a product, so NaN there reaches neither results nor gradients.

    Args:
        features: [N, C, H, W]; float32, float64, bfloat16 or float16; any strides.
        logits: [N, groups·k²·σ², H, W], the kernel predictor's output in pixel-shuffle channel order.
        kernel_size: k, odd.
        groups: divides C.
        scale: σ, at least 1.
        normalizer: `softmax`, `sigmoid`, or `sigmoid_normalized` (σ(l) / Σ σ(l)).
        valid: [N, 1, H, W] in [0, 1], floating point or bool; None for the plain form.

    Returns:
        [N, C, σH, σW] in the type and memory format of features; with valid, that and v' [N, 1, σH, σW] in
        the type of valid (float32 for bool). No gradient flows to valid nor through v'.

    Raises:
        ValueError: a shape, number or name does not fit; the message names it.
        TypeError: an unsupported dtype.

    >>> features, logits = torch.randn(1, 8, 16, 16), torch.randn(1, 100, 16, 16)
    >>> carafe_fused(features, logits).shape
    torch.Size([1, 8, 32, 32])

    A hole of 4×4 pixels in which the features are unknown. A window of 5×5 pixels reaches everywhere into it,
    so all pixels of the result are known, at least in part:

    >>> valid = torch.ones(1, 1, 16, 16)
    >>> valid[..., 6:10, 6:10] = 0
    >>> result, known = carafe_fused(features, logits, valid=valid)
    >>> known.shape, bool((known > 0).all())
    (torch.Size([1, 1, 32, 32]), True)
    """
    _check("carafe_fused", features, kernel_size, groups, "scale", scale)
    n, _, h, w = features.shape
    shape = (n, groups * kernel_size**2 * scale**2, h, w)
    valid = _check_fused("carafe_fused", features, logits, shape, normalizer, valid)
    if not runs_compiled(features.device.type):
        return reference.carafe_fused(features, logits, kernel_size, groups, scale, normalizer, valid)
    if valid is None:
        return torch.ops.inpaint.carafe_fused(features, logits, kernel_size, groups, scale, normalizer)
    return torch.ops.inpaint.carafe_fused(features, logits, kernel_size, groups, scale, normalizer, valid)


def carafe_downsample(
    features: Tensor,
    logits: Tensor,
    kernel_size: int = 5,
    groups: int = 1,
    stride: int = 2,
    normalizer: str = "softmax",
    valid: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Normalise and reassemble at every stride-th pixel: the downsampling of CARAFE++, in one pass.

    Output pixel (i, j) is the weighted sum of the k×k window around source pixel (stride·i, stride·j), so the
    first row and column are centres for every size. With w = normalizer(logits) over the k² taps of a group

        y[o] = Σₖ w[o, k]·x[stride·o + k].

    Given valid it is the masked reassembly with the W, s, y and v' of `carafe_fused`. Pixels outside the
    image are zero features in the plain form, unknown in the masked one, and what features hold where valid
    is 0 reaches neither results nor gradients.

    Args:
        features: [N, C, H, W]; float32, float64, bfloat16 or float16; any strides.
        logits: [N, groups·k², ⌈H/stride⌉, ⌈W/stride⌉], one kernel for each output pixel and group; channel
            g·k² + i·k + j.
        kernel_size: k, odd.
        groups: divides C.
        stride: the downsampling factor, at least 1; it may be above k.
        normalizer: `softmax`, `sigmoid`, or `sigmoid_normalized` (σ(l) / Σ σ(l)).
        valid: [N, 1, H, W] in [0, 1], floating point or bool; None for the plain form.

    Returns:
        [N, C, ⌈H/stride⌉, ⌈W/stride⌉] in the type and memory format of features; with valid, that and v'
        [N, 1, ⌈H/stride⌉, ⌈W/stride⌉] in the type of valid (float32 for bool). No gradient flows to valid nor
        through v'.

    Raises:
        ValueError: a shape, number or name does not fit; the message names it.
        TypeError: an unsupported dtype.

    Equal logits make it an average over the window, here of 3×3 pixels around the corner, of which four are
    inside the image:

    >>> features = torch.tensor([[[[9.0, 18.0], [27.0, 36.0]]]])
    >>> carafe_downsample(features, torch.zeros(1, 9, 1, 1), kernel_size=3)
    tensor([[[[10.]]]])
    >>> result, known = carafe_downsample(
    ...     features, torch.zeros(1, 9, 1, 1), kernel_size=3, valid=torch.ones(1, 1, 2, 2)
    ... )
    >>> float(result), round(float(known), 3)
    (22.5, 0.444)
    """
    op = "carafe_downsample"
    _check(op, features, kernel_size, groups, "stride", stride)
    n, _, h, w = features.shape
    shape = (n, groups * kernel_size**2, -(-h // stride), -(-w // stride))
    valid = _check_fused(op, features, logits, shape, normalizer, valid)
    if not runs_compiled(features.device.type):
        return reference.carafe_downsample(features, logits, kernel_size, groups, stride, normalizer, valid)
    if valid is None:
        return torch.ops.inpaint.carafe_down(features, logits, kernel_size, groups, stride, normalizer)
    return torch.ops.inpaint.carafe_down(features, logits, kernel_size, groups, stride, normalizer, valid)


def implementation(device: torch.device | str = "cpu") -> str:
    """Return what runs for tensors on this device: `compiled` kernels or the `reference` in plain PyTorch.

    >>> implementation("cpu") in ("compiled", "reference")
    True
    """
    return "compiled" if library.has_kernels(torch.device(device).type) else "reference"


def runs_compiled(device_type: str) -> bool:
    """Return whether a compiled kernel is to be used on a type of device, here and now.

    Not while exporting to ONNX: it has no such operator, and what is exported is the reference, which is made
    of standard ones. (A decomposition in torch's table would do as well, but with one Inductor refuses to
    compile where the environment variable `CI` is set.) Nor under `torch.jit.trace`, which the older ONNX
    exporter (`dynamo=False`) begins with: what is traced then runs without this package.
    """
    if torch.jit.is_tracing():
        return False
    if torch.compiler.is_exporting() and torch.onnx.is_in_onnx_export():  # the second costs an import
        return False
    return library.has_kernels(device_type)


def _check(op: str, features: Tensor, kernel_size: int, groups: int, factor_name: str, factor: int) -> None:
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"{op}: kernel_size must be odd and at least 1, got {kernel_size}")
    if factor < 1:
        raise ValueError(f"{op}: {factor_name} must be at least 1, got {factor}")
    if groups < 1:
        raise ValueError(f"{op}: groups must be at least 1, got {groups}")
    if features.dim() != 4:
        raise ValueError(f"{op}: features must have shape [N, C, H, W], got {list(features.shape)}")
    if features.dtype not in _DTYPES:
        raise TypeError(f"{op}: features must be float32, float64, bfloat16 or float16, got {features.dtype}")
    if features.shape[1] % groups:
        raise ValueError(
            f"{op}: the channels of features, {features.shape[1]}, must be a multiple of groups = {groups}"
        )


def _check_tensor(op: str, name: str, tensor: Tensor, shape: tuple[int, ...], features: Tensor) -> None:
    if tensor.dim() != 4 or tuple(tensor.shape) != shape:
        raise ValueError(f"{op}: {name} must have shape {list(shape)}, got {list(tensor.shape)}")
    if tensor.dtype not in _DTYPES:
        raise TypeError(f"{op}: {name} must be float32, float64, bfloat16 or float16, got {tensor.dtype}")
    if tensor.device != features.device:
        raise ValueError(f"{op}: {name} is on {tensor.device}, features on {features.device}")


def _check_fused(
    op: str,
    features: Tensor,
    logits: Tensor,
    logits_shape: tuple[int, ...],
    normalizer: str,
    valid: Tensor | None,
) -> Tensor | None:
    """Check what the fused operators have in common, and return valid as numbers."""
    _check_tensor(op, "logits", logits, logits_shape, features)
    if normalizer not in NORMALIZERS:
        raise ValueError(f"{op}: normalizer must be one of {NORMALIZERS}, got {normalizer!r}")
    if valid is None:
        return None
    if valid.dtype == torch.bool:
        valid = valid.float()
    n, _, h, w = features.shape
    _check_tensor(op, "valid", valid, (n, 1, h, w), features)
    return valid


def _kernels_shape(features: Tensor, kernel_size: int, groups: int, scale: int) -> tuple[int, ...]:
    n, _, h, w = features.shape
    return (n, groups * kernel_size**2, scale * h, scale * w)
