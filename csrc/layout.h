// Sizes and places that every device's kernels work with. Nothing here is more than numbers, so that device
// code can use it (nvcc: --expt-relaxed-constexpr lets it call what is constexpr).
#pragma once

#include <torch/headeronly/core/ScalarType.h>

#include <cstdint>

namespace inpaint {

using torch::headeronly::ScalarType;

enum class Normalizer { none, softmax, sigmoid, sigmoid_normalized };

// The sizes of one call. N, C, H, W are those of the features. Kernels belong to *centres*: centre (y, x) is
// the source pixel (stride·y, stride·x), in the middle of the window that is reassembled. Upsampling has a
// stride of 1, so every source pixel is a centre; downsampling has a scale of 1. The output is
// [N, C, scale·rows, scale·columns].
struct Geometry {
  int64_t batch, channels, height, width;
  int64_t kernel_size, groups, scale;
  int64_t stride = 1;
  int64_t rows = (height + stride - 1) / stride, columns = (width + stride - 1) / stride; // of centres

  constexpr int64_t taps() const { return kernel_size * kernel_size; }
  constexpr int64_t subpixels() const { return scale * scale; }
  constexpr int64_t radius() const { return kernel_size / 2; }
  constexpr int64_t channels_per_group() const { return channels / groups; }
  constexpr bool contains(int64_t y, int64_t x) const { return y >= 0 && y < height && x >= 0 && x < width; }
  constexpr bool has_centre(int64_t y, int64_t x) const {
    return y >= 0 && y < rows && x >= 0 && x < columns;
  }
};

// A rank-4 tensor as bare memory.
struct View {
  void* data;
  ScalarType dtype;
  int64_t n, c, h, w; // strides in elements
};

// Where the number for (group, tap, sub-pixel, h, w) lies in `kernels` [N, G·k², σH, σW] or in `logits`
// [N, G·k²·σ², H, W] (pixel-shuffle order): one formula serves both.
struct KernelLayout {
  View view;
  int64_t tap;          // stride between taps; a group is k² taps further
  int64_t h, w;         // strides between centres
  int64_t sub_h, sub_w; // strides between the rows and columns of sub-pixels

  static constexpr KernelLayout of_kernels(const View& v, const Geometry& g) {
    return {v, v.c, g.scale * v.h, g.scale * v.w, v.h, v.w};
  }
  static constexpr KernelLayout of_logits(const View& v, const Geometry& g) {
    return {v, g.subpixels() * v.c, v.h, v.w, g.scale * v.c, v.c};
  }
  constexpr int64_t offset(int64_t n, int64_t group, const Geometry& g) const {
    return n * view.n + group * g.taps() * tap;
  }
  constexpr int64_t subpixel(int64_t s, const Geometry& g) const {
    if (sub_h == g.scale * sub_w) return s * sub_w; // logits: spares a GPU the division
    return s / g.scale * sub_h + s % g.scale * sub_w;
  }
};

// One call, checked, as a device's kernels see it.
struct Reassembly {
  Geometry geometry;
  View features;
  KernelLayout kernels; // or logits
  Normalizer normalizer;
  const View* valid; // null in the plain form
  bool in_double;    // the type sums are kept in: float64 if features or kernels are, else float32
  int32_t device;
};

} // namespace inpaint
