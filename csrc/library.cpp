// The only place that defines schemas. Devices add implementations (cpu/carafe.cpp); fakes, autograd and
// autocast are registered in inpaint/ops/functional.py.
//
// The backward operators return an empty tensor in place of a gradient that is not wanted.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(inpaint, m) {
  m.def("carafe(Tensor features, Tensor kernels, int kernel_size=5, int groups=1, int scale=2) -> Tensor");
  m.def(
      "carafe_backward(Tensor grad, Tensor features, Tensor kernels, int kernel_size, int groups, int scale, "
      "bool features_wanted, bool kernels_wanted) -> (Tensor, Tensor)");
  m.def(
      "carafe_fused(Tensor features, Tensor logits, int kernel_size=5, int groups=1, int scale=2, "
      "str normalizer='softmax') -> Tensor");
  m.def(
      "carafe_fused.masked(Tensor features, Tensor logits, int kernel_size, int groups, int scale, "
      "str normalizer, Tensor valid) -> (Tensor, Tensor)");
  m.def(
      "carafe_fused_backward(Tensor grad, Tensor features, Tensor logits, int kernel_size, int groups, "
      "int scale, str normalizer, Tensor? valid, bool features_wanted, bool logits_wanted) "
      "-> (Tensor, Tensor)");
}
