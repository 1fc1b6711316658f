// Moving rectangles between tensors of any type and strides and small buffers in the type sums are kept in.
//
// The kernels work on tiles of centres. The features of a tile's windows are either read in place
// (channels_last, same type, nothing to hide) or packed first: converted, channels innermost, zero outside
// the image and where the pixel is unknown. So one inner loop serves every layout, type and border.
#pragma once

#include "../layout.h"
#include "vector.h"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <type_traits>
#include <vector>

namespace inpaint::cpu {

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
    default: throw std::logic_error("inpaint: unsupported dtype"); // the checks at the door let none through
  }
}

template <class A> constexpr ScalarType dtype_of();
template <> constexpr ScalarType dtype_of<float>() { return ScalarType::Float; }
template <> constexpr ScalarType dtype_of<double>() { return ScalarType::Double; }

// A half-open rectangle of source pixels, or of centres; it may reach outside the image.
struct Rect {
  int64_t top, left, height, width;

  Rect clipped(int64_t rows, int64_t columns) const {
    const int64_t t = std::max<int64_t>(top, 0), l = std::max<int64_t>(left, 0);
    return {t, l, std::min(top + height, rows) - t, std::min(left + width, columns) - l};
  }
  Rect clipped(const Geometry& g) const { return clipped(g.height, g.width); }

  // Of centres: the source pixels that their windows cover.
  Rect window(const Geometry& g) const {
    const int64_t r = g.radius(), s = g.stride, k = g.kernel_size;
    return {top * s - r, left * s - r, (height - 1) * s + k, (width - 1) * s + k};
  }
  // Of centres: the source pixels that belong to them, each to the nearest centre above and left of it.
  Rect owned(const Geometry& g) const {
    const int64_t s = g.stride;
    return Rect{top * s, left * s, height * s, width * s}.clipped(g);
  }
  // Of centres: the centres whose windows reach the source pixels that belong to these.
  Rect readers(const Geometry& g) const {
    const int64_t before = g.radius() / g.stride, after = (g.radius() + g.stride - 1) / g.stride;
    const Rect near{top - before, left - before, height + before + after, width + before + after};
    return near.clipped(g.rows, g.columns);
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

// Gathers `pixels` neighbours in a row, a vector of channels each, of which `count` exist and the others
// become 0, into a buffer that holds a pixel every `padded` numbers. The counterpart of `write_row`.
template <class A, class T>
void pack_row(
    const T* from, int64_t column, int64_t plane, int64_t pixels, int64_t count, int64_t padded, A* out) {
  using Vec = Vector<A>;
  for (int64_t p0 = 0; p0 < pixels; p0 += Vec::lanes) {
    const int64_t width = std::min<int64_t>(Vec::lanes, pixels - p0);
    typename Vec::type square[Vec::lanes] = {};
    for (int64_t c = 0; c < count; ++c) {
      A line[Vec::lanes] = {};
      const T* source = from + p0 * column + c * plane;
      if (column == 1 && width == Vec::lanes)
        convert(source, line, Vec::lanes);
      else
        for (int64_t p = 0; p < width; ++p) line[p] = static_cast<A>(source[p * column]);
      square[c] = Vec::load(line);
    }
    Vec::transpose(square);
    for (int64_t p = 0; p < width; ++p) Vec::store(out + (p0 + p) * padded, square[p]);
  }
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
  const Rect in = window.clipped(g);
  const int64_t first = in.left - window.left, last = first + in.width, line = window.width * padded;
  for (int64_t y = 0; y < window.height; ++y) {
    A* row = out.data() + y * line;
    const bool inside = window.top + y >= 0 && window.top + y < g.height;
    std::fill(row, row + (inside ? first : window.width) * padded, A(0));
    if (inside) std::fill(row + last * padded, row + line, A(0));
  }
  with_type(features.dtype, [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    const T* from = static_cast<const T*>(features.data) + n * features.n + c0 * features.c +
        in.top * features.h + in.left * features.w;
    A* corner = out.data() + (in.top - window.top) * line + first * padded;
    if (features.c == 1) {
      for (int64_t y = 0; y < in.height; ++y)
        for (int64_t x = 0; x < in.width; ++x) {
          A* to = corner + y * line + x * padded;
          convert(from + y * features.h + x * features.w, to, count);
          for (int64_t c = count; c < padded; ++c) to[c] = A(0);
        }
      return;
    }
    constexpr int64_t lanes = Vector<A>::lanes; // few planes at a time: each lies in pages of its own
    for (int64_t c = 0; c < padded; c += lanes)
      for (int64_t y = 0; y < in.height; ++y)
        pack_row(
            from + c * features.c + y * features.h,
            features.w,
            features.c,
            in.width,
            std::min(lanes, count - c),
            padded,
            corner + y * line + c);
  });
  if (known)
    for (int64_t p = 0; p < window.area(); ++p)
      if (!(known[p] > A(0))) std::fill(out.begin() + p * padded, out.begin() + (p + 1) * padded, A(0));
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

// Writes `pixels` neighbours in a row, of `count` channels each, from a buffer that holds a pixel every
// `pixel` numbers, whole vectors. Where the width is innermost (NCHW), squares of pixels and channels are
// transposed, so that memory is written a vector at a time.
template <class A>
void write_row(const View& to, int64_t offset, const A* from, int64_t pixel, int64_t pixels, int64_t count) {
  if (to.w != 1 || pixels == 1) {
    for (int64_t p = 0; p < pixels; ++p) write_strided(to, offset + p * to.w, to.c, from + p * pixel, count);
    return;
  }
  using Vec = Vector<A>;
  with_type(to.dtype, [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    for (int64_t c0 = 0; c0 < count; c0 += Vec::lanes)
      for (int64_t p0 = 0; p0 < pixels; p0 += Vec::lanes) {
        const int64_t width = std::min<int64_t>(Vec::lanes, pixels - p0);
        typename Vec::type square[Vec::lanes] = {};
        for (int64_t p = 0; p < width; ++p) square[p] = Vec::load(from + (p0 + p) * pixel + c0);
        Vec::transpose(square);
        T* target = static_cast<T*>(to.data) + offset + p0 + c0 * to.c;
        for (int64_t c = 0; c < std::min<int64_t>(Vec::lanes, count - c0); ++c, target += to.c) {
          A line[Vec::lanes];
          Vec::store(line, square[c]);
          if (width == Vec::lanes)
            convert(line, target, Vec::lanes);
          else
            convert(line, target, width);
        }
      }
  });
}

} // namespace inpaint::cpu
