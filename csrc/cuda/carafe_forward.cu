// CARAFE on CUDA devices, forward and backward, plain, fused and masked (csrc/README.md has the maths and
// says what a block and a thread own). No atomics: every number is written by one thread, so results are the
// same bits in every run.
#include "block.h"
#include "carafe.h"
#include "launch.h"

#include <algorithm>
#include <initializer_list>

namespace inpaint::cuda {
namespace {

constexpr int kPixels = 4; // neighbouring source pixels that a thread reassembles at once
constexpr int kAcross = 2; // neighbouring pixels whose features' gradient a thread gathers at once

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
  __host__ __device__ int window_area() const {
    return static_cast<int>((rows + g.kernel_size - 1) * (columns + g.kernel_size - 1));
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

// The output's gradient at S sub-pixels of the source pixels of `rect`: [pixel][sub-pixel][channel], pixels
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
    const bool there = g.contains(y, x) && sub < scale * scale;
    offset =
        there ? n * v.n + c0 * v.c + (y * scale + sub / scale) * v.h + (x * scale + sub % scale) * v.w : -1;
    return pixel * (S * block + kQuad) + p % S * block;
  };
  read_quads(v, g.channels_per_group(), channels, work.lanes, rect.area() * S, place, to);
}

// ------------------------------------------------------------------------------------------------------------
// Forward
// ------------------------------------------------------------------------------------------------------------

// Writes the output pixels of kPixels source pixels: sum[q][s], a quad of channels each.
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
  if (y >= g.height || x >= g.width || channels <= 0) return;
  with_type(v.dtype, [&](auto* tag) {
    using T = ElementOf<decltype(tag)>;
    T* to = static_cast<T*>(v.data) + n * v.n + c0 * v.c + y * scale * v.h + x * scale * v.w;
    if constexpr (S == 4) {
      // NCHW at scale 2: eight neighbouring output pixels of a channel are at hand, in each of two rows.
      if (v.w == 1 && scale == 2 && x + kPixels <= g.width && v.h % 4 == 0 && v.c % 4 == 0 && v.n % 4 == 0 &&
          reinterpret_cast<uintptr_t>(v.data) % (4 * sizeof(T)) == 0) {
        for (int c = 0; c < kQuad; ++c)
          if (c < channels)
            for (int i = 0; i < 2; ++i)
              for (int half = 0; half < 2; ++half) {
                Quad<T> four;
                for (int j = 0; j < 4; ++j)
                  four.v[j] = static_cast<T>(sum[2 * half + j / 2][2 * i + j % 2].v[c]);
                *reinterpret_cast<Quad<T>*>(to + c * v.c + i * v.h + 4 * half) = four;
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
        if (x + q < g.width) write_quad(corner + q * scale * v.w, v.c, sum[q][s], channels, aligned);
    }
  });
}

// y of a tile for S sub-pixels and a range of channels. A thread owns a quad of channels of kPixels
// neighbouring source pixels: each quad of features it loads is used for up to kPixels·S output pixels.
template <class A, int S, int K>
__global__ void __launch_bounds__(256) forward_kernel(const Work<A> work) {
  const Geometry& g = work.g;
  const int k = K ? K : static_cast<int>(g.kernel_size), r = k / 2, taps = k * k,
            area = work.rows * work.columns;
  A* weights = reinterpret_cast<A*>(inpaint_shared);
  A* pixels = weights + area * taps * S;
  A* shares = pixels + work.window_area() * work.pixel_stride();
  A* known = work.valid.data ? shares + area * S : nullptr;
  const int lane = threadIdx.x % work.lanes, place = threadIdx.x / work.lanes;
  const int row = place / (work.columns / kPixels), column = place % (work.columns / kPixels) * kPixels;

  for (int64_t index = blockIdx.x; index < work.items(); index += gridDim.x) {
    const Item item(work, index, S);
    const Rect window = item.tile.grown(r);
    const bool writes_valid = work.output_valid.data && item.group == 0 && item.split == 0;
    if (known) read_valid(work.valid, item.n, item.tile, g, known);
    // The other groups' weights only for their share in v'. The own group is 0 there and comes last.
    for (int64_t other = writes_valid ? g.groups - 1 : 0; other >= 0; --other) {
      const int64_t group = item.group + other;
      Weights<A, S>(work.kernels, g, item.n, group, item.first_sub).read(item.tile, weights);
      __syncthreads();
      normalize_all<A, S>(work.normalizer, g, item.tile, weights, known, [&](int output, A share) {
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
      const A* line = pixels + (row * window.columns + column) * work.pixel_stride() + lane * kQuad;
      const A* own = weights + (row * work.columns + column) * taps * S;
#pragma unroll
      for (int i = 0; i < k; ++i, line += window.columns * work.pixel_stride(), own += k * S)
#pragma unroll
        for (int d = 0; d < k + kPixels - 1; ++d) {
          const Quad<A> value = *reinterpret_cast<const Quad<A>*>(line + d * work.pixel_stride());
#pragma unroll
          for (int q = 0; q < kPixels; ++q)
            if (d >= q && d - q < k) {
              const auto w = *reinterpret_cast<const Group<A, S>*>(own + (q * taps + d - q) * S);
#pragma unroll
              for (int s = 0; s < S; ++s)
#pragma unroll
                for (int c = 0; c < kQuad; ++c) sum[q][s].v[c] += w.v[s] * value.v[c];
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
    if (writes_valid)
      for (int i = threadIdx.x; i < area * S; i += blockDim.x) {
        const int64_t y = item.tile.top + i / S / work.columns, x = item.tile.left + i / S % work.columns;
        const int sub = item.first_sub + i % S, scale = static_cast<int>(g.scale);
        const View& v = work.output_valid;
        if (y < g.height && x < g.width && sub < scale * scale)
          store(
              v,
              item.n * v.n + (y * scale + sub / scale) * v.h + (x * scale + sub % scale) * v.w,
              shares[i] / A(g.groups));
      }
    __syncthreads();
  }
}

// ------------------------------------------------------------------------------------------------------------
// Backward, to the kernels or logits
// ------------------------------------------------------------------------------------------------------------

// A thread sums gₖ = Σ_c grad·xₖ for the taps of one row of a source pixel's window (one tap where K is 0)
// and S sub-pixels; then the weights are normalised once more and gₖ becomes the gradient of the logits.
template <class A, int S, int K>
__global__ void __launch_bounds__(512) kernels_gradient_kernel(const Work<A> work) {
  constexpr int run = K ? K : 1; // taps at once
  const Geometry& g = work.g;
  const int k = K ? K : static_cast<int>(g.kernel_size), r = k / 2, taps = k * k,
            area = work.rows * work.columns;
  A* gradients = reinterpret_cast<A*>(inpaint_shared);
  A* pixels = gradients + area * taps * S;
  A* slopes = pixels + work.window_area() * work.pixel_stride();
  A* weights = pixels; // when the sums are done, in their operands' place
  A* known = pixels +
      max(work.window_area() * work.pixel_stride() + area * (S * work.block_channels() + kQuad),
          area * taps * S);
  if (!work.valid.data) known = nullptr;

  for (int64_t index = blockIdx.x; index < work.items(); index += gridDim.x) {
    const Item item(work, index, S);
    const Rect window = item.tile.grown(r);
    if (known) read_valid(work.valid, item.n, item.tile, g, known);
    for (int i = threadIdx.x; i < area * taps * S; i += blockDim.x) gradients[i] = 0;
    const int64_t first = item.group * g.channels_per_group(), end = first + g.channels_per_group();
    for (int64_t c0 = first; c0 < end; c0 += work.block_channels()) {
      __syncthreads();
      read_features(work, item.n, c0, end, window, known, pixels);
      read_grad<A, S>(work, item.n, c0, end, item.tile, item.first_sub, slopes);
      __syncthreads();
      for (int i = threadIdx.x; i < area * (taps / run); i += blockDim.x) {
        const int pixel = i % area, tap = i / area * run;
        const A* x = pixels +
            ((pixel / work.columns + tap / k) * window.columns + pixel % work.columns + tap % k) *
                work.pixel_stride();
        const A* slope = slopes + pixel * (S * work.block_channels() + kQuad);
        A sum[run][S] = {};
        for (int c = 0; c < work.block_channels(); c += kQuad) {
          Quad<A> own[S];
#pragma unroll
          for (int s = 0; s < S; ++s)
            own[s] = *reinterpret_cast<const Quad<A>*>(slope + s * work.block_channels() + c);
#pragma unroll
          for (int j = 0; j < run; ++j) {
            const Quad<A> value = *reinterpret_cast<const Quad<A>*>(x + j * work.pixel_stride() + c);
#pragma unroll
            for (int s = 0; s < S; ++s)
#pragma unroll
              for (int e = 0; e < kQuad; ++e) sum[j][s] += own[s].v[e] * value.v[e];
          }
        }
        A* to = gradients + (pixel * taps + tap) * S;
#pragma unroll
        for (int j = 0; j < run; ++j)
#pragma unroll
          for (int s = 0; s < S; ++s) to[j * S + s] += sum[j][s];
      }
    }
    __syncthreads();
    if (work.normalizer != Normalizer::none) {
      const Weights<A, S> of(work.kernels, g, item.n, item.group, item.first_sub);
      of.read(item.tile, weights);
      __syncthreads();
      normalize_all<A, S>(work.normalizer, g, item.tile, weights, known, [&](int output, A) {
        const int pixel = output / S, sub = item.first_sub + output % S;
        const int64_t y = item.tile.top + pixel / work.columns, x = item.tile.left + pixel % work.columns;
        if (y >= g.height || x >= g.width || sub >= g.subpixels()) return;
        const int64_t logit =
            of.base + y * work.kernels.h + x * work.kernels.w + work.kernels.subpixel(sub, g);
        const int at = pixel * taps * S + output % S;
        normalize_backward(
            work.normalizer, known != nullptr, taps, weights + at, gradients + at, S, [&](int t) {
              return load<A>(work.kernels.view, logit + t * work.kernels.tap);
            });
      });
      __syncthreads();
    }
    Weights<A, S>(work.kernels_gradient, g, item.n, item.group, item.first_sub).write(item.tile, gradients);
    __syncthreads();
  }
}

// ------------------------------------------------------------------------------------------------------------
// Backward, to the features
// ------------------------------------------------------------------------------------------------------------

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
    for (int row = 0; row < k; ++row)
#pragma unroll
      for (int q = 0; q < kAcross; ++q) sum(row, q) = Quad<A>{};

    for (int step = 0; step < work.rows + 2 * r; ++step) {
      const Rect near{item.tile.top - r + step, item.tile.left - r, 1, near_columns};
      const int done = step - 2 * r; // the strip's row whose last contribution this is
      if (near.top >= 0 && near.top < g.height) {
        for (int first_sub = 0; first_sub < g.subpixels(); first_sub += S) {
          if (known) read_valid(work.valid, item.n, near, g, known);
          Weights<A, S>(work.kernels, g, item.n, item.group, first_sub).read(near, weights);
          read_grad<A, S>(work, item.n, c0, c_end, near, first_sub, slopes);
          __syncthreads();
          normalize_all<A, S>(work.normalizer, g, near, weights, known, [](int, A) {});
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
              for (int q = 0; q < kAcross; ++q)
                if (d >= q && d - q < k) {
                  const int tap = i * k + k - 1 - (d - q);
                  const auto w =
                      *reinterpret_cast<const Group<A, S>*>(weights + ((column + d) * taps + tap) * S);
                  Quad<A>& to = sum(i, q);
#pragma unroll
                  for (int s = 0; s < S; ++s)
#pragma unroll
                    for (int c = 0; c < kQuad; ++c) to.v[c] += w.v[s] * value[s].v[c];
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
      for (int i = 0; i < k; ++i)
#pragma unroll
        for (int q = 0; q < kAcross; ++q) sum(i, q) = i + 1 < k ? sum(i + 1 < k ? i + 1 : i, q) : Quad<A>{};
    }
  }
}

// ------------------------------------------------------------------------------------------------------------
// Launches
// ------------------------------------------------------------------------------------------------------------

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Threads along channels, at most `most`: a power of two, no more than the group has quads.
int lanes_for(const Geometry& g, int most) {
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
  for (const auto& [rows, columns] : tiles)
    for (int lanes = lanes_for(work.g, most_lanes); lanes >= 1; lanes /= 2) {
      work.rows = rows;
      work.columns = columns;
      work.lanes = lanes;
      work.tiles_down = ceil_div(work.g.height, rows);
      work.tiles_across = ceil_div(work.g.width, columns);
      if (bytes() <= limit) return true;
    }
  return false;
}

template <class A, int S, int K>
bool launch_forward(Work<A> work, const Device& device) {
  const Geometry& g = work.g;
  const auto bytes = [&] {
    const int64_t area = work.rows * work.columns;
    return int64_t(sizeof(A)) *
        (area * g.taps() * S + work.window_area() * int64_t(work.pixel_stride() + 1) + area * S);
  };
  if (!choose_tile(work, {{8, 8}, {4, 8}, {4, 4}, {1, 4}}, 16, device.shared_memory(), bytes)) return false;
  work.chunks = ceil_div(g.subpixels(), S);
  // Where tiles are few, several blocks share out the channels of each.
  const int64_t blocks = ceil_div(g.channels_per_group(), work.block_channels());
  const int64_t wanted = ceil_div(4 * device.multiprocessors(), std::max<int64_t>(work.items(), 1));
  const int64_t splits = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(blocks, 1));
  work.channels_per_split = ceil_div(blocks, splits) * work.block_channels();
  work.splits =
      std::max<int64_t>(ceil_div(g.channels_per_group(), std::max<int64_t>(work.channels_per_split, 1)), 1);
  device.launch(
      forward_kernel<A, S, K>, work, work.items(), work.rows * work.columns / kPixels * work.lanes, bytes());
  return true;
}

template <class A, int S, int K>
bool launch_kernels_gradient(Work<A> work, const Device& device) {
  const Geometry& g = work.g;
  const auto bytes = [&] {
    const int64_t area = work.rows * work.columns, weights = area * g.taps() * S;
    const int64_t operands =
        work.window_area() * int64_t(work.pixel_stride()) + area * (S * work.block_channels() + kQuad);
    return int64_t(sizeof(A)) * (weights + std::max(operands, weights) + work.window_area());
  };
  if (!choose_tile(work, {{8, 8}, {4, 8}, {4, 4}, {1, 4}}, 8, device.shared_memory(), bytes)) return false;
  work.chunks = ceil_div(g.subpixels(), S);
  const int64_t threads = work.rows * work.columns * (K ? K : g.taps());
  device.launch(
      kernels_gradient_kernel<A, S, K>,
      work,
      work.items(),
      std::min<int64_t>(ceil_div(threads, 32) * 32, 512),
      bytes());
  return true;
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
        " needs more shared memory than this GPU has; INPAINT_OPS=reference has no such limit");
}

} // namespace

void Cuda::forward(const Reassembly& call, const View& output, const View* output_valid) {
  const Device device(call.device);
  with_constants(call, [&](auto type, auto S, auto K) {
    auto work = new_work<decltype(type)>(call, output);
    if (output_valid) work.output_valid = *output_valid;
    return launch_forward<decltype(type), S.value, K.value>(work, device);
  });
}

void Cuda::backward(
    const Reassembly& call,
    const View& grad,
    const View* features_gradient,
    const KernelLayout* kernels_gradient) {
  const Device device(call.device);
  if (features_gradient)
    with_constants(call, [&](auto type, auto S, auto K) {
      auto work = new_work<decltype(type)>(call, grad);
      work.features_gradient = *features_gradient;
      return launch_features_gradient<decltype(type), S.value, K.value>(work, device);
    });
  if (kernels_gradient)
    with_constants(call, [&](auto type, auto S, auto K) {
      auto work = new_work<decltype(type)>(call, grad);
      work.kernels_gradient = *kernels_gradient;
      return launch_kernels_gradient<decltype(type), S.value, K.value>(work, device);
    });
}

} // namespace inpaint::cuda
