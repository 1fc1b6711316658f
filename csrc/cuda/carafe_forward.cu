// CARAFE on CUDA devices, forward: plain, fused and masked (csrc/README.md has the mathematics).
#include "carafe.h"
#include "work.h"

namespace inpaint::cuda {
namespace {

constexpr int kPixels = 4; // neighbouring centres that a thread reassembles at once

// Writes the output pixels of kPixels centres: sum[q][s], a quad of channels each.
template <class A, int S>
__device__ void write_output(
    const Work<A>& work,
    int64_t n,
    int64_t c0,
    int channels,
    int64_t y,
    int64_t x,
    int first_sub,
    const Quad<A> (&sum)[kPixels][S]) {
  const View& v = work.output;
  const Geometry& g = work.g;
  const int scale = static_cast<int>(g.scale);
  if (y >= g.rows || x >= g.columns || channels <= 0) return;
  with_type(v.dtype, [&](auto* tag) {
    using T = ElementOf<decltype(tag)>;
    T* to = static_cast<T*>(v.data) + n * v.n + c0 * v.c + y * scale * v.h + x * scale * v.w;
    if constexpr (S == 4) {
      // NCHW at scale 2: eight neighbouring output pixels of a channel are at hand, in each of two rows.
      if (v.w == 1 && scale == 2 && x + kPixels <= g.columns && v.h % 4 == 0 && v.c % 4 == 0 &&
          v.n % 4 == 0 && reinterpret_cast<uintptr_t>(v.data) % (4 * sizeof(T)) == 0) {
        for (int c = 0; c < kQuad; ++c) {
          if (c < channels) {
            for (int i = 0; i < 2; ++i) {
              for (int half = 0; half < 2; ++half) {
                Quad<T> four;
                for (int j = 0; j < 4; ++j) {
                  four.v[j] = static_cast<T>(sum[2 * half + j / 2][2 * i + j % 2].v[c]);
                }
                *reinterpret_cast<Quad<T>*>(to + c * v.c + i * v.h + 4 * half) = four;
              }
            }
          }
        }
        return;
      }
    }
    const bool aligned = quads_aligned(v, g.channels_per_group(), sizeof(T));
#pragma unroll
    for (int s = 0; s < S; ++s) {
      const int sub = first_sub + s;
      if (sub >= scale * scale) break;
      T* corner = to + sub / scale * v.h + sub % scale * v.w;
#pragma unroll
      for (int q = 0; q < kPixels; ++q)
        if (x + q < g.columns) write_quad(corner + q * scale * v.w, v.c, sum[q][s], channels, aligned);
    }
  });
}

// y of a tile for S sub-pixels and a range of channels. A thread owns a quad of channels of kPixels
// neighbouring centres. Where the stride is 1, each quad of features it loads is used for up to kPixels·S
// output pixels; where it is more (Strided, with S = 1), for one.
template <class A, int S, int K, bool Strided>
__global__ void __launch_bounds__(256) forward_kernel(const Work<A> work) {
  const Geometry& g = work.g;
  const int k = K ? K : static_cast<int>(g.kernel_size), taps = k * k, area = work.rows * work.columns,
            stride = Strided ? static_cast<int>(g.stride) : 1;
  A* weights = reinterpret_cast<A*>(inpaint_shared);
  A* pixels = weights + area * taps * S;
  A* shares = pixels + work.window_area(stride) * work.pixel_stride();
  A* known = work.valid.data ? shares + area * S : nullptr;
  const int lane = threadIdx.x % work.lanes, place = threadIdx.x / work.lanes;
  const int row = place / (work.columns / kPixels), column = place % (work.columns / kPixels) * kPixels;

  for (int64_t index = blockIdx.x; index < work.items(); index += gridDim.x) {
    const Item item(work, index, S);
    const Rect window = item.tile.window(k, stride);
    const bool writes_valid = work.output_valid.data && item.group == 0 && item.split == 0;
    if (known) read_valid(work.valid, item.n, window, g, known);
    // The other groups' weights only for their share in v'. The own group is 0 there and comes last.
    for (int64_t other = writes_valid ? g.groups - 1 : 0; other >= 0; --other) {
      const int64_t group = item.group + other;
      Weights<A, S>(work.kernels, g, item.n, group, item.first_sub).read(item.tile, weights);
      __syncthreads();
      normalize_all<A, S>(work.normalizer, g, stride, item.tile, weights, known, [&](int output, A share) {
        if (writes_valid) shares[output] = share + (other + 1 < g.groups ? shares[output] : A(0));
      });
      __syncthreads();
    }
    const int64_t group_end = (item.group + 1) * g.channels_per_group();
    const int64_t first = item.group * g.channels_per_group() + item.split * work.channels_per_split;
    const int64_t end =
        first + work.channels_per_split < group_end ? first + work.channels_per_split : group_end;
    for (int64_t c0 = first; c0 < end; c0 += work.block_channels()) {
      read_features(work, item.n, c0, end, window, known, pixels);
      __syncthreads();
      Quad<A> sum[kPixels][S] = {};
      const A* line = pixels + stride * (row * window.columns + column) * work.pixel_stride() + lane * kQuad;
      const A* own = weights + (row * work.columns + column) * taps * S;
#pragma unroll
      for (int i = 0; i < k; ++i, line += window.columns * work.pixel_stride(), own += k * S) {
        if constexpr (Strided) {
#pragma unroll
          for (int j = 0; j < k; ++j) {
#pragma unroll
            for (int q = 0; q < kPixels; ++q) {
              const A* at = line + (q * stride + j) * work.pixel_stride();
              const Quad<A> value = *reinterpret_cast<const Quad<A>*>(at);
              const A w = own[q * taps + j];
#pragma unroll
              for (int c = 0; c < kQuad; ++c) sum[q][0].v[c] += w * value.v[c];
            }
          }
        } else {
#pragma unroll
          for (int d = 0; d < k + kPixels - 1; ++d) {
            const Quad<A> value = *reinterpret_cast<const Quad<A>*>(line + d * work.pixel_stride());
#pragma unroll
            for (int q = 0; q < kPixels; ++q) {
              if (d >= q && d - q < k) {
                const auto w = *reinterpret_cast<const Group<A, S>*>(own + (q * taps + d - q) * S);
#pragma unroll
                for (int s = 0; s < S; ++s) {
#pragma unroll
                  for (int c = 0; c < kQuad; ++c) sum[q][s].v[c] += w.v[s] * value.v[c];
                }
              }
            }
          }
        }
      }
      write_output(
          work,
          item.n,
          c0 + lane * kQuad,
          static_cast<int>(end - c0) - lane * kQuad,
          item.tile.top + row,
          item.tile.left + column,
          item.first_sub,
          sum);
      __syncthreads();
    }
    if (writes_valid) {
      for (int i = threadIdx.x; i < area * S; i += blockDim.x) {
        const int64_t y = item.tile.top + i / S / work.columns, x = item.tile.left + i / S % work.columns;
        const int sub = item.first_sub + i % S, scale = static_cast<int>(g.scale);
        const View& v = work.output_valid;
        if (y < g.rows && x < g.columns && sub < scale * scale)
          store(
              v,
              item.n * v.n + (y * scale + sub / scale) * v.h + (x * scale + sub % scale) * v.w,
              shares[i] / A(g.groups));
      }
    }
    __syncthreads();
  }
}

template <class A, int S, int K, bool Strided>
bool launch_forward(Work<A> work, const Device& device) {
  const Geometry& g = work.g;
  const int64_t stride = Strided ? g.stride : 1;
  const auto bytes = [&] {
    const int64_t area = work.rows * work.columns;
    return int64_t(sizeof(A)) *
        (area * g.taps() * S + work.window_area(stride) * int64_t(work.pixel_stride() + 1) + area * S);
  };
  if (!choose_tile(work, tiles_of_windows(Strided), 16, device.shared_memory(), bytes)) return false;
  work.chunks = ceil_div(g.subpixels(), S);
  // Where tiles are few, several blocks share out the channels of each.
  const int64_t blocks = ceil_div(g.channels_per_group(), work.block_channels());
  const int64_t wanted = ceil_div(4 * device.multiprocessors(), std::max<int64_t>(work.items(), 1));
  const int64_t splits = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(blocks, 1));
  work.channels_per_split = ceil_div(blocks, splits) * work.block_channels();
  work.splits =
      std::max<int64_t>(ceil_div(g.channels_per_group(), std::max<int64_t>(work.channels_per_split, 1)), 1);
  device.launch(
      forward_kernel<A, S, K, Strided>,
      work,
      work.items(),
      work.rows * work.columns / kPixels * work.lanes,
      bytes());
  return true;
}

} // namespace

void Cuda::forward(const Reassembly& call, const View& output, const View* output_valid) {
  const Device device(call.device);
  with_constants(call, [&](auto type, auto S, auto K) {
    auto work = new_work<decltype(type)>(call, output);
    if (output_valid) work.output_valid = *output_valid;
    if constexpr (S.value == 1)
      if (call.geometry.stride > 1) return launch_forward<decltype(type), 1, K.value, true>(work, device);
    return launch_forward<decltype(type), S.value, K.value, false>(work, device);
  });
}

} // namespace inpaint::cuda
