// The operands of a launch and how its work is cut: what the kernels read of it, and how the host chooses it
// (csrc/README.md says what a block and a thread own).
#pragma once

#include "block.h"
#include "launch.h"

#include <algorithm>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace inpaint::cuda {

// The operands of a launch and how its work is cut. An item of work is taken by one block.
template <class A>
struct Work {
  Geometry g;
  View features;
  KernelLayout kernels;
  Normalizer normalizer;
  View valid;        // without data in the plain form
  View output;       // or ∂L/∂y backward
  View output_valid; // without data where it is not wanted
  View features_gradient;
  KernelLayout kernels_gradient;

  int rows, columns, lanes; // the tile, and how many threads share out a block of channels
  int64_t tiles_down, tiles_across, chunks, splits, channels_per_split;

  // Channels that are at hand at once, and how far pixels of them are apart in shared memory: the quad
  // between them lets neighbouring pixels start in different banks.
  __host__ __device__ int block_channels() const { return lanes * kQuad; }
  __host__ __device__ int pixel_stride() const { return block_channels() + kQuad; }
  __device__ int channels_at_hand(int64_t c0, int64_t c_end) const {
    return static_cast<int>(c_end - c0 < block_channels() ? c_end - c0 : block_channels());
  }
  __host__ __device__ int64_t window_area(int64_t stride) const {
    return ((rows - 1) * stride + g.kernel_size) * ((columns - 1) * stride + g.kernel_size);
  }
  __host__ __device__ int64_t items() const {
    return g.batch * tiles_down * tiles_across * g.groups * chunks * splits;
  }
};

// What item a block is at.
struct Item {
  int64_t n, group;
  Rect tile;
  int first_sub;
  int64_t split;

  template <class A>
  __device__ Item(const Work<A>& work, int64_t item, int sub_pixels) {
    const auto take = [&](int64_t size) {
      const int64_t part = item % size;
      item /= size;
      return part;
    };
    split = take(work.splits);
    first_sub = static_cast<int>(take(work.chunks)) * sub_pixels;
    group = take(work.g.groups);
    const int64_t across = take(work.tiles_across), down = take(work.tiles_down);
    n = item;
    tile = {down * work.rows, across * work.columns, work.rows, work.columns};
  }
};

// Features of `window` from channel c0 on, into shared memory: zero outside the image, where the pixel is
// unknown, and beyond the group's last channel. What lies there is never read into a product.
template <class A>
__device__ void read_features(
    const Work<A>& work, int64_t n, int64_t c0, int64_t c_end, const Rect& window, const A* known, A* to) {
  const View& v = work.features;
  const Geometry& g = work.g;
  const int channels = work.channels_at_hand(c0, c_end);
  const auto place = [&](int p, int64_t& offset) {
    const int64_t y = window.top + p / window.columns, x = window.left + p % window.columns;
    const bool there = g.contains(y, x) && (!known || known[p] > A(0));
    offset = there ? n * v.n + c0 * v.c + y * v.h + x * v.w : -1;
    return p * work.pixel_stride();
  };
  read_quads(v, g.channels_per_group(), channels, work.lanes, window.area(), place, to);
}

// The output's gradient at S sub-pixels of the centres of `rect`: [pixel][sub-pixel][channel], pixels
// S·channels and a quad apart.
template <class A, int S>
__device__ void read_grad(
    const Work<A>& work, int64_t n, int64_t c0, int64_t c_end, const Rect& rect, int first_sub, A* to) {
  const View& v = work.output;
  const Geometry& g = work.g;
  const int channels = work.channels_at_hand(c0, c_end);
  const int scale = static_cast<int>(g.scale), block = work.block_channels();
  const auto place = [&](int p, int64_t& offset) {
    const int pixel = p / S, sub = first_sub + p % S;
    const int64_t y = rect.top + pixel / rect.columns, x = rect.left + pixel % rect.columns;
    const bool there = g.has_centre(y, x) && sub < scale * scale;
    offset =
        there ? n * v.n + c0 * v.c + (y * scale + sub / scale) * v.h + (x * scale + sub % scale) * v.w : -1;
    return pixel * (S * block + kQuad) + p % S * block;
  };
  read_quads(v, g.channels_per_group(), channels, work.lanes, rect.area() * S, place, to);
}

// ------------------------------------------------------------------------------------------------------------
// On the host
// ------------------------------------------------------------------------------------------------------------

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Threads along channels, at most `most`: a power of two, no more than the group has quads.
inline int lanes_for(const Geometry& g, int most) {
  int lanes = 1;
  while (lanes < most && lanes * kQuad < g.channels_per_group()) lanes *= 2;
  return lanes;
}

template <class A>
Work<A> new_work(const Reassembly& call, const View& output) {
  Work<A> work{};
  work.g = call.geometry;
  work.features = call.features;
  work.kernels = call.kernels;
  work.normalizer = call.normalizer;
  if (call.valid) work.valid = *call.valid;
  work.output = output;
  work.chunks = work.splits = 1;
  return work;
}

// The largest of the tiles that, with as many lanes as possible, fits into shared memory. `bytes` says how
// much a choice needs. Returns false where none fits.
template <class A, class Bytes>
bool choose_tile(
    Work<A>& work,
    std::initializer_list<std::pair<int, int>> tiles,
    int most_lanes,
    int64_t limit,
    const Bytes& bytes) {
  for (const auto& [rows, columns] : tiles) {
    for (int lanes = lanes_for(work.g, most_lanes); lanes >= 1; lanes /= 2) {
      work.rows = rows;
      work.columns = columns;
      work.lanes = lanes;
      work.tiles_down = ceil_div(work.g.rows, rows);
      work.tiles_across = ceil_div(work.g.columns, columns);
      if (bytes() <= limit) return true;
    }
  }
  return false;
}

// The tiles to choose from where a tile's windows are held at once: a quarter of the size where they are a
// stride apart.
inline std::initializer_list<std::pair<int, int>> tiles_of_windows(bool strided) {
  static constexpr std::initializer_list<std::pair<int, int>> dense{{8, 8}, {4, 8}, {4, 4}, {1, 4}};
  static constexpr std::initializer_list<std::pair<int, int>> apart{{4, 8}, {4, 4}, {1, 4}};
  return strided ? apart : dense;
}

// Calls launch(A, S, K) with the types and constants of the call: the usual kernel sizes are known to the
// compiler. Four sub-pixels are worked on at once, or one where there is but one or where four do not fit
// into shared memory.
template <class Launch>
void with_constants(const Reassembly& call, const Launch& launch) {
  using std::integral_constant;
  const auto with_subpixels = [&](auto type, auto K) {
    if (call.geometry.scale > 1 && launch(type, integral_constant<int, 4>(), K)) return true;
    return launch(type, integral_constant<int, 1>(), K);
  };
  bool fits;
  if (call.in_double)
    fits = with_subpixels(double(), integral_constant<int, 0>());
  else if (call.geometry.kernel_size == 3)
    fits = with_subpixels(float(), integral_constant<int, 3>());
  else if (call.geometry.kernel_size == 5)
    fits = with_subpixels(float(), integral_constant<int, 5>());
  else
    fits = with_subpixels(float(), integral_constant<int, 0>());
  if (!fits)
    throw std::runtime_error(
        "carafe: kernel_size " + std::to_string(call.geometry.kernel_size) +
        (call.geometry.stride > 1 ? " with stride " + std::to_string(call.geometry.stride) : "") +
        " needs more shared memory than this GPU has; INPAINT_OPS=reference has no such limit");
}

} // namespace inpaint::cuda
