// CARAFE on CUDA devices, backward to the kernels or logits.
#include "carafe.h"
#include "work.h"

namespace inpaint::cuda {
namespace {

// A thread sums gₖ = Σ_c grad·xₖ for the taps of one row of a centre's window (one tap where K is 0)
// and S sub-pixels; then the weights are normalised once more and gₖ becomes the gradient of the logits.
template <class A, int S, int K, bool Strided>
__global__ void __launch_bounds__(512) kernels_gradient_kernel(const Work<A> work) {
  constexpr int run = K ? K : 1; // taps at once
  const Geometry& g = work.g;
  const int k = K ? K : static_cast<int>(g.kernel_size), taps = k * k, area = work.rows * work.columns,
            stride = Strided ? static_cast<int>(g.stride) : 1;
  const int window_size = static_cast<int>(work.window_area(stride)) * work.pixel_stride();
  A* gradients = reinterpret_cast<A*>(inpaint_shared);
  A* pixels = gradients + area * taps * S;
  A* slopes = pixels + window_size;
  A* weights = pixels; // when the sums are done, in their operands' place
  A* known = pixels + max(window_size + area * (S * work.block_channels() + kQuad), area * taps * S);
  if (!work.valid.data) known = nullptr;

  for (int64_t index = blockIdx.x; index < work.items(); index += gridDim.x) {
    const Item item(work, index, S);
    const Rect window = item.tile.window(k, stride);
    if (known) read_valid(work.valid, item.n, window, g, known);
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
            ((pixel / work.columns * stride + tap / k) * window.columns + pixel % work.columns * stride +
             tap % k) *
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
            for (int s = 0; s < S; ++s) {
#pragma unroll
              for (int e = 0; e < kQuad; ++e) sum[j][s] += own[s].v[e] * value.v[e];
            }
          }
        }
        A* to = gradients + (pixel * taps + tap) * S;
#pragma unroll
        for (int j = 0; j < run; ++j) {
#pragma unroll
          for (int s = 0; s < S; ++s) to[j * S + s] += sum[j][s];
        }
      }
    }
    __syncthreads();
    if (work.normalizer != Normalizer::none) {
      const Weights<A, S> of(work.kernels, g, item.n, item.group, item.first_sub);
      of.read(item.tile, weights);
      __syncthreads();
      normalize_all<A, S>(work.normalizer, g, stride, item.tile, weights, known, [&](int output, A) {
        const int pixel = output / S, sub = item.first_sub + output % S;
        const int64_t y = item.tile.top + pixel / work.columns, x = item.tile.left + pixel % work.columns;
        if (y >= g.rows || x >= g.columns || sub >= g.subpixels()) return;
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

template <class A, int S, int K, bool Strided>
bool launch_kernels_gradient(Work<A> work, const Device& device) {
  const Geometry& g = work.g;
  const int64_t stride = Strided ? g.stride : 1;
  const auto bytes = [&] {
    const int64_t area = work.rows * work.columns, weights = area * g.taps() * S;
    const int64_t operands =
        work.window_area(stride) * int64_t(work.pixel_stride()) + area * (S * work.block_channels() + kQuad);
    return int64_t(sizeof(A)) * (weights + std::max(operands, weights) + work.window_area(stride));
  };
  if (!choose_tile(work, tiles_of_windows(Strided), 8, device.shared_memory(), bytes)) return false;
  work.chunks = ceil_div(g.subpixels(), S);
  const int64_t threads = work.rows * work.columns * (K ? K : g.taps());
  device.launch(
      kernels_gradient_kernel<A, S, K, Strided>,
      work,
      work.items(),
      std::min<int64_t>(ceil_div(threads, 32) * 32, 512),
      bytes());
  return true;
}

} // namespace

void kernels_gradient(const Reassembly& call, const View& grad, const KernelLayout& to) {
  const Device device(call.device);
  with_constants(call, [&](auto type, auto S, auto K) {
    auto work = new_work<decltype(type)>(call, grad);
    work.kernels_gradient = to;
    if constexpr (S.value == 1)
      if (call.geometry.stride > 1)
        return launch_kernels_gradient<decltype(type), 1, K.value, true>(work, device);
    return launch_kernels_gradient<decltype(type), S.value, K.value, false>(work, device);
  });
}

} // namespace inpaint::cuda
