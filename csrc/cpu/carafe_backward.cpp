// CARAFE on the CPU, backward: plain, fused and masked (csrc/README.md has the mathematics).
#include "carafe.h"
#include "normalize.h"

#include <torch/csrc/stable/ops.h>

namespace inpaint::cpu {
namespace {

constexpr int kLongVectors = 1024 / kVectorBytes; // of channels in a block that is only summed over
constexpr int64_t kBackwardRows = 8, kBackwardColumns = 16;

// Where the output gradient of the tile's centres lies: sub-pixel s of (y, x) at
// base + y·row + x·column + subpixel[s].
template <class A>
struct GradPixels {
  const A* base;
  int64_t row, column;
  const int64_t* subpixel;
};

// The gradient at the σ²-fold of the centres of `rect`, which are all there.
template <class A>
GradPixels<A> grad_pixels(
    const View& grad,
    int64_t n,
    int64_t c0,
    int64_t count,
    int64_t vectors,
    const Rect& rect,
    const Geometry& g,
    std::vector<A>& buffer,
    std::vector<int64_t>& subpixel) {
  const int64_t subs = g.subpixels(), padded = vectors * Vector<A>::lanes;
  subpixel.resize(subs);
  if (readable_in_place<A>(grad, count)) {
    for (int64_t s = 0; s < subs; ++s) subpixel[s] = s / g.scale * grad.h + s % g.scale * grad.w;
    const int64_t offset = n * grad.n + c0 + rect.top * g.scale * grad.h + rect.left * g.scale * grad.w;
    return {static_cast<const A*>(grad.data) + offset, g.scale * grad.h, g.scale * grad.w, subpixel.data()};
  }
  const Geometry fine{g.batch, g.channels, g.rows * g.scale, g.columns * g.scale, g.kernel_size, g.groups, 1};
  const Rect enlarged{rect.top * g.scale, rect.left * g.scale, rect.height * g.scale, rect.width * g.scale};
  const Pixels<A> packed = pack_features<A>(grad, n, c0, count, padded, enlarged, fine, nullptr, buffer);
  for (int64_t s = 0; s < subs; ++s) subpixel[s] = s / g.scale * packed.row + s % g.scale * packed.column;
  return {packed.base, g.scale * packed.row, g.scale * packed.column, subpixel.data()};
}

// The features' gradient at Q source pixels next to each other, q = (qy, qx + 0 .. Q − 1): every tap of every
// source pixel p around them that reads q,
//   Σ_p Σ_s w[p][q − p][s]·grad[p][s].
// p goes through columns qx − r + d for d in [first, last); with Q > 1 that has to be all k + Q − 1 of them,
// in the image, and Q ≤ k. `near` is the rectangle of source pixels whose weights and gradients are at hand.
// Each vector of gradients that is loaded serves up to Q pixels. They are written `stride`
// numbers apart.
template <class A, int Q, int V>
inline void gather_features_gradient(
    const Geometry& g,
    int64_t qy,
    int64_t qx,
    int64_t first,
    int64_t last,
    const Rect& near,
    const A* weights,
    const GradPixels<A>& grad,
    A* to,
    int64_t stride) {
  using Vec = Vector<A>;
  typename Vec::type sum[Q][V] = {};
  const int64_t r = g.radius(), k = g.kernel_size, subs = g.subpixels(), padded = padded_weights<A>(g);
  const int64_t y0 = std::max(qy - r, near.top), y1 = std::min(qy + r, near.top + near.height - 1);
  for (int64_t py = y0; py <= y1; ++py) {
    const int64_t column = qx - r - near.left, row = (py - near.top) * near.width + column;
    // The tap of p that reads the first of the Q pixels is in column k − 1 − d; the next one's is a tap
    // further.
    const A* w = weights + row * padded + ((qy - py + r) * k + k - 1) * subs;
    const A* pixel = grad.base + (py - near.top) * grad.row + column * grad.column;
    const auto add = [&](int64_t d, auto From, auto To) {
      const A* here = w + d * (padded - subs);
      for (int64_t s = 0; s < subs; ++s) {
        const A* slope = pixel + d * grad.column + grad.subpixel[s];
        typename Vec::type value[V];
        for (int v = 0; v < V; ++v) value[v] = Vec::load(slope + v * Vec::lanes);
        for (int q = From.value; q < To.value; ++q)
          for (int v = 0; v < V; ++v) sum[q][v] += here[q * subs + s] * value[v];
      }
    };
    using std::integral_constant;
    constexpr integral_constant<int, 0> none{};
    constexpr integral_constant<int, Q> all{};
    // p that only the first of the Q pixels reach, p in reach of all, p that only the last ones reach.
    if constexpr (Q > 1) add(0, none, integral_constant<int, 1>());
    if constexpr (Q > 2) add(1, none, integral_constant<int, 2>());
    if constexpr (Q > 3) add(2, none, integral_constant<int, 3>());
    for (int64_t d = std::max<int64_t>(first, Q - 1); d < std::min(last, k); ++d) add(d, none, all);
    if constexpr (Q > 3) add(k + Q - 4, integral_constant<int, Q - 3>(), all);
    if constexpr (Q > 2) add(k + Q - 3, integral_constant<int, Q - 2>(), all);
    if constexpr (Q > 1) add(k + Q - 2, integral_constant<int, Q - 1>(), all);
  }
  for (int q = 0; q < Q; ++q)
    for (int v = 0; v < V; ++v) Vec::store(to + q * stride + v * Vec::lanes, sum[q][v]);
}

// The same at one source pixel q = (qy, qx) where the stride is above 1 and σ is 1: the centres p around q
// whose windows reach it are a stride apart, and so are the taps with which they read it.
template <class A, int V>
inline void gather_strided_gradient(
    const Geometry& g,
    int64_t qy,
    int64_t qx,
    const Rect& near,
    const A* weights,
    const GradPixels<A>& grad,
    A* to) {
  using Vec = Vector<A>;
  typename Vec::type sum[V] = {};
  const int64_t r = g.radius(), k = g.kernel_size, padded = padded_weights<A>(g), stride = g.stride;
  const auto first = [&](int64_t q) { return q > r ? ceil_div(q - r, stride) : 0; };
  const int64_t y1 = std::min((qy + r) / stride, g.rows - 1), x0 = first(qx),
                x1 = std::min((qx + r) / stride, g.columns - 1);
  for (int64_t py = first(qy); py <= y1; ++py) {
    const int64_t row = py - near.top, taps = (qy - py * stride + r) * k + qx + r;
    for (int64_t px = x0; px <= x1; ++px) {
      const int64_t column = px - near.left;
      const A w = weights[(row * near.width + column) * padded + taps - px * stride];
      const A* slope = grad.base + row * grad.row + column * grad.column;
      for (int v = 0; v < V; ++v) sum[v] += w * Vec::load(slope + v * Vec::lanes);
    }
  }
  for (int v = 0; v < V; ++v) Vec::store(to + v * Vec::lanes, sum[v]);
}

// Writes the block's features' gradient of one tile of source pixels: column by column of Q pixels, so that
// the gradients around them, most of which the row above has read, are still near the core.
template <class A, int Q, int V>
void features_gradient_tile(
    const Geometry& g,
    const Rect& tile,
    const Rect& near,
    const A* weights,
    const GradPixels<A>& grad,
    int64_t count,
    const View& to,
    int64_t base,
    std::vector<A>& buffer) {
  constexpr int64_t padded = V * Vector<A>::lanes;
  const int64_t r = g.radius(), k = g.kernel_size, first = base + tile.top * to.h + tile.left * to.w;
  const bool in_place = readable_in_place<A>(to, count);
  const int64_t row = in_place ? to.h : tile.width * padded, column = in_place ? to.w : padded;
  if (!in_place) buffer.resize(tile.height * row);
  A* start = in_place ? static_cast<A*>(to.data) + first : buffer.data();
  for (int64_t x = 0; x < tile.width;) {
    const int64_t qx = tile.left + x;
    const bool together = Q > 1 && x + Q <= tile.width && qx >= r && qx + Q - 1 + r < g.width;
    const int64_t left = std::max<int64_t>(r - qx, 0), right = std::min(k, g.width + r - qx);
    for (int64_t y = 0; y < tile.height; ++y) {
      const int64_t qy = tile.top + y;
      A* sums = start + y * row + x * column;
      if (Q == 1 && g.stride > 1)
        gather_strided_gradient<A, V>(g, qy, qx, near, weights, grad, sums);
      else if (together)
        gather_features_gradient<A, Q, V>(g, qy, qx, 0, k + Q - 1, near, weights, grad, sums, column);
      else
        gather_features_gradient<A, 1, V>(g, qy, qx, left, right, near, weights, grad, sums, column);
    }
    x += together ? Q : 1;
  }
  if (!in_place)
    for (int64_t y = 0; y < tile.height; ++y)
      write_row(to, first + y * to.h, start + y * row, padded, tile.width, count);
}

// out[t·subs + s] += Σ_c grad[s][c]·x[tap t][c] for T taps and S sub-pixels.
template <class A, int T, int S>
inline void dot_products(const A* const* x, const A* const* grad, int64_t vectors, int64_t subs, A* out) {
  using Vec = Vector<A>;
  typename Vec::type sum[T * S] = {};
  for (int64_t c = 0; c < vectors * Vec::lanes; c += Vec::lanes) {
    typename Vec::type slope[S];
    for (int s = 0; s < S; ++s) slope[s] = Vec::load(grad[s] + c);
    for (int t = 0; t < T; ++t) {
      const typename Vec::type value = Vec::load(x[t] + c);
      for (int s = 0; s < S; ++s) sum[t * S + s] += value * slope[s];
    }
  }
  if constexpr (T * S == Vec::lanes) {
    A total[Vec::lanes];
    Vec::store(total, Vec::sums(sum));
    for (int t = 0; t < T; ++t)
      for (int s = 0; s < S; ++s) out[t * subs + s] += total[t * S + s];
  } else {
    for (int t = 0; t < T; ++t)
      for (int s = 0; s < S; ++s) out[t * subs + s] += Vec::sum(sum[t * S + s]);
  }
}

// Adds this block's share of gₖ = Σ_c grad·xₖ for every pixel of the tile. `grad` starts at `near`.
template <class A>
void kernel_gradients(
    const Geometry& g,
    const Rect& tile,
    const Rect& near,
    const Pixels<A>& window,
    const GradPixels<A>& grad,
    int64_t vectors,
    A* gradients) {
  constexpr int together = std::max(Vector<A>::lanes / kOutputs, 1); // taps whose sums fill a vector
  const int64_t subs = g.subpixels(), k = g.kernel_size, taps = g.taps();
  std::vector<int64_t> shift(taps);
  for (int64_t t = 0; t < taps; ++t) shift[t] = t / k * window.row + t % k * window.column;
  for (int64_t y = 0; y < tile.height; ++y)
    for (int64_t x = 0; x < tile.width; ++x) {
      const A* corner = window.base + g.stride * (y * window.row + x * window.column);
      const A* pixel =
          grad.base + (tile.top + y - near.top) * grad.row + (tile.left + x - near.left) * grad.column;
      A* out = gradients + (y * tile.width + x) * padded_weights<A>(g);
      for (int64_t s = 0; s < subs; ++s) prefetch(pixel + 2 * grad.column + grad.subpixel[s], vectors);
      for (int64_t s = 0; s < subs; s += kOutputs) {
        const int64_t outputs = std::min<int64_t>(kOutputs, subs - s);
        const A* slopes[kOutputs];
        for (int64_t o = 0; o < outputs; ++o) slopes[o] = pixel + grad.subpixel[s + o];
        with_constant(outputs, [&](auto S) {
          int64_t t = 0;
          const auto chunk = [&](auto T) {
            for (; t + T.value <= taps; t += T.value) {
              const A* values[T.value];
              for (int i = 0; i < T.value; ++i) values[i] = corner + shift[t + i];
              dot_products<A, T.value, S.value>(values, slopes, vectors, subs, out + t * subs + s);
            }
          };
          chunk(std::integral_constant<int, together>());
          chunk(std::integral_constant<int, 1>());
        });
      }
    }
}

template <class A>
void backward(
    const Reassembly& call,
    const View& grad,
    const View* features_gradient,
    const KernelLayout* kernels_gradient) {
  const Geometry& g = call.geometry;
  const View& features = call.features;
  const KernelLayout& kernels = call.kernels;
  const Normalizer normalizer = call.normalizer;
  const View* valid = call.valid;
  const bool planes = grad.c != 1; // as in forward
  const int64_t larger = tile_enlargement(g, planes);
  const Tiles tiles(g, larger * kBackwardRows, larger * (planes ? 2 * kBackwardColumns : kBackwardColumns));
  const int64_t per_pixel = padded_weights<A>(g), group_channels = g.channels_per_group();
  torch::stable::parallel_for(0, tiles.count(), 1, [&](int64_t begin, int64_t end) {
    std::vector<A> weights, own_weights, raw, gradients, near_known, known, packed, packed_grad, sums;
    std::vector<int64_t> subpixel;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t n = tiles.picture(item);
      const Rect tile = tiles.rect(item), window = tile.window(g), owned = tile.owned(g);
      const Rect near = tile.readers(g); // their weights and gradients are what ∂L/∂x is gathered from
      if (valid) {
        pack_valid(*valid, n, near.window(g), g, near_known);
        pack_valid(*valid, n, window, g, known);
      }
      for (int64_t group = 0; group < g.groups; ++group) {
        const int64_t base = kernels.offset(n, group, g);
        read_weights(kernels, base, near, g, weights);
        if (normalizer != Normalizer::none)
          normalize<A>(normalizer, near, g, valid ? near_known.data() : nullptr, nullptr, weights);
        if (kernels_gradient) gradients.assign(tile.area() * per_pixel, A(0));
        const auto slopes_of = [&](int64_t c0, int64_t count, int64_t vectors) {
          return grad_pixels(grad, n, c0, count, vectors, near, g, packed_grad, subpixel);
        };
        const auto to_features =
            [&](int64_t c0, int64_t count, int64_t vectors, const GradPixels<A>& slopes) {
              with_constant(vectors, [&](auto V) {
                const View& to = *features_gradient;
                const auto write = [&](auto Q) {
                  features_gradient_tile<A, Q.value, V.value>(
                      g, owned, near, weights.data(), slopes, count, to, n * to.n + c0 * to.c, sums);
                };
                if (g.kernel_size > 3 && g.stride == 1)
                  write(std::integral_constant<int, 4>());
                else if (g.kernel_size == 3 && g.stride == 1)
                  write(std::integral_constant<int, 2>());
                else
                  write(std::integral_constant<int, 1>());
              });
            };
        const auto to_kernels = [&](int64_t c0, int64_t count, int64_t vectors, const GradPixels<A>& slopes) {
          const Pixels<A> pixels = feature_pixels(
              features, n, c0, count, vectors, window, g, valid ? known.data() : nullptr, packed);
          kernel_gradients(g, tile, near, pixels, slopes, vectors, gradients.data());
        };
        // Sums over channels are the cheaper the longer they are; but what has to be packed is packed once,
        // block by block, for both gradients.
        const bool apart = readable_in_place<A>(grad, group_channels);
        if (kernels_gradient && apart)
          for_each_block<A>(group_channels, kLongVectors, [&](int64_t c, int64_t count, int64_t vectors) {
            const int64_t c0 = group * group_channels + c;
            to_kernels(c0, count, vectors, slopes_of(c0, count, vectors));
          });
        for_each_block<A>(
            group_channels, planes ? 2 : kVectors, [&](int64_t c, int64_t count, int64_t vectors) {
              const int64_t c0 = group * group_channels + c;
              if (apart && !features_gradient) return;
              const GradPixels<A> slopes = slopes_of(c0, count, vectors);
              if (features_gradient) to_features(c0, count, vectors, slopes);
              if (kernels_gradient && !apart) to_kernels(c0, count, vectors, slopes);
            });
        if (!kernels_gradient) continue;
        if (normalizer != Normalizer::none) {
          const bool sigmoid = normalizer != Normalizer::softmax;
          if (sigmoid) read_weights(kernels, base, tile, g, raw);
          own_weights.resize(tile.area() * per_pixel);
          for (int64_t y = 0; y < tile.height; ++y) { // the tile's part of the nearby weights
            const A* row =
                weights.data() + ((tile.top + y - near.top) * near.width + tile.left - near.left) * per_pixel;
            std::copy(row, row + tile.width * per_pixel, own_weights.data() + y * tile.width * per_pixel);
          }
          const A* logits = sigmoid ? raw.data() : nullptr;
          normalize_backward(
              normalizer, tile, g, valid != nullptr, own_weights.data(), logits, gradients.data());
        }
        write_weights(*kernels_gradient, kernels_gradient->offset(n, group, g), tile, g, gradients);
      }
    }
  });
}

} // namespace

void Cpu::backward(
    const Reassembly& call,
    const View& grad,
    const View* features_gradient,
    const KernelLayout* kernels_gradient) {
  with_sum_type(
      call, [&](auto a) { cpu::backward<decltype(a)>(call, grad, features_gradient, kernels_gradient); });
}

} // namespace inpaint::cpu
