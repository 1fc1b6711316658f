// What stands around a partial convolution's sums, each in one pass over memory, for channels_last float32
// and bfloat16 (csrc/README.md, "Around the convolutions"): the masked concatenation before them, the
// renormalisation after them, and layer normalisation over channels with a leaky rectifier.
//
// A pixel's channels are loaded as whole vectors in float32. Reading and writing a vector may reach into the
// next pixel's channels, which are written later; at the end of what a thread owns, number by number.
#include "../operators.h"
#include "vector.h"

#include <torch/headeronly/util/BFloat16.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

namespace inpaint::cpu {
namespace {

using Floats = Vector<float>;
using Numbers = Floats::type;
constexpr int64_t kLanes = Floats::lanes;
constexpr int64_t kMostChannels = 1024, kMostVectors = kMostChannels / kLanes;
constexpr int64_t kGrain = 16384;    // numbers: for fewer, another thread costs more than it saves
constexpr float kLeastMass = 1e-30f; // the same as in inpaint/ops/fused_reference.py

typedef uint16_t Halves __attribute__((vector_size(kVectorBytes / 2)));
typedef uint32_t Words __attribute__((vector_size(kVectorBytes)));

inline Numbers load(const float* from) { return Floats::load(from); }
inline Numbers load(const c10::BFloat16* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  const Words words = __builtin_convertvector(halves, Words) << 16;
  Numbers value;
  std::memcpy(&value, &words, sizeof value);
  return value;
}

inline void store(float* to, Numbers value) { Floats::store(to, value); }
inline void store(c10::BFloat16* to, Numbers value) { // to nearest even; NaN stays NaN
  Words words;
  std::memcpy(&words, &value, sizeof words);
  const Words rounded = (words + 0x7fffu + ((words >> 16) & 1u)) >> 16;
  const Halves halves = __builtin_convertvector(value == value ? rounded : Words{} + 0x7fc0u, Halves);
  std::memcpy(to, &halves, sizeof halves);
}

template <class T>
inline Numbers load_some(const T* from, int64_t count) {
  T line[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) line[i] = from[i];
  return load(line);
}
template <class T>
inline void store_some(T* to, Numbers value, int64_t count) {
  T line[kLanes];
  store(line, value);
  for (int64_t i = 0; i < count; ++i) to[i] = line[i];
}

// 1 in the lanes below `count`, 0 in the others.
inline Numbers ones(int64_t count) {
  Numbers value{};
  for (int64_t lane = 0; lane < std::min(count, kLanes); ++lane) value[lane] = 1;
  return value;
}

// Calls f with V, at least the number of vectors: a compile-time constant where that is a frequent one.
template <class F>
void with_vectors(int64_t vectors, const F& f) {
  switch (vectors) {
    case 1: return f(std::integral_constant<int, 1>());
    case 2: return f(std::integral_constant<int, 2>());
    case 4: return f(std::integral_constant<int, 4>());
    case 8: return f(std::integral_constant<int, 8>());
    default: return f(std::integral_constant<int, 0>());
  }
}

// The float32 and bfloat16 tensors that come here: f(pointer to a number).
template <class F>
void with_number(const Tensor& tensor, const F& f) {
  if (tensor.scalar_type() == ScalarType::BFloat16)
    f(static_cast<c10::BFloat16*>(tensor.data_ptr()));
  else
    f(static_cast<float*>(tensor.data_ptr()));
}

void check_type(const char* op, const char* name, const Tensor& tensor) {
  if (tensor.scalar_type() != ScalarType::Float && tensor.scalar_type() != ScalarType::BFloat16)
    fail(op, ": ", name, " must be float32 or bfloat16");
}

// Pixels after pixels, each with its channels side by side.
void check_pixels(const char* op, const char* name, const Tensor& tensor) {
  if (tensor.dim() != 4) fail(op, ": ", name, " must have four dimensions, got ", shape_of(tensor));
  check_type(op, name, tensor);
  const int64_t c = tensor.size(1), h = tensor.size(2), w = tensor.size(3);
  const int64_t wanted[] = {h * w * c, 1, w * c, c};
  for (int64_t d = 0; d < 4; ++d)
    if (tensor.size(d) > 1 && tensor.stride(d) != wanted[d]) fail(op, ": ", name, " must be channels_last");
  if (c > kMostChannels) fail(op, ": ", name, " has too many channels, ", c);
}

void check_floats(const char* op, const char* name, const Tensor& tensor, int64_t count) {
  if (tensor.scalar_type() != ScalarType::Float || !tensor.is_contiguous() || tensor.numel() != count)
    fail(op, ": ", name, " must be ", count, " contiguous float32 numbers, got ", shape_of(tensor));
}

Tensor empty_pixels(const Tensor& like, int64_t channels) {
  const int64_t sizes[] = {like.size(0), channels, like.size(2), like.size(3)};
  return torch::stable::empty(
      {sizes, 4},
      like.scalar_type(),
      std::nullopt,
      like.device(),
      std::nullopt,
      torch::headeronly::MemoryFormat::ChannelsLast);
}

// Every pixel of `x` through f(values, vectors, pixel), which changes its vectors of channels; in `padding`
// lanes they hold anything.
template <class T, int V, class F>
void for_each_pixel(const T* from, T* to, int64_t pixels, int64_t channels, const F& f) {
  const int64_t vectors = V ? V : (channels + kLanes - 1) / kLanes;
  const int64_t beyond = vectors * kLanes - channels;         // what a pixel's vectors reach into the next
  const int64_t careful = (beyond + channels - 1) / channels; // pixels at an end that have no such room
  const int64_t rest = channels - (vectors - 1) * kLanes;
  const int64_t grain = std::max<int64_t>(kGrain / channels, 1);
  torch::stable::parallel_for(0, pixels, grain, [&](int64_t begin, int64_t end) {
    Numbers values[V ? V : kMostVectors];
    for (int64_t pixel = begin; pixel < end; ++pixel) {
      const T* source = from + pixel * channels;
      T* target = to + pixel * channels;
      const bool room = pixel + careful < end;
      for (int64_t v = 0; v < vectors; ++v)
        values[v] =
            room || v + 1 < vectors ? load(source + v * kLanes) : load_some(source + v * kLanes, rest);
      f(values, vectors, pixel);
      for (int64_t v = 0; v < vectors; ++v)
        if (room || v + 1 < vectors)
          store(target + v * kLanes, values[v]);
        else
          store_some(target + v * kLanes, values[v], rest);
    }
  });
}

// [C] numbers as whole vectors, 0 behind them.
std::vector<float> padded(const float* from, int64_t channels) {
  std::vector<float> line((channels + kLanes - 1) / kLanes * kLanes, 0.0f);
  std::copy(from, from + channels, line.begin());
  return line;
}

Tensor renormalize(
    const Tensor& sums, const Tensor& known_mass, double full_mass, const std::optional<Tensor>& bias) {
  const char* op = "renormalize";
  check_pixels(op, "sums", sums);
  const int64_t channels = sums.size(1), pixels = sums.size(0) * sums.size(2) * sums.size(3);
  check_floats(op, "known_mass", known_mass, pixels);
  if (bias) check_floats(op, "bias", *bias, channels);
  Tensor output = empty_pixels(sums, channels);
  if (pixels * channels == 0) return output;
  const auto* mass = static_cast<const float*>(known_mass.data_ptr());
  const float full = static_cast<float>(full_mass);
  std::vector<float> shift(channels, 0.0f);
  if (bias)
    shift.assign(static_cast<float*>(bias->data_ptr()), static_cast<float*>(bias->data_ptr()) + channels);
  shift = padded(shift.data(), channels);
  with_number(sums, [&](auto* from) {
    auto* to = static_cast<decltype(from)>(output.data_ptr());
    with_vectors((channels + kLanes - 1) / kLanes, [&](auto V) {
      using T = std::remove_pointer_t<decltype(from)>;
      for_each_pixel<T, V.value>(
          from, to, pixels, channels, [&](Numbers* values, int64_t vectors, int64_t pixel) {
            const float known = mass[pixel];
            if (known > 0) {
              const float ratio = full / std::max(known, kLeastMass);
              for (int64_t v = 0; v < vectors; ++v)
                values[v] = values[v] * ratio + load(shift.data() + v * kLanes);
            } else {
              for (int64_t v = 0; v < vectors; ++v) values[v] = Numbers{};
            }
          });
    });
  });
  return output;
}

Tensor channel_norm(const Tensor& x, const Tensor& weight, double epsilon, double negative_slope) {
  const char* op = "channel_norm";
  check_pixels(op, "x", x);
  const int64_t channels = x.size(1), pixels = x.size(0) * x.size(2) * x.size(3);
  check_floats(op, "weight", weight, channels);
  Tensor output = empty_pixels(x, channels);
  if (pixels * channels == 0) return output;
  const std::vector<float> scale = padded(static_cast<const float*>(weight.data_ptr()), channels);
  const float slope = static_cast<float>(negative_slope), part = 1.0f / static_cast<float>(channels);
  const float least = static_cast<float>(epsilon);
  const Numbers existing = ones(channels - (channels - 1) / kLanes * kLanes), zero{};
  with_number(x, [&](auto* from) {
    auto* to = static_cast<decltype(from)>(output.data_ptr());
    with_vectors((channels + kLanes - 1) / kLanes, [&](auto V) {
      using T = std::remove_pointer_t<decltype(from)>;
      for_each_pixel<T, V.value>(from, to, pixels, channels, [&](Numbers* values, int64_t vectors, int64_t) {
        Numbers& last = values[vectors - 1];
        last = existing > zero ? last : zero; // by selection: the next pixel's may be NaN
        Numbers sum = values[0];
        for (int64_t v = 1; v < vectors; ++v) sum += values[v];
        const float mean = Floats::sum(sum) * part;
        Numbers squares{};
        for (int64_t v = 0; v < vectors; ++v) {
          values[v] -= mean;
          if (v + 1 == vectors) last = existing > zero ? last : zero;
          squares += values[v] * values[v];
        }
        const float inverse = 1.0f / std::sqrt(Floats::sum(squares) * part + least);
        for (int64_t v = 0; v < vectors; ++v) {
          const Numbers value = values[v] * inverse * load(scale.data() + v * kLanes);
          values[v] = value > zero ? value : value * slope;
        }
      });
    });
  });
  return output;
}

// One of the tensors that are put side by side.
struct Part {
  View view;
  int64_t channels, first; // of the result's channels, the first that is this one's
  int64_t reach;           // pixels to the right whose channels reading whole vectors may touch
  const float* valid;      // by pixel of the batch, null where nothing is masked
};

// A pixel of a part into a pixel of the result, whole vectors where there is room for them.
template <class T, class S>
inline void mask_pixel(const S* from, T* to, int64_t count, bool may_read, int64_t may_write, float share) {
  const Numbers zero{};
  for (int64_t c = 0; c < count; c += kLanes) {
    const int64_t here = std::min(kLanes, count - c);
    const Numbers value = here == kLanes || may_read ? load(from + c) : load_some(from + c, here);
    const Numbers scaled = share > 0 ? value * share : zero;
    if (c + kLanes <= may_write)
      store(to + c, scaled);
    else
      store_some(to + c, scaled, here);
  }
}

Tensor concatenate_known(
    std::vector<Tensor> features, std::vector<Tensor> valids, std::vector<int64_t> places) {
  const char* op = "concatenate_known";
  if (features.empty() || places.size() != features.size())
    fail(op, ": places must have as many entries as features, got ", places.size());
  const Tensor& first = features.front();
  if (first.dim() != 4) fail(op, ": features must have four dimensions, got ", shape_of(first));
  const int64_t n = first.size(0), h = first.size(2), w = first.size(3);
  std::vector<Part> parts;
  int64_t channels = 0;
  for (size_t i = 0; i < features.size(); ++i) {
    const Tensor& part = features[i];
    check_type(op, "features", part);
    check_shape(op, "features", part, n, part.size(1), h, w);
    const float* valid = nullptr;
    if (places[i] >= 0) {
      if (places[i] >= static_cast<int64_t>(valids.size())) fail(op, ": there is no valid ", places[i]);
      check_floats(op, "valid", valids[places[i]], n * h * w);
      valid = static_cast<const float*>(valids[places[i]].data_ptr());
    }
    const View view = view_of(part);
    const int64_t reach = view.w > 0 ? (kLanes + view.w - 1) / view.w : w;
    if (part.size(1) > 0) parts.push_back({view, part.size(1), channels, reach, valid});
    channels += part.size(1);
  }
  Tensor output = empty_pixels(first, channels);
  if (n * channels * h * w == 0) return output;
  const int64_t grain = std::max<int64_t>(kGrain / (channels * w), 1);
  with_number(output, [&](auto* result) {
    using T = std::remove_pointer_t<decltype(result)>;
    torch::stable::parallel_for(0, n * h, grain, [&](int64_t begin, int64_t end) {
      std::vector<int64_t> rows(parts.size());
      for (int64_t row = begin; row < end; ++row) {
        for (size_t i = 0; i < parts.size(); ++i)
          rows[i] = row / h * parts[i].view.n + row % h * parts[i].view.h;
        for (int64_t x = 0; x < w; ++x) {
          const int64_t pixel = row * w + x,
                        left = (end * w - pixel) * channels; // to what is not the thread's
          for (size_t i = 0; i < parts.size(); ++i) {
            const Part& part = parts[i];
            const View& view = part.view;
            const int64_t offset = rows[i] + x * view.w;
            const float share = part.valid ? part.valid[pixel] : 1.0f;
            T* to = result + pixel * channels + part.first;
            const bool may_read = x + part.reach < w;
            const auto copy = [&](const auto* from) {
              if (view.c == 1)
                mask_pixel(from, to, part.channels, may_read, left - part.first, share);
              else
                for (int64_t c = 0; c < part.channels; ++c)
                  to[c] = share > 0 ? static_cast<T>(static_cast<float>(from[c * view.c]) * share) : T(0.0f);
            };
            if (view.dtype == ScalarType::BFloat16)
              copy(static_cast<const c10::BFloat16*>(view.data) + offset);
            else
              copy(static_cast<const float*>(view.data) + offset);
          }
        }
      }
    });
  });
  return output;
}

} // namespace
} // namespace inpaint::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(inpaint, m) {
  m.def("renormalize(Tensor sums, Tensor known_mass, float full_mass, Tensor? bias) -> Tensor");
  m.def("channel_norm(Tensor x, Tensor weight, float epsilon, float negative_slope) -> Tensor");
  m.def("concatenate_known(Tensor[] features, Tensor[] valids, int[] places) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(inpaint, CPU, m) {
  m.impl("renormalize", TORCH_BOX(&inpaint::cpu::renormalize));
  m.impl("channel_norm", TORCH_BOX(&inpaint::cpu::channel_norm));
  m.impl("concatenate_known", TORCH_BOX(&inpaint::cpu::concatenate_known));
}
