// From logits or ready kernels to the weights of the taps, and the way back.
//
// A buffer of weights is [pixel][tap][sub-pixel]: the taps of one source pixel for its scale² output pixels lie
// together, as the logits of a channels_last tensor do.
#pragma once

#include "tile.h"
#include "vector.h"

namespace inpaint::cpu {

// Where the number for (group, tap, sub-pixel, h, w) lies in `kernels` [N, G·k², σH, σW] or in `logits`
// [N, G·k²·σ², H, W] (pixel-shuffle order): one formula serves both.
struct KernelLayout {
  View view;
  int64_t tap;                   // stride between taps; a group is k² taps further
  int64_t h, w;                  // strides between source pixels
  std::vector<int64_t> subpixel; // offsets of the sub-pixels

  static KernelLayout of_kernels(const Tensor& kernels, const Geometry& g) {
    const View v = view_of(kernels);
    KernelLayout layout{v, v.c, g.scale * v.h, g.scale * v.w, {}};
    for (int64_t i = 0; i < g.scale; ++i)
      for (int64_t j = 0; j < g.scale; ++j) layout.subpixel.push_back(i * v.h + j * v.w);
    return layout;
  }
  static KernelLayout of_logits(const Tensor& logits, const Geometry& g) {
    const View v = view_of(logits);
    KernelLayout layout{v, g.subpixels() * v.c, v.h, v.w, {}};
    for (int64_t s = 0; s < g.subpixels(); ++s) layout.subpixel.push_back(s * v.c);
    return layout;
  }
  int64_t offset(int64_t n, int64_t group, const Geometry& g) const {
    return n * view.n + group * g.taps() * tap;
  }
};

// Visits every number of a rectangle in the order of memory, as far as a loop order can follow it:
// f(position in the buffer, element offset).
template <class F>
inline void for_each_weight(
    const KernelLayout& layout, int64_t base, const Rect& rect, const Geometry& g, const F& f) {
  const int64_t taps = g.taps(), subs = g.subpixels(), per_pixel = taps * subs;
  const int64_t start = base + rect.top * layout.h + rect.left * layout.w;
  if (layout.tap < layout.w || rect.width == 1) { // channels_last: a pixel's numbers are neighbours
    for (int64_t y = 0; y < rect.height; ++y)
      for (int64_t x = 0; x < rect.width; ++x)
        for (int64_t t = 0; t < taps; ++t)
          for (int64_t s = 0; s < subs; ++s)
            f((y * rect.width + x) * per_pixel + t * subs + s,
              start + y * layout.h + x * layout.w + t * layout.tap + layout.subpixel[s]);
  } else {
    for (int64_t t = 0; t < taps; ++t)
      for (int64_t y = 0; y < rect.height; ++y)
        for (int64_t s = 0; s < subs; ++s)
          for (int64_t x = 0; x < rect.width; ++x)
            f((y * rect.width + x) * per_pixel + t * subs + s,
              start + y * layout.h + x * layout.w + t * layout.tap + layout.subpixel[s]);
  }
}

template <class A>
void read_weights(
    const KernelLayout& layout, int64_t base, const Rect& rect, const Geometry& g, std::vector<A>& out) {
  const int64_t per_pixel = g.taps() * g.subpixels();
  out.resize(rect.area() * per_pixel);
  with_type(layout.view.dtype, [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    const T* from = static_cast<const T*>(layout.view.data);
    const bool together = layout.subpixel.size() < 2 || layout.subpixel[1] == 1;
    if (together && layout.tap == g.subpixels()) { // channels_last logits: one run a pixel
      for (int64_t y = 0; y < rect.height; ++y)
        for (int64_t x = 0; x < rect.width; ++x) {
          const T* run = from + base + (rect.top + y) * layout.h + (rect.left + x) * layout.w;
          A* to = out.data() + (y * rect.width + x) * per_pixel;
          for (int64_t i = 0; i < per_pixel; ++i) to[i] = static_cast<A>(run[i]);
        }
      return;
    }
    for_each_weight(layout, base, rect, g, [&](int64_t position, int64_t offset) {
      out[position] = static_cast<A>(from[offset]);
    });
  });
}

template <class A>
void write_weights(
    const KernelLayout& layout, int64_t base, const Rect& rect, const Geometry& g, const std::vector<A>& values) {
  with_type(layout.view.dtype, [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    T* to = static_cast<T*>(layout.view.data);
    for_each_weight(layout, base, rect, g, [&](int64_t position, int64_t offset) {
      to[offset] = static_cast<T>(values[position]);
    });
  });
}

template <class A> inline A logistic(A x) { return A(1) / (A(1) + exponential(-x)); }
template <class A> inline A log_logistic(A x) { return std::min(x, A(0)) - std::log1p(exponential(-std::abs(x))); }

// Softmax over the taps of each sub-pixel, in place: w[tap·S + s]. S is a template argument for the scales
// people use (a fixed inner count lets the compiler keep the running maxima in one register), 0 for the others.
template <class A, int64_t S>
inline void softmax(A* w, int64_t taps, int64_t subpixels, A* scratch) {
  const int64_t subs = S ? S : subpixels, count = taps * subs;
  A fixed[2 * (S ? S : 1)];
  A* high = S ? fixed : scratch;
  A* sum = high + subs;
  for (int64_t s = 0; s < subs; ++s) high[s] = w[s], sum[s] = A(0);
  for (int64_t t = 1; t < taps; ++t)
    for (int64_t s = 0; s < subs; ++s) high[s] = std::max(high[s], w[t * subs + s]);
  for (int64_t t = 0; t < taps; ++t)
    for (int64_t s = 0; s < subs; ++s) w[t * subs + s] -= high[s];
  for (int64_t i = 0; i < count; ++i) w[i] = exponential(w[i]);
  for (int64_t t = 0; t < taps; ++t)
    for (int64_t s = 0; s < subs; ++s) sum[s] += w[t * subs + s];
  for (int64_t s = 0; s < subs; ++s) sum[s] = A(1) / sum[s];
  for (int64_t t = 0; t < taps; ++t)
    for (int64_t s = 0; s < subs; ++s) w[t * subs + s] *= sum[s];
}

template <class A>
inline void softmax(A* w, const Geometry& g, A* scratch) {
  switch (g.subpixels()) {
    case 1: return softmax<A, 1>(w, g.taps(), 1, scratch);
    case 4: return softmax<A, 4>(w, g.taps(), 4, scratch);
    case 16: return softmax<A, 16>(w, g.taps(), 16, scratch);
    default: return softmax<A, 0>(w, g.taps(), g.subpixels(), scratch);
  }
}

// The masked forms, one sub-pixel at a time: w becomes the effective weights (W/s)·wₖ·vₖ and the known share s/W
// is returned. `known` holds v over the taps. The largest logit among the known taps is subtracted, so that a
// known tap is never lost to underflow.
template <class A>
inline A masked_softmax(A* w, int64_t stride, const A* known, int64_t taps) {
  A highest_known = -INFINITY, highest = -INFINITY;
  for (int64_t t = 0; t < taps; ++t) {
    highest = std::max(highest, w[t * stride]);
    if (known[t] > A(0)) highest_known = std::max(highest_known, w[t * stride]);
  }
  A all = 0, sum = 0;
  for (int64_t t = 0; t < taps; ++t) {
    all += exponential(w[t * stride] - highest);
    const A weight = known[t] > A(0) ? exponential(w[t * stride] - highest_known) * known[t] : A(0);
    w[t * stride] = weight;
    sum += weight;
  }
  if (!(sum > A(0))) return A(0);
  for (int64_t t = 0; t < taps; ++t) w[t * stride] /= sum;
  return sum * exponential(highest_known - highest) / all;
}

template <class A>
inline A masked_sigmoid(A* w, int64_t stride, const A* known, int64_t taps) {
  A all = 0, sum = 0;
  for (int64_t t = 0; t < taps; ++t) {
    const A weight = logistic(w[t * stride]);
    all += weight;
    w[t * stride] = known[t] > A(0) ? weight * known[t] : A(0);
    sum += w[t * stride];
  }
  if (!(sum > A(0))) {
    for (int64_t t = 0; t < taps; ++t) w[t * stride] = A(0);
    return A(0);
  }
  for (int64_t t = 0; t < taps; ++t) w[t * stride] *= all / sum;
  return sum / all;
}

// Turns logits into weights in place for every pixel of `rect`. Given valid over rect grown by the radius,
// does the masked form and adds each output pixel's known share to shares [pixel][sub-pixel].
template <class A>
void normalize(
    Normalizer normalizer, const Rect& rect, const Geometry& g, const A* valid, A* shares, std::vector<A>& weights) {
  const int64_t taps = g.taps(), subs = g.subpixels(), k = g.kernel_size;
  const int64_t valid_width = rect.width + 2 * g.radius();
  std::vector<A> scratch(2 * subs), known(taps);
  if (normalizer == Normalizer::sigmoid_normalized) // = softmax of log σ
    for (A& w : weights) w = log_logistic(w);
  for (int64_t p = 0; p < rect.area(); ++p) {
    A* w = weights.data() + p * taps * subs;
    bool all_known = true, none_known = false;
    if (valid) {
      const A* corner = valid + (p / rect.width) * valid_width + p % rect.width;
      A largest = 0;
      for (int64_t t = 0; t < taps; ++t) {
        known[t] = corner[(t / k) * valid_width + t % k];
        all_known &= known[t] == A(1);
        largest = std::max(largest, known[t]);
      }
      none_known = !(largest > A(0));
    }
    if (none_known) {
      std::fill(w, w + taps * subs, A(0));
    } else if (all_known) { // the usual case by far, and exactly the plain form
      if (normalizer == Normalizer::sigmoid)
        for (int64_t i = 0; i < taps * subs; ++i) w[i] = logistic(w[i]);
      else
        softmax(w, g, scratch.data());
      if (shares)
        for (int64_t s = 0; s < subs; ++s) shares[p * subs + s] += A(1);
    } else {
      for (int64_t s = 0; s < subs; ++s) {
        const A share = normalizer == Normalizer::sigmoid ? masked_sigmoid(w + s, subs, known.data(), taps)
                                                          : masked_softmax(w + s, subs, known.data(), taps);
        if (shares) shares[p * subs + s] += share;
      }
    }
  }
}

// From the effective weights and gₖ = Σ_c grad·xₖ to the gradient of the logits, written over gₖ.
// With m = Σ wₖ·gₖ / Σ wₖ, the gradient of the masked mean:
//   softmax kinds   ∂/∂lₖ = wₖ (gₖ − m), times 1 − σ(lₖ) for sigmoid_normalized
//   sigmoid         ∂/∂wₖ = gₖ without valid; m + (W/s)·vₖ (gₖ − m) with it; times σ'(lₖ)
// `logits` are the raw ones of the same pixels.
template <class A>
void normalize_backward(
    Normalizer normalizer,
    const Rect& rect,
    const Geometry& g,
    const A* valid,
    const A* weights,
    const A* logits,
    A* gradients) {
  const int64_t taps = g.taps(), subs = g.subpixels(), k = g.kernel_size;
  const int64_t valid_width = rect.width + 2 * g.radius();
  for (int64_t p = 0; p < rect.area(); ++p) {
    const A* corner = valid ? valid + (p / rect.width) * valid_width + p % rect.width : nullptr;
    for (int64_t s = 0; s < subs; ++s) {
      const int64_t first = p * taps * subs + s;
      A mean = 0, mass = 0;
      for (int64_t t = 0; t < taps; ++t) {
        mean += weights[first + t * subs] * gradients[first + t * subs];
        mass += weights[first + t * subs];
      }
      if (normalizer != Normalizer::sigmoid) {
        for (int64_t t = 0; t < taps; ++t) {
          const int64_t i = first + t * subs;
          gradients[i] = weights[i] > A(0) ? weights[i] * (gradients[i] - mean) : A(0);
          if (normalizer == Normalizer::sigmoid_normalized) gradients[i] *= logistic(-logits[i]);
        }
        continue;
      }
      A all = 0, sum = 0; // W and s
      for (int64_t t = 0; t < taps; ++t) {
        const A v = valid ? corner[(t / k) * valid_width + t % k] : A(1);
        all += logistic(logits[first + t * subs]);
        sum += logistic(logits[first + t * subs]) * v;
      }
      mean = mass > A(0) ? mean / mass : A(0);
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t i = first + t * subs;
        const A weight = logistic(logits[i]), slope = weight * (A(1) - weight);
        const A v = valid ? corner[(t / k) * valid_width + t % k] : A(1);
        if (valid)
          gradients[i] = sum > A(0) ? (mean + all / sum * v * (gradients[i] - mean)) * slope : A(0);
        else
          gradients[i] *= slope;
      }
    }
  }
}

} // namespace inpaint::cpu
