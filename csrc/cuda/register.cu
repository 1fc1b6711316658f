// Registers CARAFE's kernels for CUDA devices.
#include "../operators.h"
#include "carafe.h"

STABLE_TORCH_LIBRARY_IMPL(inpaint, CUDA, m) { inpaint::register_operators<inpaint::cuda::Cuda>(m); }
