// Buffers of the taps' weights: reading them from logits or kernels, and writing their gradients.
//
// A buffer of weights is [pixel][tap][sub-pixel]: the taps of one source pixel for its scale² output pixels
// lie together, as the logits of a channels_last tensor do. Each pixel's run is padded to whole vectors.
#pragma once

#include "tile.h"
#include "vector.h"

namespace inpaint::cpu {

template <class A>
inline int64_t padded_weights(const Geometry& g) {
  constexpr int64_t lanes = Vector<A>::lanes;
  return (g.taps() * g.subpixels() + lanes - 1) / lanes * lanes;
}

// Visits every number of a rectangle in the order of memory, as far as a loop order can follow it:
// f(position in the buffer, element offset).
template <class F>
inline void for_each_weight(
    const KernelLayout& layout,
    int64_t base,
    const Rect& rect,
    const Geometry& g,
    int64_t per_pixel,
    const F& f) {
  const int64_t taps = g.taps(), subs = g.subpixels();
  const int64_t start = base + rect.top * layout.h + rect.left * layout.w;
  std::vector<int64_t> subpixel(subs);
  for (int64_t s = 0; s < subs; ++s) subpixel[s] = layout.subpixel(s, g);
  if (layout.tap < layout.w || rect.width == 1) { // channels_last: a pixel's numbers are neighbours
    for (int64_t y = 0; y < rect.height; ++y)
      for (int64_t x = 0; x < rect.width; ++x)
        for (int64_t t = 0; t < taps; ++t)
          for (int64_t s = 0; s < subs; ++s)
            f((y * rect.width + x) * per_pixel + t * subs + s,
              start + y * layout.h + x * layout.w + t * layout.tap + subpixel[s]);
  } else {
    for (int64_t t = 0; t < taps; ++t)
      for (int64_t y = 0; y < rect.height; ++y)
        for (int64_t s = 0; s < subs; ++s)
          for (int64_t x = 0; x < rect.width; ++x)
            f((y * rect.width + x) * per_pixel + t * subs + s,
              start + y * layout.h + x * layout.w + t * layout.tap + subpixel[s]);
  }
}

// Do a pixel's numbers lie in one run, as in channels_last logits? Then base + y·h + x·w is its first.
inline bool has_runs(const KernelLayout& layout, const Geometry& g) {
  return layout.tap == g.subpixels() && (g.scale == 1 || (layout.sub_w == 1 && layout.sub_h == g.scale));
}

template <class A>
void read_weights(
    const KernelLayout& layout, int64_t base, const Rect& rect, const Geometry& g, std::vector<A>& out) {
  const int64_t per_pixel = padded_weights<A>(g), count = g.taps() * g.subpixels();
  out.resize(rect.area() * per_pixel);
  with_type(layout.view.dtype, [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    const T* from = static_cast<const T*>(layout.view.data);
    if (has_runs(layout, g))
      for (int64_t p = 0; p < rect.area(); ++p) {
        const int64_t y = rect.top + p / rect.width, x = rect.left + p % rect.width;
        convert(from + base + y * layout.h + x * layout.w, out.data() + p * per_pixel, count);
      }
    else
      for_each_weight(layout, base, rect, g, per_pixel, [&](int64_t position, int64_t offset) {
        out[position] = static_cast<A>(from[offset]);
      });
  });
}

template <class A>
void write_weights(
    const KernelLayout& layout,
    int64_t base,
    const Rect& rect,
    const Geometry& g,
    const std::vector<A>& values) {
  const int64_t per_pixel = padded_weights<A>(g), count = g.taps() * g.subpixels();
  with_type(layout.view.dtype, [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    T* to = static_cast<T*>(layout.view.data);
    if (has_runs(layout, g))
      for (int64_t p = 0; p < rect.area(); ++p) {
        const int64_t y = rect.top + p / rect.width, x = rect.left + p % rect.width;
        convert(values.data() + p * per_pixel, to + base + y * layout.h + x * layout.w, count);
      }
    else
      for_each_weight(layout, base, rect, g, per_pixel, [&](int64_t position, int64_t offset) {
        to[offset] = static_cast<T>(values[position]);
      });
  });
}

} // namespace inpaint::cpu
