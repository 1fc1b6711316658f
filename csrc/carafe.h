// Sizes, argument checks and messages shared by every device.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>

namespace inpaint {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

enum class Normalizer { none, softmax, sigmoid, sigmoid_normalized };

// The sizes of one call. N, C, H, W are those of the features; the output is [N, C, scale·H, scale·W].
struct Geometry {
  int64_t batch, channels, height, width;
  int64_t kernel_size, groups, scale;

  int64_t taps() const { return kernel_size * kernel_size; }
  int64_t subpixels() const { return scale * scale; }
  int64_t radius() const { return kernel_size / 2; }
  int64_t channels_per_group() const { return channels / groups; }
};

// Raises std::runtime_error (RuntimeError in Python) with the parts streamed into one message.
template <class... Parts>
[[noreturn]] inline void fail(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw std::runtime_error(message.str());
}

inline std::string shape_of(const Tensor& tensor) {
  std::ostringstream text;
  text << "[";
  for (int64_t d = 0; d < tensor.dim(); ++d) text << (d ? ", " : "") << tensor.size(d);
  text << "]";
  return text.str();
}

inline bool is_supported_dtype(ScalarType dtype) {
  return dtype == ScalarType::Float || dtype == ScalarType::Double || dtype == ScalarType::BFloat16 ||
      dtype == ScalarType::Half;
}

inline void check_dtype(const char* op, const char* name, const Tensor& tensor) {
  if (!is_supported_dtype(tensor.scalar_type()))
    fail(op, ": ", name, " must be float32, float64, bfloat16 or float16");
}

inline void check_shape(
    const char* op, const char* name, const Tensor& tensor, int64_t n, int64_t c, int64_t h, int64_t w) {
  if (tensor.dim() != 4 || tensor.size(0) != n || tensor.size(1) != c || tensor.size(2) != h ||
      tensor.size(3) != w)
    fail(op, ": ", name, " must have shape [", n, ", ", c, ", ", h, ", ", w, "], got ", shape_of(tensor));
}

// Checks features and the three integers, and returns the sizes.
inline Geometry check_features(
    const char* op, const Tensor& features, int64_t kernel_size, int64_t groups, int64_t scale) {
  if (kernel_size < 1 || kernel_size % 2 == 0)
    fail(op, ": kernel_size must be odd and at least 1, got ", kernel_size);
  if (scale < 1) fail(op, ": scale must be at least 1, got ", scale);
  if (groups < 1) fail(op, ": groups must be at least 1, got ", groups);
  if (features.dim() != 4) fail(op, ": features must have shape [N, C, H, W], got ", shape_of(features));
  check_dtype(op, "features", features);
  if (features.size(1) % groups != 0)
    fail(op, ": the channels of features, ", features.size(1), ", must be a multiple of groups = ", groups);
  return {features.size(0), features.size(1), features.size(2), features.size(3), kernel_size, groups, scale};
}

inline void check_kernels(const char* op, const Tensor& kernels, const Geometry& g) {
  check_dtype(op, "kernels", kernels);
  check_shape(op, "kernels", kernels, g.batch, g.groups * g.taps(), g.scale * g.height, g.scale * g.width);
}

inline void check_logits(const char* op, const Tensor& logits, const Geometry& g) {
  check_dtype(op, "logits", logits);
  check_shape(op, "logits", logits, g.batch, g.groups * g.taps() * g.subpixels(), g.height, g.width);
}

inline void check_valid(const char* op, const Tensor& valid, const Geometry& g) {
  check_dtype(op, "valid", valid);
  check_shape(op, "valid", valid, g.batch, 1, g.height, g.width);
}

inline void check_grad(const char* op, const Tensor& grad, const Geometry& g) {
  check_dtype(op, "grad", grad);
  check_shape(op, "grad", grad, g.batch, g.channels, g.scale * g.height, g.scale * g.width);
}

inline Normalizer parse_normalizer(const char* op, const std::string& name) {
  if (name == "softmax") return Normalizer::softmax;
  if (name == "sigmoid") return Normalizer::sigmoid;
  if (name == "sigmoid_normalized") return Normalizer::sigmoid_normalized;
  fail(op, ": normalizer must be 'softmax', 'sigmoid' or 'sigmoid_normalized', got '", name, "'");
}

// Results keep the memory format of the tensor they belong to. One rule, the same as in
// inpaint/ops/functional.py: neighbouring channels neighbouring in memory means channels_last.
inline bool is_channels_last(const Tensor& tensor) {
  return tensor.size(1) > 1 && tensor.size(2) * tensor.size(3) > 1 && tensor.stride(1) == 1;
}

inline Tensor empty_with_format_of(
    const Tensor& like, int64_t n, int64_t c, int64_t h, int64_t w, ScalarType dtype) {
  const int64_t sizes[] = {n, c, h, w};
  const auto format = is_channels_last(like) ? torch::headeronly::MemoryFormat::ChannelsLast
                                             : torch::headeronly::MemoryFormat::Contiguous;
  return torch::stable::empty({sizes, 4}, dtype, std::nullopt, like.device(), std::nullopt, format);
}

} // namespace inpaint
