// The integer product of many rows on AVX-512 with VNNI; see dense_dot_scalar.h for the meaning of each word.

inline constexpr int kDenseRows = 6, kDenseVectors = 2;
inline constexpr bool kRaise = true;

using I32 = __m512i;
HONE_INLINE I32 set1_int(int32_t x) {
  return _mm512_set1_epi32(x);
}
HONE_INLINE I32 load_int(const int32_t* p) {
  return _mm512_loadu_si512(p);
}
HONE_INLINE void store_negated(int32_t* p, I32 x) {
  _mm512_storeu_si512(p, _mm512_sub_epi32(_mm512_setzero_si512(), x));
}
HONE_INLINE F32 to_f32(I32 x) {
  return _mm512_cvtepi32_ps(x);
}
struct DirectDot {
  static constexpr int kFlush = 0;
  using Part = I32;
  static HONE_INLINE __m512i load(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static HONE_INLINE __m512i splat(const uint8_t* p) {
    int32_t four;
    std::memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
  }
};
template <int kBound, int kReach>
struct ByteDot : DirectDot {
  static constexpr size_t kCodeBytes = 1;
  static HONE_INLINE I32 step(I32 sum, __m512i w, __m512i x) { return _mm512_dpbusd_epi32(sum, x, w); }
};
struct WordDot : DirectDot {
  static constexpr size_t kCodeBytes = 2;
  static HONE_INLINE I32 step(I32 sum, __m512i w, __m512i x) { return _mm512_dpwssd_epi32(sum, w, x); }
};
struct CodeSums {
  int first, second;
};
struct ByteKernel {
  int bound, reach;
};
inline constexpr ByteKernel kByteKernels[] = {{128, 127}};

HONE_INLINE void lower_line(uint8_t* p, int by) {
  _mm512_storeu_si512(p, _mm512_sub_epi8(_mm512_loadu_si512(p), _mm512_set1_epi8(static_cast<char>(by))));
}
HONE_INLINE void widen_line(const uint8_t* p, int by, int16_t* to) {
  const __m256i words = _mm256_cvtepu8_epi16(load_bytes(p));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm256_sub_epi16(words, _mm256_set1_epi16(static_cast<short>(by))));
}

// The largest magnitude of 32; above all finite numbers where something is not finite: bits order like integers.
HONE_INLINE float largest_magnitude(F32 low, F32 high) {
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  const __m512i all = _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(low), magnitude),
                                       _mm512_and_si512(_mm512_castps_si512(high), magnitude));
  const __m256i half = _mm256_max_epu32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  __m128i q = _mm_max_epu32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  q = _mm_max_epu32(q, _mm_shuffle_epi32(q, 0x4E));
  q = _mm_max_epu32(q, _mm_shuffle_epi32(q, 0xB1));
  return _mm_cvtss_f32(_mm_castsi128_ps(q));
}
template <bool kWords>
HONE_INLINE CodeSums round_codes(F32 low, F32 high, float inverse, int raise, uint8_t* codes) {
  const __m512i a = _mm512_cvtps_epi32(_mm512_mul_ps(low, set1(inverse)));
  const __m512i b = _mm512_cvtps_epi32(_mm512_mul_ps(high, set1(inverse)));
  if constexpr (kWords) {
    const __m256i wa = _mm512_cvtsepi32_epi16(a), wb = _mm512_cvtsepi32_epi16(b);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), wa);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + 32), wb);
    const __m256i one = _mm256_set1_epi16(1);
    const __m256i pairs = _mm256_hadd_epi32(_mm256_madd_epi16(wa, one), _mm256_madd_epi16(wb, one));
    __m128i q = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    q = _mm_hadd_epi32(q, q);
    return {_mm_cvtsi128_si32(q), _mm_extract_epi32(q, 1)};
  }
  const __m512i up = _mm512_set1_epi32(raise);
  const __m128i ca = _mm512_cvtepi32_epi8(_mm512_add_epi32(a, up)),
                cb = _mm512_cvtepi32_epi8(_mm512_add_epi32(b, up));
  store_bytes(codes, ca);
  store_bytes(codes + 16, cb);
  const __m128i sa = _mm_sad_epu8(ca, _mm_setzero_si128()), sb = _mm_sad_epu8(cb, _mm_setzero_si128());
  return {_mm_cvtsi128_si32(sa) + _mm_extract_epi16(sa, 4) - 16 * raise,
          _mm_cvtsi128_si32(sb) + _mm_extract_epi16(sb, 4) - 16 * raise};
}
