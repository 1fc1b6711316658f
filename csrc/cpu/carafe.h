// What forward and backward have in common on the CPU: tiles, blocks of channels, and reading features.
//
// A work item is a tile of centres of one picture (layout.h; all source pixels where the stride is 1);
// threads take items from torch's own pool and own all that they write, so results are the same for every
// number of threads. Per item and group: get the weights of the tile, then go through the channels in blocks
// of a few vector registers. All σ² output pixels of a centre read the same window of features, so each
// loaded vector is used σ² times.
#pragma once

#include "../layout.h"
#include "tile.h"
#include "vector.h"

#include <algorithm>
#include <type_traits>
#include <vector>

namespace inpaint::cpu {

// CARAFE on the CPU, as operators.h asks of a device.
struct Cpu {
  static void forward(const Reassembly& call, const View& output, const View* output_valid);
  static void backward(
      const Reassembly& call,
      const View& grad,
      const View* features_gradient,
      const KernelLayout* kernels_gradient);
};

constexpr int kOutputs = 4;                         // output pixels summed at once
constexpr int kVectors = kRegisters / 2 / kOutputs; // of channels in a block: sums fill half the registers

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The tiles of a whole batch, counted through. They are sized in source pixels, so that their windows do not
// grow with the stride.
struct Tiles {
  Geometry g;
  int64_t rows, columns, down, across; // of centres in a tile; of tiles

  Tiles(const Geometry& geometry, int64_t pixel_rows, int64_t pixel_columns)
      : g(geometry),
        rows(ceil_div(pixel_rows, geometry.stride)),
        columns(ceil_div(pixel_columns, geometry.stride)),
        down(ceil_div(geometry.rows, rows)),
        across(ceil_div(geometry.columns, columns)) {}

  int64_t count() const { return g.batch * down * across; }
  int64_t picture(int64_t item) const { return item / (down * across); }
  Rect rect(int64_t item) const {
    const int64_t tile = item % (down * across);
    const int64_t top = tile / across * rows, left = tile % across * columns;
    return {top, left, std::min(rows, g.rows - top), std::min(columns, g.columns - left)};
  }
};

// How many times larger a tile is each way. In NCHW a run of a plane then gives as many centres as with a
// stride of 1, and neighbouring windows are packed together.
inline int64_t tile_enlargement(const Geometry& g, bool planes) { return planes && g.stride > 1 ? 2 : 1; }

// Blocks of at most `largest_vectors` vectors: f(first channel, channels, vectors).
template <class A, class F>
void for_each_block(int64_t channels, int64_t largest_vectors, const F& f) {
  constexpr int64_t lanes = Vector<A>::lanes;
  const int64_t largest = largest_vectors * lanes;
  for (int64_t c = 0; c < channels; c += largest) {
    const int64_t count = std::min(largest, channels - c);
    f(c, count, ceil_div(count, lanes));
  }
}

// Calls f with the number as a compile-time constant, 1 to 4.
template <class F>
void with_constant(int64_t n, const F& f) {
  switch (n) {
    case 1: return f(std::integral_constant<int, 1>());
    case 2: return f(std::integral_constant<int, 2>());
    case 3: return f(std::integral_constant<int, 3>());
    default: return f(std::integral_constant<int, 4>());
  }
}

// Can `count` channels of a tensor be read in place, vectors of A at a time?
template <class A>
bool readable_in_place(const View& view, int64_t count) {
  return view.dtype == dtype_of<A>() && view.c == 1 && count % Vector<A>::lanes == 0;
}

// The features of `window`, in place where they need no conversion, and none of them has to be zeroed.
template <class A>
Pixels<A> feature_pixels(
    const View& features,
    int64_t n,
    int64_t c0,
    int64_t count,
    int64_t vectors,
    const Rect& window,
    const Geometry& g,
    const A* known,
    std::vector<A>& buffer) {
  if (!known && window.inside(g) && readable_in_place<A>(features, count)) {
    const int64_t offset = n * features.n + c0 + window.top * features.h + window.left * features.w;
    return {static_cast<const A*>(features.data) + offset, features.h, features.w};
  }
  return pack_features(features, n, c0, count, vectors * Vector<A>::lanes, window, g, known, buffer);
}

// Calls f with a number of the type that sums are kept in.
template <class F>
inline void with_sum_type(const Reassembly& call, const F& f) {
  if (call.in_double)
    f(double());
  else
    f(float());
}

} // namespace inpaint::cpu
