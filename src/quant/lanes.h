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

// 2^floor(log2(a)) for normal a > 0.
inline Lanes power_part(Lanes a) {
  typedef int NativeInts __attribute__((vector_size(kNative * 4)));
  return map([](NativeVector x) {
    return __builtin_bit_cast(NativeVector, __builtin_bit_cast(NativeInts, x) & 0x7F800000);
  }, a);
}

// Lane i becomes lane i ^ kXor; kXor is a power of two below 16.
template <int kXor, int kWidth>
[[gnu::always_inline]] inline Vectors<kWidth> swap_lanes(Vectors<kWidth> a) {
  if constexpr (kWidth == kNative) {
#if defined(__AVX512F__)
    return {__builtin_shufflevector(a.v, a.v, 0 ^ kXor, 1 ^ kXor, 2 ^ kXor, 3 ^ kXor, 4 ^ kXor, 5 ^ kXor, 6 ^ kXor, 7 ^ kXor,
                                    8 ^ kXor, 9 ^ kXor, 10 ^ kXor, 11 ^ kXor, 12 ^ kXor, 13 ^ kXor, 14 ^ kXor, 15 ^ kXor)};
#elif defined(__AVX2__)
    return {__builtin_shufflevector(a.v, a.v, 0 ^ kXor, 1 ^ kXor, 2 ^ kXor, 3 ^ kXor, 4 ^ kXor, 5 ^ kXor, 6 ^ kXor, 7 ^ kXor)};
#else
    return {__builtin_shufflevector(a.v, a.v, 0 ^ kXor, 1 ^ kXor, 2 ^ kXor, 3 ^ kXor)};
#endif
  } else if constexpr (2 * kXor == kWidth) {
    return {a.high, a.low};
  } else {
    return {swap_lanes<kXor>(a.low), swap_lanes<kXor>(a.high)};
  }
}

// out[e * 16 + k] = rows[k][e] for 16 rows of 16 numbers, in squares of a native vector's width: interleaving
// row i with row i + half, as often as the width has bits, transposes a square.
inline void transpose(const float* const* rows, float* out) {
  for (int h = 0; h < kLanes; h += kNative)
    for (int g = 0; g < kLanes; g += kNative) {
      NativeVector a[kNative], b[kNative];
      for (int i = 0; i < kNative; ++i) __builtin_memcpy(&a[i], rows[h + i] + g, sizeof a[i]);
      for (int bit = 1; bit < kNative; bit *= 2) {
        for (int i = 0; i < kNative / 2; ++i) {
          const NativeVector u = a[i], v = a[i + kNative / 2];
#if defined(__AVX512F__)
          b[2 * i] = __builtin_shufflevector(u, v, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
          b[2 * i + 1] = __builtin_shufflevector(u, v, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif defined(__AVX2__)
          b[2 * i] = __builtin_shufflevector(u, v, 0, 8, 1, 9, 2, 10, 3, 11);
          b[2 * i + 1] = __builtin_shufflevector(u, v, 4, 12, 5, 13, 6, 14, 7, 15);
#else
          b[2 * i] = __builtin_shufflevector(u, v, 0, 4, 1, 5);
          b[2 * i + 1] = __builtin_shufflevector(u, v, 2, 6, 3, 7);
#endif
        }
        for (int i = 0; i < kNative; ++i) a[i] = b[i];
      }
      for (int i = 0; i < kNative; ++i) __builtin_memcpy(out + (g + i) * kLanes + h, &a[i], sizeof a[i]);
    }
}

// Whole numbers from -128 to 127 as bytes.
inline void store_bytes(signed char* p, Lanes a) {
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a.v)));
#elif defined(__AVX2__)
  const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(a.low.v), _mm256_cvtps_epi32(a.high.v));
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xD8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)));
#else
  float k[kLanes];
  store(k, a);
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<signed char>(k[i]);
#endif
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
