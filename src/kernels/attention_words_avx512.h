// Products of pairs of 16-bit codes on AVX-512 with VNNI; see attention_words_scalar.h.

inline constexpr int kCodeRows = 6, kCodeVectors = 4;
using PairSums = __m512i;
using Pairs = __m512i;
HONE_INLINE PairSums no_pairs() {
  return _mm512_setzero_si512();
}
HONE_INLINE Pairs load_pairs(const int16_t* p) {
  return _mm512_loadu_si512(p);
}
HONE_INLINE Pairs splat_pair(const int16_t* p) {
  int32_t both;
  std::memcpy(&both, p, 4);
  return _mm512_set1_epi32(both);
}
// Written out, because GCC 12 copies each sum before and after the intrinsic.
HONE_INLINE PairSums multiply_pairs(PairSums sum, Pairs a, Pairs b) {
  asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}
HONE_INLINE F32 floats_of(PairSums sum) {
  return _mm512_cvtepi32_ps(sum);
}
HONE_INLINE void store_pairs(int16_t* p, F32 first, F32 second) {
  const __m512i low = _mm512_cvtps_epi32(first), high = _mm512_slli_epi32(_mm512_cvtps_epi32(second), 16);
  _mm512_storeu_si512(p, _mm512_mask_blend_epi16(0xAAAAAAAA, low, high));
}
