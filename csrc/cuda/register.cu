// Registers the CUDA kernels.
#include "../operators.h"
#include "carafe.h"

STABLE_TORCH_LIBRARY_IMPL(inpaint, CUDA, m) { inpaint::register_operators<inpaint::cuda::Cuda>(m); }
