// The few vector operations that the CPU kernels need, over the vector types that GCC and Clang share. A
// vector is one register of the instructions that this library is compiled for.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

namespace inpaint::cpu {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kRegisters = 32;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32, kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kVectorBytes = 16, kRegisters = 32;
#else
constexpr int kVectorBytes = 16, kRegisters = 16;
#endif

template <class A> // A: the type sums are kept in, float or double
struct Vector {
  static constexpr int lanes = kVectorBytes / sizeof(A);
  typedef A type __attribute__((vector_size(kVectorBytes)));

  static type load(const A* from) {
    type value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  static void store(A* to, type value) { std::memcpy(to, &value, sizeof value); }

  // The sums of as many vectors as there are lanes, in one vector: neighbouring pairs are added until every
  // lane holds one vector's sum. A third of the shuffles of summing each by itself.
  static type sums(type* values) {
    for (int left = lanes / 2; left >= 1; left /= 2)
      for (int i = 0; i < left; ++i)
        values[i] = add_pairs(values[2 * i], values[2 * i + 1], std::make_integer_sequence<int, lanes>());
    return values[0];
  }
  template <int... I>
  static type add_pairs(type a, type b, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(a, b, (2 * I)...) + __builtin_shufflevector(a, b, (2 * I + 1)...);
  }

  // Turns rows into columns: lane j of values[i] and lane i of values[j] change places. Blocks of half the
  // size are exchanged, then the blocks in them, down to single lanes.
  static void transpose(type* values) { transpose_blocks<lanes / 2>(values); }
  template <int Step>
  static void transpose_blocks(type* values) {
    for (int i = 0; i < lanes; ++i)
      if (!(i & Step)) exchange<Step>(values[i], values[i + Step], std::make_integer_sequence<int, lanes>());
    if constexpr (Step > 1) transpose_blocks<Step / 2>(values);
  }
  template <int Step, int... I>
  static void exchange(type& a, type& b, std::integer_sequence<int, I...>) {
    const type upper = __builtin_shufflevector(a, b, ((I & Step) ? lanes + I - Step : I)...);
    b = __builtin_shufflevector(a, b, ((I & Step) ? lanes + I : I + Step)...);
    a = upper;
  }

  // Combines the lanes l, l + Group, l + 2·Group, …, and spreads each result over those lanes.
  template <int Group, class Combine>
  static type fold(type value, const Combine& combine) {
    return fold_halves<Group, lanes / 2>(value, combine);
  }
  template <int Group, int Half, class Combine>
  static type fold_halves(type value, const Combine& combine) {
    if constexpr (Half < Group) {
      return value;
    } else {
      const type other = rotate<Half>(value, std::make_integer_sequence<int, lanes>());
      return fold_halves<Group, Half / 2>(combine(value, other), combine);
    }
  }
  template <int By, int... I>
  static type rotate(type value, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(value, value, ((I + By) % lanes)...);
  }
  static type larger(type a, type b) { return a > b ? a : b; }
  static type plus(type a, type b) { return a + b; }
  static bool equal(type a, type b) { // in every lane; NaN equals nothing
    bool all = true;
    for (int lane = 0; lane < lanes; ++lane) all &= a[lane] == b[lane];
    return all;
  }

  // A tree of halves: a loop over the lanes would be one long chain of additions.
  static A sum(type value) {
    A parts[lanes];
    std::memcpy(parts, &value, sizeof value);
    for (int half = lanes / 2; half >= 1; half /= 2)
      for (int lane = 0; lane < half; ++lane) parts[lane] += parts[lane + half];
    return parts[0];
  }
};

// Asks for vectors that are about to be read or written. Outputs and their gradients are larger than the
// caches near the core, and blocks of channels skip through them in steps that the processor does not
// foresee. An address beyond the end of a tensor does no harm.
template <class A>
inline void prefetch(const A* from, int64_t vectors) {
  for (int64_t v = 0; v < vectors; ++v) __builtin_prefetch(from + v * Vector<A>::lanes);
}
template <class A>
inline void prefetch_to_write(A* to, int64_t vectors) {
  for (int64_t v = 0; v < vectors; ++v) __builtin_prefetch(to + v * Vector<A>::lanes, 1);
}

inline double exponential(double x) { return std::exp(x); }

// exp in single precision: x = n·ln 2 + r, |r| ≤ ln 2 / 2, then the Taylor polynomial of degree 7 (relative
// error below 2e-7) and n put into the exponent bits. exp(0) is exactly 1, NaN stays NaN, and below the
// smallest normal number the result is 0. `Float` is float or a vector of them, `Int` the integers of the
// same size; vectors need their comparisons in this form, and loops over single floats vectorise with it.
template <class Float, class Int>
inline Float single_exponential(Float x) {
  constexpr float lowest = -87.0f, highest = 88.0f;
  const Float zero{}, least = zero + lowest, most = zero + highest;
  const Float bounded = x < least ? least : (x > most ? most : x);    // NaN passes both comparisons
  const Float shifted = bounded * 1.44269504088896341f + 12582912.0f; // 1.5·2^23 rounds to an integer
  const Float n = shifted - 12582912.0f;
  const Float r = bounded - n * 0.693145751953125f - n * 1.428606765330187e-06f;
  Float p = r * (1.0f / 5040.0f) + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  Int bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  const Int exponent = (bits - 0x4B400000 + 127) << 23;
  Float power;
  std::memcpy(&power, &exponent, sizeof power);
  return x < least ? zero : p * power;
}

inline float exponential(float x) { return single_exponential<float, int32_t>(x); }

inline Vector<float>::type exponential(Vector<float>::type x) {
  typedef int32_t integers __attribute__((vector_size(kVectorBytes)));
  return single_exponential<Vector<float>::type, integers>(x);
}

inline Vector<double>::type exponential(Vector<double>::type x) {
  for (int lane = 0; lane < Vector<double>::lanes; ++lane) x[lane] = exponential(x[lane]);
  return x;
}

} // namespace inpaint::cpu
