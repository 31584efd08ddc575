// Sixteen floats that move together, in the instruction set this file is compiled for. The encoders put
// sixteen candidate scales side by side and walk over the elements of a block, so that no sum ever
// crosses lanes: every instruction set performs the same IEEE operations in the same order and finds the
// same bytes. Multiplications and additions must therefore never be fused (see the pragma below).
#pragma once

#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#if defined(__SSE2__)
#include <immintrin.h>
#endif

// Everything below is compiled once per instruction set and must not be shared by the linker.
#if defined(__AVX512F__)
#define HONE_QUANT_ISA isa_avx512
#elif defined(__AVX2__)
#define HONE_QUANT_ISA isa_avx2
#else
#define HONE_QUANT_ISA isa_scalar
#endif

namespace hone::quant::HONE_QUANT_ISA {

inline constexpr int kLanes = 16;

#if defined(__AVX512F__)
inline constexpr int kNative = 16;
#elif defined(__AVX2__)
inline constexpr int kNative = 8;
#else
inline constexpr int kNative = 4;  // a 128-bit vector, which every 64-bit target has
#endif
typedef float NativeVector __attribute__((vector_size(kNative * 4)));

// A tree of native vectors rather than an array of them: GCC keeps its leaves in registers.
template <int kWidth>
struct Vectors {
  Vectors<kWidth / 2> low, high;
};
template <>
struct Vectors<kNative> {
  NativeVector v;
};
using Lanes = Vectors<kLanes>;

// f applied to the native vectors of its arguments.
template <int kWidth, class F, class... Rest>
[[gnu::always_inline]] inline Vectors<kWidth> map(F f, Vectors<kWidth> a, Rest... rest) {
  if constexpr (kWidth == kNative)
    return {f(a.v, rest.v...)};
  else
    return {map(f, a.low, rest.low...), map(f, a.high, rest.high...)};
}

inline Lanes operator+(Lanes a, Lanes b) {
  return map([](NativeVector x, NativeVector y) { return x + y; }, a, b);
}
inline Lanes operator-(Lanes a, Lanes b) {
  return map([](NativeVector x, NativeVector y) { return x - y; }, a, b);
}
inline Lanes operator*(Lanes a, Lanes b) {
  return map([](NativeVector x, NativeVector y) { return x * y; }, a, b);
}
inline Lanes operator/(Lanes a, Lanes b) {
  return map([](NativeVector x, NativeVector y) { return x / y; }, a, b);
}

inline Lanes all(float value) {
  return map([value](NativeVector) { return NativeVector{} + value; }, Lanes{});
}

inline Lanes load(const float* p) {
  Lanes r;
  __builtin_memcpy(&r, p, sizeof r);
  return r;
}
inline void store(float* p, Lanes a) { __builtin_memcpy(p, &a, sizeof a); }

// min and max return the second operand when the first does not compare, as the x86 instructions do.
inline Lanes min(Lanes a, Lanes b) {
#if defined(__AVX512F__)
  return {_mm512_min_ps(a.v, b.v)};
#elif defined(__AVX2__)
  return map([](NativeVector x, NativeVector y) -> NativeVector { return _mm256_min_ps(x, y); }, a, b);
#elif defined(__SSE2__)
  return map([](NativeVector x, NativeVector y) -> NativeVector { return _mm_min_ps(x, y); }, a, b);
#else
  return map([](NativeVector x, NativeVector y) { return x < y ? x : y; }, a, b);
#endif
}
inline Lanes max(Lanes a, Lanes b) {
#if defined(__AVX512F__)
  return {_mm512_max_ps(a.v, b.v)};
#elif defined(__AVX2__)
  return map([](NativeVector x, NativeVector y) -> NativeVector { return _mm256_max_ps(x, y); }, a, b);
#elif defined(__SSE2__)
  return map([](NativeVector x, NativeVector y) -> NativeVector { return _mm_max_ps(x, y); }, a, b);
#else
  return map([](NativeVector x, NativeVector y) { return x > y ? x : y; }, a, b);
#endif
}

// a < b ? yes : no, lane by lane.
inline Lanes select_less(Lanes a, Lanes b, Lanes yes, Lanes no) {
#if defined(__AVX512F__)
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
#elif defined(__AVX2__)
  return map([](NativeVector x, NativeVector y, NativeVector u, NativeVector v) -> NativeVector {
    return _mm256_blendv_ps(v, u, _mm256_cmp_ps(x, y, _CMP_LT_OQ));
  }, a, b, yes, no);
#else
  return map([](NativeVector x, NativeVector y, NativeVector u, NativeVector v) { return x < y ? u : v; }, a, b, yes, no);
#endif
}

// table[index rounded to nearest, ties to even], index in [0, 31].
inline Lanes lookup32(const float* table, Lanes index) {
#if defined(__AVX512F__)
  return {_mm512_permutex2var_ps(_mm512_loadu_ps(table), _mm512_cvtps_epi32(index.v), _mm512_loadu_ps(table + 16))};
#elif defined(__AVX2__)
  return map([table](NativeVector x) -> NativeVector {
    const __m256i k = _mm256_cvtps_epi32(x);  // permutes use bits 0-2; gathers are slow on many hosts
    const __m256 bit3 = _mm256_castsi256_ps(_mm256_slli_epi32(k, 28));
    const __m256 bit4 = _mm256_castsi256_ps(_mm256_slli_epi32(k, 27));
    const __m256 a = _mm256_blendv_ps(_mm256_permutevar8x32_ps(_mm256_loadu_ps(table), k),
                                      _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), k), bit3);
    const __m256 b = _mm256_blendv_ps(_mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 16), k),
                                      _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 24), k), bit3);
    return _mm256_blendv_ps(a, b, bit4);
  }, index);
#else
  return map([table](NativeVector x) {
    x = (x + 12582912.0f) - 12582912.0f;
    for (int j = 0; j < kNative; ++j) x[j] = table[static_cast<int>(x[j])];
    return x;
  }, index);
#endif
}

inline Lanes magnitude(Lanes a) { return max(a, all(0.0f) - a); }

// Nearest whole number, ties to even; |a| < 2^22.
inline Lanes round_whole(Lanes a) { return (a + all(12582912.0f)) - all(12582912.0f); }

// 1 / a, and 0 where a is 0.
inline Lanes inverse_or_zero(Lanes a) {
  const Lanes zero = all(0.0f), positive = magnitude(a);
  return select_less(zero, positive, all(1.0f) / select_less(zero, positive, a, all(1.0f)), zero);
}

inline Lanes quotient_or_zero(Lanes a, Lanes positive) {
  const Lanes zero = all(0.0f);
  return select_less(zero, positive, a / select_less(zero, positive, positive, all(1.0f)), zero);
}

inline Lanes ramp(float first, float step) {  // first, first + step, first + 2 step, ...
  float k[kLanes];
  for (int i = 0; i < kLanes; ++i) k[i] = first + step * static_cast<float>(i);
  return load(k);
}

// Index of the smallest lane, the first of equals.
inline int argmin(Lanes a) {
  float k[kLanes];
  store(k, a);
  int best = 0;
  for (int i = 1; i < kLanes; ++i)
    if (k[i] < k[best]) best = i;
  return best;
}
inline float lane(Lanes a, int index) {
  float k[kLanes];
  store(k, a);
  return k[index];
}

}  // namespace hone::quant::HONE_QUANT_ISA
