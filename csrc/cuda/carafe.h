// CARAFE on CUDA devices: what operators.h asks of a device.
#pragma once

#include "../layout.h"

namespace inpaint::cuda {

struct Cuda {
  static void forward(const Reassembly& call, const View& output, const View* output_valid);
  static void backward(
      const Reassembly& call,
      const View& grad,
      const View* features_gradient,
      const KernelLayout* kernels_gradient);
};

} // namespace inpaint::cuda
