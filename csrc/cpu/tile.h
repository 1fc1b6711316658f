// Moving rectangles between tensors of any type and strides and small buffers in the type sums are kept in.
//
// The kernels work on tiles of source pixels. A tile's features are either read in place (channels_last, same
// type, nothing to hide) or packed first: converted, channels innermost, zero outside the image and where the
// pixel is unknown. So one inner loop serves every layout, type and border.
#pragma once

#include "../carafe.h"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

namespace inpaint::cpu {

// A rank-4 tensor as bare memory.
struct View {
  void* data;
  ScalarType dtype;
  int64_t n, c, h, w; // strides in elements
};

inline View view_of(const Tensor& t) {
  return {t.data_ptr(), t.scalar_type(), t.stride(0), t.stride(1), t.stride(2), t.stride(3)};
}

// Copies `count` neighbouring numbers from one type to another.
template <class From, class To>
inline void convert(const From* from, To* to, int64_t count) {
  if constexpr (std::is_same_v<To, c10::BFloat16> && std::is_same_v<From, float>) {
    // Round to nearest even without a branch, so that the loop vectorises; c10's conversion has one for NaN.
    for (int64_t i = 0; i < count; ++i) {
      uint32_t bits;
      std::memcpy(&bits, from + i, sizeof bits);
      const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
      to[i].x = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<To>(from[i]);
  }
}

// Calls f with a null pointer of the element type.
template <class F>
inline void with_type(ScalarType dtype, const F& f) {
  switch (dtype) {
    case ScalarType::Float: return f(static_cast<float*>(nullptr));
    case ScalarType::Double: return f(static_cast<double*>(nullptr));
    case ScalarType::BFloat16: return f(static_cast<c10::BFloat16*>(nullptr));
    case ScalarType::Half: return f(static_cast<c10::Half*>(nullptr));
    default: fail("inpaint: unsupported dtype"); // the checks at the door let no other through
  }
}

template <class A> constexpr ScalarType dtype_of();
template <> constexpr ScalarType dtype_of<float>() { return ScalarType::Float; }
template <> constexpr ScalarType dtype_of<double>() { return ScalarType::Double; }

// A half-open rectangle of source pixels; it may reach outside the image.
struct Rect {
  int64_t top, left, height, width;

  Rect grown(int64_t by) const { return {top - by, left - by, height + 2 * by, width + 2 * by}; }
  Rect clipped(const Geometry& g) const {
    const int64_t t = std::max<int64_t>(top, 0), l = std::max<int64_t>(left, 0);
    return {t, l, std::min(top + height, g.height) - t, std::min(left + width, g.width) - l};
  }
  bool inside(const Geometry& g) const {
    return top >= 0 && left >= 0 && top + height <= g.height && left + width <= g.width;
  }
  int64_t area() const { return height * width; }
};

// Where the channel vectors of a rectangle lie: pixel (y, x) of it starts at base + y·row + x·column.
template <class A>
struct Pixels {
  const A* base;
  int64_t row, column;
};

// valid over `window`: 0 outside the image, 1 everywhere if there is no valid (then out is left empty).
template <class A>
void pack_valid(const View& valid, int64_t n, const Rect& window, const Geometry& g, std::vector<A>& out) {
  out.assign(window.area(), A(0));
  with_type(valid.dtype, [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    const Rect in = window.clipped(g);
    for (int64_t y = in.top; y < in.top + in.height; ++y)
      for (int64_t x = in.left; x < in.left + in.width; ++x)
        out[(y - window.top) * window.width + x - window.left] =
            static_cast<A>(static_cast<const T*>(valid.data)[n * valid.n + y * valid.h + x * valid.w]);
  });
}

// features[n, c0 : c0 + count] over `window`, `padded` channels a pixel. Pixels outside the image and, given
// known (valid over the window), unknown ones become zero by selection: what lies there is never read into a
// product.
template <class A>
Pixels<A> pack_features(
    const View& features,
    int64_t n,
    int64_t c0,
    int64_t count,
    int64_t padded,
    const Rect& window,
    const Geometry& g,
    const A* known,
    std::vector<A>& out) {
  out.resize(window.area() * padded);
  with_type(features.dtype, [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    const T* from = static_cast<const T*>(features.data) + n * features.n + c0 * features.c;
    const Rect in = window.clipped(g);
    for (int64_t y = 0; y < window.height; ++y) {
      A* row = out.data() + y * window.width * padded;
      const int64_t source_y = window.top + y;
      if (source_y < 0 || source_y >= g.height) {
        std::fill(row, row + window.width * padded, A(0));
        continue;
      }
      const int64_t first = in.left - window.left, last = first + in.width;
      std::fill(row, row + first * padded, A(0));
      std::fill(row + last * padded, row + window.width * padded, A(0));
      const T* source = from + source_y * features.h + window.left * features.w;
      if (features.c == 1) {
        for (int64_t x = first; x < last; ++x) {
          const T* pixel = source + x * features.w;
          A* to = row + x * padded;
          convert(pixel, to, count);
          for (int64_t c = count; c < padded; ++c) to[c] = A(0);
        }
      } else {
        for (int64_t c = 0; c < count; ++c)
          for (int64_t x = first; x < last; ++x)
            row[x * padded + c] = static_cast<A>(source[c * features.c + x * features.w]);
        for (int64_t c = count; c < padded; ++c)
          for (int64_t x = first; x < last; ++x) row[x * padded + c] = A(0);
      }
      if (known)
        for (int64_t x = first; x < last; ++x)
          if (!(known[y * window.width + x] > A(0)))
            std::fill(row + x * padded, row + (x + 1) * padded, A(0));
    }
  });
  return {out.data(), window.width * padded, padded};
}

// Writes `count` numbers with a stride between them.
template <class A>
void write_strided(const View& to, int64_t offset, int64_t stride, const A* from, int64_t count) {
  with_type(to.dtype, [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    T* target = static_cast<T*>(to.data) + offset;
    if (stride == 1)
      convert(from, target, count);
    else
      for (int64_t i = 0; i < count; ++i) target[i * stride] = static_cast<T>(from[i]);
  });
}

} // namespace inpaint::cpu
