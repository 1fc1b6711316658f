// From logits to the weights of the taps, in place in a buffer of weights.h, and the way back.
#pragma once

#include "weights.h"

namespace inpaint::cpu {

template <class A> inline A larger(A a, A b) { return a > b ? a : b; }

// The logistic function λ of a number, or of a vector of them (Numbers): one exponential that cannot
// overflow. In single precision it is 0 below -87.
template <class A, class Numbers>
inline Numbers logistic(Numbers x) {
  const Numbers zero{}, one = zero + A(1), power = exponential(x > zero ? -x : x);
  return (x > zero ? one : power) / (power + A(1));
}

// The kinds of weights before they are divided by their sum. Where they are, `power` is what the largest of
// is found and taken off, and `weight` is what exp(power - largest) makes of a logit.
template <class A>
struct Softmax {
  static constexpr bool divides = true;
  template <class Numbers> static Numbers power(Numbers logit) { return logit; }
  template <class Numbers>
  static Numbers weight(Numbers logit, Numbers largest) {
    return exponential(logit - largest);
  }
};

template <class A>
struct Sigmoid {
  static constexpr bool divides = false;
  template <class Numbers> static Numbers power(Numbers) { return Numbers{}; }
  template <class Numbers> static Numbers weight(Numbers logit, Numbers) { return logistic<A>(logit); }
};

// λ(l) = exp(min(l, 0)) / (1 + exp(-|l|)): a softmax of min(l, 0) whose terms have weights between 1/2 and 1.
template <class A>
struct SigmoidNormalized {
  static constexpr bool divides = true;
  template <class Numbers>
  static Numbers power(Numbers logit) {
    const Numbers zero{};
    return logit > zero ? zero : logit;
  }
  template <class Numbers>
  static Numbers weight(Numbers logit, Numbers largest) {
    const Numbers zero{}, size = logit > zero ? -logit : logit;
    return exponential(power(logit) - largest) / (exponential(size) + A(1));
  }
};

template <class A, class F>
inline void with_kind(Normalizer normalizer, const F& f) {
  if (normalizer == Normalizer::softmax) return f(Softmax<A>());
  if (normalizer == Normalizer::sigmoid) return f(Sigmoid<A>());
  f(SigmoidNormalized<A>());
}

// The next functions go through the numbers of one pixel vector by vector. With S sub-pixels dividing the
// lanes, lane l always belongs to sub-pixel l mod S, so a sum or a maximum over the taps is one over the
// vectors and then over every S-th lane. The padding behind `count` becomes 0.

// Divided weights of one pixel from its logits, in place, where all is known.
template <class A, int S, class Kind>
inline void normalize_lanes(Kind, A* w, int64_t count, int64_t padded) {
  using Vec = Vector<A>;
  std::fill(w + count, w + padded, -INFINITY);
  typename Vec::type high = Kind::power(Vec::load(w)), sum{};
  for (int64_t i = Vec::lanes; i < padded; i += Vec::lanes)
    high = Vec::larger(high, Kind::power(Vec::load(w + i)));
  high = Vec::template fold<S>(high, Vec::larger);
  for (int64_t i = 0; i < padded; i += Vec::lanes) {
    const typename Vec::type weight = Kind::weight(Vec::load(w + i), high);
    Vec::store(w + i, weight);
    sum += weight;
  }
  const typename Vec::type factor = A(1) / Vec::template fold<S>(sum, Vec::plus);
  for (int64_t i = 0; i < padded; i += Vec::lanes) Vec::store(w + i, Vec::load(w + i) * factor);
}

// s/W from sums that were taken relative to two largest powers `difference` apart.
template <class A>
inline A known_share(A sum, A difference, A all) {
  return sum == A(0) ? A(0) : sum * exponential(difference) / all;
}

// The masked form: w becomes the effective weights wₖ·vₖ/Σ wₖ·vₖ, times Σ wₖ for weights that are not
// divided, and share [S] the known share s/W. `known` holds v spread over taps and sub-pixels, 0 in the
// padding. The largest power among the known taps is subtracted, so that a known tap is never lost to
// underflow. The sum can be as small as the smallest v, whose reciprocal may not be a finite number: it is
// divided by. Where every known logit is -∞ no mass is known, and all become 0.
template <class A, int S, class Kind>
inline void normalize_masked_lanes(Kind, A* w, const A* known, int64_t count, int64_t padded, A* share) {
  using Vec = Vector<A>;
  using Numbers = typename Vec::type;
  const Numbers zero{}, nothing = zero - A(INFINITY);
  std::fill(w + count, w + padded, -INFINITY);
  Numbers high{}, high_known{}, all{}, sum{};
  if constexpr (Kind::divides) {
    high = high_known = nothing;
    for (int64_t i = 0; i < padded; i += Vec::lanes) {
      const Numbers power = Kind::power(Vec::load(w + i)), v = Vec::load(known + i);
      high = Vec::larger(high, power);
      high_known = Vec::larger(high_known, v > zero ? power : nothing);
    }
    high = Vec::template fold<S>(high, Vec::larger);
    high_known = Vec::template fold<S>(high_known, Vec::larger);
    high_known = high_known == nothing ? zero : high_known;
  }
  // Mostly the largest power is a known tap's, and one exponential serves both sums.
  if (!Kind::divides || Vec::equal(high, high_known)) {
    for (int64_t i = 0; i < padded; i += Vec::lanes) {
      const Numbers weight = Kind::weight(Vec::load(w + i), high), v = Vec::load(known + i);
      all += weight;
      const Numbers own = v > zero ? weight * v : zero;
      Vec::store(w + i, own);
      sum += own;
    }
  } else {
    for (int64_t i = 0; i < padded; i += Vec::lanes) {
      const Numbers logit = Vec::load(w + i), v = Vec::load(known + i);
      all += Kind::weight(logit, high);
      const Numbers own = v > zero ? Kind::weight(logit, high_known) * v : zero;
      Vec::store(w + i, own);
      sum += own;
    }
  }
  all = Vec::template fold<S>(all, Vec::plus);
  sum = Vec::template fold<S>(sum, Vec::plus);
  for (int s = 0; s < S; ++s) share[s] = known_share<A>(sum[s], high_known[s] - high[s], all[s]);
  for (int64_t i = 0; i < padded; i += Vec::lanes) {
    const Numbers own = Vec::load(w + i) / sum;
    Vec::store(w + i, sum == zero ? zero : (Kind::divides ? own : own * all));
  }
}

// The same for any number of sub-pixels, one of them at a time: w and known are `stride` apart.
template <class A, class Kind>
inline A normalize_masked(Kind, A* w, const A* known, int64_t stride, int64_t taps) {
  A high = 0, high_known = 0;
  if constexpr (Kind::divides) {
    high = high_known = -INFINITY;
    for (int64_t i = 0; i < taps * stride; i += stride) {
      high = larger(high, Kind::power(w[i]));
      if (known[i] > A(0)) high_known = larger(high_known, Kind::power(w[i]));
    }
    if (high_known == -A(INFINITY)) high_known = A(0);
  }
  A all = 0, sum = 0;
  for (int64_t i = 0; i < taps * stride; i += stride) {
    all += Kind::weight(w[i], high);
    sum += w[i] = known[i] > A(0) ? Kind::weight(w[i], high_known) * known[i] : A(0);
  }
  for (int64_t i = 0; i < taps * stride; i += stride)
    w[i] = sum == A(0) ? A(0) : w[i] / sum * (Kind::divides ? A(1) : all);
  return known_share(sum, high_known - high, all);
}

// Calls f with S as a compile-time constant where S sub-pixels can share out the lanes, else with 0.
template <class A, class F>
inline void with_lanes(int64_t subpixels, const F& f) {
  constexpr int lanes = Vector<A>::lanes;
  if (subpixels == 1) return f(std::integral_constant<int, 1>());
  if constexpr (lanes >= 4)
    if (subpixels == 4) return f(std::integral_constant<int, 4>());
  if constexpr (lanes >= 16)
    if (subpixels == 16) return f(std::integral_constant<int, 16>());
  f(std::integral_constant<int, 0>());
}

// The numbers of a k×k window, each for all sub-pixels of its tap.
template <class A>
inline void spread(const A* corner, int64_t row, int64_t k, int64_t subpixels, A* to) {
  const auto fill = [&](auto S) { // a constant, or 0
    const int64_t subs = S.value ? S.value : subpixels;
    for (int64_t i = 0; i < k; ++i)
      for (int64_t j = 0; j < k; ++j, to += subs)
        for (int64_t s = 0; s < subs; ++s) to[s] = corner[i * row + j];
  };
  if (subpixels == 4)
    fill(std::integral_constant<int, 4>());
  else
    fill(std::integral_constant<int, 0>());
}

// Turns logits into weights in place for every centre of `rect`. Given valid over the windows of rect, does
// the masked form and adds each output pixel's known share to shares [pixel][sub-pixel].
template <class A>
void normalize(
    Normalizer normalizer,
    const Rect& rect,
    const Geometry& g,
    const A* valid,
    A* shares,
    std::vector<A>& weights) {
  const int64_t taps = g.taps(), subs = g.subpixels(), k = g.kernel_size, count = taps * subs;
  const int64_t padded = padded_weights<A>(g), valid_width = rect.window(g).width;
  std::vector<A> known(padded, A(0)), all_one(padded, A(0)), share(subs);
  std::fill(all_one.begin(), all_one.begin() + count, A(1));
  for (int64_t p = 0; p < rect.area(); ++p) {
    A* w = weights.data() + p * padded;
    bool all_known = true, none_known = false;
    if (valid) {
      const A* corner = valid + g.stride * (p / rect.width * valid_width + p % rect.width);
      none_known = true;
      for (int64_t i = 0; i < k; ++i)
        for (int64_t j = 0; j < k; ++j) {
          const A v = corner[i * valid_width + j];
          all_known &= v == A(1);
          none_known &= !(v > A(0));
        }
      if (!all_known && !none_known) spread(corner, valid_width, k, subs, known.data());
    }
    if (none_known) {
      std::fill(w, w + padded, A(0));
      continue;
    }
    std::fill(share.begin(), share.end(), A(1));
    with_kind<A>(normalizer, [&](auto kind) {
      if (all_known && !kind.divides) {
        using Vec = Vector<A>;
        for (int64_t i = 0; i < padded; i += Vec::lanes)
          Vec::store(w + i, kind.weight(Vec::load(w + i), typename Vec::type{}));
        std::fill(w + count, w + padded, A(0));
        return;
      }
      with_lanes<A>(subs, [&](auto S) {
        if constexpr (S.value > 0) {
          if (all_known) // the usual case by far, and exactly the plain form
            normalize_lanes<A, S.value>(kind, w, count, padded);
          else
            normalize_masked_lanes<A, S.value>(kind, w, known.data(), count, padded, share.data());
        } else {
          const A* v = all_known ? all_one.data() : known.data();
          for (int64_t s = 0; s < subs; ++s) share[s] = normalize_masked(kind, w + s, v + s, subs, taps);
        }
      });
    });
    if (shares)
      for (int64_t s = 0; s < subs; ++s) shares[p * subs + s] += share[s];
  }
}

// From the effective weights and gₖ = Σ_c grad·xₖ to the gradient of the logits, written over gₖ.
// With m = Σ wₖ·gₖ / Σ wₖ, the gradient of the masked mean:
//   softmax kinds   ∂/∂lₖ = wₖ (gₖ − m), times λ(−lₖ) for sigmoid_normalized
//   sigmoid         ∂/∂lₖ = λ'(lₖ)·gₖ without valid; (1 − λ(lₖ))·(λ(lₖ)·m + wₖ (gₖ − m)) with it
// `logit` is the raw one; where it has no weight it may be NaN, and is kept out by selection.
template <class A, class Numbers>
inline Numbers slope_of_logit(Softmax<A>, Numbers weight, Numbers, Numbers gradient, Numbers mean, bool) {
  const Numbers zero{};
  return weight == zero ? zero : weight * (gradient - mean);
}

template <class A, class Numbers>
inline Numbers slope_of_logit(
    SigmoidNormalized<A>, Numbers weight, Numbers logit, Numbers gradient, Numbers mean, bool) {
  const Numbers zero{};
  return weight == zero ? zero : weight * (gradient - mean) * logistic<A>(-logit);
}

template <class A, class Numbers>
inline Numbers slope_of_logit(
    Sigmoid<A>, Numbers weight, Numbers logit, Numbers gradient, Numbers mean, bool masked) {
  const Numbers own = logistic<A>(logit);
  return (A(1) - own) * (masked ? own * mean + weight * (gradient - mean) : own * gradient);
}

// `logits` may be missing for a softmax, which does not look at them.
template <class A>
void normalize_backward(
    Normalizer normalizer,
    const Rect& rect,
    const Geometry& g,
    bool masked,
    const A* weights,
    const A* logits,
    A* gradients) {
  const int64_t subs = g.subpixels(), count = g.taps() * subs, padded = padded_weights<A>(g);
  if (!logits) logits = weights;
  with_kind<A>(normalizer, [&](auto kind) {
    with_lanes<A>(subs, [&](auto S) {
      for (int64_t p = 0; p < rect.area(); ++p, weights += padded, logits += padded, gradients += padded) {
        if constexpr (S.value > 0) {
          using Vec = Vector<A>;
          using Numbers = typename Vec::type;
          const Numbers zero{};
          Numbers mean{}, mass{};
          for (int64_t i = 0; i < padded; i += Vec::lanes) {
            mean += Vec::load(weights + i) * Vec::load(gradients + i);
            if (!kind.divides) mass += Vec::load(weights + i);
          }
          mean = Vec::template fold<S.value>(mean, Vec::plus);
          if (!kind.divides) {
            mass = Vec::template fold<S.value>(mass, Vec::plus);
            mean = mass == zero ? zero : mean / mass;
          }
          for (int64_t i = 0; i < padded; i += Vec::lanes) {
            const Numbers own = Vec::load(weights + i), logit = Vec::load(logits + i);
            const Numbers slope = slope_of_logit(kind, own, logit, Vec::load(gradients + i), mean, masked);
            Vec::store(gradients + i, slope);
          }
        } else {
          for (int64_t s = 0; s < subs; ++s) {
            A mean = 0, mass = 0;
            for (int64_t i = s; i < count; i += subs) {
              mean += weights[i] * gradients[i];
              mass += weights[i];
            }
            if (!kind.divides) mean = mass == A(0) ? A(0) : mean / mass;
            for (int64_t i = s; i < count; i += subs)
              gradients[i] = slope_of_logit(kind, weights[i], logits[i], gradients[i], mean, masked);
          }
        }
      }
    });
  });
}

} // namespace inpaint::cpu
