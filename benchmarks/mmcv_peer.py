"""mmcv's CARAFE as a row of the benchmark, compiled from mmcv's own sources where they are given.

mmcv cannot be installed beside new versions of torch, but of its operators' sources two files are enough:

    pip download mmcv==2.2.0 --no-deps --no-binary :all: --no-build-isolation   # with torch and setuptools<81
    tar xzf mmcv-2.2.0.tar.gz
    python benchmarks/carafe.py --device cuda --mmcv mmcv-2.2.0

Nothing of mmcv's is kept here: the binding below calls its two launchers as its Python code does.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inpaint.ops import build as building
from inpaint.ops import cuda

BINDING = """
#include <torch/extension.h>

using at::Tensor;

void CARAFEForwardCUDAKernelLauncher(
    const Tensor features, const Tensor masks, Tensor rfeatures, Tensor routput, Tensor rmasks, Tensor output,
    const int kernel_size, const int group_size, const int scale_factor);
void CARAFEBackwardCUDAKernelLauncher(
    const Tensor top_grad, const Tensor rfeatures, const Tensor masks, Tensor rtop_grad,
    Tensor rbottom_grad_hs, Tensor rbottom_grad, Tensor rmask_grad, Tensor bottom_grad, Tensor mask_grad,
    const int kernel_size, const int group_size, const int scale_factor);

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("forward", &CARAFEForwardCUDAKernelLauncher);
  m.def("backward", &CARAFEBackwardCUDAKernelLauncher);
}
"""


def build(sources: Path) -> Any:
    """Compiles mmcv's kernels and returns `carafe(features, masks, kernel_size, group_size, scale_factor)`.

    Args:
        sources: the unpacked source distribution.

    Raises:
        FileNotFoundError: no mmcv there.
        BuildError: there is no CUDA compiler.
    """
    csrc = sources / "mmcv" / "ops" / "csrc"
    kernels = csrc / "pytorch" / "cuda" / "carafe_cuda.cu"
    if not kernels.is_file():
        raise FileNotFoundError(f"{sources} is not mmcv's unpacked source distribution: no {kernels}")
    root = cuda.toolkit()
    if (why := cuda.missing()) or root is None:
        raise building.BuildError(why)
    from torch.utils import cpp_extension

    # torch's own headers ask for libraries that a small toolkit lacks; pip installed them beside torch.
    packaged = sorted((Path(torch.__file__).parent.parent / "nvidia").glob("cu*/include"))
    defined = "-DMMCV_WITH_CUDA"
    with (
        tempfile.TemporaryDirectory(prefix="mmcv-carafe-") as folder,
        building.ninja_on_path(),
        building.toolkit_at(root),
    ):
        binding = Path(folder, "binding.cpp")
        binding.write_text(BINDING)
        module = cpp_extension.load(
            name="mmcv_carafe",
            sources=[str(binding), str(kernels)],
            extra_include_paths=[str(csrc / "common"), str(csrc / "common" / "cuda")],
            extra_cflags=[defined, *(f"-idirafter{path}" for path in packaged)],
            extra_cuda_cflags=[defined, "-O3", *(f"-Xcompiler=-idirafter{path}" for path in packaged)],
            extra_ldflags=cuda.link_folders(root),
            build_directory=folder,
        )

    class Function(torch.autograd.Function):
        """What mmcv's own Python does around the launchers: all buffers are made zero first."""

        @staticmethod
        def forward(ctx: Any, features: Tensor, masks: Tensor, *numbers: int) -> Tensor:
            n, c, h, w = features.shape
            ctx.numbers = numbers
            output = features.new_zeros(n, c, h * numbers[2], w * numbers[2])
            own_features = torch.zeros_like(features)
            buffers = (own_features, torch.zeros_like(output), torch.zeros_like(masks))
            module.forward(features, masks, *buffers, output, *numbers)
            ctx.save_for_backward(features, masks, own_features)
            return output

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
            features, masks, own_features = ctx.saved_tensors
            to_features, to_masks = torch.zeros_like(features), torch.zeros_like(masks)
            buffers = [torch.zeros_like(t) for t in (grad, grad, features, masks)]
            gradients = (*buffers, to_features, to_masks)
            module.backward(grad.contiguous(), own_features, masks, *gradients, *ctx.numbers)
            return to_features, to_masks, None, None, None

    return Function.apply
