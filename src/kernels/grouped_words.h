// Unpacking a stream of codes into 16-bit words on AVX2, which AVX-512 uses as well. Included by
// grouped_avx2.cpp and grouped_avx512.cpp inside their namespaces.

using Words = __m256i;

// A code of up to 8 bits lies in two neighbouring bytes: bring those to its 16-bit lane, move the code to the
// top of the lane by a multiplication, and shift it down.
template <int kBits>
struct WordPlan {
  alignas(32) int8_t bytes[32];
  alignas(32) uint16_t factor[16];
  constexpr WordPlan() : bytes{}, factor{} {
    for (int i = 0; i < 16; ++i) {
      const int bit = i * kBits;
      bytes[2 * i] = static_cast<int8_t>(bit / 8);
      bytes[2 * i + 1] = static_cast<int8_t>(bit / 8 + 1);
      factor[i] = static_cast<uint16_t>(1u << (16 - kBits - bit % 8));
    }
  }
};
template <int kBits>
constexpr WordPlan<kBits> kWordPlan{};

template <int kBits>
HONE_INLINE Words words16(const uint8_t* p) {
  const __m128i q = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  if constexpr (kBits == 8) {
    return _mm256_cvtepu8_epi16(q);
  } else {
    const auto& plan = kWordPlan<kBits>;
    const __m256i two = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(q),
                                            _mm256_load_si256(reinterpret_cast<const __m256i*>(plan.bytes)));
    const __m256i top =
        _mm256_mullo_epi16(two, _mm256_load_si256(reinterpret_cast<const __m256i*>(plan.factor)));
    return _mm256_srli_epi16(top, 16 - kBits);
  }
}

HONE_INLINE Bytes to_bytes(Words w) {  // words below 256
  return _mm_packus_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
}

// The bits of an E5M2 number are the upper half of an F16. E4M3 has another bias of the exponent, and one
// pattern a sign for NaN.
HONE_INLINE Words e5m2_halves(Words w) {
  return _mm256_slli_epi16(w, 8);
}
HONE_INLINE Words e4m3_halves(Words w) {  // F16 of the value / 256
  const __m256i magnitude = _mm256_and_si256(w, _mm256_set1_epi16(127));
  const __m256i nan =
      _mm256_and_si256(_mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(127)), _mm256_set1_epi16(0x7E00));
  const __m256i sign = _mm256_slli_epi16(_mm256_andnot_si256(_mm256_set1_epi16(127), w), 8);
  return _mm256_or_si256(_mm256_or_si256(sign, nan), _mm256_slli_epi16(magnitude, 7));
}
