// Products of pairs of 16-bit codes on AVX2; see attention_words_scalar.h.

inline constexpr int kCodeRows = 4, kCodeVectors = 1;
struct PairSums {
  __m256i a, b;
};
using Pairs = PairSums;
HONE_INLINE PairSums no_pairs() {
  return {_mm256_setzero_si256(), _mm256_setzero_si256()};
}
HONE_INLINE Pairs load_pairs(const int16_t* p) {
  const auto* v = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
}
HONE_INLINE Pairs splat_pair(const int16_t* p) {
  int32_t both;
  std::memcpy(&both, p, 4);
  const __m256i v = _mm256_set1_epi32(both);
  return {v, v};
}
// The barrier keeps the compiler from collecting products before it adds them, which spills them.
HONE_INLINE PairSums multiply_pairs(PairSums sum, Pairs x, Pairs y) {
  PairSums s = {_mm256_add_epi32(sum.a, _mm256_madd_epi16(x.a, y.a)),
                _mm256_add_epi32(sum.b, _mm256_madd_epi16(x.b, y.b))};
  asm("" : "+x"(s.a), "+x"(s.b));
  return s;
}
HONE_INLINE F32 floats_of(PairSums sum) {
  return {_mm256_cvtepi32_ps(sum.a), _mm256_cvtepi32_ps(sum.b)};
}
HONE_INLINE void store_pairs(int16_t* p, F32 first, F32 second) {
  const auto join = [](__m256 low, __m256 high) HONE_LAMBDA {
    return _mm256_blend_epi16(_mm256_cvtps_epi32(low), _mm256_slli_epi32(_mm256_cvtps_epi32(high), 16), 0xAA);
  };
  auto* v = reinterpret_cast<__m256i*>(p);
  _mm256_storeu_si256(v, join(first.a, second.a));
  _mm256_storeu_si256(v + 1, join(first.b, second.b));
}
