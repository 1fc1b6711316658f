// The operators as torch calls them, for any device: checks and messages, results in the right format, empty
// batches; then the device's kernels.
//
// A device is a struct with two functions,
//   static void forward(const Reassembly&, const View& output, const View* output_valid);
//   static void backward(const Reassembly&, const View& grad, const View* features_gradient,
//                        const KernelLayout* kernels_gradient);
// in which a null pointer stands for what is not there or not wanted.
#pragma once

#include "layout.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <tuple>

namespace inpaint {

using torch::stable::Tensor;

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

// Checks features and the integers, and returns the sizes.
inline Geometry check_features(
    const char* op,
    const Tensor& features,
    int64_t kernel_size,
    int64_t groups,
    int64_t scale,
    int64_t stride = 1) {
  if (kernel_size < 1 || kernel_size % 2 == 0)
    fail(op, ": kernel_size must be odd and at least 1, got ", kernel_size);
  if (scale < 1) fail(op, ": scale must be at least 1, got ", scale);
  if (stride < 1) fail(op, ": stride must be at least 1, got ", stride);
  if (groups < 1) fail(op, ": groups must be at least 1, got ", groups);
  if (features.dim() != 4) fail(op, ": features must have shape [N, C, H, W], got ", shape_of(features));
  check_dtype(op, "features", features);
  if (features.size(1) % groups != 0)
    fail(op, ": the channels of features, ", features.size(1), ", must be a multiple of groups = ", groups);
  const int64_t n = features.size(0), c = features.size(1), h = features.size(2), w = features.size(3);
  return {n, c, h, w, kernel_size, groups, scale, stride};
}

inline void check_kernels(const char* op, const Tensor& kernels, const Geometry& g) {
  check_dtype(op, "kernels", kernels);
  check_shape(op, "kernels", kernels, g.batch, g.groups * g.taps(), g.scale * g.rows, g.scale * g.columns);
}

inline void check_logits(const char* op, const Tensor& logits, const Geometry& g) {
  check_dtype(op, "logits", logits);
  check_shape(op, "logits", logits, g.batch, g.groups * g.taps() * g.subpixels(), g.rows, g.columns);
}

inline void check_valid(const char* op, const Tensor& valid, const Geometry& g) {
  check_dtype(op, "valid", valid);
  check_shape(op, "valid", valid, g.batch, 1, g.height, g.width);
}

inline void check_grad(const char* op, const Tensor& grad, const Geometry& g) {
  check_dtype(op, "grad", grad);
  check_shape(op, "grad", grad, g.batch, g.channels, g.scale * g.rows, g.scale * g.columns);
}

inline Normalizer parse_normalizer(const char* op, const std::string& name) {
  if (name == "softmax") return Normalizer::softmax;
  if (name == "sigmoid") return Normalizer::sigmoid;
  if (name == "sigmoid_normalized") return Normalizer::sigmoid_normalized;
  fail(op, ": normalizer must be 'softmax', 'sigmoid' or 'sigmoid_normalized', got '", name, "'");
}

// Results keep the memory format of the tensor they belong to. The rule stands here for C++ and in
// inpaint/ops/memory_format.py for Python: channels_last if neighbouring channels are neighbours in memory.
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

inline View view_of(const Tensor& t) {
  return {t.data_ptr(), t.scalar_type(), t.stride(0), t.stride(1), t.stride(2), t.stride(3)};
}

inline bool is_empty(const Geometry& g) { return g.batch * g.channels * g.height * g.width == 0; }

// valid and the like: a tensor that may be absent, as the kernels take it.
inline const View* pointer(const std::optional<View>& view) { return view ? &*view : nullptr; }

// Checks everything that the two forward operators, or the two backward ones, have in common.
struct Call {
  Geometry geometry;
  Normalizer normalizer;
  std::optional<View> valid;
  Tensor features, kernels; // or logits

  static Call of_kernels(
      const char* op,
      const Tensor& features,
      const Tensor& kernels,
      int64_t kernel_size,
      int64_t groups,
      int64_t scale) {
    const Geometry g = check_features(op, features, kernel_size, groups, scale);
    check_kernels(op, kernels, g);
    return {g, Normalizer::none, std::nullopt, features, kernels};
  }
  static Call of_logits(
      const char* op,
      const Geometry& g,
      const Tensor& features,
      const Tensor& logits,
      const std::string& normalizer,
      const Tensor* valid) {
    check_logits(op, logits, g);
    if (valid) check_valid(op, *valid, g);
    const std::optional<View> known = valid ? std::optional(view_of(*valid)) : std::nullopt;
    return {g, parse_normalizer(op, normalizer), known, features, logits};
  }

  KernelLayout layout(const Tensor& of) const {
    return normalizer == Normalizer::none ? KernelLayout::of_kernels(view_of(of), geometry)
                                          : KernelLayout::of_logits(view_of(of), geometry);
  }
  Reassembly reassembly() const {
    const bool in_double =
        features.scalar_type() == ScalarType::Double || kernels.scalar_type() == ScalarType::Double;
    return {
        geometry,
        view_of(features),
        layout(kernels),
        normalizer,
        pointer(valid),
        in_double,
        features.get_device_index()};
  }
};

// y, and v' into `output_valid` where that is given.
template <class Device>
Tensor forward_of(const Call& call, const Tensor* output_valid) {
  const Geometry& g = call.geometry;
  const Tensor& features = call.features;
  Tensor output = empty_with_format_of(
      features, g.batch, g.channels, g.scale * g.rows, g.scale * g.columns, features.scalar_type());
  if (g.batch * g.height * g.width == 0 || (g.channels == 0 && !output_valid)) return output;
  const View to_valid = output_valid ? view_of(*output_valid) : View{};
  Device::forward(call.reassembly(), view_of(output), output_valid ? &to_valid : nullptr);
  return output;
}

inline Tensor new_gradient(const Tensor& of, bool wanted) {
  if (!wanted) {
    const int64_t none[] = {0};
    return torch::stable::new_empty(of, {none, 1});
  }
  return empty_with_format_of(of, of.size(0), of.size(1), of.size(2), of.size(3), of.scalar_type());
}

template <class Device>
std::tuple<Tensor, Tensor> backward_of(
    const char* op, const Call& call, const Tensor& grad, bool features_wanted, bool kernels_wanted) {
  check_grad(op, grad, call.geometry);
  Tensor features_gradient = new_gradient(call.features, features_wanted);
  Tensor kernels_gradient = new_gradient(call.kernels, kernels_wanted);
  if (is_empty(call.geometry)) {
    if (kernels_wanted) torch::stable::zero_(kernels_gradient); // no channels: nothing depends on them
  } else if (features_wanted || kernels_wanted) {
    const View to_features = features_wanted ? view_of(features_gradient) : View{};
    const KernelLayout to_kernels = kernels_wanted ? call.layout(kernels_gradient) : KernelLayout{};
    Device::backward(
        call.reassembly(),
        view_of(grad),
        features_wanted ? &to_features : nullptr,
        kernels_wanted ? &to_kernels : nullptr);
  }
  return {features_gradient, kernels_gradient};
}

template <class Device>
Tensor carafe(
    const Tensor& features, const Tensor& kernels, int64_t kernel_size, int64_t groups, int64_t scale) {
  return forward_of<Device>(
      Call::of_kernels("carafe", features, kernels, kernel_size, groups, scale), nullptr);
}

// y and v' of the masked form.
template <class Device>
std::tuple<Tensor, Tensor> masked_forward_of(const Call& call, const Tensor& valid) {
  const Geometry& g = call.geometry;
  const int64_t sizes[] = {g.batch, 1, g.scale * g.rows, g.scale * g.columns};
  Tensor output_valid = torch::stable::new_empty(valid, {sizes, 4});
  return {forward_of<Device>(call, &output_valid), output_valid};
}

template <class Device>
Tensor carafe_fused(
    const Tensor& features,
    const Tensor& logits,
    int64_t kernel_size,
    int64_t groups,
    int64_t scale,
    const std::string& normalizer) {
  const char* op = "carafe_fused";
  const Geometry g = check_features(op, features, kernel_size, groups, scale);
  return forward_of<Device>(Call::of_logits(op, g, features, logits, normalizer, nullptr), nullptr);
}

template <class Device>
std::tuple<Tensor, Tensor> carafe_fused_masked(
    const Tensor& features,
    const Tensor& logits,
    int64_t kernel_size,
    int64_t groups,
    int64_t scale,
    const std::string& normalizer,
    const Tensor& valid) {
  const char* op = "carafe_fused";
  const Geometry g = check_features(op, features, kernel_size, groups, scale);
  return masked_forward_of<Device>(Call::of_logits(op, g, features, logits, normalizer, &valid), valid);
}

template <class Device>
Tensor carafe_down(
    const Tensor& features,
    const Tensor& logits,
    int64_t kernel_size,
    int64_t groups,
    int64_t stride,
    const std::string& normalizer) {
  const char* op = "carafe_down";
  const Geometry g = check_features(op, features, kernel_size, groups, 1, stride);
  return forward_of<Device>(Call::of_logits(op, g, features, logits, normalizer, nullptr), nullptr);
}

template <class Device>
std::tuple<Tensor, Tensor> carafe_down_masked(
    const Tensor& features,
    const Tensor& logits,
    int64_t kernel_size,
    int64_t groups,
    int64_t stride,
    const std::string& normalizer,
    const Tensor& valid) {
  const char* op = "carafe_down";
  const Geometry g = check_features(op, features, kernel_size, groups, 1, stride);
  return masked_forward_of<Device>(Call::of_logits(op, g, features, logits, normalizer, &valid), valid);
}

template <class Device>
std::tuple<Tensor, Tensor> carafe_backward(
    const Tensor& grad,
    const Tensor& features,
    const Tensor& kernels,
    int64_t kernel_size,
    int64_t groups,
    int64_t scale,
    bool features_wanted,
    bool kernels_wanted) {
  const char* op = "carafe_backward";
  const Call call = Call::of_kernels(op, features, kernels, kernel_size, groups, scale);
  return backward_of<Device>(op, call, grad, features_wanted, kernels_wanted);
}

template <class Device>
std::tuple<Tensor, Tensor> carafe_fused_backward(
    const Tensor& grad,
    const Tensor& features,
    const Tensor& logits,
    int64_t kernel_size,
    int64_t groups,
    int64_t scale,
    const std::string& normalizer,
    const std::optional<Tensor>& valid,
    bool features_wanted,
    bool logits_wanted) {
  const char* op = "carafe_fused_backward";
  const Geometry g = check_features(op, features, kernel_size, groups, scale);
  const Call call = Call::of_logits(op, g, features, logits, normalizer, valid ? &*valid : nullptr);
  return backward_of<Device>(op, call, grad, features_wanted, logits_wanted);
}

template <class Device>
std::tuple<Tensor, Tensor> carafe_down_backward(
    const Tensor& grad,
    const Tensor& features,
    const Tensor& logits,
    int64_t kernel_size,
    int64_t groups,
    int64_t stride,
    const std::string& normalizer,
    const std::optional<Tensor>& valid,
    bool features_wanted,
    bool logits_wanted) {
  const char* op = "carafe_down_backward";
  const Geometry g = check_features(op, features, kernel_size, groups, 1, stride);
  const Call call = Call::of_logits(op, g, features, logits, normalizer, valid ? &*valid : nullptr);
  return backward_of<Device>(op, call, grad, features_wanted, logits_wanted);
}

// The schemas: fakes, autograd and autocast are registered in inpaint/ops/registration.py. The backward
// operators return an empty tensor in place of a gradient that is not wanted.
inline void define_operators(torch::stable::detail::StableLibrary& m) {
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
  m.def(
      "carafe_down(Tensor features, Tensor logits, int kernel_size=5, int groups=1, int stride=2, "
      "str normalizer='softmax') -> Tensor");
  m.def(
      "carafe_down.masked(Tensor features, Tensor logits, int kernel_size, int groups, int stride, "
      "str normalizer, Tensor valid) -> (Tensor, Tensor)");
  m.def(
      "carafe_down_backward(Tensor grad, Tensor features, Tensor logits, int kernel_size, int groups, "
      "int stride, str normalizer, Tensor? valid, bool features_wanted, bool logits_wanted) "
      "-> (Tensor, Tensor)");
}

template <class Device>
void register_operators(torch::stable::detail::StableLibrary& m) {
  m.impl("carafe", TORCH_BOX(&carafe<Device>));
  m.impl("carafe_backward", TORCH_BOX(&carafe_backward<Device>));
  m.impl("carafe_fused", TORCH_BOX(&carafe_fused<Device>));
  m.impl("carafe_fused.masked", TORCH_BOX(&carafe_fused_masked<Device>));
  m.impl("carafe_fused_backward", TORCH_BOX(&carafe_fused_backward<Device>));
  m.impl("carafe_down", TORCH_BOX(&carafe_down<Device>));
  m.impl("carafe_down.masked", TORCH_BOX(&carafe_down_masked<Device>));
  m.impl("carafe_down_backward", TORCH_BOX(&carafe_down_backward<Device>));
}

} // namespace inpaint
