// Where the schemas are registered. Devices add their implementations (cpu/carafe.cpp, cuda/library.cu).
#include "operators.h"

STABLE_TORCH_LIBRARY(inpaint, m) { inpaint::define_operators(m); }
