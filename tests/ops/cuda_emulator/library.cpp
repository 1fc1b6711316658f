// The CUDA kernels' sources, compiled for the CPU and registered for CPU tensors as operators of their own.
#include "../../../csrc/cuda/carafe_forward.cu"
#include "../../../csrc/cuda/features_gradient.cu"
#include "../../../csrc/cuda/kernels_gradient.cu"
#include "../../../csrc/cuda/strided_features_gradient.cu"
#include "../../../csrc/operators.h"

STABLE_TORCH_LIBRARY(inpaint_emulated, m) { inpaint::define_operators(m); }
STABLE_TORCH_LIBRARY_IMPL(inpaint_emulated, CPU, m) { inpaint::register_operators<inpaint::cuda::Cuda>(m); }
