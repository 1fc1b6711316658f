// What the blocks of every CARAFE kernel have in common: reading and writing tensors of any type and strides,
// and normalising the weights of a few source pixels in shared memory (csrc/README.md has the maths).
//
// Like the CPU's, the kernels are written for one type, the one sums are kept in; what lies in global memory
// is converted on its way in and out.
#pragma once

#include "../layout.h"

#include <cuda_runtime.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <math.h>
#include <type_traits>

extern __shared__ __align__(32) unsigned char inpaint_shared[];

namespace inpaint::cuda {

constexpr int kQuad = 4; // channels that a thread holds: one 16-byte access to shared memory in float32

// Numbers that are moved together.
template <class T, int Count>
struct alignas(Count * sizeof(T)) Group {
  T v[Count];
};
template <class A> using Quad = Group<A, kQuad>;

// Calls f with a null pointer of the element type. Every thread of a launch takes the same branch.
template <class F>
__device__ __forceinline__ void with_type(ScalarType dtype, const F& f) {
  switch (dtype) {
    case ScalarType::Float: return f(static_cast<float*>(nullptr));
    case ScalarType::Double: return f(static_cast<double*>(nullptr));
    case ScalarType::BFloat16: return f(static_cast<c10::BFloat16*>(nullptr));
    default: return f(static_cast<c10::Half*>(nullptr));
  }
}
template <class Tag> using ElementOf = std::remove_pointer_t<std::remove_reference_t<Tag>>;

template <class A>
__device__ __forceinline__ A load(const View& view, int64_t offset) {
  A value = 0;
  with_type(view.dtype, [&](auto* tag) {
    value = static_cast<A>(static_cast<const ElementOf<decltype(tag)>*>(view.data)[offset]);
  });
  return value;
}
template <class A>
__device__ __forceinline__ void store(const View& view, int64_t offset, A value) {
  with_type(view.dtype, [&](auto* tag) {
    using T = ElementOf<decltype(tag)>;
    static_cast<T*>(view.data)[offset] = static_cast<T>(value);
  });
}

// Can four channels be moved at once, starting from a channel that four divides?
__device__ inline bool quads_aligned(const View& view, int64_t channels_per_group, int element_size) {
  return view.c == 1 && channels_per_group % kQuad == 0 && view.n % kQuad == 0 && view.h % kQuad == 0 &&
      view.w % kQuad == 0 && reinterpret_cast<uintptr_t>(view.data) % (kQuad * element_size) == 0;
}

// Moves blocks of channels between a tensor and shared memory, `lanes` quads of channels for each of `count`
// places. place(p, offset) gives the place's position in the buffer and, in `offset`, where its first channel
// lies in the tensor; a negative one stands for zeros on the way in and for nothing on the way out. Channels
// from `channels` on do not exist. Neighbouring threads take neighbouring channels or neighbouring places,
// whichever are neighbours in memory.
template <class Place, class F>
__device__ __forceinline__ void for_each_quad(
    const View& view, int channels, int lanes, int count, const Place& place, const F& f) {
  const bool channels_inside = view.c == 1;
  for (int i = threadIdx.x; i < count * lanes; i += blockDim.x) {
    const int lane = channels_inside ? i % lanes : i / count, p = channels_inside ? i / lanes : i % count;
    int64_t offset;
    const int position = place(p, offset);
    f(position + lane * kQuad, offset + lane * kQuad * view.c, offset < 0 ? 0 : channels - lane * kQuad);
  }
}

template <class A, class Place>
__device__ __forceinline__ void read_quads(
    const View& view,
    int64_t channels_per_group,
    int channels,
    int lanes,
    int count,
    const Place& place,
    A* to) {
  with_type(view.dtype, [&](auto* tag) {
    using T = ElementOf<decltype(tag)>;
    const T* from = static_cast<const T*>(view.data);
    const bool aligned = quads_aligned(view, channels_per_group, sizeof(T));
    for_each_quad(view, channels, lanes, count, place, [&](int position, int64_t offset, int left) {
      Quad<A> quad{};
      if (aligned && left >= kQuad) {
        const Quad<T> four = *reinterpret_cast<const Quad<T>*>(from + offset);
        for (int c = 0; c < kQuad; ++c) quad.v[c] = static_cast<A>(four.v[c]);
      } else {
        for (int c = 0; c < kQuad; ++c)
          if (c < left) quad.v[c] = static_cast<A>(from[offset + c * view.c]);
      }
      *reinterpret_cast<Quad<A>*>(to + position) = quad;
    });
  });
}

template <class T, class A>
__device__ __forceinline__ void write_quad(
    T* to, int64_t stride, const Quad<A>& quad, int channels, bool aligned) {
  if (aligned && channels >= kQuad) {
    Quad<T> four;
    for (int c = 0; c < kQuad; ++c) four.v[c] = static_cast<T>(quad.v[c]);
    *reinterpret_cast<Quad<T>*>(to) = four;
  } else {
    for (int c = 0; c < kQuad; ++c)
      if (c < channels) to[c * stride] = static_cast<T>(quad.v[c]);
  }
}

template <class A, class Place>
__device__ __forceinline__ void write_quads(
    const View& view,
    int64_t channels_per_group,
    int channels,
    int lanes,
    int count,
    const Place& place,
    const A* from) {
  with_type(view.dtype, [&](auto* tag) {
    using T = ElementOf<decltype(tag)>;
    T* to = static_cast<T*>(view.data);
    const bool aligned = quads_aligned(view, channels_per_group, sizeof(T));
    for_each_quad(view, channels, lanes, count, place, [&](int position, int64_t offset, int left) {
      if (left > 0)
        write_quad(to + offset, view.c, *reinterpret_cast<const Quad<A>*>(from + position), left, aligned);
    });
  });
}

// A rectangle of source pixels or of centres (layout.h), partly outside the image perhaps.
struct Rect {
  int64_t top, left;
  int rows, columns;

  __device__ int area() const { return rows * columns; }
  // Of centres: the source pixels that their k×k windows cover.
  __device__ Rect window(int k, int stride) const {
    const int r = k / 2;
    return {top * stride - r, left * stride - r, (rows - 1) * stride + k, (columns - 1) * stride + k};
  }
};

// The weights of one group and of S sub-pixels, from `first_sub` on, for the centres of a rectangle. In
// shared memory they are [pixel][tap][S]; sub-pixels that do not exist have weights 0.
template <class A, int S>
struct Weights {
  const KernelLayout& layout;
  const Geometry& g;
  int64_t base;
  int first_sub;

  __device__ Weights(const KernelLayout& kernels, const Geometry& sizes, int64_t n, int64_t group, int sub)
      : layout(kernels), g(sizes), base(kernels.offset(n, group, sizes)), first_sub(sub) {}

  // Visits the numbers of `rect`, each once among the block's threads, in an order in which neighbouring
  // threads meet neighbouring memory: f(position in the buffer, element offset or −1 where there is no such
  // number).
  template <class F>
  __device__ __forceinline__ void for_each(const Rect& rect, const F& f) const {
    const int count = static_cast<int>(g.taps()) * S, threads = blockDim.x, thread = threadIdx.x;
    const bool pixels_apart = layout.w > layout.tap; // channels_last: a pixel's numbers are neighbours
    const int inner = min(pixels_apart ? 32 : min(32, rect.columns), threads);
    const int lane = thread % inner, first = thread / inner, step = threads / inner;
    if (first >= step) return; // threads left over where `inner` does not divide them
    if (pixels_apart) {
      for (int p = first; p < rect.area(); p += step) {
        const int64_t y = rect.top + p / rect.columns, x = rect.left + p % rect.columns;
        const bool inside = g.has_centre(y, x);
        const int64_t pixel = base + y * layout.h + x * layout.w;
        for (int j = lane; j < count; j += inner) {
          const int sub = first_sub + j % S;
          f(p * count + j,
            inside && sub < g.subpixels() ? pixel + j / S * layout.tap + layout.subpixel(sub, g) : -1);
        }
      }
    } else {
      for (int j = first; j < count; j += step) {
        const int sub = first_sub + j % S;
        const int64_t number = base + j / S * layout.tap + layout.subpixel(sub, g);
        for (int row = 0; row < rect.rows; ++row) {
          const int64_t y = rect.top + row;
          for (int column = lane; column < rect.columns; column += inner) {
            const int64_t x = rect.left + column;
            const bool inside = g.has_centre(y, x);
            f((row * rect.columns + column) * count + j,
              inside && sub < g.subpixels() ? number + y * layout.h + x * layout.w : -1);
          }
        }
      }
    }
  }

  __device__ void read(const Rect& rect, A* to) const {
    with_type(layout.view.dtype, [&](auto* tag) {
      const auto* from = static_cast<const ElementOf<decltype(tag)>*>(layout.view.data);
      for_each(rect, [&](int position, int64_t offset) {
        to[position] = offset < 0 ? A(0) : static_cast<A>(from[offset]);
      });
    });
  }
  __device__ void write(const Rect& rect, const A* from) const {
    with_type(layout.view.dtype, [&](auto* tag) {
      using T = ElementOf<decltype(tag)>;
      auto* to = static_cast<T*>(layout.view.data);
      for_each(rect, [&](int position, int64_t offset) {
        if (offset >= 0) to[offset] = static_cast<T>(from[position]);
      });
    });
  }
};

// valid over `window`, into a buffer: 0 outside the image.
template <class A>
__device__ void read_valid(const View& valid, int64_t n, const Rect& window, const Geometry& g, A* known) {
  for (int i = threadIdx.x; i < window.area(); i += blockDim.x) {
    const int64_t y = window.top + i / window.columns, x = window.left + i % window.columns;
    known[i] = g.contains(y, x) ? load<A>(valid, n * valid.n + y * valid.h + x * valid.w) : A(0);
  }
}

template <class A> __device__ __forceinline__ A logistic(A x) { return A(1) / (A(1) + exp(-x)); }
template <class A> __device__ __forceinline__ A log_logistic(A x) {
  return (x < A(0) ? x : A(0)) - log1p(exp(-fabs(x)));
}

// Turns the k² logits of one output pixel, `stride` apart, into effective weights wₖ·vₖ·W/Σ wₖ·vₖ in place
// and returns the known share s/W. `known` is the window's first v, its rows `known_row` apart; null stands
// for ones. The largest logit among the known taps is subtracted, so that a known tap is never lost to
// underflow. The sum can be as small as the smallest v, whose reciprocal may not be a finite number: it is
// divided by. Where no mass is known all weights become 0.
template <class A>
__device__ A normalize(Normalizer normalizer, int k, A* w, int stride, const A* known, int known_row) {
  if (normalizer == Normalizer::none) return A(1);
  const auto valid_at = [&](int i, int j) { return known ? known[i * known_row + j] : A(1); };
  A all = 0, sum = 0, share_factor = 1;
  if (normalizer == Normalizer::sigmoid) {
    for (int i = 0, t = 0; i < k; ++i)
      for (int j = 0; j < k; ++j, t += stride) {
        const A v = valid_at(i, j), weight = logistic(w[t]);
        all += weight;
        sum += w[t] = v > A(0) ? weight * v : A(0);
      }
    if (!known || (sum == all && sum > A(0))) return A(1); // exactly the plain form where all is known
  } else {
    A high = -INFINITY, high_known = -INFINITY;
    for (int i = 0, t = 0; i < k; ++i)
      for (int j = 0; j < k; ++j, t += stride) {
        if (normalizer == Normalizer::sigmoid_normalized) w[t] = log_logistic(w[t]); // a softmax of log σ
        high = w[t] > high ? w[t] : high;
        if (valid_at(i, j) > A(0)) high_known = w[t] > high_known ? w[t] : high_known;
      }
    if (high_known == -INFINITY) high_known = 0;
    for (int i = 0, t = 0; i < k; ++i)
      for (int j = 0; j < k; ++j, t += stride) {
        const A v = valid_at(i, j);
        all += exp(w[t] - high);
        sum += w[t] = v > A(0) ? exp(w[t] - high_known) * v : A(0);
      }
    share_factor = exp(high_known - high);
  }
  const A scale = normalizer == Normalizer::sigmoid ? all : A(1);
  for (int t = 0; t < k * k * stride; t += stride) w[t] = sum == A(0) ? A(0) : w[t] / sum * scale;
  return sum == A(0) ? A(0) : sum * share_factor / all;
}

// Normalises the weights of a rectangle, an output pixel per thread; f(output pixel, known share). `known` is
// valid over the rectangle's windows, which are `stride` apart.
template <class A, int S, class F>
__device__ __forceinline__ void normalize_all(
    Normalizer normalizer,
    const Geometry& g,
    int stride,
    const Rect& rect,
    A* weights,
    const A* known,
    const F& f) {
  const int k = static_cast<int>(g.kernel_size), taps = k * k;
  const int known_row = (rect.columns - 1) * stride + k;
  for (int i = threadIdx.x; i < rect.area() * S; i += blockDim.x) {
    const int pixel = i / S;
    const A* window =
        known ? known + stride * (pixel / rect.columns * known_row + pixel % rect.columns) : nullptr;
    f(i, normalize(normalizer, k, weights + pixel * taps * S + i % S, S, window, known_row));
  }
}

// From the effective weights w and gₖ = Σ_c grad·xₖ of one output pixel to the gradient of its logits,
// written over gₖ. `logit(tap)` is the raw one. The CPU's normalize_backward has the formulas.
template <class A, class Logit>
__device__ void normalize_backward(
    Normalizer normalizer, bool masked, int taps, const A* w, A* gradient, int stride, const Logit& logit) {
  if (normalizer == Normalizer::none) return;
  A mean = 0, mass = 0;
  for (int t = 0; t < taps; ++t) {
    mean += w[t * stride] * gradient[t * stride];
    mass += w[t * stride];
  }
  if (normalizer == Normalizer::sigmoid) {
    mean = mass == A(0) ? A(0) : mean / mass;
    for (int t = 0; t < taps; ++t) {
      const A own = w[t * stride], weight = logistic(logit(t));
      A& g = gradient[t * stride];
      g = (A(1) - weight) * (masked ? weight * mean + own * (g - mean) : weight * g);
    }
    return;
  }
  for (int t = 0; t < taps; ++t) {
    const A own = w[t * stride];
    A& g = gradient[t * stride];
    g = own == A(0) ? A(0) : own * (g - mean); // by selection: a logit without weight may be NaN
    if (normalizer == Normalizer::sigmoid_normalized && own != A(0)) g *= logistic(-logit(t));
  }
}

} // namespace inpaint::cuda
