// CARAFE on CUDA devices, backward to the features where the stride is 1.
#include "carafe.h"
#include "work.h"

namespace inpaint::cuda {
namespace {

constexpr int kAcross = 2; // neighbouring pixels whose gradient a thread gathers at once

// ∂L/∂x of a strip of source pixels for a block of channels, gathered from all source pixels p that read
// them. The block goes down the strip row by row of p: their weights are normalised and their gradients
// fetched, and each thread adds to the sums of the k rows of kAcross neighbouring pixels that p reaches. Then
// the topmost of these rows is done and the sums move up by one.
template <class A, int S, int K>
__global__ void __launch_bounds__(256) features_gradient_kernel(const Work<A> work) {
  const Geometry& g = work.g;
  const int k = K ? K : static_cast<int>(g.kernel_size), r = k / 2, taps = k * k;
  const int near_columns = work.columns + 2 * r, slope_stride = S * work.block_channels() + kQuad;
  A* slopes = reinterpret_cast<A*>(inpaint_shared);
  A* ring = slopes + near_columns * slope_stride; // of the sums, where k is not known to the compiler
  A* weights = ring + (K ? 0 : k * kAcross * kQuad * blockDim.x);
  A* known = work.valid.data ? weights + near_columns * taps * S : nullptr;
  const int lane = threadIdx.x % work.lanes, column = threadIdx.x / work.lanes * kAcross;

  Quad<A> registers[K ? K : 1][kAcross];
  const auto sum = [&](int row, int q) -> Quad<A>& {
    if constexpr (K > 0)
      return registers[row][q];
    else
      return reinterpret_cast<Quad<A>*>(ring)[(row * kAcross + q) * blockDim.x + threadIdx.x];
  };

  for (int64_t index = blockIdx.x; index < work.items(); index += gridDim.x) {
    const Item item(work, index, S);
    const int64_t group_first = item.group * g.channels_per_group();
    const int64_t c0 = group_first + item.split * work.block_channels();
    const int64_t c_end = group_first + g.channels_per_group();
    const int channels = work.channels_at_hand(c0, c_end);
#pragma unroll
    for (int row = 0; row < k; ++row) {
#pragma unroll
      for (int q = 0; q < kAcross; ++q) sum(row, q) = Quad<A>{};
    }

    for (int step = 0; step < work.rows + 2 * r; ++step) {
      const Rect near{item.tile.top - r + step, item.tile.left - r, 1, near_columns};
      const int done = step - 2 * r; // the strip's row whose last contribution this is
      if (near.top >= 0 && near.top < g.height) {
        for (int first_sub = 0; first_sub < g.subpixels(); first_sub += S) {
          if (known) read_valid(work.valid, item.n, near.window(k, 1), g, known);
          Weights<A, S>(work.kernels, g, item.n, item.group, first_sub).read(near, weights);
          read_grad<A, S>(work, item.n, c0, c_end, near, first_sub, slopes);
          __syncthreads();
          normalize_all<A, S>(work.normalizer, g, 1, near, weights, known, [](int, A) {});
          __syncthreads();
#pragma unroll
          for (int d = 0; d < k + kAcross - 1; ++d) {
            const A* slope = slopes + (column + d) * slope_stride + lane * kQuad;
            Quad<A> value[S];
#pragma unroll
            for (int s = 0; s < S; ++s)
              value[s] = *reinterpret_cast<const Quad<A>*>(slope + s * work.block_channels());
#pragma unroll
            for (int i = 0; i < k; ++i) { // p reads strip row done + i with its taps' row i
              if (done + i < 0 || done + i >= work.rows) continue;
#pragma unroll
              for (int q = 0; q < kAcross; ++q) {
                if (d >= q && d - q < k) {
                  const int tap = i * k + k - 1 - (d - q);
                  const auto w =
                      *reinterpret_cast<const Group<A, S>*>(weights + ((column + d) * taps + tap) * S);
                  Quad<A>& to = sum(i, q);
#pragma unroll
                  for (int s = 0; s < S; ++s) {
#pragma unroll
                    for (int c = 0; c < kQuad; ++c) to.v[c] += w.v[s] * value[s].v[c];
                  }
                }
              }
            }
          }
          __syncthreads();
        }
      }
      if (done >= 0 && item.tile.top + done < g.height) {
        A* row = slopes; // nobody reads them any more
#pragma unroll
        for (int q = 0; q < kAcross; ++q)
          *reinterpret_cast<Quad<A>*>(row + (column + q) * work.pixel_stride() + lane * kQuad) = sum(0, q);
        __syncthreads();
        const View& v = work.features_gradient;
        const auto place = [&](int p, int64_t& offset) {
          const int64_t y = item.tile.top + done, x = item.tile.left + p;
          offset = x < g.width ? item.n * v.n + c0 * v.c + y * v.h + x * v.w : -1;
          return p * work.pixel_stride();
        };
        write_quads(v, g.channels_per_group(), channels, work.lanes, work.columns, place, row);
        __syncthreads();
      }
#pragma unroll
      for (int i = 0; i < k; ++i) {
#pragma unroll
        for (int q = 0; q < kAcross; ++q) sum(i, q) = i + 1 < k ? sum(i + 1 < k ? i + 1 : i, q) : Quad<A>{};
      }
    }
  }
}

template <class A, int S, int K>
bool launch_features_gradient(Work<A> work, const Device& device) {
  const Geometry& g = work.g;
  const int64_t r = g.radius();
  const auto bytes = [&] {
    const int64_t near = work.columns + 2 * r, threads = work.columns / kAcross * work.lanes;
    return int64_t(sizeof(A)) *
        (near * (g.taps() * S + S * work.block_channels() + kQuad) + g.kernel_size * (near + 2 * r) +
         (K ? 0 : g.kernel_size * kAcross * kQuad * threads));
  };
  if (!choose_tile(work, {{16, 32}, {16, 16}, {16, 8}, {8, 4}, {4, 2}}, 16, device.shared_memory(), bytes))
    return false;
  work.splits = ceil_div(g.channels_per_group(), work.block_channels());
  device.launch(
      features_gradient_kernel<A, S, K>, work, work.items(), work.columns / kAcross * work.lanes, bytes());
  return true;
}

} // namespace

void features_gradient(const Reassembly& call, const View& grad, const View& to) {
  if (call.geometry.stride > 1) return strided_features_gradient(call, grad, to);
  const Device device(call.device);
  with_constants(call, [&](auto type, auto S, auto K) {
    auto work = new_work<decltype(type)>(call, grad);
    work.features_gradient = to;
    return launch_features_gradient<decltype(type), S.value, K.value>(work, device);
  });
}

} // namespace inpaint::cuda
