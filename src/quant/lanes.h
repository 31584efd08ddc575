// Sixteen floats that move together, in the instruction set this file is compiled for. The encoders put
// sixteen candidate scales side by side and walk over the elements of a block, so that no sum ever
// crosses lanes: every instruction set performs the same IEEE operations in the same order and finds the
// same bytes. Multiplications and additions must therefore never be fused (see the pragma below).
#pragma once

#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12 on its own _mm512_undefined_ps
#endif

#if defined(__AVX2__)
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
inline constexpr int kParts = kLanes / kNative;
typedef float NativeVector __attribute__((vector_size(kNative * 4)));

struct Lanes {
  NativeVector v[kParts];
};

#define HONE_LANES_OP(op)                                              \
  inline Lanes operator op(Lanes a, Lanes b) {                         \
    for (int i = 0; i < kParts; ++i) a.v[i] = a.v[i] op b.v[i];        \
    return a;                                                          \
  }
HONE_LANES_OP(+)
HONE_LANES_OP(-)
HONE_LANES_OP(*)
HONE_LANES_OP(/)
#undef HONE_LANES_OP

inline Lanes all(float value) {
  Lanes r;
  for (int i = 0; i < kParts; ++i) r.v[i] = NativeVector{} + value;
  return r;
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
  a.v[0] = _mm512_min_ps(a.v[0], b.v[0]);
#elif defined(__AVX2__)
  for (int i = 0; i < kParts; ++i) a.v[i] = _mm256_min_ps(a.v[i], b.v[i]);
#else
  for (int i = 0; i < kParts; ++i) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
#endif
  return a;
}
inline Lanes max(Lanes a, Lanes b) {
#if defined(__AVX512F__)
  a.v[0] = _mm512_max_ps(a.v[0], b.v[0]);
#elif defined(__AVX2__)
  for (int i = 0; i < kParts; ++i) a.v[i] = _mm256_max_ps(a.v[i], b.v[i]);
#else
  for (int i = 0; i < kParts; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
#endif
  return a;
}

// a < b ? yes : no, lane by lane.
inline Lanes select_less(Lanes a, Lanes b, Lanes yes, Lanes no) {
#if defined(__AVX512F__)
  yes.v[0] = _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v[0], b.v[0], _CMP_LT_OQ), no.v[0], yes.v[0]);
#elif defined(__AVX2__)
  for (int i = 0; i < kParts; ++i)
    yes.v[i] = _mm256_blendv_ps(no.v[i], yes.v[i], _mm256_cmp_ps(a.v[i], b.v[i], _CMP_LT_OQ));
#else
  for (int i = 0; i < kParts; ++i) yes.v[i] = a.v[i] < b.v[i] ? yes.v[i] : no.v[i];
#endif
  return yes;
}

// table[index], index a whole number in [0, 32).
inline Lanes lookup32(const float* table, Lanes index) {
#if defined(__AVX512F__)
  index.v[0] = _mm512_permutex2var_ps(_mm512_loadu_ps(table), _mm512_cvttps_epi32(index.v[0]), _mm512_loadu_ps(table + 16));
#elif defined(__AVX2__)
  for (int i = 0; i < kParts; ++i) {
    const __m256i k = _mm256_cvttps_epi32(index.v[i]);
    const __m256 bit3 = _mm256_castsi256_ps(_mm256_slli_epi32(k, 28)), bit4 = _mm256_castsi256_ps(_mm256_slli_epi32(k, 27));
    const __m256 a = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), k), b = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), k);
    const __m256 c = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 16), k), d = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 24), k);
    index.v[i] = _mm256_blendv_ps(_mm256_blendv_ps(a, b, bit3), _mm256_blendv_ps(c, d, bit3), bit4);
  }
#else
  for (int i = 0; i < kParts; ++i)
    for (int j = 0; j < kNative; ++j) index.v[i][j] = table[static_cast<int>(index.v[i][j])];
#endif
  return index;
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
