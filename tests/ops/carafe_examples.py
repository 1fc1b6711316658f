"""Inputs for the operator's tests, its implementations, and how near the oracle each type must come."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cuda_emulation
import pytest
import torch
from carafe_oracle import Array, Reassembly, reassemble
from torch import Tensor

from inpaint import ops
from inpaint.ops import NORMALIZERS, build, reference

# (relative, absolute): a result's own rounding, and for float32 and float64 that of sums of k²·C products.
TOLERANCES = {
    torch.float64: (1e-12, 1e-12),
    torch.float32: (2e-5, 2e-5),
    torch.bfloat16: (8e-3, 1e-3),
    torch.float16: (1e-3, 1e-4),
}


@dataclass(frozen=True)
class Implementation:
    carafe: Callable[..., Tensor]
    carafe_fused: Callable[..., Any]
    carafe_downsample: Callable[..., Any]


needs_compiled = pytest.mark.skipif(
    ops.implementation() != "compiled", reason="the compiled operator is not the one that runs"
)
COMPILED = Implementation(ops.carafe, ops.carafe_fused, ops.carafe_downsample)
TWIN = Implementation(reference.carafe, reference.carafe_fused, reference.carafe_downsample)
# The CUDA kernels' sources, run by the CPU.
EMULATED = Implementation(
    cuda_emulation.carafe, cuda_emulation.carafe_fused, cuda_emulation.carafe_downsample
)


def on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same call with its tensors taken to the GPU and its results brought back."""

    def call(*arguments: Any) -> Any:
        moved = (a.cuda() if isinstance(a, Tensor) and a.device.type == "cpu" else a for a in arguments)
        result = function(*moved)
        return result.cpu() if isinstance(result, Tensor) else tuple(part.cpu() for part in result)

    return call


CUDA = Implementation(on_gpu(ops.carafe), on_gpu(ops.carafe_fused), on_gpu(ops.carafe_downsample))
needs_compiler = pytest.mark.skipif(not build.has_compiler(), reason="no C++ compiler")
KERNELS = [
    pytest.param(COMPILED, id="compiled", marks=needs_compiled),
    pytest.param(EMULATED, id="emulated", marks=needs_compiler),
    pytest.param(CUDA, id="cuda", marks=pytest.mark.cuda),
]
implementations = pytest.mark.parametrize("implementation", [*KERNELS, pytest.param(TWIN, id="twin")])
compiled_kernels = pytest.mark.parametrize("implementation", KERNELS)
normalizers = pytest.mark.parametrize("normalizer", NORMALIZERS)
# (normalizer, kind of valid): ready kernels, fused, masked.
FORMS = [
    (None, None),
    ("softmax", None),
    ("sigmoid", None),
    ("sigmoid_normalized", None),
    ("softmax", "mixed"),
    ("sigmoid", "mixed"),
    ("sigmoid_normalized", "mixed"),
]
forms = pytest.mark.parametrize(
    ("normalizer", "valid"), FORMS, ids=["-".join(filter(None, form)) or "plain" for form in FORMS]
)


@dataclass(frozen=True)
class Sizes:
    """The sizes of a call: of upsampling where the stride is 1, else of downsampling, whose scale is 1."""

    batch: int
    channels: int
    height: int
    width: int
    kernel_size: int = 5
    groups: int = 1
    scale: int = 2
    stride: int = 1

    def __str__(self) -> str:
        shape = "x".join(map(str, (self.batch, self.channels, self.height, self.width)))
        factor = f"s{self.scale}" if self.stride == 1 else f"d{self.stride}"
        return f"{shape}-k{self.kernel_size}-g{self.groups}-{factor}"

    @property
    def integers(self) -> tuple[int, int, int]:
        return self.kernel_size, self.groups, self.scale if self.stride == 1 else self.stride

    @property
    def centres(self) -> tuple[int, int]:
        return len(range(0, self.height, self.stride)), len(range(0, self.width, self.stride))

    @property
    def features_shape(self) -> tuple[int, ...]:
        return self.batch, self.channels, self.height, self.width

    @property
    def output_shape(self) -> tuple[int, ...]:
        rows, columns = self.centres
        return self.batch, self.channels, rows * self.scale, columns * self.scale

    @property
    def kernels_shape(self) -> tuple[int, ...]:
        return self.batch, self.groups * self.kernel_size**2, *self.output_shape[2:]

    @property
    def logits_shape(self) -> tuple[int, ...]:
        return self.batch, self.groups * (self.kernel_size * self.scale) ** 2, *self.centres

    @property
    def valid_shape(self) -> tuple[int, ...]:
        return self.batch, 1, self.height, self.width


def random_features(sizes: Sizes, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(sizes.features_shape, dtype=torch.float64).to(dtype)


def random_logits(sizes: Sizes, dtype: torch.dtype = torch.float32) -> Tensor:
    return (2 * torch.randn(sizes.logits_shape, dtype=torch.float64)).to(dtype)


def random_kernels(sizes: Sizes, dtype: torch.dtype = torch.float32) -> Tensor:
    return (torch.rand(sizes.kernels_shape, dtype=torch.float64) / sizes.kernel_size).to(dtype)


def random_grad(sizes: Sizes, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(sizes.output_shape, dtype=torch.float64).to(dtype)


def random_valid(sizes: Sizes, kind: str, dtype: torch.dtype = torch.float32) -> Tensor:
    noise, level = torch.rand(2, *sizes.valid_shape, dtype=torch.float64)
    if kind == "binary":
        return (noise < 0.5).to(dtype)
    if kind == "sparse":  # most windows know one tap or none
        return (noise < 0.05).to(dtype)
    if kind == "soft":
        return level.to(dtype)
    if kind == "mixed":  # a third each of 0, soft and 1
        return torch.where(noise < 1 / 3, 0, torch.where(noise < 2 / 3, level, 1)).to(dtype)
    assert kind in ("all", "none")
    return torch.full(sizes.valid_shape, float(kind == "all"), dtype=dtype)


@dataclass(frozen=True)
class Example:
    """One call's operands. `numbers` are kernels where normalizer is None, else logits."""

    sizes: Sizes
    features: Tensor
    numbers: Tensor
    grad: Tensor
    normalizer: str | None = None
    valid: Tensor | None = None

    def expected(self) -> Reassembly:
        def array(tensor: Tensor | None) -> Array | None:
            return None if tensor is None else tensor.detach().double().numpy()

        sizes = self.sizes
        return reassemble(
            array(self.features),  # type: ignore[arg-type]
            array(self.numbers),  # type: ignore[arg-type]
            sizes.kernel_size,
            sizes.groups,
            sizes.scale,
            self.normalizer,
            valid=array(self.valid),
            grad=array(self.grad),
            stride=sizes.stride,
        )

    def run(self, implementation: Implementation) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """Output, carried valid, and the gradients of features and numbers."""
        features = self.features.detach().requires_grad_()
        numbers = self.numbers.detach().requires_grad_()
        carried = None
        if self.normalizer is None:
            output = implementation.carafe(features, numbers, *self.sizes.integers)
        else:
            down = self.sizes.stride > 1
            fused = implementation.carafe_downsample if down else implementation.carafe_fused
            result = fused(features, numbers, *self.sizes.integers, self.normalizer, self.valid)
            output, carried = (result, None) if self.valid is None else result
        gradients = torch.autograd.grad(output, (features, numbers), self.grad)
        return output.detach(), carried, *gradients

    def check(self, implementation: Implementation, expected: Reassembly | None = None) -> None:
        """Runs forward and backward and compares every result, its shape and its type with the oracle's."""
        expected = expected or self.expected()
        output, carried, to_features, to_numbers = self.run(implementation)
        close(output, expected.output, self.features.dtype)
        close(to_features, expected.features_gradient, self.features.dtype)
        close(to_numbers, expected.numbers_gradient, self.numbers.dtype)
        assert (carried is None) == (self.valid is None)
        if carried is not None and self.valid is not None and expected.valid is not None:
            assert not carried.requires_grad
            close(carried, expected.valid, self.valid.dtype)


def close(actual: Tensor, expected: Array, dtype: torch.dtype) -> None:
    assert actual.dtype == dtype
    relative, absolute = TOLERANCES[dtype]
    torch.testing.assert_close(actual.double(), torch.from_numpy(expected), rtol=relative, atol=absolute)


def example(
    sizes: Sizes,
    normalizer: str | None = None,
    valid: str | None = None,
    dtype: torch.dtype = torch.float32,
    numbers_dtype: torch.dtype | None = None,
) -> Example:
    """Random operands. Features, gradient and valid share a type; `numbers_dtype` may differ from it."""
    make_numbers = random_kernels if normalizer is None else random_logits
    return Example(
        sizes,
        random_features(sizes, dtype),
        make_numbers(sizes, numbers_dtype or dtype),
        random_grad(sizes, dtype),
        normalizer,
        None if valid is None else random_valid(sizes, valid, dtype),
    )


@functools.cache
def solved(sizes: Sizes, normalizer: str | None, valid: str | None) -> tuple[Example, Reassembly]:
    """A float32 example and the oracle's answer, worked out once for all implementations."""
    made = example(sizes, normalizer, valid)
    return made, made.expected()
