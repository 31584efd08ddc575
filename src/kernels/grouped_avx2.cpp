// Kernels of the grouped formats compiled for AVX2 with FMA and F16C.
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#include "kernels/isa_table.h"
#include "kernels/vec_avx2.h"
#include "tensor/grouped.h"

namespace hone::kernels {
namespace avx2 {
namespace {

constexpr bool kFastTables = false;  // a table of 16 floats takes two registers and a blend

#include "kernels/grouped_words.h"

HONE_INLINE F32 from_words(Words w) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(w))),
          _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm256_extracti128_si256(w, 1)))};
}
struct Table {
  F32 values;
};
HONE_INLINE Table make_table(F32 values) {
  return {values};
}
HONE_INLINE __m256 look_up(const Table& t, __m128i words) {
  const __m256i k = _mm256_cvtepu16_epi32(words);  // permutes use bits 0-2, the blend the sign
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(t.values.a, k), _mm256_permutevar8x32_ps(t.values.b, k),
                          _mm256_castsi256_ps(_mm256_slli_epi32(k, 28)));
}
template <int kBits>
HONE_INLINE F32 lookup16(const Table& t, const uint8_t* p) {
  const Words w = words16<kBits>(p);
  return {look_up(t, _mm256_castsi256_si128(w)), look_up(t, _mm256_extracti128_si256(w, 1))};
}
HONE_INLINE F32 from_halves(Words h) {
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(h)), _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1))};
}
HONE_INLINE F32 from_e5m2(Words w) {
  return from_halves(e5m2_halves(w));
}
HONE_INLINE F32 from_e4m3(Words w) {
  return mul(from_halves(e4m3_halves(w)), set1(256.0f));
}

// Each is written over those before it.
// clang-format off
#include "kernels/grouped.inc"
#include "kernels/grouped_codes.inc"
#include "kernels/grouped_table.inc"
// clang-format on

}  // namespace
}  // namespace avx2

const GroupedKernels* avx2_grouped() {
  return avx2::kTable;
}

}  // namespace hone::kernels
