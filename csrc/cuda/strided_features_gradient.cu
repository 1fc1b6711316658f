// CARAFE on CUDA devices, backward to the features where the stride is above 1 and σ is 1.
#include "carafe.h"
#include "work.h"

namespace inpaint::cuda {
namespace {

// The rectangle of centres whose windows reach the source pixels that belong to a tile: those of the tile,
// the `before` above and left of it, and as many below and right as a window that begins there can reach
// back.
struct Reach {
  int before, rows, columns;

  template <class A>
  __host__ __device__ explicit Reach(const Work<A>& work) {
    const int r = static_cast<int>(work.g.radius()), stride = static_cast<int>(work.g.stride);
    before = r / stride;
    const int after = (r + stride - 1) / stride;
    rows = work.rows + before + after;
    columns = work.columns + before + after;
  }
  __host__ __device__ int area() const { return rows * columns; }
};

// ∂L/∂x of a tile for a block of channels. Centre (i, j) owns the stride×stride source pixels that begin with
// it, so each source pixel has one owner. The weights and the gradients of all centres that reach the tile's
// are fetched, then each thread gathers a quad of channels of one source pixel at a time.
template <class A>
__global__ void __launch_bounds__(256) strided_features_gradient_kernel(const Work<A> work) {
  const Geometry& g = work.g;
  const int k = static_cast<int>(g.kernel_size), r = k / 2, taps = k * k, stride = static_cast<int>(g.stride);
  const Reach reach(work);
  A* slopes = reinterpret_cast<A*>(inpaint_shared);
  A* weights = slopes + reach.area() * work.pixel_stride();
  A* known = work.valid.data ? weights + reach.area() * taps : nullptr;
  const int across = work.columns * stride, pixels = work.rows * stride * across;

  for (int64_t index = blockIdx.x; index < work.items(); index += gridDim.x) {
    const Item item(work, index, 1);
    const int64_t group_first = item.group * g.channels_per_group();
    const int64_t c0 = group_first + item.split * work.block_channels();
    const int64_t c_end = group_first + g.channels_per_group();
    const Rect near{item.tile.top - reach.before, item.tile.left - reach.before, reach.rows, reach.columns};
    if (known) read_valid(work.valid, item.n, near.window(k, stride), g, known);
    Weights<A, 1>(work.kernels, g, item.n, item.group, 0).read(near, weights);
    read_grad<A, 1>(work, item.n, c0, c_end, near, 0, slopes);
    __syncthreads();
    normalize_all<A, 1>(work.normalizer, g, stride, near, weights, known, [](int, A) {});
    __syncthreads();

    const View& v = work.features_gradient;
    const int64_t top = item.tile.top * stride, left = item.tile.left * stride;
    const auto place = [&](int p, int64_t& offset) {
      const int64_t y = top + p / across, x = left + p % across;
      offset = g.contains(y, x) ? item.n * v.n + c0 * v.c + y * v.h + x * v.w : -1;
      return p * work.block_channels();
    };
    with_type(v.dtype, [&](auto* tag) {
      using T = ElementOf<decltype(tag)>;
      T* to = static_cast<T*>(v.data);
      const bool aligned = quads_aligned(v, g.channels_per_group(), sizeof(T));
      const int channels = work.channels_at_hand(c0, c_end);
      for_each_quad(v, channels, work.lanes, pixels, place, [&](int position, int64_t offset, int left_over) {
        if (left_over <= 0) return;
        const int p = position / work.block_channels(), channel = position % work.block_channels();
        // Places from `near`'s first centre on; the source pixel's is that of the tile's first, plus (y, x).
        const int y = reach.before * stride + p / across, x = reach.before * stride + p % across;
        const int y0 = (y - r + stride - 1) / stride, y1 = (y + r) / stride;
        const int x0 = (x - r + stride - 1) / stride, x1 = (x + r) / stride;
        Quad<A> sum{};
        for (int py = y0; py <= y1; ++py) {
          for (int px = x0; px <= x1; ++px) {
            const int centre = py * reach.columns + px;
            const A w = weights[centre * taps + (y - py * stride + r) * k + x - px * stride + r];
            const A* slope = slopes + centre * work.pixel_stride() + channel;
            const Quad<A> value = *reinterpret_cast<const Quad<A>*>(slope);
#pragma unroll
            for (int c = 0; c < kQuad; ++c) sum.v[c] += w * value.v[c];
          }
        }
        write_quad(to + offset, v.c, sum, left_over, aligned);
      });
    });
    __syncthreads();
  }
}

template <class A>
bool launch_strided_features_gradient(Work<A> work, const Device& device) {
  const Geometry& g = work.g;
  const auto bytes = [&] {
    const Reach reach(work);
    const int64_t window =
        ((reach.rows - 1) * g.stride + g.kernel_size) * ((reach.columns - 1) * g.stride + g.kernel_size);
    return int64_t(sizeof(A)) * (reach.area() * (work.pixel_stride() + g.taps()) + window);
  };
  if (!choose_tile(work, {{8, 8}, {4, 8}, {4, 4}, {2, 2}, {1, 1}}, 16, device.shared_memory(), bytes))
    return false;
  work.splits = ceil_div(g.channels_per_group(), work.block_channels());
  device.launch(strided_features_gradient_kernel<A>, work, work.items(), 256, bytes());
  return true;
}

} // namespace

void strided_features_gradient(const Reassembly& call, const View& grad, const View& to) {
  const Device device(call.device);
  with_constants(call, [&](auto type, auto, auto) {
    auto work = new_work<decltype(type)>(call, grad);
    work.features_gradient = to;
    return launch_strided_features_gradient(work, device);
  });
}

} // namespace inpaint::cuda
