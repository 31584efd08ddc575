// The integer product of many rows on AVX2, where byte products of pairs add up in 16 bits; see
// dense_dot_scalar.h for the meaning of each word.

inline constexpr int kDenseRows = 3, kDenseVectors = 1;
inline constexpr bool kRaise = true;

struct I32 {
  __m256i a, b;
};
HONE_INLINE I32 set1_int(int32_t x) {
  const __m256i v = _mm256_set1_epi32(x);
  return {v, v};
}
HONE_INLINE I32 load_int(const int32_t* p) {
  const auto* v = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
}
HONE_INLINE void store_negated(int32_t* p, I32 x) {
  auto* v = reinterpret_cast<__m256i*>(p);
  const __m256i none = _mm256_setzero_si256();
  _mm256_storeu_si256(v, _mm256_sub_epi32(none, x.a));
  _mm256_storeu_si256(v + 1, _mm256_sub_epi32(none, x.b));
}
HONE_INLINE F32 to_f32(I32 x) {
  return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)};
}
struct PairedDot {
  using Weights = I32;
  static HONE_INLINE Weights load(const uint8_t* p) {
    const auto* v = reinterpret_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
  }
  static HONE_INLINE __m256i splat(const uint8_t* p) {
    int32_t four;
    std::memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
  }
};
// Keeps the compiler from collecting all products of a block before it adds them, which spills them.
HONE_INLINE I32 settled(__m256i a, __m256i b) {
  asm("" : "+x"(a), "+x"(b));
  return {a, b};
}
template <int kBound, int kReach>
struct ByteDot : PairedDot {
  static constexpr size_t kCodeBytes = 1;
  static constexpr int kMost = 2 * kBound * (2 * kReach + 1);  // |pair of products|
  static constexpr int kFlush = 8 * kMost <= 32767 ? 8 : 4 * kMost <= 32767 ? 4 : 2 * kMost <= 32767 ? 2 : 1;
  static_assert(kFlush * kMost <= 32767);
  using Part = I32;
  static HONE_INLINE Part first(Weights w, __m256i x) {
    return {_mm256_maddubs_epi16(x, w.a), _mm256_maddubs_epi16(x, w.b)};
  }
  static HONE_INLINE Part step(Part part, Weights w, __m256i x) {
    const Part p = first(w, x);
    return settled(_mm256_add_epi16(part.a, p.a), _mm256_add_epi16(part.b, p.b));
  }
  static HONE_INLINE I32 flush(I32 sum, Part part) {
    const __m256i one = _mm256_set1_epi16(1);
    return settled(dot_pairs(sum.a, part.a, one), dot_pairs(sum.b, part.b, one));
  }
};
struct WordDot : PairedDot {
  static constexpr size_t kCodeBytes = 2;
  static constexpr int kFlush = 0;
  static HONE_INLINE I32 step(I32 sum, Weights w, __m256i x) {
    return settled(dot_pairs(sum.a, w.a, x), dot_pairs(sum.b, w.b, x));
  }
};
struct CodeSums {
  int first, second;
};
struct ByteKernel {
  int bound, reach;
};
inline constexpr ByteKernel kByteKernels[] = {{8, 127}, {16, 127}, {32, 127}, {64, 127}};

HONE_INLINE void lower_line(uint8_t* p, int by) {
  const __m256i down = _mm256_set1_epi8(static_cast<char>(by));
  auto* v = reinterpret_cast<__m256i*>(p);
  _mm256_storeu_si256(v, _mm256_sub_epi8(_mm256_loadu_si256(v), down));
  _mm256_storeu_si256(v + 1, _mm256_sub_epi8(_mm256_loadu_si256(v + 1), down));
}
HONE_INLINE void widen_line(const uint8_t* p, int by, int16_t* to) {
  const __m256i words = _mm256_cvtepu8_epi16(load_bytes(p));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm256_sub_epi16(words, _mm256_set1_epi16(static_cast<short>(by))));
}

// The largest magnitude of 32; above all finite numbers where something is not finite: bits order like integers.
HONE_INLINE float largest_magnitude(F32 low, F32 high) {
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
  const auto bits = [&](__m256 x) HONE_LAMBDA { return _mm256_and_si256(_mm256_castps_si256(x), magnitude); };
  const __m256i all = _mm256_max_epu32(_mm256_max_epu32(bits(low.a), bits(low.b)),
                                       _mm256_max_epu32(bits(high.a), bits(high.b)));
  __m128i q = _mm_max_epu32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  q = _mm_max_epu32(q, _mm_shuffle_epi32(q, 0x4E));
  q = _mm_max_epu32(q, _mm_shuffle_epi32(q, 0xB1));
  return _mm_cvtss_f32(_mm_castsi128_ps(q));
}
// 16 words from 16 rounded floats.
HONE_INLINE __m256i rounded_words(F32 x, __m256 inverse) {
  const __m256i both = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(x.a, inverse)),
                                          _mm256_cvtps_epi32(_mm256_mul_ps(x.b, inverse)));
  return _mm256_permute4x64_epi64(both, 0xD8);
}
template <bool kWords>
HONE_INLINE CodeSums round_codes(F32 low, F32 high, float inverse, int raise, uint8_t* codes) {
  const __m256i wa = rounded_words(low, _mm256_set1_ps(inverse));
  const __m256i wb = rounded_words(high, _mm256_set1_ps(inverse));
  if constexpr (kWords) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), wa);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + 32), wb);
    const __m256i one = _mm256_set1_epi16(1);
    const __m256i pairs = _mm256_hadd_epi32(_mm256_madd_epi16(wa, one), _mm256_madd_epi16(wb, one));
    __m128i q = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    q = _mm_hadd_epi32(q, q);
    return {_mm_cvtsi128_si32(q), _mm_extract_epi32(q, 1)};
  }
  const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(wa, wb), 0xD8);
  const __m256i up = _mm256_add_epi8(bytes, _mm256_set1_epi8(static_cast<char>(raise)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), up);
  const __m256i sums = _mm256_sad_epu8(up, _mm256_setzero_si256());
  return {_mm256_extract_epi16(sums, 0) + _mm256_extract_epi16(sums, 4) - 16 * raise,
          _mm256_extract_epi16(sums, 8) + _mm256_extract_epi16(sums, 12) - 16 * raise};
}
