// Registers CARAFE's kernels for the CPU.
#include "../operators.h"
#include "carafe.h"

STABLE_TORCH_LIBRARY_IMPL(inpaint, CPU, m) { inpaint::register_operators<inpaint::cpu::Cpu>(m); }
