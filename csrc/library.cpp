// Where the schemas are registered. Devices add their implementations (cpu/register.cpp, cuda/register.cu).
#include "operators.h"

STABLE_TORCH_LIBRARY(inpaint, m) { inpaint::define_operators(m); }
