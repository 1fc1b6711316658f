// CARAFE on the CPU, forward: plain, fused and masked (csrc/README.md has the mathematics).
#include "carafe.h"
#include "normalize.h"

#include <torch/csrc/stable/ops.h>

namespace inpaint::cpu {
namespace {

constexpr int64_t kTile = 8; // source pixels each way: the window of 64 channels stays near the core

// y[s] = Σₖ w[k][s]·x[k] for S sub-pixels and V vectors of channels; x points at the window's first pixel.
template <class A, int S, int V>
inline void reassemble(
    const A* x, int64_t row, int64_t column, const A* w, int64_t tap, int64_t k, A* const* y) {
  using Vec = Vector<A>;
  typename Vec::type sum[S][V] = {};
  for (int64_t i = 0; i < k; ++i, x += row) {
    const A* pixel = x;
    for (int64_t j = 0; j < k; ++j, pixel += column, w += tap) {
      typename Vec::type value[V];
      for (int v = 0; v < V; ++v) value[v] = Vec::load(pixel + v * Vec::lanes);
      for (int s = 0; s < S; ++s)
        for (int v = 0; v < V; ++v) sum[s][v] += w[s] * value[v];
    }
  }
  for (int s = 0; s < S; ++s)
    for (int v = 0; v < V; ++v) Vec::store(y[s] + v * Vec::lanes, sum[s][v]);
}

// Writes the block's output pixels of one tile, in place or a row of centres at a time.
template <class A>
void reassemble_tile(
    const Geometry& g,
    const Rect& tile,
    const Pixels<A>& window,
    const A* weights,
    int64_t channels,
    int64_t vectors,
    const View& output,
    int64_t base,
    std::vector<A>& buffer) {
  const int64_t subs = g.subpixels(), scale = g.scale, padded = vectors * Vector<A>::lanes;
  const bool in_place = readable_in_place<A>(output, channels);
  // Where output pixel (i, j) of the row's first centre goes, and how far the rows and pixels are
  // apart.
  const int64_t row = in_place ? output.h : tile.width * scale * padded,
                column = in_place ? output.w : padded;
  if (!in_place) buffer.resize(scale * row);
  for (int64_t y = 0; y < tile.height; ++y) {
    const int64_t first = base + (tile.top + y) * scale * output.h + tile.left * scale * output.w;
    A* start = in_place ? static_cast<A*>(output.data) + first : buffer.data();
    for (int64_t x = 0; x < tile.width; ++x) {
      const A* corner = window.base + g.stride * (y * window.row + x * window.column);
      const A* w = weights + (y * tile.width + x) * padded_weights<A>(g);
      for (int64_t s = 0; s < subs; s += kOutputs) {
        const int64_t outputs = std::min<int64_t>(kOutputs, subs - s);
        A* to[kOutputs];
        for (int64_t o = 0; o < outputs; ++o)
          to[o] = start + (s + o) / scale * row + (x * scale + (s + o) % scale) * column;
        for (int64_t o = 0; o < outputs; ++o) // the next pixel's
          prefetch_to_write(to[o] + scale * column, vectors);
        with_constant(outputs, [&](auto S) {
          with_constant(vectors, [&](auto V) {
            reassemble<A, S.value, V.value>(
                corner, window.row, window.column, w + s, subs, g.kernel_size, to);
          });
        });
      }
    }
    if (!in_place)
      for (int64_t i = 0; i < scale; ++i)
        write_row(output, first + i * output.h, start + i * row, padded, tile.width * scale, channels);
  }
}

template <class A>
void forward(const Reassembly& call, const View& output, const View* output_valid) {
  const Geometry& g = call.geometry;
  const View& features = call.features;
  const KernelLayout& kernels = call.kernels;
  const Normalizer normalizer = call.normalizer;
  const View* valid = call.valid;
  const bool planes = output.c != 1; // NCHW: few planes at a time, long runs in each
  const int64_t size = kTile * tile_enlargement(g, planes);
  const Tiles tiles(g, size, planes ? 4 * size : size);
  const int64_t subs = g.subpixels(), group_channels = g.channels_per_group();
  torch::stable::parallel_for(0, tiles.count(), 1, [&](int64_t begin, int64_t end) {
    std::vector<A> weights, known, packed, shares, rows;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t n = tiles.picture(item);
      const Rect tile = tiles.rect(item), window = tile.window(g);
      if (valid) {
        pack_valid(*valid, n, window, g, known);
        shares.assign(tile.area() * subs, A(0));
      }
      for (int64_t group = 0; group < g.groups; ++group) {
        read_weights(kernels, kernels.offset(n, group, g), tile, g, weights);
        if (normalizer != Normalizer::none)
          normalize(
              normalizer, tile, g, valid ? known.data() : nullptr, valid ? shares.data() : nullptr, weights);
        for_each_block<
            A>(group_channels, planes ? 2 : kVectors, [&](int64_t c, int64_t count, int64_t vectors) {
          const int64_t c0 = group * group_channels + c;
          const Pixels<A> pixels = feature_pixels(
              features, n, c0, count, vectors, window, g, valid ? known.data() : nullptr, packed);
          reassemble_tile(
              g, tile, pixels, weights.data(), count, vectors, output, n * output.n + c0 * output.c, rows);
        });
      }
      if (valid)
        for (int64_t p = 0; p < tile.area(); ++p)
          for (int64_t s = 0; s < subs; ++s) {
            const int64_t y = (tile.top + p / tile.width) * g.scale + s / g.scale;
            const int64_t x = (tile.left + p % tile.width) * g.scale + s % g.scale;
            const A share = shares[p * subs + s] / A(g.groups);
            write_strided(
                *output_valid, n * output_valid->n + y * output_valid->h + x * output_valid->w, 1, &share, 1);
          }
    }
  });
}

} // namespace

void Cpu::forward(const Reassembly& call, const View& output, const View* output_valid) {
  with_sum_type(call, [&](auto a) { cpu::forward<decltype(a)>(call, output, output_valid); });
}

} // namespace inpaint::cpu
