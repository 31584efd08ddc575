// Kernels of the grouped formats compiled for AVX-512.
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#include "kernels/isa_table.h"
#include "kernels/vec_avx512.h"
#include "tensor/grouped.h"

namespace hone::kernels {
namespace avx512 {
namespace {

constexpr bool kFastTables = true;  // 16 floats are one register

#include "kernels/grouped_words.h"

HONE_INLINE F32 from_words(Words w) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(w));
}
struct Table {
  F32 values;
};
HONE_INLINE Table make_table(F32 values) {
  return {values};
}
template <int kBits>
HONE_INLINE F32 lookup16(const Table& t, const uint8_t* p) {
  if constexpr (kBits ==
                4) {  // a byte per 64 bits, its upper nibble moved to the upper half; permutes use bits 0-3
    const __m512i bytes = _mm512_cvtepu8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    return _mm512_permutexvar_ps(_mm512_or_si512(bytes, _mm512_slli_epi64(bytes, 28)), t.values);
  } else {
    return _mm512_permutexvar_ps(_mm512_cvtepu16_epi32(words16<kBits>(p)), t.values);
  }
}
HONE_INLINE F32 from_e5m2(Words w) {
  return _mm512_cvtph_ps(e5m2_halves(w));
}
HONE_INLINE F32 from_e4m3(Words w) {
  return mul(_mm512_cvtph_ps(e4m3_halves(w)), set1(256.0f));
}

// Each is written over those before it.
// clang-format off
#include "kernels/grouped.inc"
#include "kernels/grouped_codes.inc"
#include "kernels/grouped_table.inc"
// clang-format on

}  // namespace
}  // namespace avx512

const GroupedKernels* avx512_grouped() {
  return avx512::kTable;
}

}  // namespace hone::kernels
