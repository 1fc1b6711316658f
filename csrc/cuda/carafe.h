// CARAFE on CUDA devices, as operators.h asks of a device. No atomics: every number is written by one thread,
// so results are the same bits in every run.
#pragma once

#include "../layout.h"

namespace inpaint::cuda {

void features_gradient(const Reassembly& call, const View& grad, const View& to);
void strided_features_gradient(const Reassembly& call, const View& grad, const View& to);
void kernels_gradient(const Reassembly& call, const View& grad, const KernelLayout& to);

struct Cuda {
  static void forward(const Reassembly& call, const View& output, const View* output_valid);
  static void backward(
      const Reassembly& call, const View& grad, const View* to_features, const KernelLayout* to_kernels) {
    if (to_features) features_gradient(call, grad, *to_features);
    if (to_kernels) kernels_gradient(call, grad, *to_kernels);
  }
};

} // namespace inpaint::cuda
